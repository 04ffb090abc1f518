# gateway/core/dedup.c: forget an id when it is recorded
/^static void apply/,/^}/ s/if (is_written)/if (false)/
