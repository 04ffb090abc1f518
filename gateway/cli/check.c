/* cli/check.c: `bailey check FILE`: everything that run would find wrong before it starts; with --connect also what the
 * brokers have to say about it. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/connect.h"
#include "host/registry.h"

struct check {
    const char *path;
    bool strict, json, connect;
    struct findings findings;
    struct config *config;
    bool valid, connected;
    struct probe_report report; /* if connected */
};

static void add_json(struct text *out, const struct check *check)
{
    const struct findings *findings = &check->findings;

    text_printf(out, "{\"version\":%d,\"file\":", CLI_JSON_VERSION);
    text_add_json(out, findings->file, strlen(findings->file));
    text_printf(out, ",\"valid\":%s,\"errors\":%zu,\"warnings\":%zu,\"findings\":", check->valid ? "true" : "false",
                findings->counts.errors, findings->counts.warnings);
    findings_json(findings, out);
    if (check->connected)
        connect_add_json(out, &check->report);
    text_add(out, "}\n");
}

static void add_text(struct text *out, const struct check *check)
{
    const struct config *config = check->config;

    if (check->connected)
        connect_add_table(out, &check->report);
    else if (check->valid)
        text_printf(out, "%s is valid: %zu route%s, %zu broker%s\n", check->path, config->route_count,
                    config->route_count == 1 ? "" : "s", config->broker_count, config->broker_count == 1 ? "" : "s");
}

/* The table says all that the events would say, once. */
static void silence_log(const struct config *config)
{
    log_set_level(config->log_level == BAILEY_LOG_DEBUG ? BAILEY_LOG_DEBUG : LOG_LEVEL_NONE);
}

static int connect_all(struct check *check)
{
    struct bailey_error err = {0};
    struct text out = {0};

    silence_log(check->config);
    check->connected = probe_routes(check->config, &check->report, &err);
    if (check->connected)
        return probe_report_good(&check->report) ? CLI_OK : CLI_FAILED;
    text_printf(&out, "bailey check: %s\n", err.text);
    cli_complain(&out);
    return CLI_FAILED;
}

static int check_file(struct check *check)
{
    struct text out = {0}, report = {0};
    int result;

    findings_init(&check->findings, check->path);
    check->config = config_read(check->path, registry_find, &check->findings);
    check->valid = check->config != NULL && !(check->strict && check->findings.counts.warnings > 0);
    if (!check->json)
        findings_print(&check->findings, &report);
    cli_complain(&report);
    result = !check->valid ? CLI_USAGE : check->connect ? connect_all(check) : CLI_OK;
    if (check->json)
        add_json(&out, check);
    else
        add_text(&out, check);
    int printed = cli_print(&out);
    probe_report_fini(&check->report);
    config_free(check->config);
    findings_fini(&check->findings);
    return result == CLI_OK ? printed : result;
}

static int run(const struct command *command, int argc, char **argv)
{
    struct check check = {0};
    const struct cli_flag flags[] = {{.name = "--strict", .set = &check.strict},
                                     {.name = "--json", .set = &check.json},
                                     {.name = "--connect", .set = &check.connect},
                                     {0}};
    int parsed = cli_parse(command, argc, argv, flags, 1, 1, &check.path);

    if (parsed != CLI_GO)
        return parsed;
    return check_file(&check);
}

const struct command check_command = {
    .name = "check",
    .usage = "FILE [--strict] [--connect] [--json]",
    .summary = "Check a configuration, with --connect also against its brokers.",
    .help =
        "Prints every mistake as FILE:LINE:COLUMN, with a hint. Exit code 2 if there is one. Without --connect "
        "nothing\n"
        "is connected to.\n\n"
        "  --strict   warnings count as mistakes\n"
        "  --connect  then connect to every broker that a route uses, log in, and look up what the routes need: a\n"
        "             table of topics, queues, exchanges, permissions, with the commands that would give what is\n"
        "             missing. Creates and consumes nothing; takes 10 s at most. Exit code 1 if something is missing\n"
        "  --json     print the findings as JSON\n",
    .run = run,
};
