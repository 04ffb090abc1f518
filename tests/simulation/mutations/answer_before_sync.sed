# tests/simulation/state.c: say that it is durable when it is written
/^static void write_due/,/^}/ s/store->manner.sync == SYNC_BATCH \&\& store->manner.is_durable/false/
