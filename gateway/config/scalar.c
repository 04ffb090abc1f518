/* config/scalar.c: one pass over a scalar, which writes its two forms.
 *
 * `text` is what the value is where no template is allowed. `pattern` is what template_parse() gets: a `$` that
 * came from the environment or from a file is marked there (TEMPLATE_DOLLAR), so that a value is never expanded
 * twice.
 */
#include "config/scalar.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

struct expansion {
    struct yaml_node *node;
    struct findings *findings;
    struct text text, pattern;
    bool no_memory;
};

static void append(struct expansion *ex, struct text *to, const char *data, size_t len)
{
    if (ex->no_memory || !text_reserve(to, len))
        ex->no_memory = true;
    else
        text_add_len(to, data, len);
}

static void add_plain(struct expansion *ex, const char *data, size_t len)
{
    append(ex, &ex->text, data, len);
    append(ex, &ex->pattern, data, len);
}

static void add_protected(struct expansion *ex, const char *data, size_t len)
{
    static const char mark = TEMPLATE_DOLLAR;

    append(ex, &ex->text, data, len);
    for (size_t i = 0; i < len; i++)
        append(ex, &ex->pattern, data[i] == '$' ? &mark : data + i, 1);
}

static bool is_name_start(char c)
{
    return (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_name(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!is_name_start(name[i]) && (i == 0 || name[i] < '0' || name[i] > '9'))
            return false;
    return len > 0;
}

/* Text with control characters would travel into names, logs and protocols. */
static bool has_controls(const char *str)
{
    for (; *str != '\0'; str++)
        if ((unsigned char)*str < 0x20 && *str != '\t' && *str != '\n' && *str != '\r')
            return true;
    return false;
}

/* ${NAME} or ${NAME:-default}, without its braces. */
static void add_environment(struct expansion *ex, size_t offset, const char *inside, size_t len)
{
    struct place at = yaml_place(ex->node, offset);
    const char *fallback = memmem(inside, len, ":-", 2);
    size_t name_len = fallback == NULL ? len : (size_t)(fallback - inside);
    char name[256];

    if (!is_name(inside, name_len) || name_len >= sizeof name) {
        ex->node->bad = true;
        findings_hint(ex->findings,
                      findings_error(ex->findings, at, "${%.*s} is no name of the environment", (int)len, inside),
                      "names are capitals, digits and _; a default follows :-, as in ${NAME:-default}");
        return;
    }
    memcpy(name, inside, name_len);
    name[name_len] = '\0';

    const char *value = getenv(name);
    if (fallback != NULL && (value == NULL || *value == '\0')) {
        add_protected(ex, fallback + 2, len - name_len - 2);
    } else if (value == NULL) {
        ex->node->bad = true;
        findings_hint(ex->findings, findings_error(ex->findings, at, "${%s} is not set in the environment", name),
                      "set it, or give a default: ${%s:-default}", name);
    } else if (has_controls(value)) {
        ex->node->bad = true;
        findings_error(ex->findings, at, "the value of ${%s} has a control character in it", name);
    } else if (ex->text.len + strlen(value) > SCALAR_FILE_MAX) {
        ex->node->bad = true;
        findings_error(ex->findings, at, "with the value of ${%s} the text is longer than 1 MiB", name);
    } else {
        add_protected(ex, value, strlen(value));
    }
}

/* A `${` at `p`. Returns how many bytes of it were used. */
static size_t add_placeholder(struct expansion *ex, const char *p)
{
    size_t offset = (size_t)(p - ex->node->shown);
    const char *end = strchr(p, '}');

    if (p[2] >= 'a' && p[2] <= 'z') { /* a message's: left to the template, if one is allowed here */
        add_plain(ex, p, 2);
        return 2;
    }
    if (end == NULL || !is_name_start(p[2])) {
        ex->node->bad = true;
        findings_hint(ex->findings,
                      findings_error(ex->findings, yaml_place(ex->node, offset),
                                     end == NULL ? "${ without its }" : "${ is followed by no name"),
                      "${NAME} is the environment, ${key} the message's, and $${ stands for a literal ${");
        return 2;
    }
    add_environment(ex, offset, p + 2, (size_t)(end - p - 2));
    return (size_t)(end - p) + 1;
}

bool scalar_expand(struct arena *arena, struct yaml_node *node, struct findings *findings)
{
    struct expansion ex = {.node = node, .findings = findings};

    node->text = node->pattern = node->shown;
    if (strchr(node->shown, '$') == NULL)
        return true;
    for (const char *p = node->shown; *p != '\0' && !ex.no_memory;) {
        size_t run = strcspn(p, "$");
        add_plain(&ex, p, run);
        p += run;
        if (strncmp(p, "$${", 3) == 0) {
            append(&ex, &ex.text, "${", 2);
            append(&ex, &ex.pattern, p, 3);
            p += 3;
        } else if (strncmp(p, "${", 2) == 0) {
            p += add_placeholder(&ex, p);
        } else if (*p != '\0') {
            add_plain(&ex, p++, 1);
        }
    }
    if (!ex.no_memory) {
        node->text = arena_strndup(arena, ex.text.data == NULL ? "" : ex.text.data, ex.text.len);
        node->pattern = arena_strndup(arena, ex.pattern.data == NULL ? "" : ex.pattern.data, ex.pattern.len);
    }
    if (ex.text.data != NULL)
        explicit_bzero(ex.text.data, ex.text.len);
    if (ex.pattern.data != NULL)
        explicit_bzero(ex.pattern.data, ex.pattern.len);
    text_free(&ex.text);
    text_free(&ex.pattern);
    return ex.no_memory || node->text == NULL || node->pattern == NULL ? findings_no_memory(findings) : true;
}

static void file_failed(struct yaml_node *node, struct findings *findings, const char *reason)
{
    node->bad = true;
    findings_hint(findings, findings_error(findings, node->at, "cannot read !file %s: %s", node->shown, reason),
                  "paths are relative to the folder of the configuration");
}

static bool set_content(struct arena *arena, struct yaml_node *node, const char *data, size_t len,
                        struct findings *findings)
{
    struct yaml_node content = {.at = node->at};
    struct expansion ex = {.node = &content, .findings = findings};

    add_protected(&ex, data, len);
    if (!ex.no_memory) {
        node->text = arena_strndup(arena, data, len);
        node->pattern = arena_strndup(arena, ex.pattern.data == NULL ? "" : ex.pattern.data, ex.pattern.len);
    }
    if (ex.text.data != NULL)
        explicit_bzero(ex.text.data, ex.text.len);
    if (ex.pattern.data != NULL)
        explicit_bzero(ex.pattern.data, ex.pattern.len);
    text_free(&ex.text);
    text_free(&ex.pattern);
    return ex.no_memory || node->text == NULL || node->pattern == NULL ? findings_no_memory(findings) : true;
}

/* The file's content becomes the node's. False if memory ran out. */
static bool take_file(struct arena *arena, struct yaml_node *node, struct findings *findings)
{
    const char *reason = "larger than 1 MiB";
    char *data = malloc(SCALAR_FILE_MAX + 1);
    bool done = true;
    size_t len;

    if (data == NULL)
        return findings_no_memory(findings);
    if (file_read_text(node->file, data, SCALAR_FILE_MAX + 1, &len, &reason) == FILE_OK)
        done = set_content(arena, node, data, len, findings);
    else
        file_failed(node, findings, reason);
    explicit_bzero(data, SCALAR_FILE_MAX + 1);
    free(data);
    return done;
}

bool scalar_read_file(struct arena *arena, struct yaml_node *node, const char *folder, struct findings *findings)
{
    if (!scalar_expand(arena, node, findings))
        return false;
    if (node->bad)
        return true;
    if (node->text[0] == '\0')
        return file_failed(node, findings, "no path"), true;

    const char *given = node->text, *base = given[0] == '/' ? "" : folder;
    size_t size = strlen(base) + strlen(given) + 2;
    char *path = arena_alloc(arena, size);

    if (path == NULL)
        return findings_no_memory(findings);
    snprintf(path, size, "%s%s%s", base, given[0] == '/' ? "" : "/", given);
    node->file = path;
    return take_file(arena, node, findings);
}
