# gateway/core/dedup.c: record an id when it is reserved
/^static void reserve/,/^}/ s/STATE_INTEND, entry->id, entry, ID_UNKNOWN/STATE_RECORD, entry->id, entry, ID_CONFIRMED/
