# gateway/core/lane.c: show all that is given up as on its way to the dead letters
/^void lane_delivery_let_off/,/^}/ s/    lane->dying -= dlv->is_dead;//
