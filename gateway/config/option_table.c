/* config/option_table.c: option tables by themselves: are they sound, and how is a row worded. */
#include "config/option.h"

#include <string.h>

#include "config/units.h"

enum { DEPTH_MAX = 4 };

static const struct {
    const char *name;
    size_t size; /* of the settings member */
} types[] = {
    [BAILEY_OPT_STRING] = {"text", sizeof(char *)},
    [BAILEY_OPT_INT] = {"number", sizeof(int64_t)},
    [BAILEY_OPT_BOOL] = {"true or false", sizeof(bool)},
    [BAILEY_OPT_DURATION] = {"duration", sizeof(int64_t)},
    [BAILEY_OPT_SIZE] = {"size", sizeof(int64_t)},
    [BAILEY_OPT_ENUM] = {"choice", sizeof(int)},
    [BAILEY_OPT_LIST] = {"text or list", sizeof(struct bailey_list)},
    [BAILEY_OPT_MAP] = {"mapping", sizeof(struct bailey_map)},
    [BAILEY_OPT_TEMPLATE] = {"template", sizeof(struct bailey_template *)},
    [BAILEY_OPT_GROUP] = {"options", 0},
    [BAILEY_OPT_DECLARE] = {"assert, never or create", sizeof(int)},
    [BAILEY_OPT_CREDENTIAL] = {"text", sizeof(struct bailey_credential)},
};
enum { TYPES = sizeof types / sizeof *types };

const char *option_type_name(enum bailey_option_type type)
{
    return types[type].name;
}

static void add_bound(struct text *text, enum bailey_option_type type, int64_t value)
{
    if (type == BAILEY_OPT_DURATION)
        units_add_duration(text, value);
    else if (type == BAILEY_OPT_SIZE)
        units_add_size(text, value);
    else
        text_printf(text, "%lld", (long long)value);
}

void option_add_range(struct text *text, const struct bailey_option *option)
{
    if (option->type == BAILEY_OPT_ENUM) {
        for (const char *const *choice = option->choices; *choice != NULL; choice++)
            text_printf(text, "%s%s", choice == option->choices ? "" : ", ", *choice);
    } else if (option->max == INT64_MAX) {
        text_add(text, "at least ");
        add_bound(text, option->type, option->min);
    } else if (option->max > 0 && option->type != BAILEY_OPT_LIST) {
        text_add(text, "between ");
        add_bound(text, option->type, option->min);
        text_add(text, " and ");
        add_bound(text, option->type, option->max);
        if (option->type == BAILEY_OPT_STRING || option->type == BAILEY_OPT_CREDENTIAL)
            text_add(text, " characters");
    }
}

static bool wrong(struct bailey_error *err, const struct bailey_option *option, const char *what)
{
    return bailey_fail(err, BAILEY_ERR_CONFIG, "option '%s': %s", option->name, what);
}

static bool ends_with_stop(const char *sentence)
{
    size_t len = strlen(sentence);

    return len > 1 && sentence[len - 1] == '.' && strchr(sentence, '\n') == NULL;
}

static bool check_choices(const struct bailey_option *option, struct bailey_error *err)
{
    if (option->choices == NULL || option->choices[0] == NULL)
        return wrong(err, option, "a choice without choices");
    return true;
}

static bool check_initial(const struct bailey_option *option, struct bailey_error *err)
{
    const struct yaml_node nothing = {.kind = YAML_MAP};
    struct bailey_option row[2] = {*option, {0}};
    union {
        int64_t i64;
        struct bailey_list list;
        struct bailey_map map;
        struct bailey_credential credential;
    } settings = {0};
    struct findings findings;
    bool ok;

    if (option->initial == NULL)
        return true;
    if (option->flags & BAILEY_OPT_REQUIRED)
        return wrong(err, option, "a required option with a default");
    if (option->type == BAILEY_OPT_GROUP || option->type == BAILEY_OPT_MAP)
        return wrong(err, option, "this type has no default");
    row[0].offset = 0;
    row[0].children = NULL; /* walked on their own */
    findings_init(&findings, "");
    struct option_reader reader = {.arena = arena_new(), .findings = &findings};
    ok = reader.arena != NULL && option_read(&reader, row, NULL, &nothing, "", &settings);
    option_reader_fini(&reader);
    arena_free(reader.arena);
    findings_fini(&findings);
    return ok ? true : wrong(err, option, "its default is no valid value");
}

static bool check_row(const struct bailey_option *option, size_t size, bool templates, struct bailey_error *err)
{
    if (option->type < BAILEY_OPT_STRING || (int)option->type >= TYPES)
        return wrong(err, option, "unknown type");
    if (option->offset > size || types[option->type].size > size - option->offset)
        return wrong(err, option, "lies outside of the settings");
    if (option->summary == NULL || !ends_with_stop(option->summary))
        return wrong(err, option, "needs a summary of one line that ends with a full stop");
    if (option->type == BAILEY_OPT_INT && option->unit == NULL)
        return wrong(err, option, "a number needs a unit");
    if (option->type == BAILEY_OPT_TEMPLATE && !templates)
        return wrong(err, option, "templates are for sinks");
    if (option->max > 0 && option->min > option->max)
        return wrong(err, option, "min is above max");
    if (option->type == BAILEY_OPT_ENUM && !check_choices(option, err))
        return false;
    if (option->type == BAILEY_OPT_GROUP && option->children == NULL)
        return wrong(err, option, "a group without options");
    return check_initial(option, err);
}

static bool check_table(const struct bailey_option *table, size_t size, bool templates, unsigned depth,
                        struct bailey_error *err)
{
    for (const struct bailey_option *option = table; option->name != NULL; option++) {
        if (!check_row(option, size, templates, err))
            return false;
        for (const struct bailey_option *other = table; other < option; other++)
            if (strcmp(other->name, option->name) == 0)
                return wrong(err, option, "stands twice in its table");
        if (option->children != NULL &&
            (depth == DEPTH_MAX ? !wrong(err, option, "nested too deep")
                                : !check_table(option->children, size, templates, depth + 1, err)))
            return false;
    }
    return true;
}

bool option_table_check(const struct bailey_option *table, size_t size, bool templates, struct bailey_error *err)
{
    return table == NULL || check_table(table, size, templates, 0, err);
}
