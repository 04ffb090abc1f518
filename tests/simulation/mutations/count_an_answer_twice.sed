# gateway/core/lane_dedup.c: take an answer that has crossed a withdrawal
s/if (dlv->state == DELIVERY_LEAVING).*/if (false)/
