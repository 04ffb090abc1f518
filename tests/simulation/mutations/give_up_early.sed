# gateway/core/lane_refuse.c: give up one attempt too early
/^static void refuse(/,/^}/ s/dlv->counted >= /dlv->counted + 1 >= /
