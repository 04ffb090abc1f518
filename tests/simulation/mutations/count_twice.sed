# gateway/core/lane.c: count a message twice against credit
/^static struct delivery \*delivery_new/,/^}/ s/lane->unsettled++;/lane->unsettled += 2;/
