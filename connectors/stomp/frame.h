/* frame.h: frames that come: an incremental, bounded parser of STOMP 1.0, 1.1 and 1.2.
 *
 * The caller owns the bytes and gives what is not consumed yet again, with what followed (as a transport does):
 *
 *     parse → HEAD (command and headers, unescaped) → BODY, in parts as they come, the last one marked → HEAD ...
 *                └ HEARTBEAT: an end of line between frames        MORE: nothing to do until more bytes come
 *
 * Nothing is allocated from a declared length: a body is handed on in the pieces in which it arrived. Limits of what is kept
 * (the head of one frame) are fixed below; a peer that passes one is malformed. BAD is final: give the connection up.
 * STOMP 1.2, "Augmented BNF"; limits as protocol practice has them (RabbitMQ, ActiveMQ).
 */
#ifndef STOMP_FRAME_H
#define STOMP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/message.h>

enum {
    STOMP_COMMAND_MAX = 32,      /* bytes of a command */
    STOMP_HEADER_MAX = 64 << 10, /* bytes of one header line, escapes included */
    STOMP_HEAD_MAX = 256 << 10,  /* bytes of command and headers together: below BAILEY_TRANSPORT_INPUT_MAX */
    STOMP_HEADERS_MAX = 1024,    /* headers of one frame */
};

/* How names and values are escaped on this connection. RabbitMQ and Artemis send \r in 1.1 too: read them as 1.2; but write 1.1
 * as such, because Artemis refuses \r there. */
enum stomp_escapes {
    STOMP_ESCAPES_NONE,    /* 1.0, and CONNECT and CONNECTED of every version */
    STOMP_ESCAPES_11,      /* \n \c \\ ; others are fatal */
    STOMP_ESCAPES_12,      /* and \r ; others are fatal */
    STOMP_ESCAPES_LENIENT, /* as 1.2, but names and unknown escapes are left as they stand: ActiveMQ passes such text on */
};

/* Which content-length counts. Brokers hand on what a producer has put into the headers of a message: believing that one shifts
 * the end of the frame into what follows, and the producer writes the next frame. */
enum stomp_length_place {
    STOMP_LENGTH_ANYWHERE, /* all must agree */
    STOMP_LENGTH_LAST,     /* the last of all headers: RabbitMQ */
    STOMP_LENGTH_OUTSIDE,  /* before the first message-id, or the last of all headers: Artemis */
};

struct stomp_header {
    struct bailey_bytes name, value; /* never null */
};

enum stomp_event { STOMP_MORE, STOMP_HEARTBEAT, STOMP_HEAD, STOMP_BODY, STOMP_BAD };

struct stomp_parser {
    enum stomp_escapes escapes; /* set by the owner, may change between frames; CONNECTED is always read without */
    enum stomp_length_place length_place; /* of a MESSAGE; set by the owner, likewise */
    int64_t body_max; /* bytes of a body: more is BAD, by content-length at once, without one as it comes */

    /* The frame whose HEAD was returned last; views are valid until the next call (they point into the caller's bytes or
     * into `scratch`). Repeated names all stand here, in order: the first counts (1.2, "Repeated Header Entries"). */
    struct bailey_bytes command;
    struct stomp_header *headers;
    size_t header_count;
    size_t head_len; /* bytes of its head as they came: no fewer than all names and values together */
    bool has_length; /* it had a content-length */
    uint64_t length; /* which said so */

    /* BODY: this part, and whether it is the last. An empty body is one BODY with no bytes. */
    struct bailey_bytes part;
    bool last;

    const char *why; /* BAD: a static text, lower case */

    uint8_t state; /* private from here on */
    uint64_t body_left, body_got;
    size_t scanned, line; /* of an incomplete head: how far it was searched, and where its last line begins */
    struct stomp_mark *marks;
    size_t header_cap;
    uint8_t *scratch;
    size_t scratch_cap;
};

/* Zero it, set escapes and body_max, then use it. */
void stomp_parser_fini(struct stomp_parser *parser);

/* Ready for a new connection: forgets a frame that was begun; keeps its memory. */
void stomp_parser_reset(struct stomp_parser *parser);

/* The next event in data[0..len). `*used` gets how many bytes it took: give the rest again. MORE takes nothing: give the same
 * bytes again with what follows, as often as you like: each byte is looked at once, so a slow peer costs what a quick one does.
 * HEARTBEAT takes all ends of line that stand there. BODY gives what is there, so an unfinished body needs no buffer.
 *
 * A head may end its lines with LF or CR LF in every version; a CR elsewhere in it is BAD, as are a header without a colon, a
 * command that is not of [A-Z], and a content-length that is not digits, is repeated with another value or passes
 * body_max. A NUL in a head is BAD, but for headers of a MESSAGE: what a producer put there, ActiveMQ, Artemis and RabbitMQ
 * hand on as it is, and one such message must not stop a queue. (What follows a head that ends too early has no
 * colon in its first line.) A value may hold raw colons (RabbitMQ) and keeps its blanks; a name may be empty (RabbitMQ). */
enum stomp_event stomp_parse(struct stomp_parser *parser, const uint8_t *data, size_t len, size_t *used);

/* The first header of that name, or null. */
struct bailey_bytes stomp_frame_header(const struct stomp_parser *parser, const char *name);

#endif
