/* config/option.c: one function for each type, found by a table; the rest is walking.
 *
 * A default takes the same way as a value from the file: it is a node that stands nowhere.
 */
#include "config/option.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/nearest.h"
#include "config/units.h"

enum { NAMES_MAX = 256, LIST_LEN = 1024 }; /* LIST_LEN: bytes of the names that a message lists */

typedef bool read_value(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                        void *settings);
static read_value read_string, read_number, read_bool, read_enum, read_list, read_map, read_template, read_group,
    read_declare, read_credential;

static read_value *const readers[] = {
    [BAILEY_OPT_STRING] = read_string,   [BAILEY_OPT_INT] = read_number,      [BAILEY_OPT_BOOL] = read_bool,
    [BAILEY_OPT_DURATION] = read_number, [BAILEY_OPT_SIZE] = read_number,     [BAILEY_OPT_ENUM] = read_enum,
    [BAILEY_OPT_LIST] = read_list,       [BAILEY_OPT_MAP] = read_map,         [BAILEY_OPT_TEMPLATE] = read_template,
    [BAILEY_OPT_GROUP] = read_group,     [BAILEY_OPT_DECLARE] = read_declare, [BAILEY_OPT_CREDENTIAL] = read_credential,
};
enum { TYPES = sizeof readers / sizeof *readers };

static bool apply_defaults(struct option_reader *reader, const struct bailey_option *table, void *settings);

static void *field(const struct bailey_option *option, void *settings)
{
    return (char *)settings + option->offset;
}

/* What may be shown of a value: as it was written (never what the environment or a file gave), and cut. */
static void show(char *out, size_t size, const struct bailey_option *option, const struct yaml_node *node)
{
    if (option->flags & (BAILEY_OPT_SECRET | BAILEY_OPT_URL))
        snprintf(out, size, "a value that is not shown");
    else
        snprintf(out, size, "'%.*s%s'", 60, node->shown, strlen(node->shown) > 60 ? "..." : "");
}

static void hint_default(struct option_reader *reader, const struct bailey_option *option, struct finding *finding)
{
    if (option_default(option) != NULL)
        findings_hint(reader->findings, finding, "remove the line to use the default, %s", option_default(option));
}

/* ---- Scalars ---- */

/* The text of a node that must be one. NULL: reported. */
static const char *scalar(struct option_reader *reader, const struct bailey_option *option,
                          const struct yaml_node *node)
{
    if (node->bad)
        return NULL;
    if (node->kind != YAML_TEXT) {
        findings_error(reader->findings, node->at, "%s must be a single value, not %s", option->name,
                       yaml_kind_name(node->kind));
        return NULL;
    }
    if (node->null) {
        findings_hint(reader->findings, findings_error(reader->findings, node->at, "%s has no value", option->name),
                      "give it one, or remove the line; \"\" is an empty text");
        return NULL;
    }
    if (option->type != BAILEY_OPT_TEMPLATE && template_present(node->pattern)) {
        const char *placeholder = strstr(node->shown, "${");
        struct place at = yaml_place(node, placeholder == NULL ? 0 : (size_t)(placeholder - node->shown));
        findings_hint(reader->findings, findings_error(reader->findings, at, "%s takes no template", option->name),
                      "${...} of the message is for options that are marked as template; a literal ${ is written $${");
        return NULL;
    }
    return node->text;
}

static bool check_length(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                         const char *value)
{
    size_t len = strlen(value);

    if (option->max <= 0 || (len >= (size_t)option->min && len <= (size_t)option->max))
        return true;
    findings_error(reader->findings, node->at, "%s must have %lld to %lld characters, has %zu", option->name,
                   (long long)option->min, (long long)option->max, len);
    return false;
}

/* `value` as an absolute path, if it is one and stands in the file. */
static const char *resolve(struct option_reader *reader, const char *value)
{
    if (value[0] == '/' || value[0] == '\0' || reader->folder == NULL)
        return value;
    size_t size = strlen(reader->folder) + strlen(value) + 2;
    char *path = arena_alloc(reader->arena, size);
    if (path != NULL)
        snprintf(path, size, "%s/%s", reader->folder, value);
    return path;
}

static bool read_string(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                        void *settings)
{
    const char *value = scalar(reader, option, node);

    if (value == NULL || !check_length(reader, option, node, value))
        return false;
    if (option->flags & BAILEY_OPT_PATH)
        value = resolve(reader, value);
    if (value == NULL)
        return findings_no_memory(reader->findings);
    *(const char **)field(option, settings) = value;
    return true;
}

static bool read_credential(struct option_reader *reader, const struct bailey_option *option,
                            const struct yaml_node *node, void *settings)
{
    const char *value = scalar(reader, option, node);

    if (value == NULL || !check_length(reader, option, node, value))
        return false;
    *(struct bailey_credential *)field(option, settings) = (struct bailey_credential){value, node->file};
    return true;
}

