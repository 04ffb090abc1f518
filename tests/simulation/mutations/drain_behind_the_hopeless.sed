# gateway/core/lane_refuse.c: wait for a hopeless one before the lane ends
/^static void block/,/^}/ s/if (is_leaving(lane, dlv)) {/if (dlv == NULL) {/
