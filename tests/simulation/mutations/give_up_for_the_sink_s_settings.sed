# gateway/core/lane_refuse.c: count what is wrong with the sink, and not with the message
/^static bool counts/,/^}/ s/return .*/return lane != NULL \&\& err != NULL;/
