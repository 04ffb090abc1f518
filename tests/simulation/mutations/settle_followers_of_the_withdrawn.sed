# gateway/core/dedup.c: take a message that was left to its source for done
/^static void withdraw/,/^}/ s/        go_\{0,1\}o\{0,1\}n\{0,1\}(shard, entry);/        end(shard, entry, DEDUP_DUPLICATE, ID_CONFIRMED);/
