# gateway/core/lane_refuse.c: give up what may be at the sink without a mark
/^static void give_up/,/^}/ s/    dlv->pub.attempts = 0;/    dlv->pub.attempts = 0;\
    dlv->pub.possible_duplicate = false;/
