/* config/reference.c: option tables → what people read: `bailey connectors NAME`, its JSON, docs/options.md. */
#include <string.h>

#include "config/option.h"
#include "config/schema.h"
#include "config/tables.h"

enum { TEXT_WIDTH = 100 };

static void add_json_text(struct text *out, const char *str)
{
    if (str == NULL)
        text_add(out, "null");
    else
        text_add_json(out, str, strlen(str));
}

/* Advanced options come last. */
static bool in_pass(const struct bailey_option *option, int pass)
{
    return ((option->flags & BAILEY_OPT_ADVANCED) != 0) == (pass == 1);
}

/* ---- Text ---- */

/* `str` in lines of TEXT_WIDTH, each indented. */
static void add_wrapped(struct text *out, const char *str, unsigned indent)
{
    size_t column = TEXT_WIDTH + 1;

    while (*str != '\0') {
        size_t len = strcspn(str, " ");
        if (column + 1 + len > TEXT_WIDTH) {
            text_printf(out, "%s%*s", column > TEXT_WIDTH ? "" : "\n", (int)indent, "");
            column = indent;
        } else {
            text_add(out, " ");
            column++;
        }
        text_add_len(out, str, len);
        column += len;
        str += len + (str[len] == ' ');
    }
    text_add(out, "\n");
}

/* "duration between 1s and 10m, default 30s, secret" */
static void add_facts(struct text *out, const struct bailey_option *option)
{
    text_add(out, option->type == BAILEY_OPT_ENUM ? "one of " : option_type_name(option->type));
    if (option->type == BAILEY_OPT_INT)
        text_printf(out, " of %s", option->unit);
    if (option->max > 0)
        text_add(out, " ");
    option_add_range(out, option);
    if (option->flags & BAILEY_OPT_REQUIRED)
        text_add(out, ", required");
    if (option_default(option) != NULL)
        text_printf(out, ", default %s", option_default(option)[0] == '\0' ? "empty" : option_default(option));
    if (option->flags & BAILEY_OPT_SECRET)
        text_add(out, ", secret");
    if (option->type == BAILEY_OPT_CREDENTIAL)
        text_add(out, ", a !file is read again for each connection");
    if (option->flags & BAILEY_OPT_PATH)
        text_add(out, ", relative to the folder of the configuration");
}

static void add_options(struct text *out, const struct bailey_option *table, unsigned indent)
{
    for (int pass = 0; pass < 2; pass++) {
        for (const struct bailey_option *option = table; option != NULL && option->name != NULL; option++) {
            if (!in_pass(option, pass))
                continue;
            text_printf(out, "%*s%s: ", (int)indent, "", option->name);
            add_facts(out, option);
            text_add(out, "\n");
            add_wrapped(out, option->summary, indent + 4);
            if (option->type == BAILEY_OPT_DECLARE && option->children != NULL)
                text_printf(out, "%*swith the arguments of create:\n", (int)indent + 4, "");
            add_options(out, option->children, indent + 4);
        }
    }
}

static void add_section(struct text *out, const char *title, const struct bailey_option *table)
{
    text_printf(out, "\n%s\n", title);
    if (table == NULL || table->name == NULL)
        text_add(out, "  (no options)\n");
    add_options(out, table, 2);
}

void schema_add_connector(struct text *out, const struct bailey_connector *connector)
{
    text_printf(out, "%s: %s\n", connector->name, connector->summary);
    if (connector->library != NULL)
        text_printf(out, "Library: %s\n", connector->library);
    if (connector->url != NULL && connector->url->example != NULL)
        text_printf(out, "As an URL: %s\n", connector->url->example);
    add_section(out, "Options of a broker (brokers:)", connector->broker_options);
    if (connector->source != NULL)
        add_section(out, "Options of a source (from:)", connector->source->options);
    if (connector->sink != NULL)
        add_section(out, "Options of a sink (to:)", connector->sink->options);
}

/* ---- JSON ---- */

static void add_table_json(struct text *out, const struct bailey_option *table)
{
    text_add(out, "[");
    for (const struct bailey_option *option = table; option != NULL && option->name != NULL; option++) {
        text_add(out, option == table ? "{\"name\":" : ",{\"name\":");
        add_json_text(out, option->name);
        text_add(out, ",\"type\":");
        add_json_text(out, option_type_name(option->type));
        text_printf(out, ",\"required\":%s,\"secret\":%s,\"advanced\":%s,\"default\":",
                    option->flags & BAILEY_OPT_REQUIRED ? "true" : "false",
                    option->flags & BAILEY_OPT_SECRET ? "true" : "false",
                    option->flags & BAILEY_OPT_ADVANCED ? "true" : "false");
        add_json_text(out, option_default(option));
        if (option->unit != NULL) {
            text_add(out, ",\"unit\":");
            add_json_text(out, option->unit);
        }
        if (option->max > 0)
            text_printf(out, ",\"min\":%lld,\"max\":%lld", (long long)option->min, (long long)option->max);
        if (option->choices != NULL) {
            text_add(out, ",\"choices\":[");
            for (const char *const *choice = option->choices; *choice != NULL; choice++) {
                text_add(out, choice == option->choices ? "" : ",");
                add_json_text(out, *choice);
            }
            text_add(out, "]");
        }
        text_add(out, ",\"summary\":");
        add_json_text(out, option->summary);
        if (option->children != NULL) {
            text_add(out, ",\"options\":");
            add_table_json(out, option->children);
        }
        text_add(out, "}");
    }
    text_add(out, "]");
}

