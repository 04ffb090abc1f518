# gateway/core/lane_refuse.c: do not try a hopeless one again
/^static void block/,/^}/ s/    wait(lane, dlv, delay_ms);/    lane->waiting++;\
    dlv->state = DELIVERY_WAITING;/
