# gateway/core/schedule.c: let the wall clock shorten a wait
/^static int64_t now_ms/,/^}/ s/line == SCHEDULE_WAIT ?/line > SCHEDULE_WALL ?/
