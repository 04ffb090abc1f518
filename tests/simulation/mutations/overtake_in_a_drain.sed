# gateway/core/lane.c: leave one that waits to its source, and let go who was held behind it
/^void lane_release_waiting/,/^}/ s/    release(lane, DELIVERY_HELD);.*//
