# gateway/core/lane.c: forget messages of other groups, too
s/(!all_groups \&\& dlv->settlement.group != group)/false/
