# gateway/core/lane_reader.c: remove a dead letter as soon as it is picked
/^bool lane_pick/,/^}/ s/        replay_unwrap(&lane->options, lane->host, dlv);/&\
        lane->reader->picked.items[lane->reader->picked.count] = dlv->settlement;\
        lane->reader->picked.items[lane->reader->picked.count++].outcome = BAILEY_ACCEPTED;\
        dlv->epoch = lane->epoch - 1;\
        lane_work_soon(lane);/
