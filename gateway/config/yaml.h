/* config/yaml.h: YAML text → a small tree whose nodes remember where they stand.
 *
 * A subset on purpose: one document; mappings, sequences and scalars; anchors and aliases within limits; the tag
 * !file. Merge keys, other tags, repeated keys and keys that are no scalars are errors. The environment is
 * substituted in values here, once (scalar.c). Nodes live in the arena.
 */
#ifndef BAILEY_YAML_H
#define BAILEY_YAML_H

#include "config/findings.h"

enum yaml_kind { YAML_TEXT, YAML_LIST, YAML_MAP };

struct yaml_node {
    enum yaml_kind kind;
    struct place at;

    const char *key; /* in a mapping */
    struct place key_at;

    const char *text;    /* YAML_TEXT: its value; what came from ${NAME} and !file is in it, `$${` is `${` */
    const char *pattern; /* YAML_TEXT: the same for template_parse(): placeholders stand, other `$` are protected */
    const char *shown;   /* YAML_TEXT: as it was written: the only one that may be printed */
    const char *file;    /* YAML_TEXT: absolute path of its !file, or NULL */
    bool null;           /* nothing, ~ or null: no value was given */
    bool bad;            /* an error about it was reported: say no more */
    unsigned exact;      /* `shown` stands on one line without escapes, from `at` (1) or after a quote (2); else 0 */

    struct yaml_node *first, *last; /* YAML_LIST, YAML_MAP: children in their order */
    struct yaml_node *next;
    size_t count;

    size_t weight;   /* nodes of the tree below, this one included, aliases expanded */
    unsigned height; /* levels of mappings and lists, this one included */
};

/* NULL if the text is not a mapping in valid YAML, or memory ran out; then there is a finding. Other mistakes leave
 * a tree, so that more of them can be found. Relative paths of !file are relative to `folder`. */
struct yaml_node *yaml_read(struct arena *arena, const char *data, size_t len, const char *folder,
                            struct findings *findings);

/* The child of that name, or NULL. */
const struct yaml_node *yaml_child(const struct yaml_node *map, const char *key);

/* Where byte `offset` of `shown` stands, if that is known; else where the node begins. */
struct place yaml_place(const struct yaml_node *node, size_t offset);

/* "a text", "a list", "a mapping": for messages. */
const char *yaml_kind_name(enum yaml_kind kind);

#endif
