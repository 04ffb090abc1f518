# gateway/core/lane_refuse.c: count anew when a message comes again
/^void lane_recall(/,/^}/ s/dlv->counted = note.counted;/dlv->counted = 0;/
