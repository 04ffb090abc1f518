/* The URL, the request and the answer of a token server. */
#include "kafka_http.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- URL ---- */

static bool parse_port(const char *from, const char *to, uint16_t *port)
{
    unsigned long value = 0;

    if (from == to || to - from > 5)
        return false;
    for (; from < to; from++) {
        if (*from < '0' || *from > '9')
            return false;
        value = value * 10 + (unsigned long)(*from - '0');
    }
    *port = (uint16_t)value;
    return value > 0 && value <= 65535;
}

static bool parse_authority(const char *from, const char *to, struct kafka_url *url, struct bailey_error *err)
{
    const char *end = to, *colon = NULL;

    if (memchr(from, '@', (size_t)(to - from)) != NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL holds a user: client_id and client_secret are for that");
    if ((size_t)(to - from) >= sizeof url->host)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the host in the URL is too long");
    snprintf(url->authority, sizeof url->authority, "%.*s", (int)(to - from), from);
    if (from < to && *from == '[') {
        end = memchr(from, ']', (size_t)(to - from));
        if (end == NULL || (end + 1 < to && end[1] != ':'))
            return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has a [ without its ]");
        from++;
        colon = end + 1 < to ? end + 1 : NULL;
    } else {
        colon = memchr(from, ':', (size_t)(to - from));
        end = colon != NULL ? colon : to;
    }
    if (from == end)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has no host");
    snprintf(url->host, sizeof url->host, "%.*s", (int)(end - from), from);
    if (colon != NULL && !parse_port(colon + 1, to, &url->port))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the port in the URL must be between 1 and 65535");
    return true;
}

bool kafka_url_parse(const char *text, struct kafka_url *url, struct bailey_error *err)
{
    const char *rest = strstr(text, "://");

    *url = (struct kafka_url){.tls = strncasecmp(text, "https://", 8) == 0, .path = "/"};
    if (!url->tls && strncasecmp(text, "http://", 7) != 0)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL must begin with https://");
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f || *c == '#')
            return bailey_fail(err, BAILEY_ERR_CONFIG,
                               "the URL holds a blank, a # or a character that must be escaped");
    url->port = url->tls ? 443 : 80;
    rest += 3;
    const char *end = rest + strcspn(rest, "/?");

    if (*end == '/')
        url->path = end;
    else if (*end == '?')
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL needs a / before its ?");
    return parse_authority(rest, end, url, err);
}

/* ---- Text that is wiped ---- */

void kafka_secret_add(struct kafka_secret *secret, const void *data, size_t len)
{
    if (secret->len + len >= secret->cap) {
        size_t cap = (secret->len + len) * 2 + 256;
        char *grown = kafka_alloc(cap, 1);

        memcpy(grown, secret->data != NULL ? secret->data : "", secret->len);
        if (secret->data != NULL)
            explicit_bzero(secret->data, secret->cap);
        free(secret->data);
        secret->data = grown;
        secret->cap = cap;
    }
    memcpy(secret->data + secret->len, data, len);
    secret->len += len;
    secret->data[secret->len] = '\0';
}

void kafka_secret_print(struct kafka_secret *secret, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0)
        abort();
    kafka_secret_add(secret, text, (size_t)len);
    explicit_bzero(text, (size_t)len);
    free(text);
}

void kafka_secret_free(struct kafka_secret *secret)
{
    if (secret->data != NULL)
        explicit_bzero(secret->data, secret->cap);
    free(secret->data);
    *secret = (struct kafka_secret){0};
}

/* ---- Request ---- */

/* application/x-www-form-urlencoded (RFC 6749, appendix B) */
static void add_encoded(struct kafka_secret *out, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        char escaped[] = {'%', digits[c >> 4], digits[c & 15]};

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL)
            kafka_secret_add(out, text, 1);
        else
            kafka_secret_add(out, escaped, sizeof escaped);
    }
}

static void add_base64(struct kafka_secret *out, const struct kafka_secret *in)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < in->len; i += 3) {
        const uint8_t *at = (const uint8_t *)in->data + i; /* its NUL serves as the missing second byte */
        size_t left = in->len - i;
        uint32_t bits = (uint32_t)at[0] << 16 | (left > 1 ? (uint32_t)at[1] << 8 : 0) | (left > 2 ? at[2] : 0u);
        char four[] = {digits[bits >> 18], digits[bits >> 12 & 63], left > 1 ? digits[bits >> 6 & 63] : '=',
                       left > 2 ? digits[bits & 63] : '='};

        kafka_secret_add(out, four, sizeof four);
    }
}

