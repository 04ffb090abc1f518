/* TLS of a transport, against OpenSSL on the listener's side: who is trusted, what is said of who is not, what is shared, and
 * how much a peer may cost. */
#include <fcntl.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "loop/tls_store.h"
#include "tls_peer.h"

static struct wire_server server;
static struct wire_client client;
static struct tls_peer peer;
static struct identity ca, broker;
static struct bailey_tls tls;

static int send_buffer; /* of sockets that are made; 0: the system's */

int socket(int domain, int type, int protocol)
{
    int fd = (int)syscall(SYS_socket, domain, type, protocol);

    if (fd >= 0 && send_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    return fd;
}

static int setup(void **state)
{
    send_buffer = 0;
    if (wire_setup(state) != 0)
        return -1;
    wire_listen(&server);
    tls_peer_setup();
    ca = make_identity("test authority", (struct identity_options){0});
    broker = make_identity("broker", (struct identity_options){.issuer = &ca, .names = "DNS:localhost,IP:127.0.0.1"});
    tls = (struct bailey_tls){.enabled = true, .ca = write_cert("ca.pem", &ca)};
    return 0;
}

static int teardown(void **state)
{
    wire_close(&client);
    tls_peer_stop(&peer);
    wire_stop(&server);
    tls_peer_teardown();
    return wire_teardown(state);
}

static void serve_as(const struct identity *identity)
{
    tls_peer_stop(&peer);
    tls_peer_start(&peer, &server, identity, NULL);
}

static void connect_well(void)
{
    wire_open(&client, server.port, &tls, NULL);
    assert_true(tls_peer_accept(&peer));
    WIRE_UNTIL(client.connected == 1);
}

/* A connection that must fail, with that text after the address, and a hint that has `hint` in it. */
static void connect_badly(const char *text, const char *hint)
{
    char expected[240];

    snprintf(expected, sizeof expected, "127.0.0.1:%u: %s", server.port, text);
    wire_open(&client, server.port, &tls, NULL);
    tls_peer_accept(&peer);
    wire_lost(&client, expected);
    assert_int_equal(client.connected, 0);
    assert_int_equal(client.err.kind, BAILEY_ERR_CONFIG);
    if (strstr(client.err.hint, hint) == NULL || client.err.hint[0] == '\0')
        fail_msg("'%s' has the hint '%s', not '%s'", text, client.err.hint, hint);
    wire_close(&client);
}

static void bytes_go_both_ways(void **state)
{
    enum { LEN = 3 << 20 };
    char *sent = malloc(LEN), *got = malloc(LEN);

    (void)state;
    assert_true(sent != NULL && got != NULL);
    for (size_t i = 0; i < LEN; i++)
        sent[i] = (char)(i * 13 ^ i >> 12);
    serve_as(&broker);
    connect_well();
    bailey_transport_append(client.transport, sent, LEN);
    tls_peer_read(&peer, got, LEN);
    assert_memory_equal(got, sent, LEN);
    assert_int_equal(client.writable, 1);
    tls_peer_write(&peer, sent, LEN);
    WIRE_UNTIL(client.len == LEN);
    assert_memory_equal(client.data, sent, LEN);
    SSL_shutdown(peer.ssl);
    wire_lost(&client, "the peer closed the connection");
    assert_int_equal(client.err.kind, BAILEY_ERR_TRANSIENT);
    free(sent);
    free(got);
}

static void a_host_name_is_checked_and_sent(void **state)
{
    struct identity other = make_identity("x", (struct identity_options){.issuer = &ca, .names = "DNS:localhost"});

    (void)state;
    serve_as(&other);
    client.transport = bailey_transport_open(wire_loop, "localhost", server.port, &tls, NULL, &wire_ops, &client);
    assert_true(tls_peer_accept(&peer));
    WIRE_UNTIL(client.connected == 1);
    assert_string_equal(SSL_get_servername(peer.ssl, TLSEXT_NAMETYPE_host_name), "localhost");
}

static void each_refused_certificate_says_why_and_what_to_do(void **state)
{
    static const char *const local = "IP:127.0.0.1";
    struct identity stranger = make_identity("stranger", (struct identity_options){0});
    struct {
        struct identity identity;
        const char *text, *hint;
    } cases[] = {
        {make_identity("b", (struct identity_options){.issuer = &stranger, .names = local}),
         "TLS: the peer's certificate is refused: unable to get local issuer", "`ca`"},
        {make_identity("b", (struct identity_options){.names = local}),
         "TLS: the peer's certificate is refused: self-signed", "`ca`"},
        {make_identity("b", (struct identity_options){&ca, local, -9, -1}),
         "TLS: the peer's certificate is refused: certificate has expired", "Renew"},
        {make_identity("b", (struct identity_options){&ca, local, 1, 9}),
         "TLS: the peer's certificate is refused: certificate is not yet valid", "clock"},
        {make_identity("b", (struct identity_options){.issuer = &ca, .names = "DNS:mq.example,DNS:b"}),
         "TLS: the peer's certificate is refused: IP address mismatch", "It is made for mq.example"},
        {make_identity("b", (struct identity_options){.issuer = &ca}),
         "TLS: the peer's certificate is refused: IP address mismatch", "Connect by a name"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        serve_as(&cases[i].identity);
        connect_badly(cases[i].text, cases[i].hint);
    }
}

static void a_host_name_that_the_certificate_does_not_hold_is_refused(void **state)
{
    struct identity other = make_identity("x", (struct identity_options){.issuer = &ca, .names = "DNS:mq.example"});

    (void)state;
    serve_as(&other);
    client.transport = bailey_transport_open(wire_loop, "localhost", server.port, &tls, NULL, &wire_ops, &client);
    assert_false(tls_peer_accept(&peer));
    wire_lost(&client, "the peer's certificate is refused: hostname mismatch");
    assert_non_null(strstr(client.err.text, "localhost:"));
    assert_non_null(strstr(client.err.hint, "mq.example"));
}

static void each_unusable_file_is_named(void **state)
{
    struct identity me = make_identity("me", (struct identity_options){.issuer = &ca});
    const char *cert = write_cert("me.pem", &me), *key = write_key("me.key", &me, NULL);
    const char *wrong_key = write_key("other.key", &broker, NULL), *locked = write_key("locked.key", &me, "secret");
    struct identity other_kind = {.key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
    const char *other_key = write_key("ed25519.key", &other_kind, NULL);
    char encrypted[200], not_opened[200];
    const char *garbage = write_text("garbage.pem", "no certificate\n"), *missing = tls_path("missing.pem");
    const struct {
        struct bailey_tls files;
        const char *text, *hint;
    } cases[] = {
        {{.ca = missing}, "cannot read the CA certificates", "path"},
        {{.ca = garbage}, "cannot use the CA certificates", "PEM"},
        {{.ca = tls.ca, .cert = missing, .key = key}, "cannot read the client certificate", "path"},
        {{.ca = tls.ca, .cert = garbage, .key = key}, "cannot use the client certificate", "PEM"},
        {{.ca = tls.ca, .cert = cert, .key = missing}, "cannot read the client key", "path"},
        {{.ca = tls.ca, .cert = cert, .key = garbage}, "cannot use the client key", "PEM"},
        {{.ca = tls.ca, .cert = cert, .key = locked}, encrypted, "`key_password`"},
        {{.ca = tls.ca, .cert = cert, .key = locked, .key_password = {.value = "geheim"}}, not_opened, "openssl pkey"},
        {{.ca = tls.ca, .cert = cert, .key = locked, .key_password = {.value = "geheim", .file = missing}},
         "cannot read !file",
         ""},
        {{.ca = tls.ca, .cert = cert, .key = wrong_key}, "cannot use the client key", "are a pair"},
        {{.ca = tls.ca, .cert = cert, .key = other_key}, "cannot use the client key", "are a pair"},
        {{.ca = tls.ca, .cert = cert}, "cannot use the client key", "PEM"},
    };

    (void)state;
    snprintf(encrypted, sizeof encrypted, "cannot use the client key %s: it is encrypted", locked);
    snprintf(not_opened, sizeof not_opened, "cannot use the client key %s: the password does not open it", locked);
    serve_as(&broker);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tls = cases[i].files;
        tls.enabled = true;
        connect_badly(cases[i].text, cases[i].hint);
        assert_null(strstr(client.err.text, "geheim"));
    }
    EVP_PKEY_free(other_kind.key);
}

static void an_encrypted_key_is_opened_by_its_password(void **state)
{
    struct identity me = make_identity("me", (struct identity_options){.issuer = &ca});
    const char *locked = write_key("locked.key", &me, "secret");

    (void)state;
    tls_peer_start(&peer, &server, &broker, &ca);
    tls.cert = write_cert("me.pem", &me);
    tls.key = locked;
    tls.key_password.value = "secret";
    connect_well();
    wire_close(&client);

    tls.key_password.value = "as it was at the start";
    tls.key_password.file = write_text("password", "secret\n");
    connect_well();
    wire_close(&client);
    write_key("locked.key", &me, "another");
    connect_badly("cannot use the client key", "`key_password`");
    write_text("password", "another\n"); /* the rotation is complete now */
    connect_well();
}

static void a_rotated_authority_counts_from_the_next_connection_on(void **state)
{
    struct identity new_ca = make_identity("new authority", (struct identity_options){0});
    struct identity new_broker =
        make_identity("b", (struct identity_options){.issuer = &new_ca, .names = "IP:127.0.0.1"});

    (void)state;
    serve_as(&broker);
    connect_well();
    wire_close(&client);
    serve_as(&new_broker);
    connect_badly("TLS: the peer's certificate is refused: unable to get local issuer", "`ca`");
    write_cert("ca.pem", &new_ca);
    connect_well();
    wire_close(&client);
    serve_as(&broker);
    connect_badly("TLS: the peer's certificate is refused: unable to get local issuer", "`ca`");
    unlink(tls.ca);
    connect_badly("cannot read the CA certificates", "path");
    write_cert("ca.pem", &ca);
    connect_well();
}

static void connections_with_the_same_settings_share_a_context_until_a_file_changes(void **state)
{
    struct tls_store *store = tls_store_new();
    struct bailey_tls insecure = {.enabled = true, .insecure = true, .ca = tls.ca}, none = {.enabled = true};
    struct bailey_error err;
    SSL_CTX *first = tls_store_context(store, &tls, &err);

    (void)state;
    assert_non_null(first);
    SSL_CTX_up_ref(first); /* so that its address is not used again */
    assert_ptr_equal(tls_store_context(store, &tls, &err), first);
    assert_ptr_not_equal(tls_store_context(store, &insecure, &err), first);
    assert_ptr_not_equal(tls_store_context(store, &none, &err), first);
    assert_ptr_equal(tls_store_context(store, &tls, &err), first);
    write_cert("ca.pem", &ca); /* the same content, but who knows */
    assert_ptr_not_equal(tls_store_context(store, &tls, &err), first);
    SSL_CTX_free(first);
    tls_store_free(store);
}

static void an_authority_of_ours_replaces_those_of_the_system(void **state)
{
    struct identity stranger = make_identity("stranger", (struct identity_options){0});
    const char *system = write_cert("system.pem", &ca);

    (void)state;
    setenv("SSL_CERT_FILE", system, 1);
    serve_as(&broker);
    tls.ca = NULL;
    connect_well();
    wire_close(&client);
    tls.ca = write_cert("stranger.pem", &stranger);
    connect_badly("TLS: the peer's certificate is refused: unable to get local issuer", "`ca`");
    unsetenv("SSL_CERT_FILE");
}

static void an_unverified_peer_is_warned_of_once_for_each_broker_and_address(void **state)
{
    struct identity self = make_identity("self", (struct identity_options){0});
    char line[1024], expected[128];
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_NONBLOCK | O_CLOEXEC), 0);
    log_set_fd(fds[1]);
    tls = (struct bailey_tls){.enabled = true, .insecure = true, .broker = "shop"};
    serve_as(&self);
    for (int i = 0; i < 3; i++) {
        connect_well();
        wire_close(&client);
    }
    ssize_t len = read(fds[0], line, sizeof line - 1);
    assert_true(len > 0);
    line[len] = '\0';
    snprintf(expected, sizeof expected, "warn tls.not_verified broker=shop address=127.0.0.1:%u", server.port);
    assert_non_null(strstr(line, expected));
    assert_ptr_equal(strchr(line, '\n'), line + len - 1); /* one line */
    tls.broker = "other";
    connect_well();
    assert_true(read(fds[0], line, sizeof line) > 0);
    log_set_fd(STDERR_FILENO);
    close(fds[0]);
    close(fds[1]);
}

