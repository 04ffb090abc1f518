# gateway/core/lane_refuse.c: wait for a refused one before the lane ends
/^static void refuse(/,/^}/ s/if (is_leaving(lane, dlv)) {/if (dlv == NULL) {/
