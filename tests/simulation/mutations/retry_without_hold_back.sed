# gateway/core/order.c: let others go on when one was refused
/^bool order_enter/,/^}/ s/if (key != NULL) {/if (key != NULL \&\& !key->is_refused) {/
