/* config/yaml.c: libyaml's events → tree. The only file that sees libyaml.
 *
 * An explicit stack instead of recursion: the depth is the file's. An alias is a copy of the anchor's node that
 * shares its children; its weight counts as if it had been written out, so that ten lines cannot become a billion
 * nodes.
 */
#include "config/yaml.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "config/scalar.h"

enum { ANCHORS_MAX = 1000, EXPANDED_MAX = 64 << 20 }; /* EXPANDED_MAX: bytes that environment and files may add */

struct anchor {
    const char *name;
    struct yaml_node *node;
    bool open; /* still being read: an alias to it would be endless */
};

struct builder {
    struct arena *arena;
    struct findings *findings;
    const char *data;
    size_t len;
    const char *folder;

    struct yaml_node *root;
    struct yaml_node *stack[CONFIG_DEPTH_MAX];
    unsigned depth;
    const char *key; /* of the mapping on top: the value comes next */
    struct place key_at;
    bool key_bad;

    struct anchor *anchors;
    size_t anchor_count, anchor_cap;
    size_t nodes, expanded;
    unsigned documents;
};

static struct place place_of(yaml_mark_t mark)
{
    return (struct place){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

struct place yaml_place(const struct yaml_node *node, size_t offset)
{
    return (struct place){node->at.line, node->at.column + (node->exact > 0 ? (unsigned)offset + node->exact - 1 : 0)};
}

const char *yaml_kind_name(enum yaml_kind kind)
{
    return kind == YAML_TEXT ? "a text" : kind == YAML_LIST ? "a list" : "a mapping";
}

const struct yaml_node *yaml_child(const struct yaml_node *map, const char *key)
{
    if (map->kind == YAML_MAP)
        for (const struct yaml_node *child = map->first; child != NULL; child = child->next)
            if (strcmp(child->key, key) == 0)
                return child;
    return NULL;
}

/* ---- Nodes ---- */

/* Count `weight` nodes at `at`; false when it gets too much. */
static bool count_nodes(struct builder *b, struct place at, size_t weight)
{
    b->nodes += weight;
    if (b->nodes <= CONFIG_NODES_MAX)
        return true;
    findings_hint(
        b->findings,
        findings_error(b->findings, at, "more than %d values, aliases counted as written out", CONFIG_NODES_MAX),
        "split the file, or use fewer aliases (*name)");
    return false;
}

static struct yaml_node *node_new(struct builder *b, enum yaml_kind kind, struct place at)
{
    struct yaml_node *node = arena_alloc(b->arena, sizeof *node);

    if (node == NULL) {
        findings_no_memory(b->findings);
        return NULL;
    }
    *node = (struct yaml_node){.kind = kind, .at = at, .weight = 1, .height = kind != YAML_TEXT};
    return node;
}

/* Hang `node` below the top of the stack. */
static bool attach(struct builder *b, struct yaml_node *node)
{
    struct yaml_node *parent = b->depth > 0 ? b->stack[b->depth - 1] : NULL;

    if (parent == NULL) {
        b->root = node;
        return true;
    }
    if (parent->kind == YAML_MAP) {
        node->key = b->key;
        node->key_at = b->key_at;
        b->key = NULL;
        if (b->key_bad) {
            b->key_bad = false;
            return true; /* reported; its value goes nowhere */
        }
    }
    if (parent->last == NULL)
        parent->first = node;
    else
        parent->last->next = node;
    parent->last = node;
    parent->count++;
    return true;
}

static bool add_anchor(struct builder *b, const yaml_char_t *name, struct yaml_node *node)
{
    if (name == NULL)
        return true;
    if (b->anchor_count == ANCHORS_MAX) {
        findings_error(b->findings, node->at, "more than %d anchors (&name)", ANCHORS_MAX);
        return false;
    }
    if (b->anchor_count == b->anchor_cap) {
        size_t cap = b->anchor_cap == 0 ? 16 : b->anchor_cap * 2;
        struct anchor *grown = realloc(b->anchors, cap * sizeof *grown);
        if (grown == NULL)
            return findings_no_memory(b->findings);
        b->anchors = grown;
        b->anchor_cap = cap;
    }
    const char *copy = arena_strdup(b->arena, (const char *)name);
    if (copy == NULL)
        return findings_no_memory(b->findings);
    b->anchors[b->anchor_count++] = (struct anchor){copy, node, node->kind != YAML_TEXT};
    return true;
}

/* ---- Keys ---- */

static bool add_key(struct builder *b, const yaml_event_t *event)
{
    struct place at = place_of(event->start_mark);
    const char *value = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;

    b->key = arena_strndup(b->arena, value, len);
    b->key_at = at;
    b->key_bad = false;
    if (b->key == NULL)
        return findings_no_memory(b->findings);
    if (strcmp(b->key, "<<") == 0 && event->data.scalar.plain_implicit) {
        b->key_bad = true;
        findings_hint(b->findings, findings_error(b->findings, at, "merge keys (<<) are not supported"),
                      "write the options out, or take a whole value by its alias (*name)");
    } else if (len == 0 || strlen(b->key) != len) {
        b->key_bad = true;
        findings_error(b->findings, at, len == 0 ? "a name is empty" : "a zero byte in a name");
    }
    return true;
}

static bool wants_key(const struct builder *b)
{
    return b->depth > 0 && b->stack[b->depth - 1]->kind == YAML_MAP && b->key == NULL;
}

static bool refuse_key(struct builder *b, struct place at)
{
    findings_hint(b->findings, findings_error(b->findings, at, "a name must be a text"),
                  "a value that begins with { or [ or * is quoted: \"{...}\"");
    return false;
}

static int compare_keys(const void *a, const void *b)
{
    const struct yaml_node *x = *(struct yaml_node *const *)a, *y = *(struct yaml_node *const *)b;
    int order = strcmp(x->key, y->key);

    if (order != 0)
        return order;
    if (x->key_at.line != y->key_at.line)
        return x->key_at.line < y->key_at.line ? -1 : 1;
    return x->key_at.column < y->key_at.column ? -1 : 1;
}

/* Sorted, so that a file with 50,000 names costs no 50,000 squared. */
static bool find_repeated_keys(struct builder *b, const struct yaml_node *map)
{
    if (map->count < 2)
        return true;
    const struct yaml_node **sorted = malloc(map->count * sizeof *sorted);
    if (sorted == NULL)
        return findings_no_memory(b->findings);
    size_t count = 0;
    for (const struct yaml_node *child = map->first; child != NULL; child = child->next)
        sorted[count++] = child;
    qsort(sorted, count, sizeof *sorted, compare_keys);
    for (size_t i = 1, first = 0; i < count; i++) {
        if (strcmp(sorted[i]->key, sorted[first]->key) != 0) {
            first = i;
            continue;
        }
        struct finding *finding = findings_error(b->findings, sorted[i]->key_at, "%s is given twice", sorted[i]->key);
        findings_hint(b->findings, finding, "the first is at line %u", sorted[first]->key_at.line);
    }
    free(sorted);
    return true;
}

/* ---- Events ---- */

/* A scalar without escapes or folding stands in the file as it is: then a place inside it is known. */
static bool stands_as_written(const yaml_event_t *event)
{
    bool quoted = event->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
                  event->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE;
    size_t span = event->end_mark.index - event->start_mark.index;

    return (quoted || event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) &&
           event->start_mark.line == event->end_mark.line && span == event->data.scalar.length + (quoted ? 2 : 0);
}

static bool is_null(const yaml_event_t *event)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};

    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof nulls / sizeof *nulls; i++)
        if (strcmp((const char *)event->data.scalar.value, nulls[i]) == 0)
            return true;
    return false;
}

