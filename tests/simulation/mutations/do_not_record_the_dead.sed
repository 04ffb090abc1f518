# gateway/core/lane.c: give the id of a dead letter back
/^static void confirm_batch/,/^}/ s/            lane_dedup_record(lane, dlv, dlv->is_dead.*/            if (dlv->is_dead)\
                lane_settle_as(lane, dlv, BAILEY_ACCEPTED);\
            else\
                lane_dedup_record(lane, dlv, ID_CONFIRMED);/
