# gateway/core/lane_schedule.c: take its own id for that of another one
s/note.has_id ? ID_WAITING : ID_UNKNOWN/ID_UNKNOWN/
