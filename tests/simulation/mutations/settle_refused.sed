# gateway/core/lane.c: settle a refused message as done
/^void lane_refuse/,/^}/ s|^    log_refusal(.*|    if (err->kind == BAILEY_ERR_PERMANENT) {\
        dlv->state = DELIVERY_READY;\
        settle_as(lane, dlv, BAILEY_ACCEPTED);\
        return;\
    }|
