/* config/option.h: option tables meet the tree: settings are filled, mistakes are found.
 *
 * One reader for each load; one thread.
 */
#ifndef BAILEY_CONFIG_OPTION_H
#define BAILEY_CONFIG_OPTION_H

#include "config/yaml.h"

struct option_reader {
    struct arena *arena; /* settings, texts and templates live here */
    struct findings *findings;
    const char *folder; /* of the file, absolute: for BAILEY_OPT_PATH */

    /* Templates of the end that is being read: option_templates_begin() empties the list. */
    struct template **templates; /* those with slots, by slot */
    size_t template_count, template_cap;
    const char *no_position; /* the connector whose messages have no ${source.position}; NULL: they have */
};

void option_reader_fini(struct option_reader *reader);

/* A new end: slots count from 0. */
void option_templates_begin(struct option_reader *reader, const char *no_position);

/* Fill `settings` (zeroed) from `map` and the defaults. Names in `others` (ends with NULL, or NULL) belong to the
 * caller and are passed over. `what` words the owner: "broker 'k'". False if there was an error, which is reported. */
bool option_read(struct option_reader *reader, const struct bailey_option *table, const char *const *others,
                 const struct yaml_node *map, const char *what, void *settings);

/* Where an option was written, for check(): `name`, or `group.name`; else where `map` begins. */
struct place option_place(const struct yaml_node *map, const char *name);

/* Programming errors of a table: a row without summary or unit, a default that does not parse, an offset beyond `size`.
 * `templates`: the table is a sink's. False with `err`. */
bool option_table_check(const struct bailey_option *table, size_t size, bool templates, struct bailey_error *err);

/* Text for people: the type's name, and the range or choices ("" if there are none). */
const char *option_type_name(enum bailey_option_type type);
void option_add_range(struct text *text, const struct bailey_option *option);

/* The default as one would write it, or NULL. */
const char *option_default(const struct bailey_option *option);

#endif
