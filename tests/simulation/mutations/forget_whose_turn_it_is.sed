# gateway/core/lane_spill.c: do not ask for what is on the disk when its turn comes
/^bool lane_spill_back(/,/^}/ s/        want(spill, dlv);/        ;/
