/* The handshake of a WebSocket client (RFC 6455, section 4): one HTTP request, one answer, both checked to the letter. The
 * answer is judged when its last line has come; until then all that counts is that it is short, and has no end of a line but
 * CR LF.
 */
#include <libwebsockets.h> /* lws_SHA1(), lws_b64_encode_string(): no OpenSSL where there is no TLS */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "loop/websocket_impl.h"

enum { NONCE = 16, NONCE_TEXT = 25, DIGEST = 20, NAME_MAX_SHOWN = 40 };

struct span {
    const char *at;
    size_t len;
};

/* What of the answer matters. */
struct answer {
    unsigned status;
    struct span reason, upgrade, connection, accept, protocol, extensions, location;
    unsigned upgrades, accepts, protocols; /* lines of that name */
};

static char *copy_of(const char *str)
{
    char *copy = strdup(str);

    if (copy == NULL)
        abort();
    return copy;
}

struct websocket *websocket_new(const struct bailey_websocket *options, const char *host, uint16_t port, bool secure)
{
    struct websocket *ws = calloc(1, sizeof *ws);
    bool is_v6 = strchr(host, ':') != NULL;
    char where[320], suffix[8] = "";

    if (ws == NULL)
        abort();
    if (port != (secure ? 443 : 80))
        snprintf(suffix, sizeof suffix, ":%u", port);
    snprintf(where, sizeof where, "%s%s%s%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "", suffix);
    ws->host = copy_of(where);
    ws->path = copy_of(options->path != NULL ? options->path : "/");
    ws->protocols = options->protocols != NULL ? copy_of(options->protocols) : NULL;
    return ws;
}

void websocket_free(struct websocket *ws)
{
    if (ws == NULL)
        return;
    free(ws->host);
    free(ws->path);
    free(ws->protocols);
    free(ws->out.marks);
    free(ws);
}

const char *websocket_subprotocol(const struct websocket *ws)
{
    return ws->subprotocol;
}

/* ---- Request ---- */

static void add_text(struct output *wire, const char *text)
{
    output_append(wire, text, strlen(text));
}

/* The path as it may stand in a request line: what may not is percent-encoded. */
static void add_path(struct output *wire, const char *path)
{
    char escaped[4];

    for (; *path != '\0'; path++) {
        if (*path > ' ' && *path < 0x7f)
            output_append(wire, path, 1);
        else
            output_append(wire, escaped, (size_t)snprintf(escaped, sizeof escaped, "%%%02X", (uint8_t)*path));
    }
}

void websocket_request(struct websocket *ws, struct output *wire)
{
    uint8_t nonce[NONCE], digest[DIGEST];
    char key[NONCE_TEXT + 40];

    websocket_random(nonce, sizeof nonce);
    lws_b64_encode_string((const char *)nonce, sizeof nonce, key, sizeof key);
    add_text(wire, "GET ");
    add_path(wire, ws->path);
    add_text(wire, " HTTP/1.1\r\nHost: ");
    add_text(wire, ws->host);
    add_text(wire, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    add_text(wire, key);
    if (ws->protocols != NULL) {
        add_text(wire, "\r\nSec-WebSocket-Protocol: ");
        add_text(wire, ws->protocols);
    }
    add_text(wire, "\r\n\r\n");
    memcpy(key + NONCE_TEXT - 1, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11", 37); /* RFC 6455, 1.3 */
    lws_SHA1((const unsigned char *)key, strlen(key), digest);
    lws_b64_encode_string((const char *)digest, sizeof digest, ws->accept, sizeof ws->accept);
}

/* ---- Answer ---- */

static enum websocket_answer refuse(struct bailey_error *err, const char *what)
{
    bailey_fail(err, BAILEY_ERR_TRANSIENT, "WebSocket: %s", what);
    return WEBSOCKET_REFUSED;
}

static struct span trim(struct span span)
{
    while (span.len > 0 && (*span.at == ' ' || *span.at == '\t'))
        span.at++, span.len--;
    while (span.len > 0 && (span.at[span.len - 1] == ' ' || span.at[span.len - 1] == '\t'))
        span.len--;
    return span;
}

static bool span_is(struct span span, const char *text)
{
    return span.len == strlen(text) && memcmp(span.at, text, span.len) == 0;
}

static bool span_is_any_case(struct span span, const char *text)
{
    return span.len == strlen(text) && strncasecmp(span.at, text, span.len) == 0;
}

/* True if `list`, "a, b", has the word (in the case of neither, if `any_case`). */
static bool has_word(struct span list, struct span word, bool any_case)
{
    while (list.len > 0) {
        const char *comma = memchr(list.at, ',', list.len);
        struct span item = trim((struct span){list.at, comma != NULL ? (size_t)(comma - list.at) : list.len});

        if (item.len == word.len &&
            (any_case ? strncasecmp(item.at, word.at, item.len) : memcmp(item.at, word.at, item.len)) == 0)
            return true;
        if (comma == NULL)
            break;
        list.len -= (size_t)(comma - list.at) + 1;
        list.at = comma + 1;
    }
    return false;
}

static bool is_token(struct span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] <= ' ' || name.at[i] >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", name.at[i]) != NULL)
            return false;
    return name.len > 0;
}

/* "HTTP/1.1 101 Switching Protocols" */
static bool read_status(struct span line, struct answer *answer)
{
    if (line.len < 12 || memcmp(line.at, "HTTP/1.", 7) != 0 || line.at[8] != ' ' ||
        (line.len > 12 && line.at[12] != ' '))
        return false;
    for (unsigned i = 9; i < 12; i++) {
        if (line.at[i] < '0' || line.at[i] > '9')
            return false;
        answer->status = answer->status * 10 + (unsigned)(line.at[i] - '0');
    }
    answer->reason = trim((struct span){line.at + 12, line.len - 12});
    return true;
}

static bool read_header(struct span line, struct answer *answer)
{
    const char *colon = memchr(line.at, ':', line.len);
    struct span name = {line.at, colon != NULL ? (size_t)(colon - line.at) : 0}, value;

    if (!is_token(name)) /* so a folded line is refused, too */
        return false;
    value = trim((struct span){colon + 1, line.len - name.len - 1});
    if (span_is_any_case(name, "upgrade"))
        answer->upgrade = value, answer->upgrades++;
    else if (span_is_any_case(name, "connection"))
        answer->connection = value;
    else if (span_is_any_case(name, "sec-websocket-accept"))
        answer->accept = value, answer->accepts++;
    else if (span_is_any_case(name, "sec-websocket-protocol"))
        answer->protocol = value, answer->protocols++;
    else if (span_is_any_case(name, "sec-websocket-extensions"))
        answer->extensions = value;
    else if (span_is_any_case(name, "location"))
        answer->location = value;
    return true;
}

/* All lines of `head`, which ends with CR LF. */
static bool read_head(struct span head, struct answer *answer)
{
    bool first = true;

    while (head.len > 0) {
        const char *end = memchr(head.at, '\r', head.len);
        struct span line = {head.at, (size_t)(end - head.at)};

        if (end[1] != '\n' || memchr(line.at, '\n', line.len) != NULL || memchr(line.at, '\0', line.len) != NULL)
            return false;
        if (!(first ? read_status(line, answer) : read_header(line, answer)))
            return false;
        first = false;
        head.len -= line.len + 2;
        head.at = end + 2;
    }
    return true;
}

/* As much of it as is fit to be shown. */
static const char *shown(struct span span, char *text, size_t size)
{
    size_t len = 0;

    for (; len < span.len && len + 1 < size; len++)
        text[len] = span.at[len] >= ' ' && span.at[len] < 0x7f ? span.at[len] : '?';
    text[len] = '\0';
    return text;
}

static enum websocket_answer refuse_status(const struct websocket *ws, const struct answer *answer,
                                           struct bailey_error *err)
{
    bool lasting = answer->status >= 300 && answer->status < 500 && answer->status != 408 && answer->status != 429;
    char text[NAME_MAX_SHOWN * 2];

    bailey_fail_native(err, lasting ? BAILEY_ERR_CONFIG : BAILEY_ERR_TRANSIENT, "http", (int)answer->status,
                       "WebSocket: the peer answers %u %s", answer->status, shown(answer->reason, text, sizeof text));
    if (answer->status >= 300 && answer->status < 400)
        bailey_hint(err, "It points to %s: use that in the URL.", shown(answer->location, text, sizeof text));
    else if (answer->status == 401 || answer->status == 403)
        bailey_hint(err, "The peer, or a proxy in front of it, wants a log-in or another origin.");
    else if (answer->status == 400 || answer->status == 404 || answer->status == 426 || answer->status == 200)
        bailey_hint(err, "Check the path in the URL, %.40s, and whether the port is that of the WebSocket.", ws->path);
    return WEBSOCKET_REFUSED;
}

/* RFC 6455, 4.1, and a sub-protocol of those that were offered. */
static enum websocket_answer judge(struct websocket *ws, const struct answer *answer, struct bailey_error *err)
{
    static const struct span upgrade = {"upgrade", 7};
    struct span offered = {ws->protocols, ws->protocols != NULL ? strlen(ws->protocols) : 0};
    char text[NAME_MAX_SHOWN];

    if (answer->status != 101)
        return refuse_status(ws, answer, err);
    if (answer->upgrades != 1 || !span_is_any_case(answer->upgrade, "websocket") ||
        !has_word(answer->connection, upgrade, true))
        return refuse(err, "the answer does not upgrade the connection");
    if (answer->accepts != 1 || !span_is(answer->accept, ws->accept))
        return refuse(err, "the answer is to another handshake (Sec-WebSocket-Accept is wrong)");
    if (answer->extensions.len > 0)
        return refuse(err, "the peer uses an extension that was not offered");
    if (offered.len > 0 && answer->protocols == 0) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "WebSocket: the peer chose none of the sub-protocols %.80s", ws->protocols);
        bailey_hint(err, "What answers is no broker of that protocol: check port and path.");
        return WEBSOCKET_REFUSED;
    }
    if (answer->protocols > 1 || (answer->protocols == 1 && !has_word(offered, answer->protocol, false)) ||
        answer->protocol.len >= sizeof ws->subprotocol) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "WebSocket: the peer chose the sub-protocol '%s', offered: %.80s",
                    shown(answer->protocol, text, sizeof text), ws->protocols != NULL ? ws->protocols : "none");
        bailey_hint(err, "What answers is no broker of that protocol: check port and path.");
        return WEBSOCKET_REFUSED;
    }
    memcpy(ws->subprotocol, answer->protocol.at != NULL ? answer->protocol.at : "", answer->protocol.len);
    ws->agreed = true;
    return WEBSOCKET_AGREED;
}

enum websocket_answer websocket_answer(struct websocket *ws, const uint8_t *data, size_t len, size_t *used,
                                       struct bailey_error *err)
{
    const uint8_t *end = memmem(data, len < WEBSOCKET_HEAD_MAX ? len : WEBSOCKET_HEAD_MAX, "\r\n\r\n", 4);
    struct answer answer = {0};

    if (len > 0 && memcmp(data, "HTTP/1.", len < 7 ? len : 7) != 0) {
        refuse(err, "what answers does not speak HTTP");
        bailey_hint(err, "Check the port; use wss:// if the broker expects TLS there.");
        return WEBSOCKET_REFUSED;
    }
    if (end == NULL)
        return len < WEBSOCKET_HEAD_MAX ? WEBSOCKET_INCOMPLETE
                                        : refuse(err, "the answer to the handshake is longer than 16 KiB");
    *used = (size_t)(end - data) + 4;
    if (!read_head((struct span){(const char *)data, *used - 2}, &answer))
        return refuse(err, "the answer to the handshake is malformed");
    return judge(ws, &answer, err);
}