static enum units_result parse_number(const struct bailey_option *option, const char *str, int64_t *value)
{
    switch (option->type) {
    case BAILEY_OPT_DURATION:
        return units_duration(str, value);
    case BAILEY_OPT_SIZE:
        return units_size(str, value);
    default:
        return units_count(str, value);
    }
}

static void report_number(struct option_reader *reader, const struct bailey_option *option,
                          const struct yaml_node *node, enum units_result result)
{
    bool duration = option->type == BAILEY_OPT_DURATION, size = option->type == BAILEY_OPT_SIZE;
    const char *kind = duration ? "a duration" : size ? "a size" : "a whole number";
    const char *units = duration ? "ms, s, m, h or d, such as 30s"
                        : size   ? "B, KiB, MiB or GiB, such as 16MiB"
                                 : "k (1,000) or M (1,000,000), or no unit at all";
    char got[80];

    show(got, sizeof got, option, node);
    struct finding *finding = findings_error(
        reader->findings, node->at, result == UNITS_TOO_LARGE ? "%s is too large for %s: %s" : "%s must be %s, got %s",
        option->name, kind, got);
    if (result == UNITS_NO_UNIT)
        findings_hint(reader->findings, finding, "give a unit: %s", units);
    else if (result == UNITS_BAD_UNIT)
        findings_hint(reader->findings, finding, "units are %s", units);
    else
        hint_default(reader, option, finding);
}

static bool report_range(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node)
{
    struct text range = {0};
    char got[80];

    if (!text_reserve(&range, LIST_LEN))
        return findings_no_memory(reader->findings);
    option_add_range(&range, option);
    show(got, sizeof got, option, node);
    hint_default(reader, option,
                 findings_error(reader->findings, node->at, "%s must be %s, got %s", option->name, range.data, got));
    text_free(&range);
    return false;
}

static bool read_number(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                        void *settings)
{
    const char *str = scalar(reader, option, node);
    int64_t value;

    if (str == NULL)
        return false;
    enum units_result result = parse_number(option, str, &value);
    if (result != UNITS_OK) {
        report_number(reader, option, node, result);
        return false;
    }
    if (option->max > 0 && (value < option->min || value > option->max))
        return report_range(reader, option, node);
    *(int64_t *)field(option, settings) = value;
    return true;
}

static bool read_bool(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                      void *settings)
{
    const char *value = scalar(reader, option, node);
    char got[80];

    if (value == NULL)
        return false;
    if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0) {
        show(got, sizeof got, option, node);
        hint_default(reader, option,
                     findings_error(reader->findings, node->at, "%s must be true or false, got %s", option->name, got));
        return false;
    }
    *(bool *)field(option, settings) = value[0] == 't';
    return true;
}

static size_t count_choices(const char *const *choices)
{
    size_t count = 0;

    while (choices[count] != NULL)
        count++;
    return count;
}

/* Index of the choice, or -1 (reported). */
static int choose(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                  const char *const *choices)
{
    const char *value = scalar(reader, option, node);
    struct text list = {0};
    char got[80];

    if (value == NULL)
        return -1;
    size_t count = count_choices(choices);
    for (size_t i = 0; i < count; i++)
        if (strcmp(choices[i], value) == 0)
            return (int)i;
    if (!text_reserve(&list, LIST_LEN)) {
        findings_no_memory(reader->findings);
        return -1;
    }
    for (size_t i = 0; i < count && list.len + strlen(choices[i]) < LIST_LEN - 8; i++)
        text_printf(&list, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", choices[i]);
    show(got, sizeof got, option, node);
    struct finding *finding =
        findings_error(reader->findings, node->at, "%s must be %s, got %s", option->name, list.data, got);
    const char *near = node->text == node->shown ? nearest_name(value, choices, count) : NULL;
    if (near != NULL)
        findings_hint(reader->findings, finding, "did you mean %s?", near);
    text_free(&list);
    return -1;
}

static bool read_enum(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                      void *settings)
{
    int choice = choose(reader, option, node, option->choices);

    if (choice < 0)
        return false;
    *(int *)field(option, settings) = choice;
    return true;
}

/* ---- Lists and maps ---- */

static bool read_list(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                      void *settings)
{
    const struct yaml_node *item = node->kind == YAML_LIST ? node->first : node;
    size_t count = node->kind == YAML_LIST ? node->count : 1, filled = 0;
    bool ok = !node->bad;

    if (node->kind == YAML_LIST && count == 0) {
        findings_error(reader->findings, node->at, "%s is an empty list", option->name);
        return false;
    }
    const char **items = arena_alloc(reader->arena, count * sizeof *items);
    if (items == NULL)
        return findings_no_memory(reader->findings);
    for (; item != NULL && filled < count; item = item->next) {
        const char *value = scalar(reader, option, item);
        if (value != NULL && check_length(reader, option, item, value))
            items[filled++] = value;
        else
            ok = false;
        if (node->kind != YAML_LIST)
            break;
    }
    *(struct bailey_list *)field(option, settings) = (struct bailey_list){items, filled};
    return ok;
}

static bool read_map(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                     void *settings)
{
    bool ok = true;

    if (node->kind != YAML_MAP) {
        if (!node->bad)
            findings_hint(reader->findings,
                          findings_error(reader->findings, node->at, "%s must be a mapping of names to values, not %s",
                                         option->name, yaml_kind_name(node->kind)),
                          "as in %s: { name: value }", option->name);
        return false;
    }
    struct bailey_map_entry *entries = arena_alloc(reader->arena, node->count * sizeof *entries);
    if (entries == NULL)
        return findings_no_memory(reader->findings);
    size_t count = 0;
    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        struct bailey_option entry = *option;
        entry.name = child->key;
        const char *value = scalar(reader, &entry, child);
        if (value != NULL)
            entries[count++] = (struct bailey_map_entry){child->key, value};
        else
            ok = false;
    }
    *(struct bailey_map *)field(option, settings) = (struct bailey_map){entries, count};
    return ok;
}

