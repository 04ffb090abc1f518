# gateway/core/lane_refuse.c: drop what has expired, whatever the route says
/^void lane_expire/,/^}/ s/lane->options.expire == LANE_EXPIRE_DROP/lane != NULL/