static bool refuse_tag(struct builder *b, struct place at, const char *tag)
{
    findings_hint(b->findings, findings_error(b->findings, at, "unknown tag %s", tag),
                  "the only tag is !file PATH, which reads a value from a file");
    return true;
}

static bool on_scalar(struct builder *b, const yaml_event_t *event)
{
    if (wants_key(b))
        return add_key(b, event);

    const char *tag = (const char *)event->data.scalar.tag;
    struct yaml_node *node = node_new(b, YAML_TEXT, place_of(event->start_mark));
    if (node == NULL || !count_nodes(b, node->at, 1))
        return false;
    if (tag == NULL && event->data.scalar.anchor == NULL && stands_as_written(event))
        node->exact = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? 1 : 2;
    node->null = is_null(event);
    node->shown = arena_strndup(b->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
    if (node->shown == NULL)
        return findings_no_memory(b->findings);
    node->text = node->pattern = node->shown;

    if (strlen(node->shown) != event->data.scalar.length || strchr(node->shown, TEMPLATE_DOLLAR) != NULL) {
        node->bad = true;
        findings_error(b->findings, node->at, "a control character in a text");
    } else if (tag != NULL && strcmp(tag, "!file") == 0) {
        node->null = false;
        if (!scalar_read_file(b->arena, node, b->folder, b->findings))
            return false;
    } else if (tag != NULL && strcmp(tag, YAML_STR_TAG) != 0) {
        node->bad = true;
        refuse_tag(b, node->at, tag);
    } else if (!scalar_expand(b->arena, node, b->findings)) {
        return false;
    }
    b->expanded += node->text == node->shown ? 0 : strlen(node->text);
    if (b->expanded > EXPANDED_MAX) {
        findings_error(b->findings, node->at, "the environment and files (!file) give more than %d MiB",
                       EXPANDED_MAX >> 20);
        return false;
    }
    return attach(b, node) && add_anchor(b, event->data.scalar.anchor, node);
}

static bool on_start(struct builder *b, const yaml_event_t *event, enum yaml_kind kind)
{
    struct place at = place_of(event->start_mark);
    bool map = kind == YAML_MAP;
    const char *tag = (const char *)(map ? event->data.mapping_start.tag : event->data.sequence_start.tag);

    if (wants_key(b))
        return refuse_key(b, at);
    if (b->depth == CONFIG_DEPTH_MAX) {
        findings_error(b->findings, at, "nested deeper than %d levels", CONFIG_DEPTH_MAX);
        return false;
    }
    struct yaml_node *node = node_new(b, kind, at);
    if (node == NULL || !count_nodes(b, at, 1))
        return false;
    if (tag != NULL && strcmp(tag, map ? YAML_MAP_TAG : YAML_SEQ_TAG) != 0) {
        node->bad = true;
        refuse_tag(b, at, tag);
    }
    if (!attach(b, node) ||
        !add_anchor(b, map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor, node))
        return false;
    b->stack[b->depth++] = node;
    return true;
}

static bool on_end(struct builder *b)
{
    assert(b->depth > 0); /* libyaml's events are balanced */
    struct yaml_node *node = b->stack[--b->depth];

    for (const struct yaml_node *child = node->first; child != NULL; child = child->next) {
        node->weight += child->weight;
        if (child->height + 1 > node->height)
            node->height = child->height + 1;
    }
    for (size_t i = b->anchor_count; i-- > 0;)
        if (b->anchors[i].node == node)
            b->anchors[i].open = false;
    return node->kind != YAML_MAP || find_repeated_keys(b, node);
}

static bool on_alias(struct builder *b, const yaml_event_t *event)
{
    struct place at = place_of(event->start_mark);
    const char *name = (const char *)event->data.alias.anchor;
    size_t i = b->anchor_count;

    if (wants_key(b))
        return refuse_key(b, at);
    while (i > 0 && strcmp(b->anchors[i - 1].name, name) != 0)
        i--;
    if (i == 0 || b->anchors[i - 1].open) {
        findings_error(b->findings, at, i == 0 ? "there is no anchor &%s before this alias" : "*%s contains itself",
                       name);
        return false;
    }
    const struct yaml_node *target = b->anchors[i - 1].node;
    if (!count_nodes(b, at, target->weight))
        return false;
    if (b->depth + target->height > CONFIG_DEPTH_MAX) {
        findings_error(b->findings, at, "nested deeper than %d levels", CONFIG_DEPTH_MAX);
        return false;
    }
    struct yaml_node *copy = node_new(b, target->kind, at);
    if (copy == NULL)
        return false;
    *copy = *target;
    copy->next = NULL;
    if (copy->kind == YAML_TEXT)
        copy->at = at;
    return attach(b, copy);
}

static bool on_event(struct builder *b, const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (++b->documents < 2)
            return true;
        findings_hint(b->findings,
                      findings_error(b->findings, place_of(event->start_mark), "a second document (---) in the file"),
                      "everything stands in one document");
        return false;
    case YAML_SCALAR_EVENT:
        return on_scalar(b, event);
    case YAML_ALIAS_EVENT:
        return on_alias(b, event);
    case YAML_SEQUENCE_START_EVENT:
        return on_start(b, event, YAML_LIST);
    case YAML_MAPPING_START_EVENT:
        return on_start(b, event, YAML_MAP);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return on_end(b);
    default:
        return true;
    }
}

