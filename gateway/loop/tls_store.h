/* loop/tls_store.h: what tls.c and tls_store.c share: OpenSSL's contexts, by settings. */
#ifndef BAILEY_TLS_STORE_H
#define BAILEY_TLS_STORE_H

#include <openssl/ssl.h>

#include "loop/tls.h"

/* The context for `options`, made anew if one of their files has changed. The store's; a session that is made of it keeps it
 * alive. NULL with `err`, text and hint, if a file cannot be used. */
SSL_CTX *tls_store_context(struct tls_store *store, const struct bailey_tls *options, struct bailey_error *err);

#endif
