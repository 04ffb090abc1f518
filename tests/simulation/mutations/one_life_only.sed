# gateway/core/lane.c: take all openings of a source for one
/^void lane_on_end_lost/,/^}/ s/lane->epoch++;/;/
