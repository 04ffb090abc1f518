/* The administration server.
 *
 * A thread with a libwebsockets context as its poller, like a worker's loop: the listening socket and the clients' are
 * our own, adopted as plain descriptors. libwebsockets' HTTP role is not used. Tried with 4.1.6: it takes every upgrade
 * to h2c (only the callback of CVE-2025-11677 could refuse one), and spins while a pipelined request waits behind a
 * slow reader.
 *
 *     client:  READING ──whole head──→ ANSWERING ──sent──→ READING (keep-alive), LINGERING or closed
 *
 * A client that ANSWERS is not read from, so it holds one answer at most. Each state has one deadline, which a slow
 * client cannot push. LINGERING reads on for a moment: closing a socket with unread data would reset it, and the peer
 * might lose the answer.
 */
#include "admin/http.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "admin/listen.h"
#include "admin/reply.h"
#include "base/log.h"
#include "loop/thread.h"

enum { PIECE = 64 << 10, DISCARD_MAX = 1 << 20, ACCEPT_PAUSE_US = 100000 };

enum client_state { READING, ANSWERING, LINGERING };

struct client {
    struct admin *admin;
    struct lws *wsi; /* NULL until it is adopted */
    int fd;          /* belongs to wsi */
    size_t slot;     /* in admin->clients */
    enum client_state state;
    bool hurried; /* its deadline is the shorter one */
    unsigned requests;
    size_t discarded;
    char in[REQUEST_HEAD_MAX];
    size_t in_len;
    struct text head;
    struct reply reply;
    size_t sent, length; /* of head and body together; no body is sent for HEAD */
    bool keep_alive;
    bool has_more; /* what was read is not the whole of what the peer sends */
};

struct admin {
    struct pages pages;
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct lws *listener;
    int listen_fd; /* belongs to the listener once there is one */
    uint16_t port;
    char host_name[256];
    struct client *clients[ADMIN_CLIENTS_MAX];
    size_t client_count;
    size_t bodies; /* bytes of the answers in work */
    bool accept_paused;
    atomic_bool stopping;
    pthread_t thread;
};

/* ---- Clients ---- */

static bool is_full(const struct admin *admin)
{
    return admin->client_count >= ADMIN_CLIENTS_MAX;
}

static void set_state(struct client *client, enum client_state state)
{
    static const int seconds[] = {[READING] = ADMIN_HEAD_S, [ANSWERING] = ADMIN_ANSWER_S, [LINGERING] = ADMIN_LINGER_S};

    client->state = state;
    client->hurried = state == READING && is_full(client->admin);
    /* libwebsockets closes it then. */
    lws_set_timeout(client->wsi, PENDING_TIMEOUT_USER_OK, client->hurried ? ADMIN_HURRY_S : seconds[state]);
}

/* All places are taken: who asks nothing must leave soon. Once: a deadline set anew each time would never come. */
static void hurry_readers(struct admin *admin)
{
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        assert(admin->clients[i] != NULL);
        if (admin->clients[i]->state == READING && !admin->clients[i]->hurried)
            set_state(admin->clients[i], READING);
    }
}

static void drop_answer(struct client *client)
{
    client->admin->bodies -= client->reply.body.cap;
    reply_free(&client->reply);
    text_free(&client->head);
}

/* Time-outs come while libwebsockets is about to wait: have it come back to us first. */
static void arm_soon(struct admin *admin)
{
    if (!atomic_load_explicit(&admin->stopping, memory_order_relaxed)) /* else the context may be half destroyed */
        lws_cancel_service(admin->context);
}

static void client_free(struct client *client)
{
    struct admin *admin = client->admin;

    drop_answer(client);
    if (is_full(admin))
        arm_soon(admin);
    admin->clients[client->slot] = NULL;
    admin->client_count--;
    free(client);
}

/* Begin to answer what was read: a request (`status` 0), or what is none. */
static void answer(struct client *client, const struct request *request, int status)
{
    struct admin *admin = client->admin;
    size_t room = admin->bodies < ADMIN_BODIES_MAX ? ADMIN_BODIES_MAX - admin->bodies : 0;

    client->keep_alive =
        status == 0 && request->keep_alive && ++client->requests < ADMIN_REQUESTS_MAX && !is_full(admin);
    if (status == 0)
        reply_to(&client->reply, &admin->pages, request, room);
    else
        reply_refuse(&client->reply, status);
    reply_head(&client->head, &client->reply, client->keep_alive, time(NULL));
    admin->bodies += client->reply.body.cap;
    client->sent = 0;
    client->length = client->head.len;
    if (status != 0 || request->method != REQUEST_HEAD)
        client->length += client->reply.body.len;
    set_state(client, ANSWERING);
}

