/* test_login_options.c: which log-ins of Kafka and AMQP are refused before anything is connected to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"
#include "host/registry.h"
#include "tls_peer.h"

/* build/.../tests/unit/test_x → build/.../connectors */
static int use_built_connectors(void **state)
{
    char path[4096];
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 32);

    (void)state;
    if (len <= 0)
        return -1;
    path[len] = '\0';
    for (int i = 0; i < 3; i++)
        if (strrchr(path, '/') != NULL)
            *strrchr(path, '/') = '\0';
    strncat(path, "/connectors", 16);
    return setenv("BAILEY_CONNECTOR_PATH", path, 1);
}

struct row {
    const char *options;  /* of the broker, as YAML */
    const char *expected; /* in the findings; NULL: there are none */
};

static void check(const char *connector, const char *required, const char *end, const struct row *row)
{
    struct text findings = {0};
    struct config_counts counts;
    char yaml[1500];
    int len = snprintf(yaml, sizeof yaml,
                       "brokers: { b: { connector: %s, %s%s%s } }\n"
                       "routes: [ { name: r, from: { broker: b, %s }, to: { broker: b, %s } } ]\n",
                       connector, required, row->options[0] != '\0' ? ", " : "", row->options, end, end);
    struct config *config = config_load_text(yaml, (size_t)len, "t.yaml", registry_find, &findings, &counts);
    const char *found = findings.data != NULL ? findings.data : "";

    if (row->expected == NULL ? found[0] != '\0' : strstr(found, row->expected) == NULL)
        fail_msg("%s:\nexpected %s\ngot %s", row->options, row->expected != NULL ? row->expected : "nothing", found);
    assert_null(strstr(found, "geheim"));
    config_free(config);
    text_free(&findings);
}

#define OAUTH "token_url: \"https://id/token\", client_id: me, client_secret: geheim"

static void kafkas_log_ins(void **state)
{
    static const struct row rows[] = {
        {"", NULL},
        {"tls: { ca: a.pem, cert: c.pem, key: k.pem }", NULL},
        {"tls: { cert: c.pem }", "cert and key are only of use together"},
        {"tls: { enabled: true }", NULL},
        {"tls: { enabled: true, verify: false }", "lets anybody pretend to be the broker"},
        {"sasl: { mechanism: SCRAM-SHA-512, username: u, password: geheim }", NULL},
        {"sasl: { mechanism: SCRAM-SHA-1, username: u, password: geheim }", "mechanism must be none, PLAIN"},
        {"sasl: { mechanism: PLAIN, username: u, password: geheim }", "the password travels unencrypted"},
        {"sasl: { mechanism: PLAIN, username: u }", "needs username and password"},
        {"sasl: { username: u, password: geheim }", "username is given, and mechanism is not"},
        {"sasl: { oauth: { " OAUTH " } }", "oauth is given, and mechanism is not"},
        {"tls: { enabled: true }, sasl: { mechanism: OAUTHBEARER, oauth: { " OAUTH " } }", NULL},
        {"tls: { enabled: true }, sasl: { mechanism: OAUTHBEARER, oauth: { " OAUTH
         ", scope: \"a b\", client_auth: post, "
         "parameters: { audience: x }, extensions: { logicalCluster: lkc-1 } } }",
         NULL},
        {"sasl: { mechanism: OAUTHBEARER, oauth: { " OAUTH " } }", "the token travels unencrypted"},
        {"sasl: { mechanism: OAUTHBEARER, username: u, oauth: { " OAUTH " } }", "has no username and password"},
        {"sasl: { mechanism: OAUTHBEARER }", "needs oauth.token_url, oauth.client_id and oauth.client_secret"},
        {"sasl: { mechanism: OAUTHBEARER, oauth: { token_url: \"ftp://x\", client_id: a, client_secret: geheim } }",
         "must begin with https://"},
        {"sasl: { mechanism: OAUTHBEARER, oauth: { token_url: \"http://x/\", client_id: a, client_secret: geheim } }",
         "the client's secret travels unencrypted"},
        {"sasl: { mechanism: SCRAM-SHA-256, username: u, password: geheim, oauth: { " OAUTH " } }",
         "oauth is only of use with the mechanism OAUTHBEARER"},
        {"librdkafka: { sasl.oauthbearer.client.secret: geheim }", "cannot be set: use the option sasl"},
        {"librdkafka: { enable.sasl.oauthbearer.unsecure.jwt: true }", "cannot be set"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check("kafka", "bootstrap_servers: \"localhost:1\"", "topic: t", &rows[i]);
}

static void amqps_log_ins(void **state)
{
    static const struct row rows[] = {
        {"", NULL},
        {"username: bob, password: geheim", NULL},
        {"password: geheim", NULL},
        {"username: \"\"", "username"},
        {"auth: external, tls: { cert: c, key: k }", NULL},
        {"auth: external", "needs tls.cert and tls.key"},
        {"auth: external, username: bob, tls: { cert: c, key: k }", "has no username and password"},
        {"auth: external, password: geheim, tls: { cert: c, key: k }", "has no username and password"},
        {"auth: digest", "auth must be plain or external"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check("amqp", "url: \"amqps://localhost/\"", "queue: q", &rows[i]);
}

/* What is wrong with the key itself is told before anything is connected to, wherever it can be read. */
static void an_encrypted_key_needs_its_password(void **state)
{
    static const char *const connectors[][3] = {{"kafka", "bootstrap_servers: \"localhost:1\"", "topic: t"},
                                                {"amqp", "url: \"amqps://localhost/\"", "queue: q"},
                                                {"stomp", "url: \"stomp+ssl://localhost\"", "destination: /queue/q"}};
    static const struct {
        const char *key, *password, *expected;
    } rows[] = {
        {"plain.key", "", NULL},
        {"plain.key", ", key_password: geheim", NULL}, /* as OpenSSL does: nobody asks for it */
        {"locked.key", ", key_password: geheim", NULL},
        {"locked.key", "", "locked.key: it is encrypted. Give its password as `key_password`"},
        {"locked.key", ", key_password: geheimer", "locked.key: the password does not open it"},
        {"no.key", "", "`key` must be a PEM file with a private key"},
        {"missing.key", "", NULL},
    };
    struct identity me;

    (void)state;
    tls_peer_setup();
    me = make_identity("me", (struct identity_options){0});
    write_key("plain.key", &me, NULL);
    write_key("locked.key", &me, "geheim");
    write_text("no.key", "nothing\n");
    for (size_t c = 0; c < sizeof connectors / sizeof *connectors; c++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            char options[400];

            snprintf(options, sizeof options, "tls: { cert: c.pem, key: \"%s\"%s }", tls_path(rows[i].key),
                     rows[i].password);
            check(connectors[c][0], connectors[c][1], connectors[c][2], &(struct row){options, rows[i].expected});
        }
    tls_peer_teardown();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kafkas_log_ins),
        cmocka_unit_test(amqps_log_ins),
        cmocka_unit_test(an_encrypted_key_needs_its_password),
    };

    return cmocka_run_group_tests(tests, use_built_connectors, NULL);
}
