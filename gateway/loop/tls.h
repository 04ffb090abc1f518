/* loop/tls.h: TLS of a client connection on a non-blocking socket of ours (OpenSSL; TLS 1.2 at least).
 *
 * Certificates are read at each call of tls_new(), so that a rotated file counts from the next connection on.
 */
#ifndef BAILEY_TLS_H
#define BAILEY_TLS_H

#include <bailey/host.h>

struct tls;

enum tls_result { TLS_OK, TLS_WANT_READ, TLS_WANT_WRITE, TLS_CLOSED, TLS_FAILED };

/* A client session on `fd` for the host `name` (checked against the certificate unless `insecure`). NULL with `err` when a
 * file cannot be read. */
struct tls *tls_new(const struct bailey_tls *options, const char *name, int fd, struct bailey_error *err);
void tls_free(struct tls *tls);

/* Each does as much as it can. `err` says why where the result is TLS_FAILED. `*done`: bytes. */
enum tls_result tls_handshake(struct tls *tls, struct bailey_error *err);
enum tls_result tls_read(struct tls *tls, void *data, size_t len, size_t *done, struct bailey_error *err);
enum tls_result tls_write(struct tls *tls, const void *data, size_t len, size_t *done, struct bailey_error *err);

#endif
