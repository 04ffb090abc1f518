# gateway/core/outlet.c: tell the source when a message is sent
s|^#include "core/outlet.h"|#include "core/lane_impl.h"|
/^void outlet_send/,/^}/ s|^        sent = true;|        sent = true;\
        for (size_t i = 0; i < taken; i++) {\
            struct bailey_settlement early = ((struct delivery *)batch[i])->settlement;\
\
            early.outcome = BAILEY_ACCEPTED;\
            lane_settle(outlet->end.lane, \&early, 1);\
        }|
