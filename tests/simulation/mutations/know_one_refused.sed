# gateway/core/order.c: forget the others when one of those that were refused is through
/^static void give_turn_back/,/^}/ s/    remove_refused(order, key, dlv);/    remove_refused(order, key, dlv);\
    key->refused = NULL;\
    key->is_broken = false;/
