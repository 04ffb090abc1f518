# gateway/core/dedup.c: forget a doubt before the window is over
/^static void tidy/,/^}/ s/int64_t before_ms = .*/int64_t before_ms = now_of(shard) - shard->options.window_ms \/ 4;/
