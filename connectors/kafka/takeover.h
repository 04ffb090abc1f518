/* takeover.h: a partition that another process had before: which of its messages that one may have sent already.
 *
 * A route with dedup names its gateway in the metadata of its commits. Where the last commit is another's, the ids of what that
 * one had sent and not committed are not known here, so those messages are marked. Until they are settled, commits say that
 * the partition is being taken over: then it is taken over anew by whoever comes next, even this gateway itself.
 *
 * Knows no librdkafka.
 */
#ifndef KAFKA_TAKEOVER_H
#define KAFKA_TAKEOVER_H

#include <bailey/message.h>

/* Zeroed: nothing is taken over. */
struct takeover {
    int64_t end;  /* messages below this offset may have been sent */
    int64_t left; /* so many of them at most */
};

/* True if a commit with this metadata is another gateway's, or says that it was taking over. */
bool takeover_is_needed(struct bailey_bytes metadata, const char *instance);

/* Must the message at `offset` be marked? To be asked once for each, in order. */
bool takeover_marks(struct takeover *takeover, int64_t offset);

/* The metadata of a commit at `low`, up to which all is settled. Returns a string for free(). */
char *takeover_metadata(const struct takeover *takeover, const char *instance, int64_t low);

#endif
