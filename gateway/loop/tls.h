/* loop/tls.h: TLS of a client connection on a non-blocking socket of ours (OpenSSL; TLS 1.2 at least).
 *
 * Connections of a loop with the same settings share what was read from their files. tls_new() looks whether a file has
 * changed, so that a rotated one counts from the next connection on. Errors name no address: the caller knows it.
 */
#ifndef BAILEY_TLS_H
#define BAILEY_TLS_H

#include <bailey/host.h>

struct tls;
struct tls_store;

enum tls_result { TLS_OK, TLS_WANT_READ, TLS_WANT_WRITE, TLS_CLOSED, TLS_FAILED };

/* Costs nothing before the first tls_new(). Sessions may outlive it. */
struct tls_store *tls_store_new(void);
void tls_store_free(struct tls_store *store); /* NULL is allowed */

/* A client session on `fd` for the host `name` (checked against the certificate unless `insecure`). NULL with `err` when a
 * file cannot be used. */
struct tls *tls_new(struct tls_store *store, const struct bailey_tls *options, const char *name, int fd,
                    struct bailey_error *err);
void tls_free(struct tls *tls);

/* Each does as much as it can. `err` says why where the result is TLS_FAILED. `*done`: bytes. */
enum tls_result tls_handshake(struct tls *tls, struct bailey_error *err);
enum tls_result tls_read(struct tls *tls, void *data, size_t len, size_t *done, struct bailey_error *err);
enum tls_result tls_write(struct tls *tls, const void *data, size_t len, size_t *done, struct bailey_error *err);

/* Can the private key in the PEM file `path` be used, with `password` if it is encrypted? Any thread; reads small local files. */
bool tls_key_usable(const char *path, const struct bailey_credential *password, struct bailey_error *err);

/* Warn that the peer at `address` is not verified: once in the life of the process for each broker and address. */
void tls_warn_insecure(const char *broker, const char *address);

#endif
