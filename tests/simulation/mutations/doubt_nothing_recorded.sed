# gateway/core/lane_dedup.c: leave what the sink has to the store as if it had not been sent
s/        dlv->state == DELIVERY_RECORDING; .*/        false;/
