# gateway/core/end.c: do not open an end again
/^static void wait_to_open/,/^}/ s/bailey_timer_start(.*);/(void)delay_ms;/
