/* The rules for connectors, on real brokers: BAILEY_TEST_KAFKA is host:port, BAILEY_TEST_AMQP an URL, both on 127.0.0.1 and
 * without TLS, so that a proxy can stand between. Topics and queues of this run are named conformance-... and its process. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "harness.h"

static char kafka_broker[256], amqp_broker[512];
static struct subject subjects[] = {
    {
        .name = "kafka",
        .broker = kafka_broker,
        .source = "topic: \"@\", group: \"@\", declare: { create: { partitions: 1, config: { max.message.bytes: "
                  "4194304 } } }",
        .sink = "topic: \"@\", declare: { create: { partitions: 1, config: { max.message.bytes: 4194304 } } }",
        .messages = 5000,
        .openings = 10,
    },
    {
        .name = "amqp",
        .broker = amqp_broker,
        .source = "queue: \"@\", declare: create",
        .sink = "queue: \"@\", declare: create",
        .messages = 5000,
        .openings = 50,
    },
};

static const char *wanted(const char *name)
{
    const char *value = getenv(name);

    if (value != NULL && *value != '\0')
        return value;
    fprintf(stderr, "conformance_brokers: %s is not set: which broker is to be tested?\n", name);
    exit(1);
}

/* "127.0.0.1:PORT", at `text`. */
static uint16_t port_of(const char *text, const char *name)
{
    const char host[] = "127.0.0.1:";
    const char *at = strstr(text, host);
    long port = at == NULL ? 0 : strtol(at + strlen(host), NULL, 10);

    if (port > 0 && port <= UINT16_MAX)
        return (uint16_t)port;
    fprintf(stderr, "conformance_brokers: %s must name 127.0.0.1:PORT\n", name);
    exit(1);
}

static void use_kafka(struct subject *subject, const char *address)
{
    subject->proxy = proxy_start(port_of(address, "BAILEY_TEST_KAFKA"), true);
    snprintf(kafka_broker, sizeof kafka_broker,
             "{ connector: kafka, bootstrap_servers: \"127.0.0.1:%u\", librdkafka: { fetch.wait.max.ms: 20, "
             "reconnect.backoff.max.ms: 500 } }",
             proxy_port(subject->proxy));
}

/* The URL with the proxy's port for the broker's. */
static void use_amqp(struct subject *subject, const char *url)
{
    const char *host = strstr(url, "127.0.0.1:");
    uint16_t port = port_of(url, "BAILEY_TEST_AMQP");
    const char *rest = host + strlen("127.0.0.1:");

    rest += strspn(rest, "0123456789");
    subject->proxy = proxy_start(port, false);
    snprintf(amqp_broker, sizeof amqp_broker, "{ connector: amqp, url: \"%.*s127.0.0.1:%u%s\" }", (int)(host - url),
             url, proxy_port(subject->proxy), rest);
}

int main(void)
{
    int failed;

    harness_begin();
    use_kafka(&subjects[0], wanted("BAILEY_TEST_KAFKA"));
    use_amqp(&subjects[1], wanted("BAILEY_TEST_AMQP"));
    failed = conformance_run("conformance, on brokers", subjects, 2);
    for (unsigned i = 0; i < 2; i++)
        proxy_stop(subjects[i].proxy);
    return failed;
}
