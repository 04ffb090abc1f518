/* config/schema.c: option tables → JSON Schema.
 *
 * An editor that knows the schema completes names, shows the sentences and marks mistakes. It cannot know which
 * connector a broker's name stands for: an end is any connector's. Where a value can be written with a unit or come
 * from the environment, the schema says so by a pattern.
 */
#include "config/schema.h"

#include <string.h>

#include "config/option.h"
#include "config/tables.h"

#define ENVIRONMENT "\\\\$\\\\{[A-Z_]" /* in a pattern, in JSON */

struct writer {
    struct text *out;
    unsigned depth;
    bool comma; /* something stands before on this level */
};

static void line(struct writer *w)
{
    text_add(w->out, w->comma ? ",\n" : "\n");
    for (unsigned i = 0; i < w->depth; i++)
        text_add(w->out, "  ");
    w->comma = true;
}

static void string(struct writer *w, const char *str)
{
    text_add_json(w->out, str, strlen(str));
}

static void name(struct writer *w, const char *str)
{
    line(w);
    string(w, str);
    text_add(w->out, ": ");
}

static void begin(struct writer *w, const char *bracket)
{
    text_add(w->out, bracket);
    w->depth++;
    w->comma = false;
}

static void end(struct writer *w, const char *bracket)
{
    w->depth--;
    if (w->comma) {
        w->comma = false;
        line(w);
    }
    text_add(w->out, bracket);
    w->comma = true;
}

/* A member whose value is JSON already. */
static void member(struct writer *w, const char *key, const char *json)
{
    name(w, key);
    text_add(w->out, json);
}

static void member_text(struct writer *w, const char *key, const char *str)
{
    name(w, key);
    string(w, str);
}

static void add_table(struct writer *w, const struct bailey_option *table, const char *const *required);

static void add_number(struct writer *w, const struct bailey_option *option)
{
    name(w, "anyOf");
    begin(w, "[");
    line(w);
    begin(w, "{");
    member_text(w, "type", "integer");
    if (option->max > 0) {
        name(w, "minimum");
        text_printf(w->out, "%lld", (long long)option->min);
        if (option->max < INT64_MAX) {
            name(w, "maximum");
            text_printf(w->out, "%lld", (long long)option->max);
        }
    }
    end(w, "}");
    line(w);
    text_printf(w->out, "{ \"type\": \"string\", \"pattern\": \"^-?[0-9]+%s$|" ENVIRONMENT "\" }",
                option->type == BAILEY_OPT_SIZE ? "(B|KiB|MiB|GiB)?" : "[kM]?");
    end(w, "]");
}

static void add_enum(struct writer *w, const char *const *choices)
{
    name(w, "anyOf");
    begin(w, "[");
    line(w);
    text_add(w->out, "{ \"enum\": [");
    for (const char *const *choice = choices; *choice != NULL; choice++) {
        text_add(w->out, choice == choices ? "" : ", ");
        string(w, *choice);
    }
    text_add(w->out, "] }");
    line(w);
    text_add(w->out, "{ \"type\": \"string\", \"pattern\": \"" ENVIRONMENT "\" }");
    end(w, "]");
}

static void add_declare(struct writer *w, const struct bailey_option *option)
{
    static const char *const words[] = {"assert", "never", "create", NULL};

    if (option->children == NULL) {
        add_enum(w, words);
        return;
    }
    name(w, "anyOf");
    begin(w, "[");
    line(w);
    text_add(w->out, "{ \"enum\": [\"assert\", \"never\", \"create\"] }");
    line(w);
    begin(w, "{");
    member_text(w, "type", "object");
    name(w, "properties");
    begin(w, "{");
    name(w, "create");
    begin(w, "{");
    add_table(w, option->children, NULL);
    end(w, "}");
    end(w, "}");
    member(w, "required", "[\"create\"]");
    member(w, "additionalProperties", "false");
    end(w, "}");
    end(w, "]");
}

