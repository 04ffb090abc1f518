# gateway/core/lane_schedule.c: count anew after each wait in the store
s/dlv->counted = note.counted;/dlv->counted = 0;/
