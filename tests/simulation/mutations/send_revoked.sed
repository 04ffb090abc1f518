# gateway/core/lane.c: send what was taken away again
/^void bailey_hand_back/,/^}/ s/lane_has_lost(lane, dlv)/dlv->epoch != lane->epoch/
