# gateway/core/lane_dedup.c: let go whoever has its answer first
/^static void grant/,/^}/ s/    if (dlv->asked_next != NULL)/    asked_remove(dlv);\
    if (dlv->asked_next != NULL)/
