# gateway/core/lane.c: settle at a source that never gave it
s/known += dlv->epoch == lane->epoch;/known++;/
