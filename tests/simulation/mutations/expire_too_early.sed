# gateway/core/dedup.c: let the store drop what may be asked for
/^static void make_commit/,/^}/ s/now_ms - shard->options.window_ms : oldest_ms;/now_ms - shard->options.window_ms \/ 4 : now_ms - shard->options.window_ms \/ 4;/
