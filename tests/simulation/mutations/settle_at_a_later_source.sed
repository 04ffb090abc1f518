# gateway/core/lane.c: settle at a source that never gave it
/^void lane_note_end/,/^}/ s/dlv->entry == NULL && dlv->epoch == lane->epoch/dlv->entry == NULL/
