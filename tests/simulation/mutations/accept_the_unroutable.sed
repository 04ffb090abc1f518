# gateway/core/lane_refuse.c: settle what nobody takes, whatever the route says
/^void lane_refuse(/,/^}/ s/ \&\& lane->options.unroutable == LANE_UNROUTABLE_ACCEPT//
