# gateway/core/lane_refuse.c: try again after the last attempt
/^static void refuse(/,/^}/ s/dlv->counted >= /dlv->counted > /
