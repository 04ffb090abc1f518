# gateway/core/dedup.c: write no intent
/^static void reserve/,/^}/ s/if (!shard->options.state->is_durable)/if (true)/