static void add_parameter(struct kafka_secret *body, const char *name, const char *value)
{
    if (body->len > 0)
        kafka_secret_add(body, "&", 1);
    add_encoded(body, name);
    kafka_secret_add(body, "=", 1);
    add_encoded(body, value);
}

static void add_body(struct kafka_secret *body, const struct kafka_oauth *oauth, const char *client_secret)
{
    add_parameter(body, "grant_type", "client_credentials");
    if (oauth->scope != NULL)
        add_parameter(body, "scope", oauth->scope);
    for (size_t i = 0; i < oauth->parameters.count; i++)
        add_parameter(body, oauth->parameters.entries[i].name, oauth->parameters.entries[i].value);
    if (oauth->client_auth == KAFKA_CLIENT_POST) {
        add_parameter(body, "client_id", oauth->client_id);
        add_parameter(body, "client_secret", client_secret);
    }
}

static void add_basic(struct kafka_secret *out, const struct kafka_oauth *oauth, const char *client_secret)
{
    struct kafka_secret pair = {0};

    add_encoded(&pair, oauth->client_id);
    kafka_secret_add(&pair, ":", 1);
    add_encoded(&pair, client_secret);
    kafka_secret_print(out, "Authorization: Basic ");
    add_base64(out, &pair);
    kafka_secret_print(out, "\r\n");
    kafka_secret_free(&pair);
}

void kafka_http_request(struct kafka_secret *out, const struct kafka_url *url, const struct kafka_oauth *oauth,
                        const char *client_secret)
{
    struct kafka_secret body = {0};

    add_body(&body, oauth, client_secret);
    kafka_secret_print(
        out,
        "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bailey\r\nAccept: application/json\r\n"
        "Connection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %zu\r\n",
        url->path, url->authority, body.len);
    if (oauth->client_auth == KAFKA_CLIENT_BASIC)
        add_basic(out, oauth, client_secret);
    kafka_secret_print(out, "\r\n");
    kafka_secret_add(out, body.data, body.len);
    kafka_secret_free(&body);
}

/* ---- Answer ---- */

/* A number in decimal or hex; -1 if it is none, or not a sensible length. */
static int64_t number(struct bailey_bytes text, unsigned base)
{
    int64_t value = 0;

    if (text.len == 0 || text.len > 8)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        unsigned c = text.data[i];
        unsigned digit = c >= '0' && c <= '9' ? c - '0' : isxdigit((int)c) ? (c | 0x20) - 'a' + 10 : base;

        if (digit >= base)
            return -1;
        value = value * base + digit;
    }
    return value;
}

/* The value of a header, without blanks around it; null if there is none. A second one is a contradiction: `*twice`. */
static struct bailey_bytes header(struct bailey_bytes head, const char *name, bool *twice)
{
    struct bailey_bytes found = BAILEY_NULL_BYTES;
    size_t name_len = strlen(name);

    for (size_t at = 0; at < head.len;) {
        const uint8_t *line = head.data + at, *end = memmem(line, head.len - at, "\r\n", 2);
        size_t len = end != NULL ? (size_t)(end - line) : head.len - at;

        at += len + 2;
        if (len <= name_len || line[name_len] != ':' || strncasecmp((const char *)line, name, name_len) != 0)
            continue;
        *twice |= found.data != NULL;
        found = (struct bailey_bytes){line + name_len + 1, len - name_len - 1};
        while (found.len > 0 && (found.data[0] == ' ' || found.data[0] == '\t'))
            found.data++, found.len--;
        while (found.len > 0 && (found.data[found.len - 1] == ' ' || found.data[found.len - 1] == '\t'))
            found.len--;
    }
    return found;
}

/* Is the chunked body whole? With `out` it is copied there, without its lengths: at most onto itself. */
static enum kafka_http_state walk_chunks(const uint8_t *data, size_t len, uint8_t *out, size_t *out_len)
{
    size_t at = 0, joined = 0;

