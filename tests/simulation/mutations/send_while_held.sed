# gateway/core/lane.c: send while the sink cannot take messages
s/lane->to.state != END_UP || lane->sink_is_full ||/!end_is_open(\&lane->to) || lane->sink_is_full ||/; s/lane->ready_len > 0 \&\& lane->to.state == END_UP \&\& /lane->ready_len > 0 \&\& end_is_open(\&lane->to) \&\& /
