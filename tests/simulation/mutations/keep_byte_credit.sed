# gateway/core/lane.c: give no credit of bytes back
/^static void delivery_free/,/^}/ s/lane->unsettled_bytes -= .*;//
