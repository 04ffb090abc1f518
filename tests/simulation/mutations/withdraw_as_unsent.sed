# gateway/core/lane_dedup.c: say of no message that it is in doubt
s/dedup_withdraw(lane->ids->client, &dlv->slot, dlv->is_in_doubt);/dedup_withdraw(lane->ids->client, \&dlv->slot, false);/
