# gateway/core/lane_dedup.c: end, and keep the ids
s/^    lane_flush(lane); .*//; /^void lane_dedup_leave_all/,/^}/ s/dedup_flush(lane->ids->client);//
