# gateway/core/outlet.c: tell the source when a message is sent
s|^#include "core/outlet.h"|#include "core/lane_impl.h"|
/^void outlet_send/,/^}/ s|^        sent = true;|        sent = true;\
        for (size_t i = 0; i < taken; i++) {\
            struct settled early = {.count = 0};\
\
            lane_note_end(\&early, (struct delivery *)batch[i], BAILEY_ACCEPTED);\
            lane_settle(outlet->end.lane, \&early);\
        }|
