# gateway/core/identity.c: give a dead letter another id each time
s/if (dlv->holds_slot)/if (dlv == NULL)/; s/origin->offset >= 0/origin == NULL/
