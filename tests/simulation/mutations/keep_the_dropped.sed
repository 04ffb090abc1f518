# gateway/core/lane.c: hand over the record of a dropped one some time
/^static void dispatch/,/^}/ s/    lane_flush(lane);.*//
