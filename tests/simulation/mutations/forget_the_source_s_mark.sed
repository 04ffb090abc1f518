# gateway/core/lane.c: forget that the source has marked it
s|\.possible_duplicate = msg->redelivered||
