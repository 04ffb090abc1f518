# gateway/core/lane.c: do not try a refused message again
/^void lane_refuse/,/^}/ s/bailey_timer_start(.*);/;/
