# gateway/core/lane_spill.c: do not ask again for what could not be read from the disk
/^static void put_back(/,/^}/ s/if (dlv->state == DELIVERY_LOADING)/if (false)/
