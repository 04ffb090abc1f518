# gateway/core/dedup.c: do not tell followers that their id is recorded
/^static void end(/,/^}/ s/answer_followers(shard, entry, outcome);/(entry->first = NULL);/
