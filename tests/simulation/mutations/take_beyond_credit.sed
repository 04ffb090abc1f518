# gateway/core/lane_schedule.c: take all that is due, whatever the credit
/^static bool has_credit/,/^}/ s/return lane/return lane != NULL || lane/
