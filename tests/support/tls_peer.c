/* tls_peer.c: see the header. */
#include "tls_peer.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { FILES_MAX = 32, IDENTITIES_MAX = 32, DAY = 86400 };

static char folder[40];
static char paths[FILES_MAX][80];
static size_t path_count;
static struct identity identities[IDENTITIES_MAX];
static size_t identity_count;
static long serial;

void tls_peer_setup(void)
{
    snprintf(folder, sizeof folder, "/tmp/bailey-tls-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

void tls_peer_teardown(void)
{
    while (path_count > 0)
        unlink(paths[--path_count]);
    assert_int_equal(rmdir(folder), 0);
    while (identity_count > 0) {
        EVP_PKEY_free(identities[--identity_count].key);
        X509_free(identities[identity_count].cert);
    }
}

const char *tls_path(const char *name)
{
    char path[80];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (size_t i = 0; i < path_count; i++)
        if (strcmp(paths[i], path) == 0)
            return paths[i];
    assert_true(path_count < FILES_MAX);
    memcpy(paths[path_count], path, sizeof path);
    return paths[path_count++];
}

/* ---- Certificates ---- */

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

struct identity make_identity(const char *common_name, struct identity_options options)
{
    struct identity made = {EVP_EC_gen("P-256"), X509_new()};
    const struct identity *issuer = options.issuer != NULL ? options.issuer : &made;
    bool dated = options.valid_from_days != 0 || options.valid_to_days != 0;
    X509_NAME *name = X509_get_subject_name(made.cert);

    assert_true(identity_count < IDENTITIES_MAX);
    X509_set_version(made.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made.cert), (dated ? options.valid_from_days : -1) * (long)DAY);
    X509_gmtime_adj(X509_getm_notAfter(made.cert), (dated ? options.valid_to_days : 1) * (long)DAY);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)common_name, -1, -1, 0);
    X509_set_issuer_name(made.cert, X509_get_subject_name(issuer->cert));
    X509_set_pubkey(made.cert, made.key);
    add_extension(made.cert, issuer->cert, NID_basic_constraints,
                  options.issuer == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (options.names != NULL)
        add_extension(made.cert, issuer->cert, NID_subject_alt_name, options.names);
    assert_true(X509_sign(made.cert, issuer->key, EVP_sha256()) > 0);
    return identities[identity_count++] = made;
}

static FILE *open_new(void)
{
    FILE *file = fopen(tls_path("new"), "w");

    assert_non_null(file);
    return file;
}

static const char *put(FILE *file, const char *name)
{
    const char *path = tls_path(name);

    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(tls_path("new"), path), 0);
    return path;
}

const char *write_cert(const char *name, const struct identity *identity)
{
    FILE *file = open_new();

    assert_int_equal(PEM_write_X509(file, identity->cert), 1);
    return put(file, name);
}

const char *write_key(const char *name, const struct identity *identity, const char *password)
{
    FILE *file = open_new();

    assert_int_equal(PEM_write_PrivateKey(file, identity->key, password != NULL ? EVP_aes_128_cbc() : NULL,
                                          (const unsigned char *)password, password != NULL ? (int)strlen(password) : 0,
                                          NULL, NULL),
                     1);
    return put(file, name);
}

const char *write_text(const char *name, const char *text)
{
    FILE *file = open_new();

    fputs(text, file);
    return put(file, name);
}

/* ---- The listener's side ---- */

void tls_peer_start(struct tls_peer *peer, struct wire_server *server, const struct identity *identity,
                    const struct identity *client_ca)
{
    *peer = (struct tls_peer){.server = server, .context = SSL_CTX_new(TLS_server_method())};
    SSL_CTX_use_certificate(peer->context, identity->cert);
    SSL_CTX_use_PrivateKey(peer->context, identity->key);
    SSL_CTX_set_mode(peer->context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (client_ca == NULL)
        return;
    X509_STORE_add_cert(SSL_CTX_get_cert_store(peer->context), client_ca->cert);
    SSL_CTX_set_verify(peer->context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static bool must_wait(const SSL *ssl, int ret)
{
    int error = SSL_get_error(ssl, ret);

    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

bool tls_peer_accept(struct tls_peer *peer)
{
    int ret = 0;

    wire_accept(peer->server);
    SSL_free(peer->ssl);
    peer->ssl = SSL_new(peer->context);
    SSL_set_fd(peer->ssl, peer->server->fd);
    SSL_set_accept_state(peer->ssl);
    WIRE_UNTIL(ERR_clear_error(), ret = SSL_do_handshake(peer->ssl), ret == 1 || !must_wait(peer->ssl, ret));
    return ret == 1;
}

void tls_peer_write(struct tls_peer *peer, const void *data, size_t len)
{
    size_t done = 0, now = 0;

    WIRE_UNTIL(ERR_clear_error(), SSL_write_ex(peer->ssl, (const char *)data + done, len - done, &now), done += now,
               now = 0, done == len);
}

void tls_peer_read(struct tls_peer *peer, void *data, size_t len)
{
    size_t done = 0, now = 0;

    WIRE_UNTIL(ERR_clear_error(), SSL_read_ex(peer->ssl, (char *)data + done, len - done, &now), done += now, now = 0,
               done == len);
}

void tls_peer_stop(struct tls_peer *peer)
{
    SSL_free(peer->ssl);
    SSL_CTX_free(peer->context);
    *peer = (struct tls_peer){0};
}
