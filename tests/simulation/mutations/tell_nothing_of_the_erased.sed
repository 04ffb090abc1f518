# gateway/core/schedule.c: do not say that nothing is kept any more
/^static void tell_kept/,/^}/ s/ || batch->ends.*/;/
