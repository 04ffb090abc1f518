# gateway/core/lane.c: give no credit of bytes back
/^void lane_delivery_free/,/^}/ s/lane->unsettled_bytes -= .*;//
