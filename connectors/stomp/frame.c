/* The parser of frames that come.
 *
 * A head is searched for line ends as it arrives, each byte once; where a line's parts stand is noted as offsets, because the
 * caller may move its bytes between calls. Only when the empty line has come do the notes become views, and only then, and
 * only if the head holds a backslash at all, is something unescaped. A body is never held back: what has arrived is handed on.
 */
#include "frame.h"

#include <assert.h>
#include <stdlib.h>

enum { BETWEEN, IN_HEAD, IN_BODY, IN_UNMEASURED_BODY, MALFORMED };

/* A header line, as offsets from where the head begins. */
struct stomp_mark {
    uint32_t name, colon, end;
};

static enum stomp_event malformed(struct stomp_parser *parser, const char *why)
{
    parser->state = MALFORMED;
    parser->why = why;
    return STOMP_BAD;
}

/* ---- Lines ---- */

static const char *command_fault(const uint8_t *line, size_t len)
{
    if (len > STOMP_COMMAND_MAX)
        return "command too long";
    for (size_t i = 0; i < len; i++)
        if (line[i] < 'A' || line[i] > 'Z')
            return "not a command";
    return NULL;
}

/* Brokers hand on what a producer put into a header of a message, and none can escape a NUL. */
static bool may_hold_nul(const uint8_t *data, size_t len)
{
    static const char message[] = "MESSAGE";

    return len > sizeof message - 1 && memcmp(data, message, sizeof message - 1) == 0 &&
           data[sizeof message - 1] <= '\r';
}

/* A NUL, or a CR that ends no line, in data[from..to). A CR at the very end may still become a line's end. */
static const char *octet_fault(const uint8_t *data, size_t from, size_t to)
{
    if (!may_hold_nul(data, to) && memchr(data + from, '\0', to - from) != NULL)
        return "NUL inside a head";
    while (from < to) {
        const uint8_t *cr = memchr(data + from, '\r', to - from);

        if (cr == NULL)
            break;
        from = (size_t)(cr - data) + 1;
        if (from < to && data[from] != '\n')
            return "CR inside a line";
    }
    return NULL;
}

static void grow_headers(struct stomp_parser *parser)
{
    parser->header_cap = parser->header_cap > 0 ? parser->header_cap * 2 : 16;
    parser->headers = realloc(parser->headers, parser->header_cap * sizeof *parser->headers);
    parser->marks = realloc(parser->marks, parser->header_cap * sizeof *parser->marks);
    if (parser->headers == NULL || parser->marks == NULL)
        abort(); /* STOMP_HEADERS_MAX bounds it: the machine is out of memory */
}

static const char *take_header(struct stomp_parser *parser, const uint8_t *data, size_t line, size_t end)
{
    const uint8_t *colon;

    if (end - line > STOMP_HEADER_MAX)
        return "header line too long";
    if (parser->header_count == STOMP_HEADERS_MAX)
        return "too many headers";
    colon = memchr(data + line, ':', end - line);
    if (colon == NULL)
        return "header without a colon";
    if (parser->header_count == parser->header_cap)
        grow_headers(parser);
    parser->marks[parser->header_count++] =
        (struct stomp_mark){(uint32_t)line, (uint32_t)(colon - data), (uint32_t)end};
    return NULL;
}

/* ---- Escapes ---- */

static int unescaped(uint8_t escape, enum stomp_escapes escapes)
{
    switch (escape) {
    case 'n':
        return '\n';
    case 'c':
        return ':';
    case '\\':
        return '\\';
    case 'r':
        return escapes == STOMP_ESCAPES_11 ? -1 : '\r';
    default:
        return -1;
    }
}

/* `*bytes` without escapes: itself, or its copy at `*room`, which is moved behind it. False if an escape is unknown. */
static bool unescape(enum stomp_escapes escapes, struct bailey_bytes *bytes, uint8_t **room)
{
    const uint8_t *at = bytes->data, *end = at + bytes->len;
    uint8_t *out = *room;

    if (bytes->len == 0 || memchr(at, '\\', bytes->len) == NULL)
        return true;
    bytes->data = out;
    while (at < end) {
        int octet = *at == '\\' && at + 1 < end ? unescaped(at[1], escapes) : -1;

        if (octet >= 0) {
            *out++ = (uint8_t)octet;
            at += 2;
        } else if (*at != '\\' || escapes == STOMP_ESCAPES_LENIENT) {
            *out++ = *at++;
        } else {
            return false;
        }
    }
    bytes->len = (size_t)(out - bytes->data);
    *room = out;
    return true;
}

