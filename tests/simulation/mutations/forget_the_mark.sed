# gateway/core/lane.c: send what is in doubt again, and do not mark it
/^void bailey_hand_back/,/^}/ s|dlv->pub.possible_duplicate = true;||
