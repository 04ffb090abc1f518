# gateway/core/schedule.c: do not say that what is left to the store was sent
/^void schedule_leave/,/^}/ s/if (in_doubt)/if (in_doubt \&\& s == NULL)/
