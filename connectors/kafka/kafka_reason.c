/* kafka_reason.c: see kafka_reason.h. */
#include "kafka_reason.h"

#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <string.h>

#include "kafka_lib.h"

static const char unverified[] = "broker certificate could not be verified";

static bool has(const char *text, const char *words)
{
    return strstr(text, words) != NULL;
}

/* - No new token: our own word (kafka_token.c), said already; what is connected goes on.
 * - A token that has just ended: the next one is asked for within a second. If there is none, the token server's failure is told,
 *   and a client without a connection fails by it.
 * - A broker takes a renewed log-in on an open connection at most once a second, and says so in the same words as a listener
 *   that wants no log-in at all: that is what they mean where nothing works. */
enum kafka_login_failure kafka_login_failure(const char *text, bool works, bool token_ended)
{
    if (token_ended || has(text, "Failed to acquire SASL OAUTHBEARER token"))
        return KAFKA_LOGIN_AGAIN;
    if (has(text, "not valid in current SASL state"))
        return works ? KAFKA_LOGIN_AGAIN : KAFKA_LOGIN_REFUSED;
    return has(text, "Local: Broker transport failure") ? KAFKA_LOGIN_CUT_OFF : KAFKA_LOGIN_REFUSED;
}

/* An alert says that our certificate is not taken, or not any more: a new client reads its files again. The other words are a guess
 * of librdkafka's, which it makes also of a broker that ends just then. */
bool kafka_reason_is_tls(const char *text, bool works, bool worked)
{
    return (!works && has(text, "SSL alert number")) || (!worked && has(text, "PLAINTEXT broker listener"));
}

void kafka_reason_text(char *out, size_t size, const char *text, int verified)
{
    static const char *const varying[] = {", verify that ssl.ca.location", ": probably due to broker version",
                                          " (after "};
    const char *behind = strncmp(text, "[thrd:", 6) == 0 ? strstr(text, "]: ") : NULL, *cut;
    size_t len;

    if (behind != NULL)
        text = behind + 3;
    len = strlen(text);
    for (size_t i = 0; i < sizeof varying / sizeof *varying; i++)
        if ((cut = strstr(text, varying[i])) != NULL && (size_t)(cut - text) < len)
            len = (size_t)(cut - text);
    cut = strstr(text, unverified);
    if (verified != X509_V_OK && cut != NULL)
        snprintf(out, size, "%.*s%s", (int)(cut - text), text, X509_verify_cert_error_string(verified));
    else
        snprintf(out, size, "%.*s", (int)len, text);
}

static const char *certificate_hint(int verified)
{
    switch (verified) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return "connect by a name that its certificate holds (bootstrap_servers, and its advertised.listeners)";
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "renew its certificate, or set the clock of this machine";
    default:
        return "set `tls.ca` to the PEM file of the authority that signed its certificate";
    }
}

const char *kafka_reason_hint(int code, const char *text, int verified)
{
    if (has(text, "certificate verify failed"))
        return certificate_hint(verified);
    if (has(text, "SSL alert number"))
        return "it refuses our certificate, or wants one: check `tls.cert` and `tls.key`";
    if (has(text, "nsupported SASL mechanism"))
        return "set `sasl.mechanism` to one that the listener on this port offers";
    if (has(text, "not valid in current SASL state"))
        return "the listener on this port wants no log-in: check the port, or leave `sasl` off";
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION)
        return "check `sasl` and `tls`";
    if (has(text, "PLAINTEXT broker listener") || has(text, "wrong version number"))
        return "nobody speaks TLS on this port: check the port, or leave `tls` off";
    return "check `tls`: the certificate authority and the server's name";
}
