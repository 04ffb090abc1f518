# gateway/core/lane.c: let what is handed back stand behind newer ones
/^void bailey_hand_back/,/^}/ s/lane->ready_unsorted = true;//
