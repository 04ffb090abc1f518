/* cli/copy.c: `bailey copy FROM-URL TO-URL`: a bridge without a file.
 *
 * The URLs are turned into the YAML that somebody would have written, which then takes the usual way: one reader,
 * one set of rules. Only the way it ends is its own.
 */
#include "cli/cli.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/nearest.h"
#include "cli/url.h"
#include "config/units.h"
#include "host/gateway.h"
#include "host/registry.h"

enum { TICK_MS = 200, DRAIN_MS = 10000, CREDIT_MAX = 10000 };

struct copy {
    const struct command *command;
    int64_t count;   /* 0: no such end */
    int64_t idle_ms; /* 0: no such end */
    struct url from, to;
    bool progress;

    int64_t began_ms, changed_ms, shown_ms; /* monotonic: the start, and when something moved and was shown last */
    int64_t seen;                           /* received + delivered at that time */
    struct route_status status;
};

/* ---- URLs → configuration ---- */

static const struct bailey_connector *find_scheme(const char *scheme, size_t len, struct bailey_error *err)
{
    const char *const *names, *known[64], *near;
    size_t count = registry_names(&names), known_count = 0;
    char given[32];

    for (size_t i = 0; i < count; i++) {
        const struct bailey_connector *connector = registry_find(names[i], NULL);
        if (connector == NULL || connector->url == NULL)
            continue;
        for (const char *const *s = connector->url->schemes; *s != NULL; s++) {
            if (strlen(*s) == len && strncmp(*s, scheme, len) == 0)
                return connector;
            if (known_count < sizeof known / sizeof *known)
                known[known_count++] = *s;
        }
    }
    snprintf(given, sizeof given, "%.*s", (int)(len < 30 ? len : 30), scheme);
    bailey_fail(err, BAILEY_ERR_CONFIG, "no connector has URLs that begin with %s://", given);
    near = nearest_name(given, known, known_count);
    if (near != NULL)
        bailey_hint(err, "did you mean %s://?", near);
    else
        bailey_hint(err, "bailey help copy lists them");
    return NULL;
}

static bool parse_url(struct copy *copy, struct url *url, const char *str, enum bailey_role role)
{
    struct bailey_error err = {0};
    char shown[256];

    if (url_parse(url, str, role, find_scheme, &err))
        return true;
    text_mask(shown, sizeof shown, str);
    shown[strcspn(shown, "?")] = '\0'; /* the query may hold secrets */
    cli_wrong(copy->command, "%s: %s%s%s", shown, err.text, err.hint[0] == '\0' ? "" : "; ", err.hint);
    return false;
}

/* Both tables' names, for the nearest. */
static int unknown_option(struct copy *copy, const struct url *url, const struct bailey_option *end, const char *name)
{
    const char *names[128], *near;
    size_t count = 0;

    for (const struct bailey_option *o = end; o != NULL && o->name != NULL && count < 64; o++)
        names[count++] = o->name;
    for (const struct bailey_option *o = url->connector->broker_options; o != NULL && o->name != NULL && count < 128;
         o++)
        names[count++] = o->name;
    near = nearest_name(name, names, count);
    if (near != NULL)
        return cli_wrong(copy->command, "unknown option %.60s of %s; did you mean %s?", name, url->connector->name,
                         near);
    return cli_wrong(copy->command, "unknown option %.60s of %s; bailey connectors %s lists them", name,
                     url->connector->name, url->connector->name);
}

