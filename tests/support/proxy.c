/* proxy.c: a poll loop over pairs of sockets. Blocking writes are good enough: both peers are on this machine and read. */
#include "proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAX = 64 };

struct proxy {
    int listener, wake;
    uint16_t port, target;
    bool rewrites;
    int pairs[PAIRS_MAX][2]; /* client, broker */
    unsigned count;
    pthread_mutex_t lock;
    pthread_cond_t cut_done;
    unsigned cut; /* connections of the last cut */
    bool wants_cut;
    _Atomic bool wants_end;
    pthread_t thread;
};

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "proxy: %s: %s\n", what, strerror(errno));
    abort();
}

static struct sockaddr_in loopback(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void reset_pair(struct proxy *proxy, unsigned i)
{
    struct linger at_once = {.l_onoff = 1};

    for (int side = 0; side < 2; side++) {
        setsockopt(proxy->pairs[i][side], SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(proxy->pairs[i][side]);
    }
    proxy->count--;
    memcpy(proxy->pairs[i], proxy->pairs[proxy->count], sizeof proxy->pairs[i]);
}

static void accept_one(struct proxy *proxy)
{
    struct sockaddr_in address = loopback(proxy->target);
    int client = accept(proxy->listener, NULL, NULL), broker;

    if (client < 0)
        return;
    broker = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(broker >= 0, "socket");
    if (proxy->count == PAIRS_MAX || connect(broker, (struct sockaddr *)&address, sizeof address) != 0) {
        close(client);
        close(broker);
        return;
    }
    proxy->pairs[proxy->count][0] = client;
    proxy->pairs[proxy->count++][1] = broker;
}

/* "127.0.0.1" and the broker's port behind it, 4 bytes big-endian, as Kafka's metadata and coordinator answers have them. */
static void rewrite_port(const struct proxy *proxy, uint8_t *data, size_t len)
{
    static const char host[] = "127.0.0.1";
    uint8_t *at = data, *end = data + len;

    while ((at = memmem(at, (size_t)(end - at), host, sizeof host - 1)) != NULL &&
           end - at >= (ptrdiff_t)sizeof host + 3) {
        uint32_t port;

        at += sizeof host - 1;
        memcpy(&port, at, sizeof port);
        if (ntohl(port) == proxy->target) {
            port = htonl(proxy->port);
            memcpy(at, &port, sizeof port);
        }
    }
}

/* One read and its write; false: the pair is gone. */
static bool forward(const struct proxy *proxy, int from, int to, bool from_broker)
{
    static uint8_t data[1 << 18];
    ssize_t got = recv(from, data, sizeof data, 0);

    if (got <= 0)
        return false;
    if (from_broker && proxy->rewrites)
        rewrite_port(proxy, data, (size_t)got);
    for (ssize_t done = 0; done < got;) {
        ssize_t sent = send(to, data + done, (size_t)(got - done), MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        done += sent;
    }
    return true;
}

static void obey(struct proxy *proxy)
{
    uint64_t ignored;
    ssize_t got = read(proxy->wake, &ignored, sizeof ignored);

    (void)got;
    pthread_mutex_lock(&proxy->lock);
    if (proxy->wants_cut) {
        proxy->cut = proxy->count;
        while (proxy->count > 0)
            reset_pair(proxy, proxy->count - 1);
        proxy->wants_cut = false;
        pthread_cond_signal(&proxy->cut_done);
    }
    pthread_mutex_unlock(&proxy->lock);
}

static void *run(void *ctx)
{
    struct proxy *proxy = ctx;

    while (!proxy->wants_end) {
        struct pollfd fds[2 + 2 * PAIRS_MAX] = {{proxy->wake, POLLIN, 0}, {proxy->listener, POLLIN, 0}};
        unsigned count = proxy->count;

        for (unsigned i = 0; i < 2 * count; i++)
            fds[2 + i] = (struct pollfd){proxy->pairs[i / 2][i % 2], POLLIN, 0};
        if (poll(fds, 2 + 2 * count, -1) < 0)
            continue;
        for (unsigned i = count; i-- > 0;) { /* from the end: a pair that goes is replaced by one already seen */
            bool alive = true;

            for (int side = 0; side < 2 && alive; side++)
                if (fds[2 + 2 * i + (unsigned)side].revents != 0)
                    alive = forward(proxy, proxy->pairs[i][side], proxy->pairs[i][1 - side], side == 1);
            if (!alive)
                reset_pair(proxy, i);
        }
        if (fds[1].revents != 0)
            accept_one(proxy);
        if (fds[0].revents != 0)
            obey(proxy);
    }
    return NULL;
}

struct proxy *proxy_start(uint16_t port, bool rewrites_kafka_metadata)
{
    struct proxy *proxy = calloc(1, sizeof *proxy);
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;

    must(proxy != NULL, "calloc");
    proxy->target = port;
    proxy->rewrites = rewrites_kafka_metadata;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    proxy->wake = eventfd(0, EFD_CLOEXEC);
    must(proxy->listener >= 0 && proxy->wake >= 0, "socket");
    must(bind(proxy->listener, (struct sockaddr *)&address, len) == 0, "bind");
    must(listen(proxy->listener, 64) == 0, "listen");
    must(getsockname(proxy->listener, (struct sockaddr *)&address, &len) == 0, "getsockname");
    proxy->port = ntohs(address.sin_port);
    pthread_mutex_init(&proxy->lock, NULL);
    pthread_cond_init(&proxy->cut_done, NULL);
    must(pthread_create(&proxy->thread, NULL, run, proxy) == 0, "thread");
    return proxy;
}

uint16_t proxy_port(const struct proxy *proxy)
{
    return proxy->port;
}

static void wake(struct proxy *proxy)
{
    uint64_t one = 1;

    must(write(proxy->wake, &one, sizeof one) == sizeof one, "wake");
}

unsigned proxy_cut(struct proxy *proxy)
{
    unsigned cut;

    pthread_mutex_lock(&proxy->lock);
    proxy->wants_cut = true;
    wake(proxy);
    while (proxy->wants_cut)
        pthread_cond_wait(&proxy->cut_done, &proxy->lock);
    cut = proxy->cut;
    pthread_mutex_unlock(&proxy->lock);
    return cut;
}

static void end(struct proxy *proxy)
{
    while (proxy->count > 0)
        reset_pair(proxy, proxy->count - 1);
    close(proxy->listener);
    close(proxy->wake);
    pthread_mutex_destroy(&proxy->lock);
    pthread_cond_destroy(&proxy->cut_done);
    free(proxy);
}

void proxy_stop(struct proxy *proxy)
{
    if (proxy == NULL)
        return;
    pthread_mutex_lock(&proxy->lock);
    proxy->wants_end = true;
    wake(proxy);
    pthread_mutex_unlock(&proxy->lock);
    pthread_join(proxy->thread, NULL);
    end(proxy);
}
