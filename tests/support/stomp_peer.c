/* A parser of its own: it keeps heads as they were sent. */
#include "stomp_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static const struct end_rig_connector stomp = {
    .broker_open = stomp_broker_open, .broker_close = stomp_broker_close, .source = &stomp_source, .sink = &stomp_sink};

/* ---- The lane ---- */

void stomp_rig_init(struct stomp_rig *rig)
{
    *rig = (struct stomp_rig){0};
    snprintf(rig->url, sizeof rig->url, "stomp://127.0.0.1:%u", end_rig_init(&rig->end, &stomp));
    rig->urls[0] = rig->url;
    rig->broker_settings = (struct stomp_broker_settings){.urls = {rig->urls, 1},
                                                          .login = {.value = "user"},
                                                          .passcode = {.value = "SECRET"},
                                                          .vhost = "/",
                                                          .receipt_timeout_ms = 30000,
                                                          .max_message_size = 1 << 20};
}

void stomp_rig_open_sink(struct stomp_rig *rig, const struct stomp_sink_settings *settings)
{
    end_rig_open(&rig->end, BAILEY_SINK, &rig->broker_settings, settings);
}

void stomp_rig_open_source(struct stomp_rig *rig, const struct stomp_source_settings *settings)
{
    end_rig_open(&rig->end, BAILEY_SOURCE, &rig->broker_settings, settings);
}

/* A shelf of whose port somebody has said that it only looks. */
static bool open_to_look(void **self, void *broker, const void *settings, struct bailey_port *port,
                         struct bailey_error *err)
{
    port->only_looks = true;
    return stomp_shelf.open(self, broker, settings, port, err);
}

void stomp_rig_open_shelf(struct stomp_rig *rig, const struct stomp_sink_settings *settings, bool only_looks)
{
    static struct bailey_source shelf;
    static struct end_rig_connector reading_back;

    shelf = stomp_shelf;
    if (only_looks)
        shelf.open = open_to_look;
    reading_back = stomp;
    reading_back.source = &shelf;
    rig->end.connector = &reading_back;
    end_rig_open(&rig->end, BAILEY_SOURCE, &rig->broker_settings, settings);
}

/* ---- Peer: bytes and frames ---- */

static void more_input(struct stomp_peer *peer)
{
    peer->len += end_rig_receive(&peer->rig->end, peer->fd, peer->in + peer->len, STOMP_PEER_INPUT - peer->len);
}

static void consume(struct stomp_peer *peer, size_t len)
{
    memmove(peer->in, peer->in + len, peer->len - len);
    peer->len -= len;
}

void stomp_peer_accept(struct stomp_rig *rig, struct stomp_peer *peer)
{
    *peer = (struct stomp_peer){.rig = rig,
                                .in = malloc(STOMP_PEER_INPUT),
                                .head = calloc(1, STOMP_PEER_INPUT),
                                .body = malloc(STOMP_PEER_INPUT)};
    assert_true(peer->in != NULL && peer->head != NULL && peer->body != NULL);
    peer->fd = end_rig_accept(&rig->end);
}

void stomp_peer_close(struct stomp_peer *peer)
{
    if (peer->fd >= 0)
        close(peer->fd);
    free(peer->in);
    free(peer->head);
    free(peer->body);
    *peer = (struct stomp_peer){.fd = -1};
}

void stomp_peer_gone(struct stomp_peer *peer)
{
    end_rig_hung_up(&peer->rig->end, peer->fd);
    stomp_peer_close(peer);
}

void stomp_peer_silent(struct stomp_peer *peer)
{
    uint8_t byte;

    for (int i = 0; i < 3; i++)
        end_rig_turn(&peer->rig->end);
    assert_int_equal(peer->len, 0);
    assert_int_equal(recv(peer->fd, &byte, 1, MSG_PEEK), -1);
}

void stomp_peer_send(struct stomp_peer *peer, const void *data, size_t len)
{
    end_rig_send(&peer->rig->end, peer->fd, data, len);
}

void stomp_peer_say(struct stomp_peer *peer, const char *fmt, ...)
{
    char *frame;
    va_list args;
    int len;

    va_start(args, fmt);
    len = vasprintf(&frame, fmt, args);
    va_end(args);
    assert_true(len >= 0);
    stomp_peer_send(peer, frame, (size_t)len + 1);
    free(frame);
}

