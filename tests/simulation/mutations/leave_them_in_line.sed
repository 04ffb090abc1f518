# gateway/core/lane.c: let those whose turn has come go some time
/^static void after_verdicts/,/^}/ s/    lane_go_in_turn(lane);//; /^static void do_work/,/^}/ s/    lane_go_in_turn(lane);//