    for (;;) {
        const uint8_t *line = data + at, *end = memmem(line, len - at, "\r\n", 2);
        if (end == NULL)
            return len - at > 1000 ? KAFKA_HTTP_BAD : KAFKA_HTTP_MORE;
        const uint8_t *extension = memchr(line, ';', (size_t)(end - line));
        int64_t size = number((struct bailey_bytes){line, (size_t)((extension != NULL ? extension : end) - line)}, 16);
        if (size < 0)
            return KAFKA_HTTP_BAD;
        at = (size_t)(end - data) + 2;
        if (size == 0) {
            *out_len = joined;
            return KAFKA_HTTP_WHOLE; /* trailers are of no interest */
        }
        if (len - at < (size_t)size + 2)
            return KAFKA_HTTP_MORE;
        if (memcmp(data + at + size, "\r\n", 2) != 0)
            return KAFKA_HTTP_BAD;
        if (out != NULL)
            memmove(out + joined, data + at, (size_t)size);
        joined += (size_t)size;
        at += (size_t)size + 2;
    }
}

static enum kafka_http_state parse_chunked(uint8_t *body, size_t len, struct kafka_http_answer *answer)
{
    size_t joined = 0;
    enum kafka_http_state state = walk_chunks(body, len, NULL, &joined);

    if (state != KAFKA_HTTP_WHOLE)
        return state;
    walk_chunks(body, len, body, &joined);
    answer->body = (struct bailey_bytes){body, joined};
    return KAFKA_HTTP_WHOLE;
}

static enum kafka_http_state parse_body(struct bailey_bytes head, uint8_t *body, size_t len, bool closed,
                                        struct kafka_http_answer *answer)
{
    bool twice = false;
    struct bailey_bytes coding = header(head, "transfer-encoding", &twice);
    struct bailey_bytes length = header(head, "content-length", &twice);

    if (twice || (coding.data != NULL && length.data != NULL))
        return KAFKA_HTTP_BAD;
    if (coding.data != NULL)
        return coding.len == 7 && strncasecmp((const char *)coding.data, "chunked", 7) == 0
                   ? parse_chunked(body, len, answer)
                   : KAFKA_HTTP_BAD;
    if (length.data != NULL) {
        int64_t size = number(length, 10);

        if (size < 0 || size > KAFKA_HTTP_MAX)
            return KAFKA_HTTP_BAD;
        answer->body = (struct bailey_bytes){body, (size_t)size};
        return len >= (size_t)size ? KAFKA_HTTP_WHOLE : KAFKA_HTTP_MORE;
    }
    answer->body = (struct bailey_bytes){body, len};
    return closed ? KAFKA_HTTP_WHOLE : KAFKA_HTTP_MORE;
}

/* "HTTP/1.x NNN"; -1 if it is not that. */
static int status_of(const uint8_t *data, size_t len)
{
    if (len < 12 || memcmp(data, "HTTP/1.", 7) != 0 || data[8] != ' ')
        return -1;
    return (int)number((struct bailey_bytes){data + 9, 3}, 10);
}

enum kafka_http_state kafka_http_parse(uint8_t *data, size_t len, bool closed, struct kafka_http_answer *answer)
{
    static const char begin[] = "HTTP/1.";
    uint8_t *end = memmem(data, len < KAFKA_HTTP_HEAD_MAX ? len : KAFKA_HTTP_HEAD_MAX, "\r\n\r\n", 4);
    enum kafka_http_state state;

    *answer = (struct kafka_http_answer){.status = -1, .body = BAILEY_NULL_BYTES};
    if (len > KAFKA_HTTP_MAX || memcmp(data, begin, len < 7 ? len : 7) != 0)
        return KAFKA_HTTP_BAD;
    if (end == NULL)
        return closed || len >= KAFKA_HTTP_HEAD_MAX ? KAFKA_HTTP_BAD : KAFKA_HTTP_MORE;
    answer->status = status_of(data, (size_t)(end - data));
    if (answer->status < 200) /* 1xx does not come unasked for */
        return KAFKA_HTTP_BAD;
    state = parse_body((struct bailey_bytes){data, (size_t)(end - data)}, end + 4, len - (size_t)(end - data) - 4,
                       closed, answer);
    return state == KAFKA_HTTP_MORE && closed ? KAFKA_HTTP_BAD : state;
}
