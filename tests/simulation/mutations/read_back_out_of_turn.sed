# gateway/core/lane_spill.c: let what was read back from the disk go on, also behind the one whose turn has come
/^static bool take_row(/,/^}/ s/if (dlv->state == DELIVERY_LOADING)/if (dlv->state != DELIVERY_READY)/