/* The head's end, behind the empty line; 0: it is not there yet. */
static size_t head_end(const struct stomp_peer *peer)
{
    const char *end = memmem(peer->in, peer->len, "\n\n", 2);

    return end == NULL ? 0 : (size_t)(end - peer->in) + 2;
}

/* True if a whole frame is there: then it is the last frame. */
static bool take_frame(struct stomp_peer *peer)
{
    size_t head, body;
    const char *length;

    for (; peer->len > 0 && peer->in[0] == '\n'; peer->beats++)
        consume(peer, 1);
    head = head_end(peer);
    if (head == 0)
        return false;
    memcpy(peer->head, peer->in, head);
    peer->head[head] = '\0';
    length = stomp_peer_header(peer, "content-length");
    if (length != NULL) {
        body = strtoul(length, NULL, 10);
    } else {
        const char *nul = memchr(peer->in + head, '\0', peer->len - head);

        body = nul == NULL ? peer->len : (size_t)(nul - peer->in) - head;
    }
    if (peer->len < head + body + 1)
        return false;
    assert_int_equal(peer->in[head + body], '\0');
    memcpy(peer->body, peer->in + head, body);
    peer->body_len = body;
    consume(peer, head + body + 1);
    return true;
}

void stomp_peer_expect(struct stomp_peer *peer, const char *command)
{
    size_t len = strlen(command);

    while (!take_frame(peer))
        more_input(peer);
    if (strncmp(peer->head, command, len) != 0 || peer->head[len] != '\n')
        fail_msg("expected %s, got: %s", command, peer->head);
}

const char *stomp_peer_header(struct stomp_peer *peer, const char *name)
{
    static char values[8][8192];
    static unsigned next;
    size_t len = strlen(name);

    for (const char *line = strchr(peer->head, '\n'); line != NULL; line = strchr(line, '\n')) {
        line++;
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            char *value = values[next++ % 8];

            snprintf(value, sizeof values[0], "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
            return value;
        }
    }
    return NULL;
}

void stomp_peer_has(struct stomp_peer *peer, const char *name, const char *value)
{
    const char *got = stomp_peer_header(peer, name);

    if ((got == NULL) != (value == NULL) || (got != NULL && strcmp(got, value) != 0))
        fail_msg("header %s: expected %s, got %s", name, value ? value : "none", got ? got : "none");
}

/* ---- Peer: what brokers say ---- */

void stomp_peer_open(struct stomp_rig *rig, struct stomp_peer *peer, const char *server)
{
    stomp_peer_accept(rig, peer);
    stomp_peer_expect(peer, "CONNECT");
    stomp_peer_has(peer, "login", "user");
    stomp_peer_has(peer, "passcode", "SECRET");
    stomp_peer_say(peer, "CONNECTED\nversion:1.2\nserver:%s\nheart-beat:0,0\n\n", server);
}

void stomp_peer_open_subscribed(struct stomp_rig *rig, struct stomp_peer *peer, const char *server)
{
    stomp_peer_open(rig, peer, server);
    stomp_peer_expect(peer, "SUBSCRIBE");
    stomp_peer_receipt(peer, stomp_peer_header(peer, "receipt"));
}

void stomp_peer_receipt(struct stomp_peer *peer, const char *id)
{
    stomp_peer_say(peer, "RECEIPT\nreceipt-id:%s\n\n", id);
}

void stomp_peer_deliver(struct stomp_peer *peer, const char *id, const char *body)
{
    stomp_peer_say(peer,
                   "MESSAGE\nsubscription:1\nmessage-id:%s\nack:%s\ndestination:/queue/q\ncontent-length:%zu\n\n%s", id,
                   id, strlen(body), body);
}

const char *stomp_peer_expect_send(struct stomp_peer *peer, const char *body)
{
    stomp_peer_expect(peer, "SEND");
    if (peer->body_len != strlen(body) || memcmp(peer->body, body, peer->body_len) != 0)
        fail_msg("expected the body %s, got %.*s", body, (int)peer->body_len, peer->body);
    return stomp_peer_header(peer, "receipt");
}