/* ---- libyaml's errors ---- */

static struct place place_of_byte(const char *data, size_t len, size_t offset)
{
    struct place at = {1, 1};

    for (size_t i = 0; i < offset && i < len; i++) {
        if (data[i] == '\n') {
            at.line++;
            at.column = 1;
        } else if (((unsigned char)data[i] & 0xc0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

/* True if the character at `at` is a tab: what YAML calls "a character that cannot start any token". */
static bool tab_at(const struct builder *b, struct place at)
{
    const char *p = b->data, *end = b->data + b->len;

    for (unsigned line = 1; line < at.line && p != NULL; line++)
        if ((p = memchr(p, '\n', (size_t)(end - p))) != NULL)
            p++;
    for (unsigned column = 1; p != NULL && p < end && column < at.column; p++)
        if (((unsigned char)*p & 0xc0) != 0x80)
            column++;
    return p != NULL && p < end && *p == '\t';
}

static void report_syntax(struct builder *b, const yaml_parser_t *parser)
{
    struct place at = place_of(parser->problem_mark);

    if (parser->error == YAML_MEMORY_ERROR) {
        findings_no_memory(b->findings);
        return;
    }
    if (parser->error == YAML_READER_ERROR) {
        at = place_of_byte(b->data, b->len, parser->problem_offset);
        findings_hint(b->findings, findings_error(b->findings, at, "not YAML: %s", parser->problem),
                      "the file must be text in UTF-8");
        return;
    }
    if (tab_at(b, at)) {
        findings_hint(b->findings, findings_error(b->findings, at, "a tab where YAML allows none"),
                      "indent with spaces");
        return;
    }
    struct finding *finding =
        findings_error(b->findings, at, "not YAML: %s", parser->problem == NULL ? "syntax error" : parser->problem);
    if (parser->context != NULL)
        findings_hint(b->findings, finding, "%s that begins at line %u", parser->context,
                      (unsigned)parser->context_mark.line + 1);
}

/* What libyaml would accept, or say less clearly. */
static bool check_bytes(const struct builder *b)
{
    const char *data = b->data;
    size_t len = b->len;
    bool utf8 = len >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0;
    bool utf16 = len >= 2 && (memcmp(data, "\xff\xfe", 2) == 0 || memcmp(data, "\xfe\xff", 2) == 0);

    if (utf8 || utf16) {
        findings_hint(b->findings,
                      findings_error(b->findings, (struct place){1, 1}, "the file begins with a byte order mark%s",
                                     utf16 ? " of UTF-16" : ""),
                      "save it as UTF-8 without one");
        return false;
    }
    if (len > CONFIG_FILE_MAX) {
        findings_error(b->findings, (struct place){1, 1}, "the file is larger than %d MiB", CONFIG_FILE_MAX >> 20);
        return false;
    }
    return true;
}

static bool run(struct builder *b)
{
    yaml_parser_t parser;
    bool more = true, ok = false;

    if (!yaml_parser_initialize(&parser))
        return findings_no_memory(b->findings);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)b->data, b->len);
    while (more) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            report_syntax(b, &parser);
            break;
        }
        more = on_event(b, &event);
        if (event.type == YAML_STREAM_END_EVENT) {
            ok = more;
            more = false;
        }
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return ok;
}

struct yaml_node *yaml_read(struct arena *arena, const char *data, size_t len, const char *folder,
                            struct findings *findings)
{
    struct builder b = {.arena = arena, .findings = findings, .data = data, .len = len, .folder = folder};

    if (!check_bytes(&b))
        return NULL;
    bool ok = run(&b);
    free(b.anchors);
    if (!ok)
        return NULL;
    if (b.root == NULL || (b.root->kind == YAML_TEXT && b.root->null)) {
        findings_hint(findings, findings_error(findings, (struct place){1, 1}, "the file is empty"),
                      "it needs brokers: and routes:");
        return NULL;
    }
    if (b.root->kind != YAML_MAP) {
        findings_hint(findings,
                      findings_error(findings, b.root->at, "the file is %s, not a mapping of options",
                                     yaml_kind_name(b.root->kind)),
                      "it needs brokers: and routes:");
        return NULL;
    }
    return b.root;
}
