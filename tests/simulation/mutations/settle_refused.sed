# gateway/core/lane_refuse.c: settle a refused message as done
/^static void refuse(/,/^}/ s|^    note_failure(lane, dlv);|    if (err->kind == BAILEY_ERR_PERMANENT) {\
        lane_settle_as(lane, dlv, BAILEY_ACCEPTED);\
        return;\
    }|
