/* cli/letter.h: a dead letter as `bailey dlq` shows it, and which ones are meant.
 *
 * What a dead letter says comes from outside: it is printed with its control characters made harmless.
 */
#ifndef BAILEY_CLI_LETTER_H
#define BAILEY_CLI_LETTER_H

#include <bailey/message.h>

#include "base/text.h"

/* ---- Which are meant: NAME=VALUE is equal, NAME~TEXT contains; all of those that commas part. ----
 * NAME: id class code reason source sink attempts replays first-failed last-failed key, or header.NAME. */

enum { LETTER_TESTS_MAX = 16 };

struct letter_filter {
    const char *route; /* dead letters of this route, and foreign ones, which name none */
    const char *id;    /* or NULL */
    struct letter_test {
        char name[128], value[256];
        bool is_header, contains;
    } tests[LETTER_TESTS_MAX];
    size_t count;
};

/* Read `text` (NULL: nothing) into `filter`. False with `err`: an unknown name (with the nearest), no "=" or "~", too long. */
bool letter_filter_read(struct letter_filter *filter, const char *text, struct bailey_error *err);

bool letter_matches(const struct letter_filter *filter, const struct bailey_message *letter);

/* ---- How it is shown ---- */

/* One line: id, time, class, attempts, replays, key, size, reason. `columns`: of the terminal, where the reason is cut; 0: there
 * is none. */
void letter_add_titles(struct text *out);
void letter_add_row(struct text *out, const struct bailey_message *letter, size_t columns);

/* All of it: what went wrong, properties, headers, body. */
void letter_add_all(struct text *out, const struct bailey_message *letter);

/* A JSON object; with the body if `whole`: "body" if it is UTF-8, else "body_base64". */
void letter_add_json(struct text *out, const struct bailey_message *letter, bool whole);

#endif
