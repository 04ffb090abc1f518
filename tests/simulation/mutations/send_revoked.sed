# gateway/core/lane.c: send what was taken away again
/^void bailey_hand_back/,/^}/ s/dlv->is_orphan || //
