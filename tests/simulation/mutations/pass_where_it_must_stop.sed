# gateway/core/dedup.c: pass ids that could not be looked up
/^static void looked_up/,/^}/ s/if (!shard->options.pass_on_failure)/if (false)/
