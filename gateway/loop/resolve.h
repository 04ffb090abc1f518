/* loop/resolve.h: host names to addresses, on threads of their own.
 *
 * getaddrinfo(3) can hang for minutes and cannot be called off. So a name has one thread at most, which all who ask for
 * it share, and who has waited long enough goes away: what hangs holds up its own name only.
 */
#ifndef BAILEY_RESOLVE_H
#define BAILEY_RESOLVE_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <bailey/host.h>

enum {
    RESOLVE_NAMES_MAX = 64,
    RESOLVE_ADDRESSES_MAX = 16
}; /* looked up at once: more names wait; of a name: more are cut */

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
    socklen_t len;
};

struct addresses {
    size_t count;
    struct address items[RESOLVE_ADDRESSES_MAX];
};

/* True if `name` is an address by itself, which is then all there is to find. */
bool resolve_address(const char *name, uint16_t port, struct addresses *found);

struct look_up;

/* Look `name` up; `done` comes on the loop's thread: `error` as getaddrinfo gives it, 0 with what was found. `name` has less
 * than 256 bytes and is copied. Counts as a job of the loop until it is done or cancelled. */
struct look_up *look_up_start(struct bailey_host *loop, const char *name, uint16_t port,
                              void (*done)(void *ctx, int error, const struct addresses *found), void *ctx);

/* `done` does not come. NULL is allowed. */
void look_up_cancel(struct look_up *look_up);

#endif
