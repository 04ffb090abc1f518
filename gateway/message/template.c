/* message/template.c: a template is a row of parts, each a text or a value of the message.
 *
 * What is known at the start is done at the start: a template without placeholders is its constant, and one that is
 * a single placeholder (the usual ${key}) gives the message's own bytes without a copy. Everything else is measured
 * first, then copied once into the message.
 */
#include "message/template.h"

#include <assert.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include <openssl/evp.h>

#include "base/nearest.h"

enum part_kind {
    PART_TEXT,
    PART_KEY,
    PART_HEADER,
    PART_TOPIC,
    PART_PARTITION,
    PART_OFFSET,
    PART_QUEUE,
    PART_EXCHANGE,
    PART_ROUTING_KEY,
    PART_DESTINATION,
    PART_TIMESTAMP,
    PART_MESSAGE_ID,
    PART_ROUTE,
    PART_BODY_SHA256,
    PART_SOURCE_POSITION,
    PART_KINDS
};

static const char *const part_names[PART_KINDS] = {
    "",          "key",        "header.NAME", "topic",       "partition",
    "offset",    "queue",      "exchange",    "routing_key", "destination",
    "timestamp", "message_id", "route",       "body.sha256", "source.position",
};

struct part {
    enum part_kind kind;
    struct bailey_bytes text;     /* PART_TEXT: itself; PART_HEADER: the name */
    struct bailey_bytes fallback; /* null: none */
};

struct template
{
    struct bailey_template text; /* what a connector sees; first, for template_of() */
    size_t count;
    bool uses_position;
    struct part parts[TEMPLATE_PARTS_MAX];
};

/* ---- Parsing ---- */

struct parser {
    struct arena *arena;
    const char *p;
    struct part parts[TEMPLATE_PARTS_MAX];
    size_t count;
    char run[TEMPLATE_LEN_MAX + 1]; /* text that is gathered */
    size_t run_len;
    struct bailey_error *err;
};

static bool no_memory(struct parser *ps)
{
    return bailey_fail(ps->err, BAILEY_ERR_TRANSIENT, "out of memory");
}

static bool keep(struct parser *ps, const char *data, size_t len, struct bailey_bytes *bytes)
{
    char *copy = arena_strndup(ps->arena, data, len);

    if (copy == NULL)
        return no_memory(ps);
    for (size_t i = 0; i < len; i++)
        if (copy[i] == TEMPLATE_DOLLAR)
            copy[i] = '$';
    *bytes = (struct bailey_bytes){(const uint8_t *)copy, len};
    return true;
}

static struct part *part_new(struct parser *ps)
{
    if (ps->count < TEMPLATE_PARTS_MAX)
        return &ps->parts[ps->count++];
    bailey_fail(ps->err, BAILEY_ERR_CONFIG, "the template has more than %d parts", TEMPLATE_PARTS_MAX);
    return NULL;
}

static bool end_run(struct parser *ps)
{
    if (ps->run_len == 0)
        return true;
    struct part *part = part_new(ps);
    if (part == NULL)
        return false;
    *part = (struct part){.kind = PART_TEXT};
    size_t len = ps->run_len;
    ps->run_len = 0;
    return keep(ps, ps->run, len, &part->text);
}

static bool unknown_name(struct parser *ps, const char *name, size_t len)
{
    char given[64];

    snprintf(given, sizeof given, "%.*s", (int)(len < 60 ? len : 60), name);
    bailey_fail(ps->err, BAILEY_ERR_CONFIG, "${%s} is no value of a message", given);
    const char *near = nearest_name(given, part_names + 1, PART_KINDS - 1);
    if (near != NULL)
        return bailey_hint(ps->err, "did you mean ${%s}?", near);
    return bailey_hint(ps->err, "there are key, header.NAME, topic, partition, offset, queue, exchange, routing_key, "
                                "destination, timestamp, message_id, route, body.sha256 and source.position");
}

