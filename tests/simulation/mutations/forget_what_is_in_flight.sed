# gateway/core/dedup.c: take an id that is in flight for a new one
/^static struct dedup_entry \*find/,/^}/ s/    return entry;/    return entry != NULL \&\& entry->state == ENTRY_FLIGHT ? NULL : entry;/
