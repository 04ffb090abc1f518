# gateway/core/lane.c: settle at a source that is being closed
/^static void settle(/,/^}/ s/ \&\& lane->from.state != END_CLOSING//
