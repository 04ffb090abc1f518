# gateway/core/lane.c: do not tell a source that came back that the lane drains
/^void lane_on_end_changed/,/^}/ s/lane->drain_source = true;/;/