static void add_yaml(struct copy *copy, struct text *yaml, uint64_t id)
{
    struct text from = {0}, to = {0};
    char host[256] = "localhost";
    int64_t credit = copy->count > 0 && copy->count < CREDIT_MAX ? copy->count : CREDIT_MAX;

    gethostname(host, sizeof host - 1);
    for (char *p = host; *p != '\0'; p++)
        if (strchr("._-", *p) == NULL && !((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z') && !(*p >= '0' && *p <= '9'))
            *p = '-';
    url_add_options(&copy->from, copy->from.connector->source->options, &from); /* the end's before the broker's */
    url_add_options(&copy->to, copy->to.connector->sink->options, &to);
    text_printf(yaml, "instance: copy-%.100s-%08" PRIx32 "\nbrokers:\n  from: { connector: %s", host, (uint32_t)id,
                copy->from.connector->name);
    url_add_options(&copy->from, copy->from.connector->broker_options, yaml);
    text_printf(yaml, " }\n  to: { connector: %s", copy->to.connector->name);
    url_add_options(&copy->to, copy->to.connector->broker_options, yaml);
    text_printf(yaml, " }\nroutes:\n  - name: copy\n    credit: { messages: %" PRId64 " }\n", credit);
    text_printf(yaml, "    from: { broker: from%s }\n", from.len > 0 ? from.data : "");
    text_printf(yaml, "    to: { broker: to%s }\n", to.len > 0 ? to.data : "");
    text_free(&from);
    text_free(&to);
}

/* What differs between two copies that run side by side, and stays when one is started again. */
static uint64_t hash(uint64_t seed, const char *str)
{
    for (; *str != '\0'; str++)
        seed = (seed ^ (unsigned char)*str) * 0x100000001b3u;
    return seed;
}

static struct config *read_yaml(const struct text *yaml)
{
    struct findings findings;

    findings_init(&findings, "bailey copy");
    struct config *config = config_read_text(yaml->data, yaml->len, "copy", registry_find, &findings);
    for (struct finding *f = findings.first; f != NULL; f = f->next)
        f->at = (struct place){0}; /* nobody has seen that text */
    struct text out = {0};
    findings_print(&findings, &out);
    cli_complain(&out);
    findings_fini(&findings);
    return config;
}

/* NULL: wrong, and reported. */
static struct config *make_config(struct copy *copy, const char *from, const char *to)
{
    struct config *config = NULL;
    struct text yaml = {0};
    const char *unused;

    if (!parse_url(copy, &copy->from, from, BAILEY_SOURCE) || !parse_url(copy, &copy->to, to, BAILEY_SINK))
        return NULL;
    add_yaml(copy, &yaml, hash(hash(0xcbf29ce484222325u, from), to));
    if ((unused = url_unused(&copy->from)) != NULL)
        unknown_option(copy, &copy->from, copy->from.connector->source->options, unused);
    else if ((unused = url_unused(&copy->to)) != NULL)
        unknown_option(copy, &copy->to, copy->to.connector->sink->options, unused);
    else
        config = read_yaml(&yaml);
    explicit_bzero(yaml.data, yaml.len);
    text_free(&yaml);
    return config;
}

/* ---- Running ---- */

static void show_progress(struct copy *copy, bool last)
{
    int64_t ms = copy->changed_ms - copy->began_ms; /* without the time that it only waited */
    struct text out = {0};

    if (!last && (!copy->progress || cli_now_ms() - copy->shown_ms < TICK_MS))
        return;
    copy->shown_ms = cli_now_ms();
    text_printf(&out, "%s%" PRId64 " message%s copied, %" PRId64 "/s", copy->progress ? "\r" : "",
                copy->status.delivered, copy->status.delivered == 1 ? "" : "s",
                ms > 0 ? copy->status.delivered * 1000 / ms : 0);
    if (!last && copy->status.state != LANE_RUNNING)
        text_printf(&out, ", %s: %.100s", lane_state_names[copy->status.state], copy->status.reason);
    text_add(&out, copy->progress ? "\x1b[K" : "");
    text_add(&out, last ? "\n" : "");
    cli_complain(&out);
}

enum verdict { GO_ON, REACHED, HOPELESS };

static enum verdict judge(struct copy *copy, struct gateway *gateway)
{
    int64_t now = cli_now_ms();

    gateway_status(gateway, 0, &copy->status);
    int64_t moved = copy->status.received + copy->status.delivered;
    bool working = copy->status.state <= LANE_DRAINING;
    if (moved != copy->seen || !working || copy->status.unsettled > 0)
        copy->changed_ms = now;
    copy->seen = moved;
    if (copy->count > 0 && copy->status.delivered >= copy->count)
        return REACHED;
    if (copy->idle_ms > 0 && now - copy->changed_ms >= copy->idle_ms)
        return REACHED;
    return moved == 0 && cli_start_is_hopeless(&copy->status, copy->began_ms) ? HOPELESS : GO_ON;
}

/* Runs until there is a reason to end; that reason as an exit code. */
static int watch(struct copy *copy, struct gateway *gateway, int signals)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = gateway_done_fd(gateway), .events = POLLIN}};

    for (;;) {
        int ready = poll(fds, 2, TICK_MS);
        enum verdict verdict = judge(copy, gateway);
        show_progress(copy, false);
        if (verdict == REACHED)
            return CLI_OK;
        if (verdict == HOPELESS)
            return CLI_FAILED;
        if (ready > 0 && fds[1].revents != 0) /* the source has no more */
            return copy->count > 0 && copy->status.delivered < copy->count ? CLI_FAILED : CLI_OK;
        if (ready > 0 && fds[0].revents != 0 && cli_signals_first(signals) != 0)
            return copy->count > 0 ? CLI_FAILED : CLI_OK;
    }
}

