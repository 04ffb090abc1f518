# gateway/core/dedup.c: take what failed for written
/^static void committed/,/^}/ s/apply(shard, \&shard->written, !commit->failed);/apply(shard, \&shard->written, true);/; /^static void committed/,/^}/ s/if (!shard->options.pass_on_failure)/if (false)/