/* ---- Templates ---- */

static bool add_slot(struct option_reader *reader, struct template *tmpl)
{
    if (reader->template_count == reader->template_cap) {
        size_t cap = reader->template_cap == 0 ? 8 : reader->template_cap * 2;
        struct template **grown = realloc(reader->templates, cap * sizeof *grown);
        if (grown == NULL)
            return findings_no_memory(reader->findings);
        reader->templates = grown;
        reader->template_cap = cap;
    }
    template_public(tmpl)->slot = (int)reader->template_count;
    reader->templates[reader->template_count++] = tmpl;
    return true;
}

static bool read_template(struct option_reader *reader, const struct bailey_option *option,
                          const struct yaml_node *node, void *settings)
{
    struct bailey_error err = {0};
    size_t error_at = 0;

    if (scalar(reader, option, node) == NULL)
        return false;
    struct template *tmpl = template_parse(reader->arena, node->pattern, &error_at, &err);
    if (tmpl == NULL && err.kind == BAILEY_ERR_TRANSIENT)
        return findings_no_memory(reader->findings);
    if (tmpl == NULL) {
        struct place at = yaml_place(node, strcmp(node->pattern, node->shown) == 0 ? error_at : 0);
        struct finding *finding = findings_error(reader->findings, at, "%s: %s", option->name, err.text);
        if (err.hint[0] != '\0')
            findings_hint(reader->findings, finding, "%s", err.hint);
        return false;
    }
    if (template_uses_position(tmpl) && reader->no_position != NULL) {
        findings_hint(reader->findings,
                      findings_error(reader->findings, node->at,
                                     "%s: messages of the connector %s have no ${source.position}", option->name,
                                     reader->no_position),
                      "${message_id} or ${body.sha256} may serve");
        return false;
    }
    if (!template_is_constant(tmpl) && !add_slot(reader, tmpl))
        return false;
    *(const struct bailey_template **)field(option, settings) = template_public(tmpl);
    return true;
}

/* ---- Nested ---- */

static bool read_group(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                       void *settings)
{
    if (node->bad)
        return false;
    if (node->kind != YAML_MAP) {
        findings_hint(reader->findings,
                      findings_error(reader->findings, node->at, "%s must be a mapping of options, not %s",
                                     option->name, node->null ? "empty" : yaml_kind_name(node->kind)),
                      "as in %s: { %s: ... }", option->name, option->children->name);
        return false;
    }
    return option_read(reader, option->children, NULL, node, option->name, settings);
}

static bool read_declare(struct option_reader *reader, const struct bailey_option *option, const struct yaml_node *node,
                         void *settings)
{
    static const char *const choices[] = {"assert", "never", "create", NULL};
    int *declare = field(option, settings);

    if (node->bad)
        return false;
    if (node->kind != YAML_MAP) {
        int choice = choose(reader, option, node, choices);
        if (choice < 0)
            return false;
        *declare = choice;
        return option->children == NULL || apply_defaults(reader, option->children, settings);
    }
    const struct yaml_node *arguments = node->first;
    if (node->count != 1 || strcmp(arguments->key, "create") != 0 || arguments->kind != YAML_MAP ||
        option->children == NULL) {
        findings_hint(reader->findings,
                      findings_error(reader->findings, node->count > 0 ? arguments->key_at : node->at,
                                     "%s must be assert, never, create, or create with arguments", option->name),
                      "as in %s: { create: { %s: ... } }", option->name,
                      option->children == NULL ? "name" : option->children->name);
        return false;
    }
    *declare = BAILEY_DECLARE_CREATE;
    return option_read(reader, option->children, NULL, arguments, "create", settings);
}

