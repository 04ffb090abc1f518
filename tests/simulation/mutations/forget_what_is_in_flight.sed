# gateway/core/dedup_entries.c: take an id that is in flight for a new one
/^struct dedup_entry \*dedup_entries_find/,/^}/ s/    return entry;/    return entry != NULL \&\& entry->state == ENTRY_FLIGHT ? NULL : entry;/
