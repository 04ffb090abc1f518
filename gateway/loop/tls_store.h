/* loop/tls_store.h: what tls.c, tls_store.c and tls_key.c share: OpenSSL's contexts, by settings, and what is in files. */
#ifndef BAILEY_TLS_STORE_H
#define BAILEY_TLS_STORE_H

#include <openssl/ssl.h>

#include "loop/tls.h"

/* The context for `options`, made anew if one of their files has changed. The store's; a session that is made of it keeps it
 * alive. NULL with `err`, text and hint, if a file cannot be used. */
SSL_CTX *tls_store_context(struct tls_store *store, const struct bailey_tls *options, struct bailey_error *err);

/* The private key in the PEM file `path`, opened with `password` if it is encrypted; the caller's. NULL with `err`. Any thread. */
EVP_PKEY *tls_key_read(const char *path, const struct bailey_credential *password, struct bailey_error *err);

/* Can the file be opened? False with `err`, in the system's words: OpenSSL words a missing file as a failure of its own. */
bool tls_file_readable(const char *what, const char *path, struct bailey_error *err);
/* The file holds nothing of use, for the reason that OpenSSL has. Returns false. */
bool tls_file_unusable(const char *what, const char *path, const char *hint, struct bailey_error *err);

#endif
