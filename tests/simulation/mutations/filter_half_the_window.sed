# gateway/core/filter.c: remember for half the window
/^int64_t filter_expire/,/^}/ s/now_ms - filter->window_ms/now_ms - filter->window_ms \/ 2/