void schema_add_connector_json(struct text *out, const struct bailey_connector *connector)
{
    text_add(out, "{\"name\":");
    add_json_text(out, connector->name);
    text_add(out, ",\"summary\":");
    add_json_text(out, connector->summary);
    text_add(out, ",\"library\":");
    add_json_text(out, connector->library);
    text_printf(out, ",\"abi\":\"%u.%u\",\"broker\":", connector->abi_major, connector->abi_minor);
    add_table_json(out, connector->broker_options);
    text_add(out, ",\"source\":");
    if (connector->source == NULL)
        text_add(out, "null");
    else
        add_table_json(out, connector->source->options);
    text_add(out, ",\"sink\":");
    if (connector->sink == NULL)
        text_add(out, "null");
    else
        add_table_json(out, connector->sink->options);
    text_add(out, "}");
}

/* ---- Markdown ---- */

/* Text inside of a table's cell. */
static void add_cell(struct text *out, const char *str)
{
    for (; *str != '\0'; str++) {
        if (*str == '|' || *str == '<' || *str == '*')
            text_add(out, "\\");
        text_add_len(out, str, 1);
    }
}

static void add_rows(struct text *out, const struct bailey_option *table, const char *prefix)
{
    for (int pass = 0; pass < 2; pass++) {
        for (const struct bailey_option *option = table; option != NULL && option->name != NULL; option++) {
            struct text facts = {0}, name = {0};
            if (!in_pass(option, pass))
                continue;
            text_printf(&name, "%s%s", prefix, option->name);
            text_printf(out, "| `%s` | ", name.data);
            add_facts(&facts, option);
            add_cell(out, facts.data);
            text_add(out, " | ");
            add_cell(out, option->summary);
            text_add(out, " |\n");
            if (option->children != NULL) {
                text_add(&name, option->type == BAILEY_OPT_DECLARE ? ".create." : ".");
                add_rows(out, option->children, name.data);
            }
            text_free(&facts);
            text_free(&name);
        }
    }
}

static void add_markdown_table(struct text *out, const char *title, const struct bailey_option *table)
{
    text_printf(out, "\n%s\n\n", title);
    if (table == NULL || table->name == NULL) {
        text_add(out, "No options.\n");
        return;
    }
    text_add(out, "| option | value | meaning |\n|---|---|---|\n");
    add_rows(out, table, "");
}

void schema_add_markdown(struct text *out, const struct bailey_connector *const connectors[], size_t count)
{
    text_add(
        out,
        "# Options\n\n"
        "Generated from the option tables by `make docs`: do not edit. `a.b` is the option `b` inside of `a:`.\n\n"
        "Durations have a unit: `ms`, `s`, `m`, `h` or `d`. Sizes may have one: `B`, `KiB`, `MiB`, `GiB`. Numbers may\n"
        "end in `k` (1,000) or `M` (1,000,000). `${NAME}` in capitals is the environment, `${NAME:-default}` gives a\n"
        "default, `!file PATH` reads a value from a file. A template may hold `${key}`, `${header.NAME}`, `${topic}`,\n"
        "`${partition}`, `${offset}`, `${queue}`, `${exchange}`, `${routing_key}`, `${destination}`, `${timestamp}`,\n"
        "`${message_id}`, `${route}`, `${body.sha256}` and `${source.position}`, each with a default after `:-`.\n"
        "`$${` is a literal `${`.\n");
    add_markdown_table(out, "## The file", top_options);
    text_add(out, "\n`brokers:` holds the brokers by name, each with `connector:` and the options of that connector.\n"
                  "`routes:` is the list of routes, each with `from:` and `to:`, which name a `broker:`.\n");
    add_markdown_table(out, "## A route", route_options);
    for (size_t i = 0; i < count; i++) {
        const struct bailey_connector *connector = connectors[i];
        text_printf(out, "\n## %s\n\n%s\n", connector->name, connector->summary);
        add_markdown_table(out, "### Broker", connector->broker_options);
        if (connector->source != NULL)
            add_markdown_table(out, "### Source (`from:`)", connector->source->options);
        if (connector->sink != NULL)
            add_markdown_table(out, "### Sink (`to:`)", connector->sink->options);
    }
}