/* ---- Tables ---- */

const char *option_default(const struct bailey_option *option)
{
    return option->initial_text != NULL ? option->initial_text : option->initial;
}

static bool apply_default(struct option_reader *reader, const struct bailey_option *option, void *settings)
{
    const struct yaml_node node = {
        .kind = YAML_TEXT, .text = option->initial, .pattern = option->initial, .shown = option->initial};

    if (option->type == BAILEY_OPT_GROUP ||
        (option->type == BAILEY_OPT_DECLARE && option->initial == NULL && option->children != NULL))
        return apply_defaults(reader, option->children, settings);
    if (option->initial == NULL)
        return true;
    const char *folder = reader->folder;
    reader->folder = NULL; /* a default path does not depend on where the file lies */
    bool ok = readers[option->type](reader, option, &node, settings);
    reader->folder = folder;
    return ok;
}

static bool apply_defaults(struct option_reader *reader, const struct bailey_option *table, void *settings)
{
    bool ok = true;

    for (const struct bailey_option *option = table; option->name != NULL; option++)
        ok = apply_default(reader, option, settings) && ok;
    return ok;
}

static const struct bailey_option *find_row(const struct bailey_option *table, const char *name)
{
    for (const struct bailey_option *option = table; option->name != NULL; option++)
        if (strcmp(option->name, name) == 0)
            return option;
    return NULL;
}

static bool is_other(const char *const *others, const char *name)
{
    for (; others != NULL && *others != NULL; others++)
        if (strcmp(*others, name) == 0)
            return true;
    return false;
}

static void report_unknown(struct option_reader *reader, const struct bailey_option *table, const char *const *others,
                           const struct yaml_node *node, const char *what)
{
    const char *names[NAMES_MAX];
    size_t count = 0;
    struct finding *finding =
        findings_error(reader->findings, node->key_at, "unknown option '%.100s' of %s", node->key, what);

    for (; others != NULL && *others != NULL && count < NAMES_MAX; others++)
        names[count++] = *others;
    for (const struct bailey_option *option = table; option->name != NULL && count < NAMES_MAX; option++)
        names[count++] = option->name;
    const char *near = nearest_name(node->key, names, count);
    if (near != NULL) {
        findings_hint(reader->findings, finding, "did you mean '%s'?", near);
        return;
    }
    struct text list = {0};
    if (!text_reserve(&list, LIST_LEN)) {
        findings_no_memory(reader->findings);
        return;
    }
    for (size_t i = 0; i < count && list.len + strlen(names[i]) < LIST_LEN - 8; i++)
        text_printf(&list, "%s%s", i == 0 ? "" : ", ", names[i]);
    findings_hint(reader->findings, finding, "there are %s", count > 0 ? list.data : "none");
    text_free(&list);
}

bool option_read(struct option_reader *reader, const struct bailey_option *table, const char *const *others,
                 const struct yaml_node *map, const char *what, void *settings)
{
    bool ok = true;

    for (const struct yaml_node *node = map->first; node != NULL; node = node->next) {
        if (find_row(table, node->key) == NULL && !is_other(others, node->key)) {
            report_unknown(reader, table, others, node, what);
            ok = false;
        }
    }
    for (const struct bailey_option *option = table; option->name != NULL; option++) {
        const struct yaml_node *node = yaml_child(map, option->name);
        if (node != NULL) {
            ok = readers[option->type](reader, option, node, settings) && ok;
        } else if (option->flags & BAILEY_OPT_REQUIRED) {
            findings_hint(reader->findings,
                          findings_error(reader->findings, map->at, "%s needs the option '%s'", what, option->name),
                          "%s", option->summary);
            ok = false;
        } else {
            ok = apply_default(reader, option, settings) && ok;
        }
    }
    return ok;
}

void option_reader_fini(struct option_reader *reader)
{
    free(reader->templates);
    reader->templates = NULL;
}

void option_templates_begin(struct option_reader *reader, const char *no_position)
{
    reader->template_count = 0;
    reader->no_position = no_position;
}

struct place option_place(const struct yaml_node *map, const char *name)
{
    const struct yaml_node *node = yaml_child(map, name);
    const char *dot = strchr(name, '.');
    char group[64];

    if (node != NULL)
        return node->at;
    if (dot == NULL || (size_t)(dot - name) >= sizeof group || name[0] == '\0')
        return map->at;
    memcpy(group, name, (size_t)(dot - name));
    group[dot - name] = '\0';
    node = yaml_child(map, group);
    return node == NULL ? map->at : option_place(node, dot + 1); /* one dot less each time */
}
