# gateway/core/dedup.c: let a message go while its intent is being written
/^static void reserve/,/^}/ s/    add_change(shard, STATE_INTEND, .*/&\
    go(shard, entry);/
