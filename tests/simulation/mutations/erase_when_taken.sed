# gateway/core/lane_schedule.c: erase an entry as soon as it is taken
/^static struct delivery \*take/,/^}/ s/    dlv->entry = entry;/    schedule_done(lane->kept->schedule, entry);\
    dlv->epoch = lane->epoch - 1;/
