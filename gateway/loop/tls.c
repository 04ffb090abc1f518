/* OpenSSL behind five results. Its error queue is per thread, and is emptied before each call, as the manual of
 * SSL_get_error(3) asks.
 *
 * Renegotiation is off. What OpenSSL (3.0.19, tried) does not bound are messages after the handshake that are no data (key updates, tickets,
 * requests for renegotiation), each of which costs it work: a peer that sends many of them in a row is dropped. */
#include "loop/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "loop/tls_store.h"

enum { MESSAGES_MAX = 32 }; /* of the handshake protocol in a row, with no data between them */

struct tls {
    SSL *ssl;
    bool is_up;
    unsigned messages;  /* since the last data */
    char made_for[100]; /* a name of a certificate that was refused for its name, or "" */
};

/* What a reason of OpenSSL means to who runs Bailey. */
static const struct {
    int reason;
    const char *hint;
} hints[] = {
    {SSL_R_WRONG_VERSION_NUMBER, "What answers there does not speak TLS: check the port."},
    {SSL_R_PACKET_LENGTH_TOO_LONG, "What answers there does not speak TLS: check the port."},
    {SSL_R_RECORD_LENGTH_MISMATCH, "What answers there does not speak TLS: check the port."},
    {SSL_R_UNSUPPORTED_PROTOCOL, "The peer speaks only versions older than TLS 1.2."},
    {SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "The peer speaks only versions older than TLS 1.2."},
    {SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED, "The peer asks for a client certificate: set `cert` and `key`."},
    {SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "The peer may ask for a client certificate: set `cert` and `key`."},
    {SSL_R_SSLV3_ALERT_BAD_CERTIFICATE, "The peer refuses the client certificate, or asks for one: check `cert`."},
    {SSL_R_TLSV1_ALERT_UNKNOWN_CA, "The peer does not trust who signed the client certificate: check `cert`."},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED, "The peer says that the client certificate has expired: renew `cert`."},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, "The peer says that the client certificate is revoked: renew `cert`."},
    {SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, "The peer refuses the client certificate: check `cert`."},
    {SSL_R_TLSV1_ALERT_ACCESS_DENIED, "The peer refuses the client certificate: check `cert`."},
};

static const char *hint_for(int reason)
{
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (hints[i].reason == reason)
            return hints[i].hint;
    return NULL;
}

static bool fail_openssl(const struct tls *tls, struct bailey_error *err)
{
    unsigned long code = ERR_peek_last_error();
    const char *text = ERR_reason_error_string(code), *hint = hint_for((int)ERR_GET_REASON(code));

    bailey_fail_native(err, tls->is_up && hint == NULL ? BAILEY_ERR_TRANSIENT : BAILEY_ERR_CONFIG, "openssl",
                       (int)ERR_GET_REASON(code), "TLS: %s", text != NULL ? text : "unknown error");
    return hint == NULL ? false : bailey_hint(err, "%s", hint);
}

/* ---- Refused certificates ---- */

/* The first DNS name of `cert`, as far as it is printable. */
static void copy_name(X509 *cert, char *name, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && name[0] == '\0'; i++) {
        const GENERAL_NAME *general = sk_GENERAL_NAME_value(names, i);

        if (general->type != GEN_DNS)
            continue;
        const char *text = (const char *)ASN1_STRING_get0_data(general->d.dNSName);
        size_t len = 0, given = (size_t)ASN1_STRING_length(general->d.dNSName);

        for (; len < given && len + 1 < size && text[len] > ' ' && text[len] < 0x7f; len++)
            name[len] = text[len];
        name[len] = '\0';
    }
    GENERAL_NAMES_free(names);
}

/* The session does not keep a certificate that is refused: what the hint needs is noted here. */
static int on_verify(int ok, X509_STORE_CTX *verifying)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(verifying, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *tls = SSL_get_app_data(ssl);

    if (!ok && X509_STORE_CTX_get_current_cert(verifying) != NULL)
        copy_name(X509_STORE_CTX_get_current_cert(verifying), tls->made_for, sizeof tls->made_for);
    return ok;
}

