# gateway/core/lane.c: tell the source when a message is sent
/^static void dispatch/,/^}/ s|^        sent = true;|        sent = true;\
        for (size_t i = 0; i < taken; i++) {\
            struct bailey_settlement early = ((struct delivery *)batch[i])->settlement;\
\
            early.outcome = BAILEY_ACCEPTED;\
            lane->options.source->settle(lane->from.self, \&early, 1);\
        }|
