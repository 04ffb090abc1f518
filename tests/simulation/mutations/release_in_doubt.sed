# gateway/core/lane.c: leave what is in doubt to its source
/^void bailey_hand_back/,/^}/ s/if (in_doubt) {/if (in_doubt) {\
            lane_settle_as(lane, dlv, BAILEY_RELEASED);\
            continue;/