static bool fail_verify(const struct tls *tls, long verified, struct bailey_error *err)
{
    bailey_fail_native(err, BAILEY_ERR_CONFIG, "x509", (int)verified, "TLS: the peer's certificate is refused: %s",
                       X509_verify_cert_error_string(verified));
    switch (verified) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return tls->made_for[0] != '\0'
                   ? bailey_hint(err, "It is made for %s: connect by a name that it holds.", tls->made_for)
                   : bailey_hint(err, "Connect by a name or address that it holds.");
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return bailey_hint(err, "Renew the peer's certificate, or set the clock of this machine.");
    default:
        return bailey_hint(err, "Set `ca` to the PEM file of the authority that signed it.");
    }
}

/* ---- Sessions ---- */

static void on_message(int is_write, int version, int type, const void *data, size_t len, SSL *ssl, void *ctx)
{
    struct tls *tls = ctx;

    (void)version, (void)data, (void)len, (void)ssl;
    if (!is_write && type == SSL3_RT_HANDSHAKE)
        tls->messages++;
}

static bool expect_name(SSL *ssl, const char *name)
{
    unsigned char address[16];

    if (inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

struct tls *tls_new(struct tls_store *store, const struct bailey_tls *options, const char *name, int fd,
                    struct bailey_error *err)
{
    SSL_CTX *context = tls_store_context(store, options, err);
    struct tls *tls;

    if (context == NULL)
        return NULL;
    ERR_clear_error();
    tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        abort();
    tls->ssl = SSL_new(context);
    if (tls->ssl == NULL || SSL_set_fd(tls->ssl, fd) != 1)
        abort(); /* out of memory */
    if (!expect_name(tls->ssl, name)) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "TLS: '%.100s' is no host name", name);
        tls_free(tls);
        return NULL;
    }
    SSL_set_app_data(tls->ssl, tls);
    SSL_set_verify(tls->ssl, SSL_get_verify_mode(tls->ssl), on_verify);
    SSL_set_msg_callback(tls->ssl, on_message);
    SSL_set_msg_callback_arg(tls->ssl, tls);
    SSL_set_connect_state(tls->ssl);
    return tls;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    free(tls);
}

static enum tls_result result_of(struct tls *tls, int ret, struct bailey_error *err)
{
    long verified;

    if (tls->is_up && tls->messages > MESSAGES_MAX) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "TLS: more than %d key updates or other messages without data",
                    MESSAGES_MAX);
        return TLS_FAILED;
    }
    switch (SSL_get_error(tls->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
    case SSL_ERROR_SYSCALL:
        return TLS_CLOSED;
    default:
        if (ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return TLS_CLOSED;
        verified = SSL_get_verify_result(tls->ssl);
        if (verified != X509_V_OK && (SSL_get_verify_mode(tls->ssl) & SSL_VERIFY_PEER))
            fail_verify(tls, verified, err);
        else
            fail_openssl(tls, err);
        return TLS_FAILED;
    }
}

enum tls_result tls_handshake(struct tls *tls, struct bailey_error *err)
{
    ERR_clear_error();
    int ret = SSL_do_handshake(tls->ssl);

    if (ret != 1)
        return result_of(tls, ret, err);
    tls->is_up = true;
    tls->messages = 0;
    return TLS_OK;
}

enum tls_result tls_read(struct tls *tls, void *data, size_t len, size_t *done, struct bailey_error *err)
{
    ERR_clear_error();
    int ret = SSL_read_ex(tls->ssl, data, len, done);

    if (ret != 1)
        return result_of(tls, ret, err);
    tls->messages = 0;
    return TLS_OK;
}

enum tls_result tls_write(struct tls *tls, const void *data, size_t len, size_t *done, struct bailey_error *err)
{
    ERR_clear_error();
    int ret = SSL_write_ex(tls->ssl, data, len, done);

    return ret == 1 ? TLS_OK : result_of(tls, ret, err);
}
