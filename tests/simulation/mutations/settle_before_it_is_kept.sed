# gateway/core/schedule_write.c: answer before the disk has it
/^void schedule_write(/,/^}/ {
    s/bool is_synced = .*/bool is_synced = false;/
    s/is_synced |= entry->again != NULL;//
}