static void a_client_certificate_is_shown_renewed_and_asked_for(void **state)
{
    struct identity me = make_identity("me", (struct identity_options){.issuer = &ca});
    struct identity renewed = make_identity("renewed", (struct identity_options){.issuer = &ca});
    struct identity forged = make_identity("me", (struct identity_options){0});
    char name[64];

    (void)state;
    tls_peer_start(&peer, &server, &broker, &ca);
    wire_open(&client, server.port, &tls, NULL); /* without one: TLS 1.3 tells after the handshake */
    assert_false(tls_peer_accept(&peer));
    wire_lost(&client, "certificate required");
    assert_int_equal(client.err.kind, BAILEY_ERR_CONFIG);
    assert_non_null(strstr(client.err.text, "127.0.0.1:"));
    assert_non_null(strstr(client.err.hint, "`cert`"));
    wire_close(&client);

    tls.cert = write_cert("me.pem", &me);
    tls.key = write_key("me.key", &me, NULL);
    connect_well();
    wire_close(&client);
    write_cert("me.pem", &renewed);
    write_key("me.key", &renewed, NULL);
    connect_well();
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(peer.ssl)), NID_commonName, name,
                              sizeof name);
    assert_string_equal(name, "renewed");
    wire_close(&client);

    write_cert("me.pem", &forged);
    write_key("me.key", &forged, NULL);
    wire_open(&client, server.port, &tls, NULL);
    assert_false(tls_peer_accept(&peer));
    wire_lost(&client, "unknown ca");
    assert_int_equal(client.err.kind, BAILEY_ERR_CONFIG);
    assert_string_not_equal(client.err.hint, "");
}

