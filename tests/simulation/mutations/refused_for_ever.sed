# gateway/core/lane_refuse.c: do not try a refused message again
/^static void wait/,/^}/ s/bailey_timer_start(.*);/;/
