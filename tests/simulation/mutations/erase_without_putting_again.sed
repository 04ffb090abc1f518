# gateway/core/schedule_write.c: erase what is to wait again
/^static void fill_end/,/^}/ s/        fill_row(s, f, entry->again);/        (void)f;/
