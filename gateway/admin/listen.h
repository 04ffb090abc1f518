/* admin/listen.h: the socket that the administration server listens on. Main thread: it may resolve a name. */
#ifndef BAILEY_LISTEN_H
#define BAILEY_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>

/* Listen on `host` (an IPv4 or IPv6 address or a name, no brackets) and `port` (0: any free one). Returns the
 * socket, which does not block, or -1 with `err` and a hint. */
int listen_open(const char *host, uint16_t port, struct bailey_error *err);

/* Where it listens: prints "IP:PORT" ("[IP]:PORT" for IPv6) into `out`, returns the port. */
enum { LISTEN_ADDRESS_MAX = 80 };
uint16_t listen_address(int fd, char out[LISTEN_ADDRESS_MAX]);

#endif