static bool unescape_headers(struct stomp_parser *parser, size_t head)
{
    uint8_t *room;

    if (parser->scratch_cap < head) {
        free(parser->scratch);
        parser->scratch = malloc(head);
        if (parser->scratch == NULL)
            abort(); /* STOMP_HEAD_MAX bounds it: the machine is out of memory */
        parser->scratch_cap = head;
    }
    room = parser->scratch;
    for (size_t i = 0; i < parser->header_count; i++) {
        struct stomp_header *header = &parser->headers[i];

        if (parser->escapes != STOMP_ESCAPES_LENIENT && !unescape(parser->escapes, &header->name, &room))
            return false;
        if (!unescape(parser->escapes, &header->value, &room))
            return false;
    }
    return true;
}

/* ---- Heads ---- */

static bool parse_length(struct bailey_bytes digits, uint64_t *length)
{
    *length = 0;
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = digits.data[i] - (unsigned)'0';

        if (digit > 9 || __builtin_mul_overflow(*length, 10, length) || __builtin_add_overflow(*length, digit, length))
            return false;
    }
    return digits.len > 0;
}

/* Is the header at `i`, a content-length, a producer's? `behind_id`: a message-id stands before it. */
static bool is_producers_length(const struct stomp_parser *parser, size_t i, bool behind_id)
{
    if (parser->length_place == STOMP_LENGTH_ANYWHERE || !bailey_bytes_is(parser->command, "MESSAGE"))
        return false;
    return i + 1 < parser->header_count && (behind_id || parser->length_place == STOMP_LENGTH_LAST);
}

static const char *take_length(struct stomp_parser *parser)
{
    bool behind_id = false;
    uint64_t length;

    parser->has_length = false;
    parser->length = 0;
    for (size_t i = 0; i < parser->header_count; i++) {
        behind_id |= bailey_bytes_is(parser->headers[i].name, "message-id");
        if (!bailey_bytes_is(parser->headers[i].name, "content-length") || is_producers_length(parser, i, behind_id))
            continue;
        if (!parse_length(parser->headers[i].value, &length))
            return "content-length is not a number";
        if (parser->has_length && length != parser->length)
            return "content-length repeated with another value";
        parser->has_length = true;
        parser->length = length;
    }
    return parser->length > (uint64_t)parser->body_max ? "body too large" : NULL;
}

static bool escapes_apply(const struct stomp_parser *parser)
{
    return parser->escapes != STOMP_ESCAPES_NONE && !bailey_bytes_is(parser->command, "CONNECTED") &&
           !bailey_bytes_is(parser->command, "CONNECT");
}

/* The empty line has come; the head is data[0..head). */
static const char *finish_head(struct stomp_parser *parser, const uint8_t *data, size_t head)
{
    size_t command = 0;

    while (data[command] >= 'A')
        command++;
    parser->command = (struct bailey_bytes){data, command};
    for (size_t i = 0; i < parser->header_count; i++) {
        struct stomp_mark mark = parser->marks[i];

        parser->headers[i].name = (struct bailey_bytes){data + mark.name, mark.colon - mark.name};
        parser->headers[i].value = (struct bailey_bytes){data + mark.colon + 1, mark.end - mark.colon - 1};
    }
    if (escapes_apply(parser) && memchr(data, '\\', head) != NULL && !unescape_headers(parser, head))
        return "undefined escape";
    return take_length(parser);
}

static enum stomp_event incomplete_head(struct stomp_parser *parser, const uint8_t *data, size_t len, size_t searched)
{
    size_t line = parser->line, end = len - (len > line && data[len - 1] == '\r');
    const char *fault = octet_fault(data, searched, len);

    parser->scanned = len;
    if (fault == NULL && len >= STOMP_HEAD_MAX)
        fault = "head too long";
    if (fault == NULL && line == 0)
        fault = command_fault(data, end);
    if (fault == NULL && end - line > STOMP_HEADER_MAX)
        fault = "header line too long";
    return fault != NULL ? malformed(parser, fault) : STOMP_MORE;
}

/* Take the lines that are complete. `*ended` gets whether the last was the empty one; false if it is malformed. */
static const char *take_lines(struct stomp_parser *parser, const uint8_t *data, size_t len, bool *ended)
{
    const uint8_t *lf;
    const char *fault = NULL;

    *ended = false;
    while (fault == NULL && !*ended && (lf = memchr(data + parser->scanned, '\n', len - parser->scanned)) != NULL) {
        size_t line = parser->line, end = (size_t)(lf - data);

        parser->scanned = parser->line = end + 1;
        if (end > line && data[end - 1] == '\r')
            end--;
        if (line == 0)
            fault = command_fault(data, end);
        else if (end > line)
            fault = take_header(parser, data, line, end);
        else
            *ended = true;
    }
    return fault;
}