static void add_type(struct writer *w, const struct bailey_option *option)
{
    static const char scalar[] = "[\"string\", \"number\", \"boolean\"]";

    switch (option->type) {
    case BAILEY_OPT_STRING:
    case BAILEY_OPT_TEMPLATE:
    case BAILEY_OPT_CREDENTIAL:
        member(w, "type", scalar);
        break;
    case BAILEY_OPT_INT:
    case BAILEY_OPT_SIZE:
        add_number(w, option);
        break;
    case BAILEY_OPT_BOOL:
        member(w, "anyOf", "[{ \"type\": \"boolean\" }, { \"type\": \"string\", \"pattern\": \"" ENVIRONMENT "\" }]");
        break;
    case BAILEY_OPT_DURATION:
        member(w, "anyOf",
               "[{ \"const\": 0 }, { \"type\": \"string\", \"pattern\": \"^[0-9]+(ms|s|m|h|d)$|" ENVIRONMENT "\" }]");
        break;
    case BAILEY_OPT_ENUM:
        add_enum(w, option->choices);
        break;
    case BAILEY_OPT_LIST:
        member(w, "anyOf",
               "[{ \"$ref\": \"#/$defs/scalar\" }, { \"type\": \"array\", \"minItems\": 1, "
               "\"items\": { \"$ref\": \"#/$defs/scalar\" } }]");
        break;
    case BAILEY_OPT_MAP:
        member_text(w, "type", "object");
        member(w, "additionalProperties", "{ \"$ref\": \"#/$defs/scalar\" }");
        break;
    case BAILEY_OPT_GROUP:
        add_table(w, option->children, NULL);
        break;
    case BAILEY_OPT_DECLARE:
        add_declare(w, option);
        break;
    }
}

/* A default that is a value is one for the editor; one that is computed is told in words. */
static void add_default(struct writer *w, const struct bailey_option *option)
{
    const char *initial = option->initial;
    bool plain = option->type == BAILEY_OPT_BOOL ||
                 (option->type == BAILEY_OPT_INT && initial != NULL && initial[strspn(initial, "0123456789")] == '\0');

    if (option->initial_text != NULL) {
        struct text words = {0};
        text_printf(&words, "default: %s", option->initial_text);
        member_text(w, "$comment", words.data);
        text_free(&words);
    } else if (initial != NULL && plain) {
        member(w, "default", initial);
    } else if (initial != NULL) {
        member_text(w, "default", initial);
    }
}

static void add_option(struct writer *w, const struct bailey_option *option)
{
    name(w, option->name);
    begin(w, "{");
    member_text(w, "description", option->summary);
    add_default(w, option);
    add_type(w, option);
    end(w, "}");
}

static void add_properties(struct writer *w, const struct bailey_option *table)
{
    for (const struct bailey_option *option = table; option != NULL && option->name != NULL; option++)
        add_option(w, option);
}

static void add_required(struct writer *w, const struct bailey_option *table, const char *const *others)
{
    bool first = true;

    name(w, "required");
    text_add(w->out, "[");
    for (; others != NULL && *others != NULL; others++, first = false) {
        text_add(w->out, first ? "" : ", ");
        string(w, *others);
    }
    for (const struct bailey_option *option = table; option != NULL && option->name != NULL; option++) {
        if (!(option->flags & BAILEY_OPT_REQUIRED))
            continue;
        text_add(w->out, first ? "" : ", ");
        string(w, option->name);
        first = false;
    }
    text_add(w->out, "]");
}

/* An object with the options of `table` and nothing else. */
static void add_table(struct writer *w, const struct bailey_option *table, const char *const *others)
{
    member_text(w, "type", "object");
    name(w, "properties");
    begin(w, "{");
    add_properties(w, table);
    end(w, "}");
    add_required(w, table, others);
    member(w, "additionalProperties", "false");
}

