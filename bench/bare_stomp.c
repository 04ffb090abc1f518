/* A plain blocking STOMP client: see bare_stomp.h. */
#include "bare_stomp.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct frame {
    const char *head; /* command and headers, without the empty line, NUL-terminated in place */
    const char *body;
    size_t len;
};

static void write_all(struct bare_stomp *stomp, const char *head, size_t head_len, const void *body, size_t len)
{
    struct iovec parts[] = {
        {(void *)(uintptr_t)head, head_len}, {(void *)(uintptr_t)body, len}, {(void *)(uintptr_t) "", 1}};
    size_t left = head_len + len + 1;

    while (left > 0) {
        ssize_t done = writev(stomp->fd, parts, 3);

        assert(done > 0);
        left -= (size_t)done;
        for (int i = 0; i < 3; i++) {
            size_t gone = (size_t)done < parts[i].iov_len ? (size_t)done : parts[i].iov_len;

            parts[i].iov_base = (char *)parts[i].iov_base + gone;
            parts[i].iov_len -= gone;
            done -= (ssize_t)gone;
        }
    }
}

/* Have more bytes: true; none within the time: false. */
static bool read_more(struct bare_stomp *stomp, int wait_ms)
{
    struct pollfd ready = {.fd = stomp->fd, .events = POLLIN};

    if (poll(&ready, 1, wait_ms) != 1)
        return false;
    if (stomp->at > 0) {
        memmove(stomp->buffer, stomp->buffer + stomp->at, stomp->len - stomp->at);
        stomp->len -= stomp->at;
        stomp->at = 0;
    }
    assert(stomp->len < sizeof stomp->buffer);
    ssize_t got = recv(stomp->fd, stomp->buffer + stomp->len, sizeof stomp->buffer - stomp->len, 0);

    assert(got > 0);
    stomp->len += (size_t)got;
    return true;
}

static const char *header(const struct frame *frame, const char *name)
{
    static char value[256];
    const char *at = strstr(frame->head, name);

    if (at == NULL)
        return NULL;
    at += strlen(name);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

/* Is a whole frame there? Then it is taken. */
static bool take_frame(struct bare_stomp *stomp, struct frame *frame)
{
    while (stomp->at < stomp->len && stomp->buffer[stomp->at] == '\n')
        stomp->at++;
    char *head = stomp->buffer + stomp->at, *end = memmem(head, stomp->len - stomp->at, "\n\n", 2);

    if (end == NULL)
        return false;
    char was = end[1];

    end[1] = '\0';
    frame->head = head;
    frame->body = end + 2;
    const char *length = header(frame, "\ncontent-length:");
    size_t left = stomp->len - (size_t)(frame->body - stomp->buffer);
    const char *nul = length != NULL ? frame->body + strtoul(length, NULL, 10) : memchr(frame->body, '\0', left);

    if (nul == NULL || (size_t)(nul - frame->body) >= left) {
        end[1] = was;
        return false;
    }
    assert(*nul == '\0');
    frame->len = (size_t)(nul - frame->body);
    stomp->at = (size_t)(nul + 1 - stomp->buffer);
    return true;
}

static bool next_frame(struct bare_stomp *stomp, struct frame *frame, int wait_ms)
{
    while (!take_frame(stomp, frame))
        if (!read_more(stomp, wait_ms))
            return false;
    if (strncmp(frame->head, "ERROR", 5) != 0)
        return true;
    fprintf(stderr, "%s\n", frame->head);
    exit(1);
}

struct bare_stomp *bare_stomp_open(const char *host, int port)
{
    static const char connect_frame[] =
        "CONNECT\naccept-version:1.2\nhost:/\nlogin:admin\npasscode:admin\nheart-beat:0,0\n\n";
    struct bare_stomp *stomp = calloc(1, sizeof *stomp);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct frame frame;
    int on = 1;

    assert(stomp != NULL && inet_pton(AF_INET, host, &address.sin_addr) == 1);
    stomp->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(stomp->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        perror(host);
        exit(1);
    }
    setsockopt(stomp->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    write_all(stomp, connect_frame, sizeof connect_frame - 1, "", 0);
    bool answered = next_frame(stomp, &frame, 10000) && strncmp(frame.head, "CONNECTED", 9) == 0;

    assert(answered);
    return stomp;
}

void bare_stomp_subscribe(struct bare_stomp *stomp, const char *queue, int prefetch)
{
    char head[512];
    int len = snprintf(head, sizeof head,
                       "SUBSCRIBE\nid:0\ndestination:/queue/%s\nack:client-individual\nactivemq.prefetchSize:%d\n"
                       "prefetch-count:%d\n\n",
                       queue, prefetch, prefetch);

    write_all(stomp, head, (size_t)len, "", 0);
}

bool bare_stomp_receive(struct bare_stomp *stomp, struct bare_message *message, int wait_ms)
{
    struct frame frame;

    if (!next_frame(stomp, &frame, wait_ms))
        return false;
    const char *ack = header(&frame, "\nack:");

    assert(strncmp(frame.head, "MESSAGE", 7) == 0 && ack != NULL);
    snprintf(message->ack, sizeof message->ack, "%s", ack);
    message->body = frame.body;
    message->len = frame.len;
    return true;
}

void bare_stomp_ack(struct bare_stomp *stomp, const char *ack)
{
    char head[256];
    int len = snprintf(head, sizeof head, "ACK\nid:%s\n\n", ack); /* still escaped as it came */

    write_all(stomp, head, (size_t)len, "", 0);
}

void bare_stomp_send(struct bare_stomp *stomp, const char *queue, const void *body, size_t len, uint64_t number)
{
    char head[512];
    int head_len = snprintf(head, sizeof head,
                            "SEND\ndestination:/queue/%s\npersistent:true\nreceipt:%llu\ncontent-length:%zu\n\n", queue,
                            (unsigned long long)number, len);

    write_all(stomp, head, (size_t)head_len, body, len);
}

uint64_t bare_stomp_receipt(struct bare_stomp *stomp, bool wait)
{
    struct frame frame;

    if (!next_frame(stomp, &frame, wait ? 1000 : 0))
        return 0;
    const char *number = header(&frame, "\nreceipt-id:");

    assert(strncmp(frame.head, "RECEIPT", 7) == 0 && number != NULL);
    return strtoull(number, NULL, 10);
}

void bare_stomp_close(struct bare_stomp *stomp)
{
    static const char head[] = "DISCONNECT\nreceipt:1\n\n";
    struct frame frame;

    write_all(stomp, head, sizeof head - 1, "", 0);
    while (next_frame(stomp, &frame, 5000) && strncmp(frame.head, "RECEIPT", 7) != 0)
        ; /* messages that were on their way */
    free(stomp);
}
