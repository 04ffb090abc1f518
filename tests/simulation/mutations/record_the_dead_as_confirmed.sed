# gateway/core/lane.c: record a dead letter as if the sink had it
/^static void confirm_batch/,/^}/ s/dlv->is_dead ? ID_DEAD : ID_CONFIRMED/ID_CONFIRMED/
