# gateway/core/outlet.c: send while the sink cannot take messages
s/!outlet_is_up(outlet) || /!end_is_open(\&outlet->end) || outlet->end.self == NULL || /; s/outlet->len > 0 \&\& outlet->end.state == END_UP \&\& /outlet->len > 0 \&\& end_is_open(\&outlet->end) \&\& /
