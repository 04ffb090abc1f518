# gateway/core/order.c: count it as an attempt that one follows a refused one
/^bool order_is_behind/,/^}/ s/return key != NULL \&\&.*/return key == NULL \&\& dlv == NULL;/
