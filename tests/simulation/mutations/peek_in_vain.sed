# gateway/core/dedup.c: send what a store in memory knows
/^static bool ask_new/,/^}/ s/if (may_be_recorded \&\& is_recorded/if (false \&\& is_recorded/
