# gateway/core/lane.c: give no credit back
/^void lane_delivery_free/,/^}/ s/lane->unsettled--;//
