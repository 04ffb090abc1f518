/* bare_stomp.h: a plain STOMP 1.2 client on a blocking socket, as one would write it: one write a frame, a buffered read, one RECEIPT
 * and one ACK a message. Trusts its peer; ends the process when something is not as expected. */
#ifndef BARE_STOMP_H
#define BARE_STOMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bare_stomp {
    int fd;
    size_t at, len; /* of `buffer`: what is read and not used yet */
    char buffer[256 << 10];
};

struct bare_message {
    const char *body; /* valid until the next read */
    size_t len;
    char ack[200];
};

/* Connect and log in as admin, admin. */
struct bare_stomp *bare_stomp_open(const char *host, int port);

void bare_stomp_subscribe(struct bare_stomp *stomp, const char *queue, int prefetch);

/* The next message; false: none within `wait_ms`. */
bool bare_stomp_receive(struct bare_stomp *stomp, struct bare_message *message, int wait_ms);

void bare_stomp_ack(struct bare_stomp *stomp, const char *ack);

/* SEND, persistent, with the number as its receipt. */
void bare_stomp_send(struct bare_stomp *stomp, const char *queue, const void *body, size_t len, uint64_t number);

/* The number of the next RECEIPT, 0 if none is there; waits for one if `wait`. */
uint64_t bare_stomp_receipt(struct bare_stomp *stomp, bool wait);

/* DISCONNECT with a receipt, which proves that all before was read. */
void bare_stomp_close(struct bare_stomp *stomp);

#endif
