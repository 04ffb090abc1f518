# gateway/core/dead_letter.c: give a dead letter another id each time
/^static void write_id/,/^}/ s/dlv->holds_slot  *?/dlv == NULL ?/; /^static void write_id/,/^}/ s/origin->offset >= 0/origin == NULL/
