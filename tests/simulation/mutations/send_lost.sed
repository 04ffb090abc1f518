# gateway/core/lane.c: send what its source has lost again
/^void bailey_hand_back/,/^}/ s/dlv->is_orphan || dlv->epoch != lane->epoch/false/
