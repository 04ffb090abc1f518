# gateway/core/order.c: let several of a key go at once, as long as none was refused
/^bool order_enter/,/^}/ s/if (key != NULL) {/if (key != NULL \&\& key->is_refused) {/