static void add_broker(struct writer *w, const struct bailey_connector *connector)
{
    line(w);
    begin(w, "{");
    member_text(w, "title", connector->name);
    member_text(w, "type", "object");
    name(w, "properties");
    begin(w, "{");
    name(w, "connector");
    begin(w, "{");
    member_text(w, "const", connector->name);
    member_text(w, "description", connector->summary);
    end(w, "}");
    add_properties(w, connector->broker_options);
    end(w, "}");
    add_required(w, connector->broker_options, broker_others);
    member(w, "additionalProperties", "false");
    end(w, "}");
}

static void add_end(struct writer *w, const struct bailey_connector *connector, const struct bailey_option *table)
{
    line(w);
    begin(w, "{");
    member_text(w, "title", connector->name);
    member_text(w, "type", "object");
    name(w, "properties");
    begin(w, "{");
    member(w, "broker", "{ \"type\": \"string\", \"description\": \"Name of one of the brokers.\" }");
    add_properties(w, table);
    end(w, "}");
    add_required(w, table, end_others);
    member(w, "additionalProperties", "false");
    end(w, "}");
}

static void add_definitions(struct writer *w, const struct bailey_connector *const connectors[], size_t count)
{
    name(w, "$defs");
    begin(w, "{");
    member(w, "scalar", "{ \"type\": [\"string\", \"number\", \"boolean\"] }");
    name(w, "broker");
    begin(w, "{");
    name(w, "anyOf");
    begin(w, "[");
    for (size_t i = 0; i < count; i++)
        add_broker(w, connectors[i]);
    end(w, "]");
    end(w, "}");
    for (int role = BAILEY_SOURCE; role <= BAILEY_SINK; role++) {
        name(w, role == BAILEY_SOURCE ? "source" : "sink");
        begin(w, "{");
        name(w, "anyOf");
        begin(w, "[");
        for (size_t i = 0; i < count; i++) {
            if (role == BAILEY_SOURCE && connectors[i]->source != NULL)
                add_end(w, connectors[i], connectors[i]->source->options);
            if (role == BAILEY_SINK && connectors[i]->sink != NULL)
                add_end(w, connectors[i], connectors[i]->sink->options);
        }
        end(w, "]");
        end(w, "}");
    }
    name(w, "route");
    begin(w, "{");
    member_text(w, "type", "object");
    name(w, "properties");
    begin(w, "{");
    add_properties(w, route_options);
    member(w, "from", "{ \"$ref\": \"#/$defs/source\" }");
    member(w, "to", "{ \"$ref\": \"#/$defs/sink\" }");
    member(w, "dead_letter", "{ \"$ref\": \"#/$defs/sink\" }");
    end(w, "}");
    add_required(w, route_options, route_required);
    member(w, "additionalProperties", "false");
    end(w, "}");
    end(w, "}");
}

void schema_add_json(struct text *out, const struct bailey_connector *const connectors[], size_t count)
{
    struct writer w = {.out = out};

    begin(&w, "{");
    member_text(&w, "$schema", "https://json-schema.org/draft/2020-12/schema");
    member_text(&w, "title", "The configuration of bailey");
    member_text(&w, "$comment", "Generated from the option tables by make docs: do not edit.");
    member_text(&w, "type", "object");
    name(&w, "properties");
    begin(&w, "{");
    add_properties(&w, top_options);
    member(&w, "brokers",
           "{ \"description\": \"The connections, each with a name of its own.\", \"type\": \"object\", "
           "\"minProperties\": 1, \"additionalProperties\": { \"$ref\": \"#/$defs/broker\" } }");
    member(&w, "routes",
           "{ \"description\": \"What is carried from where to where.\", \"type\": \"array\", "
           "\"minItems\": 1, \"items\": { \"$ref\": \"#/$defs/route\" } }");
    end(&w, "}");
    add_required(&w, top_options, top_others);
    member(&w, "additionalProperties", "false");
    add_definitions(&w, connectors, count);
    end(&w, "}");
    text_add(out, "\n");
}
