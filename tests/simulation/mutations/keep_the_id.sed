# gateway/core/lane.c: let a message go, and keep its id
/^void lane_let_go/,/^}/ s/if (dlv->holds_slot)/if (dlv == NULL)/
