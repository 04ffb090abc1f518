# gateway/core/lane_refuse.c: settle a dead letter that is refused
/^static void refuse_dead/,/^}/ s/        block(lane, dlv, "dead letters", err);/        lane_finish(lane, dlv, ID_DEAD);/
