/* takeover.h: a partition that another process had before: which of its messages that one may have sent already.
 *
 * A route with dedup names its gateway in the metadata of its commits. Where the last commit is another's, the ids of what that
 * one had sent and not committed are not known here, so those messages are marked. Until they are settled, commits say that
 * the partition is being taken over: then it is taken over anew by whoever comes next, even this gateway itself.
 *
 * A commit that is not ours, or none at all, is followed by ours, at the same position, before anything is sent: the claim. So
 * whoever ends before its first settlement leaves a trace, too.
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
    bool claims;  /* nothing may be sent before a commit in our name is confirmed */
};

enum takeover_owner {
    TAKEOVER_OURS,
    TAKEOVER_NOBODYS,  /* there is no commit */
    TAKEOVER_ANOTHERS, /* or one that says that it was taking over */
};

/* Whose is the last commit of a partition? `metadata`: its; NULL if there is no commit. */
enum takeover_owner takeover_owner(const struct bailey_bytes *metadata, const char *instance);

/* The partition is ours now. `end`: of its log, if it was another's; `credit`: what that one may have had under way. */
struct takeover takeover_begin(enum takeover_owner owner, int64_t end, int64_t credit);

/* Must the message at `offset` be marked? To be asked once for each, in order. */
bool takeover_marks(struct takeover *takeover, int64_t offset);

/* The metadata of a commit at `low`, up to which all is settled. Returns a string for free(). */
char *takeover_metadata(const struct takeover *takeover, const char *instance, int64_t low);

#endif
