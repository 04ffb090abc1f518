# gateway/core/lane_dedup.c: give an id back while the schedule writes its message
/^void lane_dedup_leave_all/,/^}/ s/ && dlv->state != DELIVERY_KEEPING//
