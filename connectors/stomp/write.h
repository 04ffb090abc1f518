/* write.h: frames that go: the one encoder. It cannot emit a raw CR, LF or NUL inside a header, nor a name with a raw colon.
 *
 * Writes into space of the caller's, stops at its end instead of passing it, and remembers that (`full`); what cannot be
 * expressed under the connection's escapes is remembered too (`bad`). The caller checks once, after a row of calls.
 */
#ifndef STOMP_WRITE_H
#define STOMP_WRITE_H

#include "frame.h"

struct stomp_writer {
    uint8_t *at, *end;
    enum stomp_escapes escapes; /* LENIENT writes as 1.2 */
    bool full;                  /* something did not fit: what was written is worthless */
    bool bad;                   /* something cannot be expressed: likewise */
};

/* "COMMAND\n" */
void stomp_write_command(struct stomp_writer *w, const char *command);

/* "name:value\n", escaped. Null counts as empty. */
void stomp_write_header(struct stomp_writer *w, const char *name, struct bailey_bytes value);
void stomp_write_header_named(struct stomp_writer *w, struct bailey_bytes name, struct bailey_bytes value);
void stomp_write_number(struct stomp_writer *w, const char *name, int64_t value);

/* The same in parts: "name:", then parts of the value, escaped, as many as there are, then the line's end. */
void stomp_write_open(struct stomp_writer *w, struct bailey_bytes name);
void stomp_write_part(struct stomp_writer *w, struct bailey_bytes part);
void stomp_write_close(struct stomp_writer *w);

/* The empty line that ends the head; then the body's bytes follow, and then one NUL. */
void stomp_write_end_of_head(struct stomp_writer *w);

/* The body, and its NUL. For a body that is written by reference elsewhere, the caller writes the NUL itself. */
void stomp_write_body(struct stomp_writer *w, struct bailey_bytes body);

/* Bytes that a header needs at most: for guessing space. */
size_t stomp_header_room(struct bailey_bytes name, struct bailey_bytes value);

#endif
