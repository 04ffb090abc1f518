# gateway/core/schedule.c: do not mark what an earlier life may have sent
/^bool schedule_is_in_doubt/,/^}/ s/return key/return s == NULL \&\& key/
