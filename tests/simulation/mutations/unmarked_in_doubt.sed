# gateway/core/dedup.c: let go unmarked what is in doubt
/^static void go(/,/^}/ s/entry->in_doubt ? DEDUP_GO_MARKED : DEDUP_GO/DEDUP_GO/
