# gateway/core/lane.c: let what is handed back stand behind newer ones
/^void bailey_hand_back/,/^}/ s/outlet_push(outlet, dlv, false);/outlet_push(outlet, dlv, true);/