static bool parse_name(struct parser *ps, struct part *part, const char *name, size_t len)
{
    static const char header[] = "header.";

    if (len > strlen(header) && strncmp(name, header, strlen(header)) == 0) {
        part->kind = PART_HEADER;
        return keep(ps, name + strlen(header), len - strlen(header), &part->text);
    }
    for (int kind = PART_KEY; kind < PART_KINDS; kind++) {
        if (kind != PART_HEADER && strlen(part_names[kind]) == len && strncmp(name, part_names[kind], len) == 0) {
            part->kind = (enum part_kind)kind;
            return true;
        }
    }
    return unknown_name(ps, name, len);
}

static bool parse_placeholder(struct parser *ps)
{
    const char *inside = ps->p + 2, *end = strchr(inside, '}');

    if (end == NULL) {
        bailey_fail(ps->err, BAILEY_ERR_CONFIG, "${ without its }");
        return bailey_hint(ps->err, "a literal ${ is written $${");
    }
    const char *fallback = memmem(inside, (size_t)(end - inside), ":-", 2);
    size_t len = (size_t)((fallback == NULL ? end : fallback) - inside);
    struct part *part;
    if (!end_run(ps) || (part = part_new(ps)) == NULL)
        return false;
    *part = (struct part){.fallback = BAILEY_NULL_BYTES};
    if (!parse_name(ps, part, inside, len))
        return false;
    if (fallback != NULL && !keep(ps, fallback + 2, (size_t)(end - fallback - 2), &part->fallback))
        return false;
    ps->p = end + 1;
    return true;
}

static bool parse_parts(struct parser *ps)
{
    while (*ps->p != '\0') {
        if (strncmp(ps->p, "$${", 3) == 0) {
            ps->run[ps->run_len++] = '$';
            ps->run[ps->run_len++] = '{';
            ps->p += 3;
        } else if (strncmp(ps->p, "${", 2) == 0) {
            if (!parse_placeholder(ps))
                return false;
        } else {
            ps->run[ps->run_len++] = *ps->p++;
        }
    }
    return end_run(ps);
}

static struct template *build(struct parser *ps)
{
    struct template *tmpl = arena_alloc(ps->arena, offsetof(struct template, parts) + ps->count * sizeof(struct part));

    if (tmpl == NULL) {
        no_memory(ps);
        return NULL;
    }
    tmpl->count = ps->count;
    if (ps->count > 0)
        memcpy(tmpl->parts, ps->parts, ps->count * sizeof(struct part));
    for (size_t i = 0; i < ps->count; i++)
        tmpl->uses_position = tmpl->uses_position || ps->parts[i].kind == PART_SOURCE_POSITION;
    tmpl->text.slot = -1;
    tmpl->text.constant = BAILEY_NULL_BYTES;
    if (ps->count == 0)
        tmpl->text.constant = BAILEY_EMPTY_BYTES;
    else if (ps->count == 1 && ps->parts[0].kind == PART_TEXT)
        tmpl->text.constant = ps->parts[0].text;
    return tmpl;
}

struct template *template_parse(struct arena *arena, const char *text, size_t *error_at, struct bailey_error *err)
{
    struct parser ps = {.arena = arena, .p = text, .err = err};
    struct template *tmpl = NULL;

    if (strlen(text) > TEMPLATE_LEN_MAX)
        bailey_fail(err, BAILEY_ERR_CONFIG, "the template is longer than %d bytes", TEMPLATE_LEN_MAX);
    else if (parse_parts(&ps))
        tmpl = build(&ps);
    if (tmpl == NULL && error_at != NULL)
        *error_at = (size_t)(ps.p - text);
    return tmpl;
}

bool template_is_constant(const struct template *tmpl)
{
    return tmpl->text.constant.data != NULL;
}

struct bailey_bytes template_constant(const struct template *tmpl)
{
    return tmpl->text.constant;
}

