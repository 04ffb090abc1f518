# gateway/core/lane_schedule.c: after a wait in the store, count refusals that are not the message's fault
s/dlv->counted = note.counted;/dlv->counted = note.attempts;/
