/* wire_rig.c: see the header. */
#include "wire_rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct bailey_host *wire_loop;

int wire_setup(void **state)
{
    struct bailey_error err;

    (void)state;
    wire_loop = loop_new(&(struct loop_options){.seed = 1}, &err);
    return wire_loop == NULL;
}

int wire_teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2000 && loop_jobs(wire_loop) > 0; i++)
        loop_turn(wire_loop, 5);
    loop_free(wire_loop);
    return 0;
}

void wire_turn(void)
{
    for (int i = 0; i < 10; i++)
        loop_turn(wire_loop, 1);
}

/* ---- The side of the transport ---- */

static void on_connected(void *ctx)
{
    ((struct wire_client *)ctx)->connected++;
}

static size_t on_data(void *ctx, const uint8_t *data, size_t len)
{
    struct wire_client *client = ctx;

    client->calls++;
    if (client->hold_after > 0 && client->len + len >= client->hold_after)
        bailey_transport_hold(client->transport, true);
    if (client->keeps)
        return 0;
    client->data = realloc(client->data, client->len + len + 1);
    assert_non_null(client->data);
    memcpy(client->data + client->len, data, len);
    client->len += len;
    client->data[client->len] = '\0';
    return len;
}

static void on_writable(void *ctx)
{
    ((struct wire_client *)ctx)->writable++;
}

static void on_lost(void *ctx, const struct bailey_error *err)
{
    struct wire_client *client = ctx;

    client->lost++;
    client->err = *err;
}

const struct bailey_transport_ops wire_ops = {on_connected, on_data, on_writable, on_lost};

void wire_open(struct wire_client *client, uint16_t port, const struct bailey_tls *tls,
               const struct bailey_websocket *websocket)
{
    client->transport = bailey_transport_open(wire_loop, "127.0.0.1", port, tls, websocket, &wire_ops, client);
}

void wire_close(struct wire_client *client)
{
    bailey_transport_close(client->transport);
    free(client->data);
    *client = (struct wire_client){0};
}

void wire_lost(struct wire_client *client, const char *text)
{
    WIRE_UNTIL(client->lost > 0);
    wire_turn();
    assert_int_equal(client->lost, 1);
    assert_int_not_equal(client->err.kind, BAILEY_ERR_NONE);
    if (strstr(client->err.text, text) == NULL)
        fail_msg("expected '%s', got '%s'", text, client->err.text);
}

/* ---- The side of the listener ---- */

void wire_listen(struct wire_server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;

    *server = (struct wire_server){.fd = -1};
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_true(server->listener >= 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(server->listener, 128), 0);
    getsockname(server->listener, (struct sockaddr *)&address, &len);
    server->port = ntohs(address.sin_port);
}

void wire_accept(struct wire_server *server)
{
    wire_hang_up(server);
    WIRE_UNTIL((server->fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0);
}

/* True when all is sent, or the other side has left: then the test will see. */
static bool send_some(struct wire_server *server, const void *data, size_t len, size_t *done)
{
    ssize_t sent = send(server->fd, (const char *)data + *done, len - *done, MSG_NOSIGNAL);

    *done += sent > 0 ? (size_t)sent : 0;
    return *done == len || (sent < 0 && errno != EAGAIN);
}

void wire_send(struct wire_server *server, const void *data, size_t len)
{
    size_t done = 0;

    WIRE_UNTIL(send_some(server, data, len, &done));
}

static void read_some(struct wire_server *server)
{
    ssize_t got;

    if (server->cap < server->len + 65536) {
        server->cap = server->cap * 2 + 65536;
        server->in = realloc(server->in, server->cap);
        assert_non_null(server->in);
    }
    got = recv(server->fd, server->in + server->len, server->cap - server->len, 0);
    if (got > 0)
        server->len += (size_t)got;
    else if (got == 0 || errno != EAGAIN)
        server->ended = true;
}

void wire_expect(struct wire_server *server, size_t len)
{
    WIRE_UNTIL(read_some(server), server->len >= len);
}

void wire_take(struct wire_server *server, size_t len)
{
    assert_true(len <= server->len);
    server->len -= len;
    memmove(server->in, server->in + len, server->len);
}

void wire_expect_end(struct wire_server *server)
{
    WIRE_UNTIL(read_some(server), server->ended);
}

void wire_hang_up(struct wire_server *server)
{
    if (server->fd >= 0)
        close(server->fd);
    server->fd = -1;
    server->len = 0;
    server->ended = false;
}

void wire_stop(struct wire_server *server)
{
    wire_hang_up(server);
    close(server->listener);
    free(server->in);
    *server = (struct wire_server){.fd = -1};
}

/* ---- WebSocket ---- */

static void accept_key(const char *key, size_t len, char *accept)
{
    char text[128];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;

    snprintf(text, sizeof text, "%.*s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", (int)len, key);
    EVP_Digest(text, strlen(text), digest, &digest_len, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)accept, digest, (int)digest_len);
}

void wire_read_request(struct wire_server *server, char *request, size_t request_size, char *answer, size_t answer_size)
{
    static const char name[] = "\r\nSec-WebSocket-Key: ";
    char accept[64];
    uint8_t *end, *key;
    size_t len;

    WIRE_UNTIL(read_some(server), (end = memmem(server->in, server->len, "\r\n\r\n", 4)) != NULL);
    len = (size_t)(end - server->in) + 4;
    assert_true(len < request_size);
    memcpy(request, server->in, len);
    request[len] = '\0';
    key = memmem(server->in, len, name, sizeof name - 1);
    assert_non_null(key);
    key += sizeof name - 1;
    accept_key((char *)key, (size_t)((uint8_t *)memchr(key, '\r', len) - key), accept);
    snprintf(answer, answer_size,
             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Accept: %s\r\n",
             accept);
    wire_take(server, len);
}

void wire_upgrade(struct wire_server *server)
{
    char request[2048], answer[512];

    wire_accept(server);
    wire_read_request(server, request, sizeof request, answer, sizeof answer);
    if (strstr(request, "Sec-WebSocket-Protocol") != NULL)
        strncat(answer, "Sec-WebSocket-Protocol: v12.stomp\r\n", sizeof answer - strlen(answer) - 1);
    strncat(answer, "\r\n", sizeof answer - strlen(answer) - 1);
    wire_send(server, answer, strlen(answer));
}
