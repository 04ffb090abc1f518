# gateway/core/lane.c: settle what is confirmed, and record it then
/^static void confirm_batch/,/^}/ s/^            lane_dedup_record(lane, dlv, .*/            lane_note_end(\&ended, dlv, BAILEY_ACCEPTED);\
&\
            dlv->epoch--;/
