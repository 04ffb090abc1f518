# gateway/core/schedule.c: answer before the disk has it
/^static void start_write/,/^}/ {
    s/bool is_synced = .*/bool is_synced = false;/
    s/is_synced |= entry->again != NULL;//
}
