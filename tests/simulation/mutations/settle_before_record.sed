# gateway/core/lane.c: settle what is confirmed, and record it then
/^static void confirm_batch/,/^}/ s/^            lane_dedup_record(lane, dlv, .*/&\
            ended[known] = dlv->settlement;\
            ended[known].outcome = BAILEY_ACCEPTED;\
            known += dlv->epoch == lane->epoch;\
            dlv->epoch--;/
