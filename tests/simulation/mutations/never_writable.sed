# gateway/core/lane.c: stay full
/^void bailey_writable/,/^}/ s/lane->sink_is_full = false;//
