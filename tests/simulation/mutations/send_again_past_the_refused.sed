# gateway/core/lane.c: send what was handed back, though one in front of it was refused
/^static bool admit/,/^}/ s/lane->order != NULL \&\& order_hold/lane == NULL \&\& order_hold/
