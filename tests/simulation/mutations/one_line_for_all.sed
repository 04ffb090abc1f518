# gateway/core/order.c: let all keys wait for one another
/^static bool hash_of/,/^}/ s/\*hash = hash_bytes(order, msg->key);/*hash = 0 * hash_bytes(order, msg->key);/
