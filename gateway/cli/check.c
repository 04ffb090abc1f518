/* cli/check.c: `bailey check FILE`: everything that run would find wrong before it starts. */
#include "cli/cli.h"

#include <stdio.h>
#include <string.h>

#include "host/registry.h"

static void add_json(struct text *out, const struct findings *findings, bool valid)
{
    text_printf(out, "{\"version\":%d,\"file\":", CLI_JSON_VERSION);
    text_add_json(out, findings->file, strlen(findings->file));
    text_printf(out, ",\"valid\":%s,\"errors\":%zu,\"warnings\":%zu,\"findings\":", valid ? "true" : "false",
                findings->counts.errors, findings->counts.warnings);
    findings_json(findings, out);
    text_add(out, "}\n");
}

static int run(const struct command *command, int argc, char **argv)
{
    bool strict = false, json = false;
    const struct cli_flag flags[] = {{.name = "--strict", .set = &strict}, {.name = "--json", .set = &json}, {0}};
    struct text out = {0}, report = {0};
    struct findings findings;
    const char *path;

    switch (cli_parse(command, argc, argv, flags, 1, 1, &path)) {
    case CLI_DONE:
        return CLI_OK;
    case CLI_WRONG:
        return CLI_USAGE;
    case CLI_GO:
        break;
    }
    findings_init(&findings, path);
    struct config *config = config_read(path, registry_find, &findings);
    bool valid = config != NULL && !(strict && findings.counts.warnings > 0);
    if (json) {
        add_json(&out, &findings, valid);
    } else {
        findings_print(&findings, &report);
        if (valid)
            text_printf(&out, "%s is valid: %zu route%s, %zu broker%s\n", path, config->route_count,
                        config->route_count == 1 ? "" : "s", config->broker_count,
                        config->broker_count == 1 ? "" : "s");
    }
    cli_complain(&report);
    int printed = cli_print(&out);
    config_free(config);
    findings_fini(&findings);
    return valid ? printed : CLI_USAGE;
}

const struct command check_command = {
    .name = "check",
    .usage = "FILE [--strict] [--json]",
    .summary = "Check a configuration without connecting to anything.",
    .help = "Prints every mistake as FILE:LINE:COLUMN, with a hint. Exit code 2 if there is one.\n\n"
            "  --strict   warnings count as mistakes\n"
            "  --json     print the findings as JSON\n",
    .run = run,
};
