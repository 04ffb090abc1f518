# gateway/core/lane.c: send what its source has lost again
/^void bailey_hand_back/,/^}/ s/lane_has_lost(lane, dlv)/false/
