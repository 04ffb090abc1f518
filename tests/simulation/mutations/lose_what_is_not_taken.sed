# gateway/core/lane.c: forget what a full sink did not take
/^static void dispatch/,/^}/ s/lane->ready_len += count - taken;/;/
