# gateway/core/lane.c: drop what is handed back
/^void bailey_hand_back/,/^}/ s/outlet_push(outlet, dlv, false);/;/
