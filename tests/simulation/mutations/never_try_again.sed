# gateway/core/dedup.c: do not make a commit again that failed
/^static void tick_due/,/^}/ s/if (shard->commit_watch.failed \&\& /if (false \&\& /
