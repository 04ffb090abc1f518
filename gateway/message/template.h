/* message/template.h: texts with ${...} that are filled from a message.
 *
 * Grammar (design: Configuration): ${key} ${header.NAME} ${topic} ${partition} ${offset} ${queue} ${exchange}
 * ${routing_key} ${destination} ${timestamp} (ms) ${message_id} ${route} ${body.sha256} ${source.position};
 * `:-` gives a default, `$${` is a literal `${`. Of repeated headers the first counts; null counts as missing; integers
 * print in decimal. Parsed templates are immutable and may be used by many threads.
 */
#ifndef BAILEY_TEMPLATE_H
#define BAILEY_TEMPLATE_H

#include <bailey/error.h>
#include <bailey/message.h>
#include <bailey/option.h>

#include "base/arena.h"

struct template;

enum { TEMPLATE_LEN_MAX = 4096, TEMPLATE_RESULT_MAX = 65536 }; /* bytes */
enum { TEMPLATE_PARTS_MAX = 64 };                              /* placeholders and the texts between them */

/* In the text of a template: a `$` that begins no placeholder, whatever follows. The configuration writes it where
 * a `$` came from the environment, so that a value is never expanded twice. */
enum { TEMPLATE_DOLLAR = '\x01' };

/* Parse `text` into `arena`. NULL with `err`: an unknown name (hint: nearest valid), an unclosed ${, too long; or
 * no memory (err->kind TRANSIENT). `*error_at` (may be NULL) gets the byte of the text where the error is. */
struct template *template_parse(struct arena *arena, const char *text, size_t *error_at, struct bailey_error *err);

/* True if it names nothing of the message; then its text is template_constant(). */
bool template_is_constant(const struct template *tmpl);
struct bailey_bytes template_constant(const struct template *tmpl);

/* True if it uses ${source.position}: legal only for sources with BAILEY_HAS_POSITIONS. */
bool template_uses_position(const struct template *tmpl);

/* What a connector sees of it; the caller sets its slot (-1 if constant). */
struct bailey_template *template_public(struct template *tmpl);

/* And back: `text` must come from template_public(). */
struct template *template_of(const struct bailey_template *text);

/* Fill it from `msg`; `route` is the route's name. The result lives in `msg` (or is part of it). False with a permanent
 * error when a value is missing without default, is not UTF-8, or the result is longer than TEMPLATE_RESULT_MAX. */
bool template_fill(const struct template *tmpl, struct bailey_message *msg, const char *route,
                   struct bailey_bytes *result, struct bailey_error *err);

/* True if `text` contains a ${lower.case} placeholder: for options where none is allowed. */
bool template_present(const char *text);

#endif
