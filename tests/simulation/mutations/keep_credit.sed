# gateway/core/lane.c: give no credit back
/^static void delivery_free/,/^}/ s/lane->unsettled--;//
