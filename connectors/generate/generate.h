/* generate.h: settings of the generate connector. */
#ifndef GENERATE_H
#define GENERATE_H

#include <bailey/connector.h>

struct generate_broker {
    struct bailey_host *host;
    const char *name;
};

struct generate_settings {
    int64_t count; /* 0 = endless */
    int64_t rate;  /* messages a second; 0 = as fast as there is room */
    int64_t size;  /* bytes of a body */
    int64_t keys;  /* 0 = no key */
    int64_t seed;
    int64_t headers;
    const char *resume; /* file, or NULL */
};

enum { GENERATE_HEADERS_MAX = 64 };

/* The source's callbacks: see bailey/connector.h. */
bool generate_open(void **self, void *broker, const void *settings, struct bailey_port *port, struct bailey_error *err);
void generate_resume(void *self);
void generate_settle(void *self, const struct bailey_settlement *ended, size_t count);
void generate_drain(void *self);
void generate_close(void *self);

/* The lanes of a route share the numbers 0, 1, 2 ... so that all messages of a key are of one lane: this is the number of the
 * lane's `ordinal`th message (from 0). UINT64_MAX: the lane has none (fewer keys than lanes). */
uint64_t generate_number(uint64_t ordinal, uint64_t keys, unsigned lane, unsigned lanes);

#endif
