# gateway/core/dedup.c: begin without the ids of an earlier life
/^static void loaded/,/^}/ s/    shard->filter = load->filter;/    filter_free(load->filter);\
    shard->filter = filter_new(shard->options.window_ms, shard->options.max);/
