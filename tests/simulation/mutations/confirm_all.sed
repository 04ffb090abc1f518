# gateway/core/lane.c: settle the others of a batch with the first
/^void lane_note_end/,/^}/ s/settled->items\[settled->count\] = dlv->settlement;/settled->items[settled->count] = settled->count > 0 ? settled->items[0] : dlv->settlement;/
