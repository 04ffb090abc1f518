# gateway/core/lane.c: settle at a source that is being closed
/^void lane_settle(/,/^}/ s/ \&\& lane->from.state != END_CLOSING//
