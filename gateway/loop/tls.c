/* OpenSSL behind five results. Its error queue is per thread, and is emptied before each call, as the manual of
 * SSL_get_error(3) asks. Renegotiation is off (TLS 1.2); OpenSSL itself bounds TLS 1.3 key updates. */
#include "loop/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

struct tls {
    SSL_CTX *context;
    SSL *ssl;
};

static bool fail_openssl(struct bailey_error *err, const char *what, const char *file)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);

    return bailey_fail_native(err, BAILEY_ERR_CONFIG, "openssl", (int)ERR_GET_REASON(code), "%s%s%s: %s", what,
                              file ? " " : "", file ? file : "", reason ? reason : "unknown error");
}

static bool load_files(SSL_CTX *context, const struct bailey_tls *options, struct bailey_error *err)
{
    if (options->ca != NULL ? SSL_CTX_load_verify_file(context, options->ca) != 1
                            : SSL_CTX_set_default_verify_paths(context) != 1)
        return fail_openssl(err, "cannot read the CA certificates", options->ca);
    if (options->cert != NULL && SSL_CTX_use_certificate_chain_file(context, options->cert) != 1)
        return fail_openssl(err, "cannot read the client certificate", options->cert);
    const char *key = options->key != NULL ? options->key : options->cert;

    if (key != NULL && SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1)
        return fail_openssl(err, "cannot read the client's private key", key);
    return true;
}

static bool expect_name(SSL *ssl, const char *name)
{
    unsigned char address[16];

    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

struct tls *tls_new(const struct bailey_tls *options, const char *name, int fd, struct bailey_error *err)
{
    struct tls *tls = calloc(1, sizeof *tls);

    if (tls == NULL)
        abort();
    ERR_clear_error();
    tls->context = SSL_CTX_new(TLS_client_method());
    if (tls->context == NULL || SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION) != 1) {
        fail_openssl(err, "cannot set up TLS", NULL);
        goto failed;
    }
    SSL_CTX_set_options(tls->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(tls->context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(tls->context, options->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!load_files(tls->context, options, err))
        goto failed;
    tls->ssl = SSL_new(tls->context);
    if (tls->ssl == NULL || !expect_name(tls->ssl, name) || SSL_set_fd(tls->ssl, fd) != 1) {
        fail_openssl(err, "cannot set up TLS", NULL);
        goto failed;
    }
    SSL_set_connect_state(tls->ssl);
    return tls;

failed:
    tls_free(tls);
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    SSL_CTX_free(tls->context);
    free(tls);
}

static enum tls_result result_of(struct tls *tls, int ret, struct bailey_error *err)
{
    long verified;

    switch (SSL_get_error(tls->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    case SSL_ERROR_SYSCALL:
        return TLS_CLOSED;
    default:
        verified = SSL_get_verify_result(tls->ssl);
        if (verified != X509_V_OK)
            bailey_fail_native(err, BAILEY_ERR_CONFIG, "x509", (int)verified,
                               "TLS: the peer's certificate is refused: %s", X509_verify_cert_error_string(verified));
        else
            fail_openssl(err, "TLS", NULL);
        return TLS_FAILED;
    }
}

enum tls_result tls_handshake(struct tls *tls, struct bailey_error *err)
{
    ERR_clear_error();
    int ret = SSL_do_handshake(tls->ssl);

    return ret == 1 ? TLS_OK : result_of(tls, ret, err);
}

enum tls_result tls_read(struct tls *tls, void *data, size_t len, size_t *done, struct bailey_error *err)
{
    ERR_clear_error();
    int ret = SSL_read_ex(tls->ssl, data, len, done);

    return ret == 1 ? TLS_OK : result_of(tls, ret, err);
}

enum tls_result tls_write(struct tls *tls, const void *data, size_t len, size_t *done, struct bailey_error *err)
{
    ERR_clear_error();
    int ret = SSL_write_ex(tls->ssl, data, len, done);

    return ret == 1 ? TLS_OK : result_of(tls, ret, err);
}