static enum stomp_event parse_head(struct stomp_parser *parser, const uint8_t *data, size_t len, size_t *used)
{
    size_t bounded = len < STOMP_HEAD_MAX ? len : STOMP_HEAD_MAX,
           searched = parser->scanned > 0 ? parser->scanned - 1 : 0;
    bool ended;
    const char *fault = take_lines(parser, data, bounded, &ended);

    if (fault == NULL && !ended)
        return incomplete_head(parser, data, bounded, searched);
    if (fault == NULL)
        fault = octet_fault(data, searched, parser->scanned);
    if (fault == NULL)
        fault = finish_head(parser, data, parser->scanned);
    if (fault != NULL)
        return malformed(parser, fault);
    *used = parser->head_len = parser->scanned;
    parser->state = parser->has_length ? IN_BODY : IN_UNMEASURED_BODY;
    parser->body_left = parser->length;
    parser->body_got = 0;
    return STOMP_HEAD;
}

/* ---- Bodies ---- */

static enum stomp_event body_part(struct stomp_parser *parser, const uint8_t *data, size_t len, bool last, size_t *used)
{
    parser->part = (struct bailey_bytes){data, len};
    parser->last = last;
    parser->body_got += len;
    *used = len + last;
    if (last)
        parser->state = BETWEEN;
    return STOMP_BODY;
}

static enum stomp_event parse_body(struct stomp_parser *parser, const uint8_t *data, size_t len, size_t *used)
{
    size_t part = parser->body_left < len ? (size_t)parser->body_left : len;

    if (len == 0)
        return STOMP_MORE;
    parser->body_left -= part;
    if (part == len)
        return body_part(parser, data, part, false, used);
    if (data[part] != '\0')
        return malformed(parser, "no NUL behind the body");
    return body_part(parser, data, part, true, used);
}

static enum stomp_event parse_unmeasured_body(struct stomp_parser *parser, const uint8_t *data, size_t len,
                                              size_t *used)
{
    const uint8_t *nul;
    size_t part;

    if (len == 0)
        return STOMP_MORE;
    nul = memchr(data, '\0', len);
    part = nul != NULL ? (size_t)(nul - data) : len;
    if (part > (uint64_t)parser->body_max - parser->body_got)
        return malformed(parser, "body too large");
    return body_part(parser, data, part, nul != NULL, used);
}

/* ---- Between frames ---- */

static size_t ends_of_line(const uint8_t *data, size_t len)
{
    size_t at = 0;

    while (at < len) {
        if (data[at] == '\n')
            at++;
        else if (data[at] == '\r' && at + 1 < len && data[at + 1] == '\n')
            at += 2;
        else
            break;
    }
    return at;
}

static enum stomp_event parse_between(struct stomp_parser *parser, const uint8_t *data, size_t len, size_t *used)
{
    *used = ends_of_line(data, len);
    if (*used > 0)
        return STOMP_HEARTBEAT;
    if (len == 0 || (len == 1 && data[0] == '\r'))
        return STOMP_MORE;
    parser->state = IN_HEAD;
    parser->scanned = parser->line = 0;
    parser->header_count = 0;
    return parse_head(parser, data, len, used);
}

enum stomp_event stomp_parse(struct stomp_parser *parser, const uint8_t *data, size_t len, size_t *used)
{
    assert(parser->body_max >= 0);
    *used = 0;
    switch (parser->state) {
    case BETWEEN:
        return parse_between(parser, data, len, used);
    case IN_HEAD:
        return parse_head(parser, data, len, used);
    case IN_BODY:
        return parse_body(parser, data, len, used);
    case IN_UNMEASURED_BODY:
        return parse_unmeasured_body(parser, data, len, used);
    default:
        return STOMP_BAD;
    }
}

struct bailey_bytes stomp_frame_header(const struct stomp_parser *parser, const char *name)
{
    for (size_t i = 0; i < parser->header_count; i++)
        if (bailey_bytes_is(parser->headers[i].name, name))
            return parser->headers[i].value;
    return BAILEY_NULL_BYTES;
}

void stomp_parser_reset(struct stomp_parser *parser)
{
    parser->state = BETWEEN;
    parser->header_count = 0;
    parser->why = NULL;
}

void stomp_parser_fini(struct stomp_parser *parser)
{
    free(parser->headers);
    free(parser->marks);
    free(parser->scratch);
    *parser = (struct stomp_parser){0};
}
