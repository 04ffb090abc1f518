/* The rules for connectors, on real brokers. Those are judged whose place is given: BAILEY_TEST_KAFKA is host:port,
 * BAILEY_TEST_AMQP an URL, BAILEY_TEST_STOMP_ACTIVEMQ, _ARTEMIS and _RABBITMQ are URLs with login and passcode; all on 127.0.0.1
 * and without TLS, so that a proxy can stand between. Topics and queues of this run are named conformance-... and its process. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"
#include "harness.h"

enum { KAFKA, AMQP, STOMP_ACTIVEMQ, STOMP_ARTEMIS, STOMP_RABBITMQ, SUBJECTS };

static const char *const variables[SUBJECTS] = {
    [KAFKA] = "BAILEY_TEST_KAFKA",
    [AMQP] = "BAILEY_TEST_AMQP",
    [STOMP_ACTIVEMQ] = "BAILEY_TEST_STOMP_ACTIVEMQ",
    [STOMP_ARTEMIS] = "BAILEY_TEST_STOMP_ARTEMIS",
    [STOMP_RABBITMQ] = "BAILEY_TEST_STOMP_RABBITMQ",
};

static char brokers[SUBJECTS][512];

#define STOMP_ENDS .source = "destination: \"/queue/@\"", .sink = "destination: \"/queue/@\"", .openings = 30

static const struct subject known[SUBJECTS] = {
    [KAFKA] =
        {
            .name = "kafka",
            .source = "topic: \"@\", group: \"@\", declare: { create: { partitions: 1, config: { max.message.bytes: "
                      "4194304 } } }",
            .sink = "topic: \"@\", declare: { create: { partitions: 1, config: { max.message.bytes: 4194304 } } }",
            .messages = 5000,
            .openings = 10,
        },
    [AMQP] =
        {
            .name = "amqp",
            .source = "queue: \"@\", declare: create",
            .sink = "queue: \"@\", declare: create",
            .messages = 5000,
            .openings = 50,
        },
    [STOMP_ACTIVEMQ] = {.name = "stomp-activemq",
                        .messages = 2000,
                        STOMP_ENDS}, /* it syncs its disk for each message */
    [STOMP_ARTEMIS] = {.name = "stomp-artemis", .messages = 5000, STOMP_ENDS},
    [STOMP_RABBITMQ] = {.name = "stomp-rabbitmq", .messages = 5000, STOMP_ENDS},
};

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

static void write_kafka(char *broker, size_t size, uint16_t port)
{
    snprintf(broker, size,
             "{ connector: kafka, bootstrap_servers: \"127.0.0.1:%u\", librdkafka: { fetch.wait.max.ms: 20, "
             "reconnect.backoff.max.ms: 500 } }",
             port);
}

/* The URL with the proxy's port for the broker's. */
static void write_url(char *broker, size_t size, const char *connector, const char *url, uint16_t port)
{
    const char *host = strstr(url, "127.0.0.1:");
    const char *rest = host + strlen("127.0.0.1:");

    rest += strspn(rest, "0123456789");
    snprintf(broker, size, "{ connector: %s, url: \"%.*s127.0.0.1:%u%s\" }", connector, (int)(host - url), url, port,
             rest);
}

static void use(struct subject *subject, int which, const char *place)
{
    *subject = known[which];
    subject->proxy = proxy_start(port_of(place, variables[which]), which == KAFKA);
    subject->broker = brokers[which];
    if (which == KAFKA)
        write_kafka(brokers[which], sizeof brokers[which], proxy_port(subject->proxy));
    else
        write_url(brokers[which], sizeof brokers[which], which == AMQP ? "amqp" : "stomp", place,
                  proxy_port(subject->proxy));
}

int main(void)
{
    struct subject subjects[SUBJECTS];
    unsigned count = 0;
    int failed;

    harness_begin();
    for (int i = 0; i < SUBJECTS; i++) {
        const char *place = getenv(variables[i]);

        if (place != NULL && *place != '\0')
            use(&subjects[count++], i, place);
    }
    if (count == 0) {
        fprintf(stderr, "conformance_brokers: which broker is to be tested? Set %s, or another of its kind\n",
                variables[0]);
        return 1;
    }
    failed = conformance_run("conformance, on brokers", subjects, count);
    for (unsigned i = 0; i < count; i++)
        proxy_stop(subjects[i].proxy);
    return failed;
}