bool template_uses_position(const struct template *tmpl)
{
    return tmpl->uses_position;
}

struct bailey_template *template_public(struct template *tmpl)
{
    return &tmpl->text;
}

struct template *template_of(const struct bailey_template *text)
{
    return (struct template *)text; /* its first member */
}

bool template_present(const char *text)
{
    for (const char *p = text; (p = strstr(p, "${")) != NULL; p += 2)
        if ((p == text || p[-1] != '$') && p[2] >= 'a' && p[2] <= 'z')
            return true;
    return false;
}

/* ---- Filling ---- */

static struct bailey_bytes number(struct bailey_message *msg, int64_t value)
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, value);

    return bailey_message_copy(msg, digits, (size_t)len);
}

/* A digest context for each thread: making one costs more than hashing a small body. */
static pthread_key_t digest_key;
static pthread_once_t digest_once = PTHREAD_ONCE_INIT;
static EVP_MD *digest_sha256;

static void digest_free(void *ctx)
{
    EVP_MD_CTX_free(ctx);
}

static void digest_init(void)
{
    digest_sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (pthread_key_create(&digest_key, digest_free) != 0)
        digest_sha256 = NULL;
}

static struct bailey_bytes body_sha256(struct bailey_message *msg)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char digest[32];
    char text[64];

    if (msg->body.data == NULL)
        return BAILEY_NULL_BYTES;
    pthread_once(&digest_once, digest_init);
    assert(digest_sha256 != NULL);
    EVP_MD_CTX *ctx = pthread_getspecific(digest_key);
    if (ctx == NULL) {
        ctx = EVP_MD_CTX_new();
        assert(ctx != NULL);
        pthread_setspecific(digest_key, ctx);
    }
    int ok = EVP_DigestInit_ex2(ctx, digest_sha256, NULL) && EVP_DigestUpdate(ctx, msg->body.data, msg->body.len) &&
             EVP_DigestFinal_ex(ctx, digest, NULL);
    assert(ok);
    (void)ok;
    for (size_t i = 0; i < sizeof digest; i++) {
        text[2 * i] = hex[digest[i] >> 4];
        text[2 * i + 1] = hex[digest[i] & 15];
    }
    return bailey_message_copy(msg, text, sizeof text);
}

static struct bailey_bytes position(struct bailey_message *msg)
{
    const struct bailey_origin *origin = &msg->origin;
    char text[300];

    if (origin->topic.data == NULL)
        return number(msg, (int64_t)msg->position);
    int len = snprintf(text, sizeof text, "%.*s-%" PRId32 "-%" PRId64,
                       (int)(origin->topic.len < 250 ? origin->topic.len : 250), (const char *)origin->topic.data,
                       origin->partition, origin->offset);
    return bailey_message_copy(msg, text, (size_t)len);
}

static struct bailey_bytes header(struct bailey_message *msg, struct bailey_bytes name)
{
    const struct bailey_header *found = bailey_message_header(msg, name);

    if (found == NULL)
        return BAILEY_NULL_BYTES;
    switch (found->value.kind) {
    case BAILEY_KIND_NULL:
    case BAILEY_KIND_TABLE: /* has no text that anybody would expect: counts as missing */
    case BAILEY_KIND_ARRAY:
        return BAILEY_NULL_BYTES;
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return found->value.bytes.data != NULL ? found->value.bytes : BAILEY_EMPTY_BYTES;
    default:
        return bailey_value_format(msg, &found->value);
    }
}

