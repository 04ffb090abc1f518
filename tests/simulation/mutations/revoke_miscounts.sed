# gateway/core/lane.c: do not say what is still out at a revoke
s/^        out += is_away(dlv);//
