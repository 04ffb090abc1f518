/* cli/connectors.c: `bailey connectors [NAME]`: what is installed, and its option tables. */
#include "cli/cli.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "host/registry.h"

struct wishes {
    bool json, schema, markdown; /* schema, markdown: for make docs */
};

static const char *ends_of(const struct bailey_connector *connector)
{
    return connector->source == NULL ? "sends" : connector->sink == NULL ? "receives" : "receives and sends";
}

/* All that can be loaded; the others are complained about. */
static const struct bailey_connector **load_all(size_t *count)
{
    const char *const *names;
    size_t total = registry_names(&names);
    const struct bailey_connector **all = calloc(total + 1, sizeof *all);
    struct text out = {0};

    *count = 0;
    for (size_t i = 0; all != NULL && i < total; i++) {
        struct bailey_error err = {0};
        all[*count] = registry_find(names[i], &err);
        if (all[*count] != NULL)
            ++*count;
        else
            text_printf(&out, "bailey connectors: %s\n", err.text);
    }
    cli_complain(&out);
    return all;
}

static void add_list(struct text *out, const struct bailey_connector *const all[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        text_printf(out, "%s: %s\n    %s", all[i]->name, all[i]->summary, ends_of(all[i]));
        if (all[i]->library != NULL)
            text_printf(out, "; %s", all[i]->library);
        text_add(out, "\n");
    }
    if (count == 0)
        text_add(out, "No connector is installed: see BAILEY_CONNECTOR_PATH.\n");
}

static void add_all(struct text *out, const struct wishes *wishes)
{
    size_t count;
    const struct bailey_connector **all = load_all(&count);

    if (wishes->schema) {
        schema_add_json(out, all, count);
    } else if (wishes->markdown) {
        schema_add_markdown(out, all, count);
    } else if (wishes->json) {
        text_printf(out, "{\"version\":%d,\"connectors\":[", CLI_JSON_VERSION);
        for (size_t i = 0; i < count; i++) {
            text_add(out, i == 0 ? "" : ",");
            schema_add_connector_json(out, all[i]);
        }
        text_add(out, "]}\n");
    } else {
        add_list(out, all, count);
    }
    free(all);
}

static int run(const struct command *command, int argc, char **argv)
{
    struct wishes wishes = {0};
    const struct cli_flag flags[] = {{.name = "--json", .set = &wishes.json},
                                     {.name = "--schema", .set = &wishes.schema},
                                     {.name = "--markdown", .set = &wishes.markdown},
                                     {0}};
    struct bailey_error err = {0};
    struct text out = {0};
    const char *name;
    int parsed = cli_parse(command, argc, argv, flags, 0, 1, &name);

    if (parsed != CLI_GO)
        return parsed;
    if (name == NULL) {
        add_all(&out, &wishes);
        return cli_print(&out);
    }
    const struct bailey_connector *connector = registry_find(name, &err);
    if (connector == NULL) {
        text_printf(&out, "bailey connectors: %s\n", err.text);
        if (err.hint[0] != '\0')
            text_printf(&out, "    hint: %s\n", err.hint);
        cli_complain(&out);
        return CLI_USAGE;
    }
    if (wishes.json) {
        text_printf(&out, "{\"version\":%d,\"connectors\":[", CLI_JSON_VERSION);
        schema_add_connector_json(&out, connector);
        text_add(&out, "]}\n");
    } else {
        schema_add_connector(&out, connector);
    }
    return cli_print(&out);
}

const struct command connectors_command = {
    .name = "connectors",
    .usage = "[NAME] [--json]",
    .summary = "List the connectors, or the options of one.",
    .help =
        "Connectors are found in the folders of BAILEY_CONNECTOR_PATH (separated by colons), in connectors/ beside\n"
        "the program, and in ../lib/bailey/connectors.\n\n"
        "  --json     print them with all their options as JSON\n",
    .run = run,
};
