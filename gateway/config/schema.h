/* config/schema.h: what the option tables say, for editors (JSON Schema) and for people (Markdown, text, JSON). */
#ifndef BAILEY_SCHEMA_H
#define BAILEY_SCHEMA_H

#include <bailey/connector.h>

#include "base/text.h"

/* conf/bailey.schema.json: JSON Schema 2020-12 of the whole file, with these connectors. */
void schema_add_json(struct text *out, const struct bailey_connector *const connectors[], size_t count);

/* docs/options.md. */
void schema_add_markdown(struct text *out, const struct bailey_connector *const connectors[], size_t count);

/* `bailey connectors NAME`, and the same as a JSON object. */
void schema_add_connector(struct text *out, const struct bailey_connector *connector);
void schema_add_connector_json(struct text *out, const struct bailey_connector *connector);

#endif
