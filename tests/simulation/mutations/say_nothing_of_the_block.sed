# gateway/core/lane.c: show a lane that is blocked as running
/^static enum lane_state lane_state/,/^}/ s/if (lane->blocking > 0)/if (lane == NULL)/
