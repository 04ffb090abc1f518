/* state/table_options.c: what every store would have to check. */
#include <bailey/store.h>

#include <string.h>

enum { NAME_MAX_LEN = 128, SMALL_VALUE_MAX = 64, TIME_SIZE = 8 };

static bool valid_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

    return len > 0 && len <= NAME_MAX_LEN && name[len] == '\0' && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool valid_sizes(const struct bailey_table_options *options)
{
    if (options->kind == BAILEY_TABLE_ORDERED)
        return options->key_size == 0 && options->value_size == 0;
    return options->key_size > 0 && options->key_size <= BAILEY_STORE_KEY_MAX &&
           options->value_size <= SMALL_VALUE_MAX &&
           (options->kind == BAILEY_TABLE_LIVE ||
            (options->kind == BAILEY_TABLE_AGING && options->value_size >= TIME_SIZE && options->slice_ms > 0 &&
             options->slice_records >= 0));
}

bool bailey_table_options_check(const struct bailey_table_options *options, struct bailey_error *err)
{
    if (!valid_name(options->name))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "'%.128s' is no name of a table", options->name);
    if (!valid_sizes(options))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "table '%s' cannot have keys of %u and values of %u bytes",
                           options->name, options->key_size, options->value_size);
    return true;
}

bool bailey_table_options_same(const struct bailey_table_options *was, const struct bailey_table_options *options,
                               struct bailey_error *err)
{
    if (was->kind == options->kind && was->key_size == options->key_size && was->value_size == options->value_size)
        return true;
    bailey_fail(err, BAILEY_ERR_CONFIG, "table '%s' was created with keys of %u and values of %u bytes, kind %d",
                options->name, was->key_size, was->value_size, (int)was->kind);
    return bailey_hint(err, "give the store another folder, or use the version of bailey that wrote this one");
}
