# gateway/core/lane_schedule.c: keep what is left to the store once more
/^static bool may_go_now/,/^}/ s/lane->kept != NULL && lane->kept->is_closing/lane == NULL/
