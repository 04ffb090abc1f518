# gateway/core/lane.c: count a message twice against credit
/^struct delivery \*lane_delivery_new/,/^}/ s/lane->unsettled++;/lane->unsettled += 2;/