static void a_peer_that_speaks_no_tls_or_hangs_up_is_told_from_one_that_is_refused(void **state)
{
    (void)state;
    wire_open(&client, server.port, &tls, NULL);
    wire_accept(&server);
    wire_send(&server, "ERROR\nmessage:no such command\n\n", 31);
    wire_lost(&client, ": TLS: ");
    assert_non_null(strstr(client.err.hint, "does not speak TLS"));
    wire_close(&client);

    wire_open(&client, server.port, &tls, NULL);
    wire_accept(&server);
    wire_expect(&server, 100); /* its hello */
    wire_hang_up(&server);
    wire_lost(&client, "connection lost during the TLS handshake to 127.0.0.1:");
    assert_int_equal(client.err.kind, BAILEY_ERR_TRANSIENT);
    assert_string_not_equal(client.err.hint, "");
}

static void key_updates_are_answered_but_not_without_end(void **state)
{
    (void)state;
    serve_as(&broker);
    connect_well();
    for (int i = 0; i < 100; i++) { /* with data between them: as it should be */
        assert_int_equal(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        tls_peer_write(&peer, "x", 1);
    }
    WIRE_UNTIL(client.len == 100);
    assert_int_equal(client.lost, 0);
    for (int i = 0; i < 200 && client.lost == 0; i++) {
        ERR_clear_error();
        SSL_key_update(peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(peer.ssl);
        loop_turn(wire_loop, 1);
    }
    wire_lost(&client, "TLS: more than 32 key updates or other messages without data");
}

static int64_t clock_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Send key updates that ask for an answer, with data between them. Returns how many bytes of data. */
static size_t ask(size_t max)
{
    size_t sent = 0;

    while (sent < max && SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_write(peer.ssl, "x", 1) == 1)
        sent++;
    ERR_clear_error();
    return sent;
}

static void a_peer_that_asks_for_answers_and_reads_none_keeps_the_loop_asleep(void **state)
{
    enum { ASKS = 1000 };
    size_t sent, before;
    int small = 4096;
    int64_t began_ms;
    char got[1];

    (void)state;
    setsockopt(server.listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    serve_as(&broker);
    send_buffer = 4096;
    connect_well();
    sent = ask(ASKS);
    do { /* until the answers fill both sockets, and the client reads no more */
        before = client.len;
        for (int i = 0; i < 5; i++)
            wire_turn();
    } while (client.len != before);
    assert_true(before < sent);
    assert_int_equal(client.lost, 0);
    began_ms = clock_ms();
    loop_turn(wire_loop, 60);
    assert_true(clock_ms() - began_ms >= 50);
    WIRE_UNTIL(SSL_read(peer.ssl, got, 1), client.len == sent); /* the peer takes them: it reads on */
    ERR_clear_error();
}

static void tickets_are_taken_but_not_without_end(void **state)
{
    (void)state;
    serve_as(&broker);
    connect_well();
    for (int i = 0; i < 100; i++) { /* each goes with the next data */
        assert_int_equal(SSL_new_session_ticket(peer.ssl), 1);
        tls_peer_write(&peer, "x", 1);
    }
    WIRE_UNTIL(client.len == 100);
    assert_int_equal(client.lost, 0);
    for (int i = 0; i < 200 && client.lost == 0; i++) {
        ERR_clear_error();
        SSL_new_session_ticket(peer.ssl);
        SSL_do_handshake(peer.ssl);
        loop_turn(wire_loop, 1);
    }
    wire_lost(&client, "TLS: more than 32 key updates or other messages without data");
}

static void renegotiation_is_refused_and_not_without_end(void **state)
{
    (void)state;
    serve_as(&broker);
    SSL_CTX_set_max_proto_version(peer.context, TLS1_2_VERSION);
    connect_well();
    for (int i = 0; i < 200 && client.lost == 0; i++) {
        ERR_clear_error();
        SSL_renegotiate(peer.ssl);
        SSL_do_handshake(peer.ssl);
        loop_turn(wire_loop, 1);
    }
    wire_lost(&client, "TLS: more than 32 key updates or other messages without data");
    assert_int_equal(SSL_CTX_sess_accept_good(peer.context), 1);
}

static void a_websocket_goes_over_tls(void **state)
{
    static const struct bailey_websocket websocket = {.path = "/ws", .protocols = "v12.stomp"};
    char request[2048], answer[512], key[32], digest[64];
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    size_t got = 0;

    (void)state;
    serve_as(&broker);
    wire_open(&client, server.port, &tls, &websocket);
    assert_true(tls_peer_accept(&peer));
    for (got = 0; got < 4 || memcmp(request + got - 4, "\r\n\r\n", 4) != 0; got++)
        tls_peer_read(&peer, request + got, 1);
    request[got] = '\0';
    memcpy(key, strstr(request, "Sec-WebSocket-Key: ") + 19, 24);
    snprintf(answer, sizeof answer, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    EVP_Digest(answer, strlen(answer), hash, &len, EVP_sha1(), NULL);
    EVP_EncodeBlock((unsigned char *)digest, hash, (int)len);
    snprintf(answer, sizeof answer,
             "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n"
             "Sec-WebSocket-Protocol: v12.stomp\r\n\r\n\x81\x02hi",
             digest);
    tls_peer_write(&peer, answer, strlen(answer));
    WIRE_UNTIL(client.len == 2);
    bailey_transport_append(client.transport, "yes", 3);
    bailey_transport_end_message(client.transport, true);
    tls_peer_read(&peer, request, 9);
    assert_memory_equal(request, "\x81\x83", 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(request[6 + i] ^ request[2 + i], "yes"[i]);
}

int main(void)
{
#define WITH_TLS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH_TLS(bytes_go_both_ways),
        WITH_TLS(a_host_name_is_checked_and_sent),
        WITH_TLS(each_refused_certificate_says_why_and_what_to_do),
        WITH_TLS(a_host_name_that_the_certificate_does_not_hold_is_refused),
        WITH_TLS(each_unusable_file_is_named),
        WITH_TLS(an_encrypted_key_is_opened_by_its_password),
        WITH_TLS(a_rotated_authority_counts_from_the_next_connection_on),
        WITH_TLS(connections_with_the_same_settings_share_a_context_until_a_file_changes),
        WITH_TLS(an_authority_of_ours_replaces_those_of_the_system),
        WITH_TLS(an_unverified_peer_is_warned_of_once_for_each_broker_and_address),
        WITH_TLS(a_client_certificate_is_shown_renewed_and_asked_for),
        WITH_TLS(a_peer_that_speaks_no_tls_or_hangs_up_is_told_from_one_that_is_refused),
        WITH_TLS(key_updates_are_answered_but_not_without_end),
        WITH_TLS(a_peer_that_asks_for_answers_and_reads_none_keeps_the_loop_asleep),
        WITH_TLS(tickets_are_taken_but_not_without_end),
        WITH_TLS(renegotiation_is_refused_and_not_without_end),
        WITH_TLS(a_websocket_goes_over_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
