# gateway/core/lane_dedup.c: leave what the sink has to the store as if it had not been sent
s/    dlv->is_in_doubt |= dlv->state == DELIVERY_RECORDING;.*//
