/* generate: messages out of nothing, for demonstrations, tests and measurements. Read it from the bottom up.
 * What a message holds is payload.h's matter; how the source works, generate_source.c's. */
#include "generate.h"

#include <stdlib.h>

#include "payload.h"

#define SOURCE(member) .offset = offsetof(struct generate_settings, member)

static const struct bailey_option source_options[] = {
    {.name = "count",
     .type = BAILEY_OPT_INT,
     SOURCE(count),
     .initial = "0",
     .max = INT64_MAX,
     .unit = "messages",
     .summary = "How many to make, by all lanes together; then the route is finished. 0: endless."},
    {.name = "rate",
     .type = BAILEY_OPT_INT,
     SOURCE(rate),
     .initial = "0",
     .max = 10000000,
     .unit = "messages a second",
     .summary = "How fast to make them, by all lanes together. 0: as fast as they are taken."},
    {.name = "size",
     .type = BAILEY_OPT_SIZE,
     SOURCE(size),
     .initial = "256",
     .min = PAYLOAD_MIN,
     .max = 64 << 20,
     .summary = "Size of each body."},
    {.name = "keys",
     .type = BAILEY_OPT_INT,
     SOURCE(keys),
     .initial = "100",
     .max = 1000000000,
     .unit = "keys",
     .summary = "How many different keys the messages have, in turn. 0: none has a key."},
    {.name = "seed",
     .type = BAILEY_OPT_INT,
     SOURCE(seed),
     .initial = "1",
     .max = INT64_MAX,
     .unit = "seed",
     .summary = "Number from which the content is made; messages of one seed are alike byte by byte."},
    {.name = "headers",
     .type = BAILEY_OPT_INT,
     SOURCE(headers),
     .initial = "2",
     .max = GENERATE_HEADERS_MAX,
     .unit = "headers",
     .summary = "How many headers each message has: sequence (a number), idempotency-key, header-3, header-4 ..."},
    {.name = "resume",
     .type = BAILEY_OPT_STRING,
     SOURCE(resume),
     .flags = BAILEY_OPT_PATH,
     .min = 1,
     .max = 4096,
     .summary = "File that keeps the lowest number not settled, from which a restart goes on."},
    {0},
};

static bool broker_open(void **broker, const void *settings, const char *name, const char *instance,
                        struct bailey_host *host, struct bailey_error *err)
{
    struct generate_broker *generate = calloc(1, sizeof *generate);

    (void)settings, (void)instance;
    if (generate == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    *generate = (struct generate_broker){.host = host, .name = name};
    bailey_connection_expected(host, name, 1); /* there is nothing to connect to: always up */
    bailey_connection_up(host, name, 1);
    *broker = generate;
    return true;
}

static void broker_close(void *broker)
{
    struct generate_broker *generate = broker;

    bailey_connection_up(generate->host, generate->name, -1);
    bailey_connection_expected(generate->host, generate->name, -1);
    free(generate);
}

static void check(const void *broker, const void *end, enum bailey_role role, unsigned lanes,
                  struct bailey_report *report)
{
    const struct generate_settings *settings = end;

    (void)broker, (void)role;
    if (end != NULL && settings->keys > 0 && settings->keys < lanes)
        bailey_report_warning(report, "keys", "there are fewer keys than lanes: %u lanes have nothing to do",
                              lanes - (unsigned)settings->keys);
}

/* There is nothing to connect to. */
static void probe(void *broker, const void *end, struct bailey_probe *asked)
{
    (void)broker, (void)end;
    asked->found(asked, &(struct bailey_probe_row){
                            .result = BAILEY_PROBE_OK, .what = "messages", .detail = "made here, out of nothing"});
    asked->done(asked);
}

static const struct bailey_source source = {
    .settings_size = sizeof(struct generate_settings),
    .options = source_options,
    .open = generate_open,
    .resume = generate_resume,
    .settle = generate_settle,
    .drain = generate_drain,
    .close = generate_close,
};

static const char *const schemes[] = {"generate", NULL};
static const struct bailey_url_form url = {.schemes = schemes, .example = "generate://?count=10000&size=1KiB"};

static const struct bailey_connector generate_connector = {
    .size = sizeof generate_connector,
    .abi_major = BAILEY_ABI_MAJOR,
    .abi_minor = BAILEY_ABI_MINOR,
    .name = "generate",
    .summary = "Messages out of nothing, each with a number and a checksum: for demonstrations, tests, measurements.",
    .broker_open = broker_open,
    .broker_close = broker_close,
    .source = &source,
    .url = &url,
    .check = check,
    .probe = probe,
};

const struct bailey_connector *bailey_connector_entry(void)
{
    return &generate_connector;
}
