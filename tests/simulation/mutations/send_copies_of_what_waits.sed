# gateway/core/lane_schedule.c: do not record that an id waits
/^static void on_kept(/,/^}/ s/        lane_dedup_record(lane, dlv, ID_WAITING);/        lane_settle_as(lane, dlv, BAILEY_ACCEPTED);/
