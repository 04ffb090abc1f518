# gateway/core/replay.c: name a dead letter that died again as before
/^static struct id name_of/,/^}/ s/, DEAD_LETTER_PREFIX "last-failed", DEAD_LETTER_REPLAYS}/}/
