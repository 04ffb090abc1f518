/* proxy.h: a TCP proxy on loopback whose connections a test can cut: what a lost network looks like to a connector.
 *
 * One thread. Where the broker tells its own address to clients (Kafka's metadata), the proxy puts its own port in its place,
 * so that every connection goes through it.
 */
#ifndef BAILEY_TEST_PROXY_H
#define BAILEY_TEST_PROXY_H

#include <stdbool.h>
#include <stdint.h>

struct proxy;

/* Begin to forward a free port of 127.0.0.1 to 127.0.0.1:`port`. */
struct proxy *proxy_start(uint16_t port, bool rewrites_kafka_metadata);
uint16_t proxy_port(const struct proxy *proxy);

/* Reset every connection (RST: nothing is flushed). New ones are accepted as before. Returns how many there were; any thread. */
unsigned proxy_cut(struct proxy *proxy);

void proxy_stop(struct proxy *proxy);

#endif
