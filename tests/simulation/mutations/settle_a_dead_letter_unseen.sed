# gateway/core/lane_refuse.c: settle it as soon as it is given up
/^static void give_up/,/^}/ s/    send_dead(lane, dlv);/    lane_finish(lane, dlv, ID_DEAD);/
