/* duplicate.h: the id by which Artemis drops a copy of what it has (_AMQ_DUPL_ID).
 *
 * It remembers ids for each address, not for each sender; so ours begin with the route's scope, in which an id is unique.
 */
#ifndef STOMP_DUPLICATE_H
#define STOMP_DUPLICATE_H

#include <bailey/message.h>

#define STOMP_DUPLICATE_ID "_AMQ_DUPL_ID"
enum { STOMP_DUPLICATE_ID_MAX = 200 };

/* SCOPE/ID, or SCOPE/sha256:HEX if the id is too long for that, is no plain text, or looks like the latter. Returns `text`, filled.
 * `scope` has at most 128 bytes. */
struct bailey_bytes stomp_duplicate_id(uint8_t text[static STOMP_DUPLICATE_ID_MAX], const char *scope,
                                       struct bailey_bytes id);

#endif