static int run_copy(struct copy *copy, const struct config *config)
{
    struct bailey_error err = {0};
    int signals = cli_signals_open();
    struct gateway *gateway = signals < 0 ? NULL : gateway_start(config, &err);

    if (gateway == NULL) {
        bailey_log(BAILEY_LOG_ERROR, "gateway.failed", kv_error(&err));
        return CLI_FAILED;
    }
    copy->began_ms = copy->changed_ms = cli_now_ms();
    int result = watch(copy, gateway, signals);
    bool hopeless = result == CLI_FAILED && copy->status.state >= LANE_STARTING;
    char reason[sizeof copy->status.reason];
    snprintf(reason, sizeof reason, "%s", copy->status.reason);

    cli_drain(gateway, DRAIN_MS);
    gateway_status(gateway, 0, &copy->status);
    bool drained = gateway_stop(gateway);
    show_progress(copy, true);
    struct text out = {0};
    if (hopeless && reason[0] != '\0')
        text_printf(&out, "bailey copy: %s\n", reason);
    if (!drained)
        text_printf(&out, "bailey copy: what was in flight could not be finished in %d s\n", DRAIN_MS / 1000);
    cli_complain(&out);
    close(signals);
    return result == CLI_OK && drained ? CLI_OK : CLI_FAILED;
}

static int parse_limits(struct copy *copy, const char *count, const char *idle)
{
    if (count != NULL && (units_count(count, &copy->count) != UNITS_OK || copy->count < 1))
        return cli_wrong(copy->command, "--count needs a number of messages, such as 500 or 10k");
    if (idle != NULL && (units_duration(idle, &copy->idle_ms) != UNITS_OK || copy->idle_ms < 1))
        return cli_wrong(copy->command, "--idle needs a duration, such as 5s");
    return CLI_OK;
}

static int run(const struct command *command, int argc, char **argv)
{
    const char *urls[2], *count = NULL, *idle = NULL;
    const struct cli_flag flags[] = {{.name = "--count", .value = &count}, {.name = "--idle", .value = &idle}, {0}};
    struct copy copy = {.command = command, .progress = isatty(STDERR_FILENO) == 1};
    int parsed = cli_parse(command, argc, argv, flags, 2, 2, urls);

    if (parsed != CLI_GO)
        return parsed;
    if (parse_limits(&copy, count, idle) != CLI_OK)
        return CLI_USAGE;
    log_set_level(BAILEY_LOG_WARN);
    struct config *config = make_config(&copy, urls[0], urls[1]);
    if (config != NULL)
        config->messages_max = copy.count;
    int result = config == NULL ? CLI_USAGE : run_copy(&copy, config);
    config_free(config);
    url_fini(&copy.from);
    url_fini(&copy.to);
    return result;
}

static void add_examples(struct text *out)
{
    const char *const *names;
    size_t count = registry_names(&names);

    text_add(out, count > 0 ? "\nURLs of the connectors:\n\n" : "");
    for (size_t i = 0; i < count; i++) {
        const struct bailey_connector *connector = registry_find(names[i], NULL);
        if (connector != NULL && connector->url != NULL && connector->url->example != NULL)
            text_printf(out, "  %s\n", connector->url->example);
    }
}

const struct command copy_command = {
    .name = "copy",
    .usage = "FROM-URL TO-URL [--count N | --idle DURATION]",
    .summary = "Carry messages from one place to another, without a file.",
    .help = "An URL names a broker and, in its path or query, what is read or written there. The query takes every "
            "option of\n"
            "the connector (bailey connectors NAME), with % and two digits for what an URL cannot hold:\n\n"
            "  bailey copy kafka://localhost:9092/orders 'amqp://guest:${RABBIT_PASSWORD}@localhost/%2f?queue=orders' "
            "--idle 5s\n\n"
            "${NAME} in an URL is the environment: a password that is written out is seen by every user of this "
            "machine.\n\n"
            "  --count N        end when N messages are delivered\n"
            "  --idle DURATION  end when nothing came for so long\n\n"
            "Without either it ends when the source has no more, or by SIGINT. Exit code 1: it could not start in 30 "
            "s, or\n"
            "did not reach N.\n",
    .more = add_examples,
    .run = run,
};
