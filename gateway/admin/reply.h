/* admin/reply.h: what a request is answered with: status, head and body. Knows the pages, and no socket. */
#ifndef BAILEY_REPLY_H
#define BAILEY_REPLY_H

#include <time.h>

#include "admin/request.h"
#include "base/text.h"
#include "host/gateway.h"

struct reply {
    int status;
    const char *type; /* Content-Type */
    struct text body; /* reply_free gives it back */
};

struct pages {
    struct gateway *gateway;
    const struct config *config;
    const char *names[3]; /* that this machine is called by, beside addresses and localhost; ends with NULL */
};

/* Answer `request`. `room` is what the body may take, in bytes: with none left, only /healthz is served (503 else). */
void reply_to(struct reply *reply, const struct pages *pages, const struct request *request, size_t room);

/* Refuse a request that could not be read. */
void reply_refuse(struct reply *reply, int status);

/* Append the head, which tells the length of the body whether or not the body follows (HEAD). */
void reply_head(struct text *out, const struct reply *reply, bool keep_alive, time_t now);

void reply_free(struct reply *reply);

#endif
