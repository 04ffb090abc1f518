/* link.h: a connection between an endpoint in a process (the client) and a session at a simulated broker (the server).
 *
 * Two pipes of frames, each in order and each with a delay that is drawn. When a link is cut, what the client had sent and
 * the broker not seen arrives up to some frame and is lost from there on; what the broker had sent is lost; each side learns
 * of it later, by itself. So a client may go on sending into a link that is dead.
 */
#ifndef BAILEY_SIM_LINK_H
#define BAILEY_SIM_LINK_H

#include "process.h"

/* What a frame says is a matter of the two ends: each protocol has its kinds, and meanings of the numbers. */
struct frame {
    int64_t due_ms;
    uint32_t kind, flags;
    uint64_t a, b, c, d;
    const char *text; /* the world's, or NULL */
};

struct link_client {
    void (*frame)(void *client, const struct frame *frame); /* in the process */
    void (*lost)(void *client);                             /* the last call; in the process */
};

struct link_server {
    void (*frame)(void *session, const struct frame *frame);
    void (*gone)(void *session); /* the last call: the client has closed, or is lost */
};

struct link;

/* From within that worker; no step of it. */
struct link *link_open(struct bailey_host *host, const struct link_client *ops, void *client,
                       const struct link_server *server_ops, void *session);

/* How slow it is: the longest delay of a frame. */
void link_set_delay(struct link *link, int64_t delay_ms);

/* Client: nothing more will come; what was sent arrives. */
void link_close(struct link *link);

void link_to_server(struct link *link, struct frame frame); /* from within the process */
void link_to_client(struct link *link, struct frame frame);

/* A fault, or the broker's own will: the connection is gone. */
void link_cut(struct link *link);

/* The process is gone. */
void link_crash(struct link *link);

/* For the choice of one to cut. */
struct link *link_next(const struct link *link);
bool link_is_cut(const struct link *link);

#endif
