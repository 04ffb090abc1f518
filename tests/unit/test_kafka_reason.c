/* test_kafka_reason.c: librdkafka's words, as it says them to real brokers: what they mean, and what is told to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509_vfy.h>

#include "connectors/kafka/kafka_reason.h"

#define AT "sasl_plaintext://127.0.0.1:9092/bootstrap: "

static const char sasl_state[] =
    AT "SASL PLAIN mechanism handshake failed: Broker: Request not valid in current SASL state: broker's supported "
       "mechanisms: ";

static void a_failed_log_in_is_passed_over_only_if_it_will_succeed(void **state)
{
    static const struct {
        const char *text;
        bool works, token_ended;
        enum kafka_login_failure means;
    } rows[] = {
        {AT "SASL authentication error: Authentication failed: Invalid username or password", true, false,
         KAFKA_LOGIN_REFUSED},
        {AT "SASL authentication error: {\"status\":\"invalid_token\"}", false, false, KAFKA_LOGIN_REFUSED},
        {AT "SASL authentication error: {\"status\":\"invalid_token\"}", false, true, KAFKA_LOGIN_AGAIN},
        {AT "Failed to acquire SASL OAUTHBEARER token: no token from id:1", true, false, KAFKA_LOGIN_AGAIN},
        {AT "SASL SCRAM-SHA-256 mechanism handshake failed: Local: Broker transport failure: broker's supported "
            "mechanisms: ",
         false, false, KAFKA_LOGIN_CUT_OFF},
        {AT "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: "
            "OAUTHBEARER",
         true, false, KAFKA_LOGIN_REFUSED},
        {sasl_state, true, false, KAFKA_LOGIN_AGAIN},
        {sasl_state, false, false, KAFKA_LOGIN_REFUSED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (kafka_login_failure(rows[i].text, rows[i].works, rows[i].token_ended) != rows[i].means)
            fail_msg("row %zu: %s", i, rows[i].text);
}

static void what_is_told_is_the_same_each_time_and_what_openssl_found(void **state)
{
    static const char failed[] = "[thrd:ssl://k:9093/bootstrap]: ssl://k:9093/bootstrap: SSL handshake failed: "
                                 "error:0A000086:SSL routines::certificate verify failed: broker certificate could not "
                                 "be verified, verify that ssl.ca.location is correctly configured or root CA "
                                 "certificates are installed (after 5ms in state SSL_HANDSHAKE)";
    static const struct {
        const char *text;
        int verified;
        const char *told, *hint;
    } rows[] = {
        {failed, 0, "certificate verify failed: broker certificate could not be verified", "set `tls.ca`"},
        {failed, X509_V_ERR_IP_ADDRESS_MISMATCH, "certificate verify failed: IP address mismatch",
         "advertised.listeners"},
        {failed, X509_V_ERR_HOSTNAME_MISMATCH, "certificate verify failed: hostname mismatch", "a name that"},
        {failed, X509_V_ERR_CERT_HAS_EXPIRED, "certificate verify failed: certificate has expired", "renew"},
        {failed, X509_V_ERR_CERT_NOT_YET_VALID, "certificate verify failed: certificate is not yet valid", "clock"},
        {failed, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
         "certificate verify failed: unable to get local issuer certificate", "set `tls.ca`"},
        {"ssl://k:1/bootstrap: Receive failed: error:0A000412:SSL routines::sslv3 alert bad certificate: SSL alert "
         "number 42",
         X509_V_ERR_CERT_HAS_EXPIRED, "SSL alert number 42", "`tls.cert`"},
        {"ssl://k:1/bootstrap: SSL handshake failed: Disconnected: SSL connection closed by peer: connecting to a "
         "PLAINTEXT broker listener? (after 3ms in state SSL_HANDSHAKE, 1 identical error(s) suppressed)",
         0, "connecting to a PLAINTEXT broker listener?", "nobody speaks TLS"},
        {sasl_state, 0, "not valid in current SASL state: broker's supported mechanisms: ", "leave `sasl` off"},
    };
    char told[256];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t len = strlen(rows[i].told);

        kafka_reason_text(told, sizeof told, rows[i].text, rows[i].verified);
        if (strlen(told) < len || strcmp(told + strlen(told) - len, rows[i].told) != 0 || strstr(told, "thrd") != NULL)
            fail_msg("row %zu: %s", i, told);
        if (strstr(kafka_reason_hint(0, told, rows[i].verified), rows[i].hint) == NULL)
            fail_msg("row %zu: %s", i, kafka_reason_hint(0, told, rows[i].verified));
    }
    kafka_reason_text(told, 10, failed, X509_V_ERR_CERT_HAS_EXPIRED);
    assert_string_equal(told, "ssl://k:9");
    kafka_reason_text(told, sizeof told, "", 1);
    assert_string_equal(told, "");
}

static void tls_is_told_from_other_failures_of_the_transport(void **state)
{
    (void)state;
    assert_true(kafka_reason_is_tls("x: SSL alert number 42", false, false));
    assert_true(kafka_reason_is_tls("x: SSL alert number 42", false, true));
    assert_false(kafka_reason_is_tls("x: SSL alert number 42", true, true));
    assert_true(kafka_reason_is_tls("connecting to a PLAINTEXT broker listener?", false, false));
    assert_false(kafka_reason_is_tls("connecting to a PLAINTEXT broker listener?", false, true));
    assert_false(kafka_reason_is_tls(AT "Connect to ipv4#127.0.0.1:9092 failed: Connection refused", false, false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_log_in_is_passed_over_only_if_it_will_succeed),
        cmocka_unit_test(what_is_told_is_the_same_each_time_and_what_openssl_found),
        cmocka_unit_test(tls_is_told_from_other_failures_of_the_transport),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
