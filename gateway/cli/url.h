/* cli/url.h: the URLs of `bailey copy` become the YAML of a configuration with one route.
 *
 * SCHEME://AUTHORITY/PATH?OPTION=VALUE&...: the connector says in its url form which options get authority and
 * path; the query gives options of the end, and of the broker where the end has no such option. Names and values
 * are percent-decoded.
 */
#ifndef BAILEY_CLI_URL_H
#define BAILEY_CLI_URL_H

#include <bailey/connector.h>

#include "base/text.h"

enum { URL_LEN_MAX = 8192, URL_OPTIONS_MAX = 64 };

struct url_option {
    const char *name, *value;
    bool used;
};

struct url {
    const struct bailey_connector *connector;
    struct url_option options[URL_OPTIONS_MAX]; /* those of the query, then those that authority and path give */
    size_t count;
    char *storage, *path; /* `path`: a copy, where it keeps its "/" */
};

/* Finds the connector whose form has `scheme`; NULL with `err`. */
typedef const struct bailey_connector *url_find(const char *scheme, size_t len, struct bailey_error *err);

/* The connector may be freed never, the url by url_fini (also after a failure). Errors never show the URL. */
bool url_parse(struct url *url, const char *str, enum bailey_role role, url_find *find, struct bailey_error *err);
void url_fini(struct url *url);

/* Append ", name: value" for each option of `table` that is given, marking it used. */
void url_add_options(struct url *url, const struct bailey_option *table, struct text *yaml);

/* An option that no table knew; NULL if there is none. */
const char *url_unused(const struct url *url);

#endif
