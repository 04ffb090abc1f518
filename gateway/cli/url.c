/* cli/url.c: see the header. Values are written as double-quoted scalars, so that no value can become YAML. */
#include "cli/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode in place. False if a % is not followed by two digits, or stands for a zero byte. */
static bool decode(char *str)
{
    char *out = str;

    for (; *str != '\0'; str++, out++) {
        *out = *str;
        if (*str != '%')
            continue;
        int high = hex(str[1]), low = high < 0 ? -1 : hex(str[2]);
        if (low < 0 || high + low == 0)
            return false;
        *out = (char)(high << 4 | low);
        str += 2;
    }
    *out = '\0';
    return true;
}

static bool add(struct url *url, const char *name, const char *value, struct bailey_error *err)
{
    if (url->count == URL_OPTIONS_MAX)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL has more than %d options", URL_OPTIONS_MAX);
    url->options[url->count++] = (struct url_option){.name = name, .value = value};
    return true;
}

static bool parse_query(struct url *url, char *query, struct bailey_error *err)
{
    for (char *next; query != NULL && *query != '\0'; query = next) {
        next = strchr(query, '&');
        if (next != NULL)
            *next++ = '\0';
        char *value = strchr(query, '=');
        if (value == NULL || value == query) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "an option of the URL's query has no value");
            return bailey_hint(err, "options are written ?name=value&name=value");
        }
        *value++ = '\0';
        if (!decode(query) || !decode(value))
            return bailey_fail(err, BAILEY_ERR_CONFIG, "an option of the URL's query has a %% without two digits");
        if (!add(url, query, value, err))
            return false;
    }
    return true;
}

/* The URL without its query is for the broker; its path is cut off, with its "/", if an option of the end gets it. */
static bool parse_whole(struct url *url, char *whole, char *authority, const char *path_option,
                        struct bailey_error *err)
{
    const struct bailey_url_form *form = url->connector->url;
    char *path = path_option != NULL ? strchr(authority, '/') : NULL;

    if (path != NULL && path[1] != '\0') {
        url->path = strdup(path);
        if (url->path == NULL)
            return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
        if (!decode(url->path))
            return bailey_fail(err, BAILEY_ERR_CONFIG, "the path of the URL has a %% without two digits");
        *path = '\0';
        if (!add(url, path_option, url->path, err))
            return false;
    }
    return form->broker_option == NULL || add(url, form->broker_option, whole, err);
}

/* Authority and path, by the connector's form. `whole` is the URL without its query. */
static bool parse_place(struct url *url, char *whole, char *authority, enum bailey_role role, struct bailey_error *err)
{
    const struct bailey_url_form *form = url->connector->url;
    const char *path_option = role == BAILEY_SOURCE ? form->source_path_option : form->sink_path_option;

    if (form->whole_url)
        return parse_whole(url, whole, authority, path_option, err);
    char *path = strchr(authority, '/');
    if (path != NULL)
        *path++ = '\0';
    if (form->broker_option != NULL && *authority != '\0' && !add(url, form->broker_option, authority, err))
        return false;
    if (path == NULL || *path == '\0')
        return true;
    if (!decode(path))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the path of the URL has a %% without two digits");
    if (path_option == NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "an URL of the connector %s has no path", url->connector->name);
    return add(url, path_option, path, err);
}

bool url_parse(struct url *url, const char *str, enum bailey_role role, url_find *find, struct bailey_error *err)
{
    const char *colon = strstr(str, "://");

    *url = (struct url){0};
    if (colon == NULL || colon == str) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "this is no URL");
        return bailey_hint(err, "an URL begins with SCHEME://");
    }
    if (strlen(str) > URL_LEN_MAX)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the URL is longer than %d bytes", URL_LEN_MAX);
    url->connector = find(str, (size_t)(colon - str), err);
    if (url->connector == NULL)
        return false;
    if (role == BAILEY_SOURCE ? url->connector->source == NULL : url->connector->sink == NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the connector %s cannot %s", url->connector->name,
                           role == BAILEY_SOURCE ? "receive" : "send");
    url->storage = strdup(str);
    if (url->storage == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
    char *query = strchr(url->storage, '?');
    if (query != NULL)
        *query++ = '\0';
    return parse_query(url, query, err) && parse_place(url, url->storage, url->storage + (colon - str) + 3, role, err);
}

void url_fini(struct url *url)
{
    free(url->storage);
    free(url->path);
    url->storage = url->path = NULL;
}

static void add_value(struct text *yaml, const char *value)
{
    text_add_json(yaml, value, strlen(value)); /* a JSON string is a double-quoted scalar */
}

/* All that is given for one option: one value, or a list. */
static bool add_values(struct url *url, const char *name, struct text *yaml)
{
    struct text values = {0};
    size_t count = 0;

    for (size_t i = 0; i < url->count; i++) {
        if (url->options[i].used || strcmp(url->options[i].name, name) != 0)
            continue;
        url->options[i].used = true;
        text_add(&values, count++ == 0 ? "" : ", ");
        add_value(&values, url->options[i].value);
    }
    if (count > 0)
        text_printf(yaml, count > 1 ? "[%s]" : "%s", values.data);
    text_free(&values);
    return count > 0;
}

/* Options called `prefix.NAME`: a mapping of NAME to value. Longer paths are not for URLs. */
static bool add_nested(struct url *url, const char *prefix, struct text *yaml)
{
    size_t len = strlen(prefix);
    bool any = false;

    for (size_t i = 0; i < url->count; i++) {
        struct url_option *option = &url->options[i];
        if (option->used || strncmp(option->name, prefix, len) != 0 || option->name[len] != '.')
            continue;
        option->used = true;
        text_add(yaml, any ? ", " : "{ ");
        add_value(yaml, option->name + len + 1);
        text_add(yaml, ": ");
        add_value(yaml, option->value);
        any = true;
    }
    text_add(yaml, any ? " }" : "");
    return any;
}

void url_add_options(struct url *url, const struct bailey_option *table, struct text *yaml)
{
    for (const struct bailey_option *option = table; option != NULL && option->name != NULL; option++) {
        struct text value = {0};
        bool nested = option->children != NULL || option->type == BAILEY_OPT_MAP;
        if (add_values(url, option->name, &value) && option->type != BAILEY_OPT_DECLARE)
            nested = false;
        struct text inner = {0};
        if (nested && add_nested(url, option->name, &inner)) {
            value.len = 0;
            text_printf(&value, option->type == BAILEY_OPT_DECLARE ? "{ create: %s }" : "%s", inner.data);
        }
        if (value.len > 0)
            text_printf(yaml, ", %s: %s", option->name, value.data);
        text_free(&inner);
        text_free(&value);
    }
}

const char *url_unused(const struct url *url)
{
    for (size_t i = 0; i < url->count; i++)
        if (!url->options[i].used)
            return url->options[i].name;
    return NULL;
}