/* Send one piece. False: the connection is broken. */
static bool send_piece(struct client *client)
{
    size_t head = client->sent < client->head.len ? client->head.len - client->sent : 0;
    size_t body = client->length - client->sent - head, at = client->sent + head - client->head.len;
    struct iovec parts[] = {{client->head.data + client->head.len - head, head},
                            {client->reply.body.data + at, body < PIECE ? body : PIECE}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t sent;

    do
        sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK;
    client->sent += (size_t)sent;
    return true;
}

/* The answer has gone: read on, or close; softly, if the peer may still be sending. False: close at once. */
static bool answered(struct client *client)
{
    drop_answer(client);
    if (client->keep_alive) {
        set_state(client, READING);
        return true;
    }
    if (!client->has_more && client->in_len == 0)
        return false;
    shutdown(client->fd, SHUT_WR);
    client->in_len = 0;
    set_state(client, LINGERING);
    return true;
}

/* Answer what stands in the buffer, as far as the socket takes it now. False: close. */
static bool client_go_on(struct client *client)
{
    struct request request;
    int result;

    for (;;) {
        if (client->state == READING) {
            result = request_parse(client->in, client->in_len, &request);
            if (result == 0)
                return true;
            answer(client, &request, result < 0 ? -result : 0);
            if (result > 0) {
                client->in_len -= (size_t)result;
                memmove(client->in, client->in + result, client->in_len);
            }
        }
        if (client->state == ANSWERING) {
            if (!send_piece(client))
                return false;
            if (client->sent < client->length)
                return true; /* the other clients first, whether or not the socket would take more */
            if (!answered(client))
                return false;
        }
        if (client->state == LINGERING)
            return true;
    }
}

/* Readable. False: close. */
static bool client_read(struct client *client)
{
    ssize_t got;

    if (client->state == ANSWERING)
        return true; /* asked for before the answer began */
    got = recv(client->fd, client->in + client->in_len, sizeof client->in - client->in_len, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    if (got == 0)
        return false;
    if (client->state == LINGERING) {
        client->discarded += (size_t)got;
        return client->discarded < DISCARD_MAX;
    }
    client->in_len += (size_t)got;
    return client_go_on(client);
}

/* ---- Accepting ---- */

/* Adopt `fd`, which is closed with the descriptor, also on failure. */
static struct lws *adopt(struct admin *admin, int fd, const char *protocol, void *opaque)
{
    lws_adopt_desc_t adopt = {.vh = admin->vhost,
                              .type = LWS_ADOPT_RAW_FILE_DESC,
                              .fd = {.filefd = fd},
                              .vh_prot_name = protocol,
                              .opaque = opaque};

    return lws_adopt_descriptor_vhost_via_info(&adopt);
}

static void client_open(struct admin *admin, int fd)
{
    struct client *client = calloc(1, sizeof *client);
    size_t slot = 0;
    int one = 1;

    if (client == NULL)
        abort();
    while (admin->clients[slot] != NULL)
        slot++;
    *client = (struct client){.admin = admin, .fd = fd, .slot = slot};
    admin->clients[slot] = client;
    admin->client_count++;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    client->wsi = adopt(admin, fd, "client", client);
    if (client->wsi != NULL)
        set_state(client, READING);
    else if (admin->clients[slot] != NULL) /* it has closed fd; it may have told us so already */
        client_free(client);
    if (is_full(admin))
        hurry_readers(admin);
}

static void accept_clients(struct admin *admin)
{
    while (!is_full(admin)) {
        int fd = accept4(admin->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            client_open(admin, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            admin->accept_paused = true; /* the socket stays readable: without the pause we would spin */
            lws_set_timer_usecs(admin->listener, ACCEPT_PAUSE_US);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        } /* else this one connection has failed: the next */
    }
}

/* ---- libwebsockets ---- */

static int on_listener(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    if (reason == LWS_CALLBACK_RAW_RX_FILE)
        accept_clients(lws_get_opaque_user_data(wsi));
    if (reason == LWS_CALLBACK_TIMER) {
        struct admin *admin = lws_get_opaque_user_data(wsi);

        admin->accept_paused = false;
        arm_soon(admin);
    }
    return 0;
}

static int on_client(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    struct client *client = lws_get_opaque_user_data(wsi);

    (void)user, (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_RAW_RX_FILE:
        return client_read(client) ? 0 : -1;
    case LWS_CALLBACK_RAW_WRITEABLE_FILE:
        return client->state != ANSWERING || client_go_on(client) ? 0 : -1;
    case LWS_CALLBACK_RAW_CLOSE_FILE:
        client_free(client);
        return 0;
    default:
        return 0;
    }
}

/* The first one also hears of what belongs to no connection: it must be one that expects no client. */
static const struct lws_protocols protocols[] = {
    {.name = "listener", .callback = on_listener}, {.name = "client", .callback = on_client}, {.name = NULL}};

/* Say what to wait for. From within a callback a request to write would be forgotten after it, hence here. */
static void arm(struct admin *admin)
{
    lws_rx_flow_control(admin->listener, !is_full(admin) && !admin->accept_paused);
    for (size_t i = 0; i < ADMIN_CLIENTS_MAX; i++) {
        struct client *client = admin->clients[i];

        if (client == NULL)
            continue;
        lws_rx_flow_control(client->wsi, client->state != ANSWERING);
        if (client->state == ANSWERING)
            lws_callback_on_writable(client->wsi);
    }
}

static void *serve(void *arg)
{
    struct admin *admin = arg;

    pthread_setname_np(pthread_self(), "bailey-admin");
    while (!atomic_load_explicit(&admin->stopping, memory_order_acquire)) {
        arm(admin);
        lws_service(admin->context, 0);
    }
    return NULL;
}

/* ---- Start and stop ---- */

static void on_lws_log(int level, const char *line)
{
    (void)level, (void)line; /* as in loop/loop.c */
}

static bool open_context(struct admin *admin, struct bailey_error *err)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .fd_limit_per_thread = ADMIN_CLIENTS_MAX + 16,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .pt_serv_buf_size = 4096,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
    };

    lws_set_log_level(0, on_lws_log);
    admin->context = lws_create_context(&info);
    if (admin->context != NULL)
        admin->vhost = lws_create_vhost(admin->context, &info);
    if (admin->vhost == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "cannot make the loop of the admin server (libwebsockets)");
    return true;
}

static bool start_thread(struct admin *admin, struct bailey_error *err)
{
    int failed = thread_start_joinable(&admin->thread, serve, admin);

    return failed == 0 || bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", failed,
                                             "cannot make the thread of the admin server: %s", strerror(failed));
}

