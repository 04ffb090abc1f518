# gateway/core/lane_refuse.c: look at the hops of a message once
/^void lane_prepare_again/,/^}/ s/lane_loops(dlv)/dlv == NULL/
