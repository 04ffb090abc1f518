/* tls_peer.h: certificates made on the spot, and TLS on the listener's side of wire_rig.h.
 *
 * Files go to a folder that tls_peer_setup() makes for each test.
 */
#ifndef BAILEY_TEST_TLS_PEER_H
#define BAILEY_TEST_TLS_PEER_H

#include <openssl/ssl.h>

#include "wire_rig.h"

/* A key with its certificate. */
struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

struct identity_options {
    const struct identity *issuer;      /* NULL: signs itself, and may sign others */
    const char *names;                  /* subjectAltName: "DNS:localhost,IP:127.0.0.1" */
    int valid_from_days, valid_to_days; /* from now; 0 and 0: yesterday to tomorrow */
};

void tls_peer_setup(void);    /* the folder */
void tls_peer_teardown(void); /* removes it, with all that tls_path() named, and frees all identities */

/* The path of `name` in the folder, until tls_peer_teardown(). */
const char *tls_path(const char *name);

struct identity make_identity(const char *common_name, struct identity_options options);
/* Write PEM files, renamed into place. Return the path. */
const char *write_cert(const char *name, const struct identity *identity);
const char *write_key(const char *name, const struct identity *identity, const char *password);
const char *write_text(const char *name, const char *text);

/* The listener's side. */
struct tls_peer {
    struct wire_server *server;
    SSL_CTX *context;
    SSL *ssl;
};

/* Serve as `identity`; `client_ca` (or NULL): ask for a certificate that it signed. */
void tls_peer_start(struct tls_peer *peer, struct wire_server *server, const struct identity *identity,
                    const struct identity *client_ca);
/* Accept a connection and shake hands. False if the handshake fails. */
bool tls_peer_accept(struct tls_peer *peer);
void tls_peer_write(struct tls_peer *peer, const void *data, size_t len);
/* Wait for `len` bytes. */
void tls_peer_read(struct tls_peer *peer, void *data, size_t len);
void tls_peer_stop(struct tls_peer *peer);

#endif
