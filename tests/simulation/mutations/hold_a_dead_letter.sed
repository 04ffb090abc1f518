# gateway/core/lane_refuse.c: hold a dead letter back like a message
/^void lane_wait_over/,/^}/ s/dlv->is_dead || //