static void admin_free(struct admin *admin)
{
    if (admin->context != NULL)
        lws_context_destroy(admin->context); /* closes the clients */
    assert(admin->client_count == 0);
    if (admin->listener == NULL && admin->listen_fd >= 0)
        close(admin->listen_fd);
    free(admin);
}

struct admin *admin_start(struct gateway *gateway, const struct config *config, struct bailey_error *err)
{
    struct admin *admin;
    char address[LISTEN_ADDRESS_MAX];

    if (config->admin_address == NULL)
        return NULL;
    if ((admin = calloc(1, sizeof *admin)) == NULL)
        abort();
    if (gethostname(admin->host_name, sizeof admin->host_name - 1) != 0)
        admin->host_name[0] = '\0';
    admin->pages = (struct pages){gateway, config, {config->admin_address, admin->host_name, NULL}};

    admin->listen_fd = listen_open(config->admin_address, config->admin_port, err);
    if (admin->listen_fd < 0 || !open_context(admin, err))
        goto free_admin;
    admin->port = listen_address(admin->listen_fd, address);
    admin->listener = adopt(admin, admin->listen_fd, "listener", admin);
    if (admin->listener == NULL) {
        admin->listen_fd = -1; /* closed */
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "cannot watch the socket of the admin server (libwebsockets)");
        goto free_admin;
    }
    if (!start_thread(admin, err))
        goto free_admin;
    bailey_log(BAILEY_LOG_INFO, "admin.listening", kv_str("address", address));
    return admin;

free_admin:
    admin_free(admin);
    return NULL;
}

uint16_t admin_port(const struct admin *admin)
{
    return admin->port;
}

void admin_stop(struct admin *admin)
{
    if (admin == NULL)
        return;
    atomic_store_explicit(&admin->stopping, true, memory_order_release);
    lws_cancel_service(admin->context);
    pthread_join(admin->thread, NULL);
    admin_free(admin);
}