static struct bailey_bytes value(const struct part *part, struct bailey_message *msg, const char *route)
{
    switch (part->kind) {
    case PART_TEXT:
        return part->text;
    case PART_KEY:
        return msg->key;
    case PART_HEADER:
        return header(msg, part->text);
    case PART_TOPIC:
        return msg->origin.topic;
    case PART_PARTITION:
        return msg->origin.partition < 0 ? BAILEY_NULL_BYTES : number(msg, msg->origin.partition);
    case PART_OFFSET:
        return msg->origin.offset < 0 ? BAILEY_NULL_BYTES : number(msg, msg->origin.offset);
    case PART_QUEUE:
        return msg->origin.queue;
    case PART_EXCHANGE:
        return msg->origin.exchange;
    case PART_ROUTING_KEY:
        return msg->origin.routing_key;
    case PART_DESTINATION:
        return msg->origin.destination;
    case PART_TIMESTAMP:
        return msg->timestamp_kind == BAILEY_TIMESTAMP_NONE ? BAILEY_NULL_BYTES : number(msg, msg->timestamp_ms);
    case PART_MESSAGE_ID:
        return msg->message_id;
    case PART_ROUTE:
        return bailey_bytes_of(route);
    case PART_BODY_SHA256:
        return body_sha256(msg);
    case PART_SOURCE_POSITION:
        return position(msg);
    case PART_KINDS:
        break;
    }
    return BAILEY_NULL_BYTES;
}

/* "${header.order-id}" for an error. A header's name comes from the configuration, not from the message. */
static void describe(const struct part *part, char *out, size_t size)
{
    assert(part->kind < PART_KINDS);
    if (part->kind == PART_HEADER)
        snprintf(out, size, "${header.%.*s}", (int)(part->text.len < 100 ? part->text.len : 100),
                 (const char *)part->text.data);
    else
        snprintf(out, size, "${%s}", part_names[part->kind]);
}

static bool fill_part(const struct part *part, struct bailey_message *msg, const char *route,
                      struct bailey_bytes *result, struct bailey_error *err)
{
    char what[128];

    *result = value(part, msg, route);
    if (part->kind == PART_TEXT)
        return true;
    if (result->data == NULL)
        *result = part->fallback;
    if (result->data == NULL) {
        describe(part, what, sizeof what);
        bailey_fail(err, BAILEY_ERR_PERMANENT, "the message has no %s", what);
        return bailey_hint(err, "give a default: %.*s:-default}", (int)strlen(what) - 1, what);
    }
    if (result->len <= TEMPLATE_RESULT_MAX && bailey_utf8_valid(*result))
        return true;
    describe(part, what, sizeof what);
    if (result->len > TEMPLATE_RESULT_MAX)
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "%s of the message is longer than %d bytes", what,
                           TEMPLATE_RESULT_MAX);
    return bailey_fail(err, BAILEY_ERR_PERMANENT, "%s of the message is not UTF-8", what);
}

static bool fill_many(const struct template *tmpl, struct bailey_message *msg, const char *route,
                      struct bailey_bytes *result, struct bailey_error *err)
{
    struct bailey_bytes views[TEMPLATE_PARTS_MAX];
    size_t len = 0;

    for (size_t i = 0; i < tmpl->count; i++) {
        if (!fill_part(&tmpl->parts[i], msg, route, &views[i], err))
            return false;
        len += views[i].len;
    }
    if (len > TEMPLATE_RESULT_MAX)
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "the filled template is longer than %d bytes",
                           TEMPLATE_RESULT_MAX);
    uint8_t *out = bailey_message_alloc(msg, len > 0 ? len : 1);
    *result = (struct bailey_bytes){out, len};
    for (size_t i = 0; i < tmpl->count; out += views[i].len, i++)
        if (views[i].len > 0)
            memcpy(out, views[i].data, views[i].len);
    return true;
}

bool template_fill(const struct template *tmpl, struct bailey_message *msg, const char *route,
                   struct bailey_bytes *result, struct bailey_error *err)
{
    if (template_is_constant(tmpl)) {
        *result = tmpl->text.constant;
        return true;
    }
    if (tmpl->count == 1)
        return fill_part(&tmpl->parts[0], msg, route, result, err);
    return fill_many(tmpl, msg, route, result, err);
}
