# gateway/core/schedule.c: let the wall clock shorten a wait
/^int64_t schedule_now_ms/,/^}/ s/line == SCHEDULE_WAIT ?/line > SCHEDULE_WALL ?/
