# gateway/core/lane.c: there is always room
/^size_t bailey_room/,/^}/ s/left <= 0 ||/left <= -50 ||/; /^size_t bailey_room/,/^}/ s/int64_t left = .*/int64_t left = 50 + lane->options.credit_messages - lane->unsettled;/
