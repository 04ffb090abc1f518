# gateway/core/schedule_write.c: do not say that nothing is kept any more
/^static void tell_kept/,/^}/ s/ || batch->ends.*/;/
