/* config/findings.h: everything that is wrong with a configuration, collected and then shown in the order of the file.
 *
 * One thread. Survives a lack of memory: what cannot be kept is counted, and said at the end.
 */
#ifndef BAILEY_FINDINGS_H
#define BAILEY_FINDINGS_H

#include "config/config.h"

enum { FINDINGS_MAX = 200 }; /* kept and shown; the others are only counted */

struct place {
    unsigned line, column; /* from 1; 0 = the file as a whole */
};

struct finding {
    struct finding *next;
    struct place at;
    bool warning;
    const char *text;
    const char *hint; /* "" if none */
};

struct findings {
    struct arena *arena; /* of texts; NULL if there was no memory even for that */
    const char *file;    /* as given by the user; borrowed */
    struct finding *first, *last;
    size_t kept;
    struct config_counts counts;
    bool no_memory;
};

void findings_init(struct findings *findings, const char *file);
void findings_fini(struct findings *findings);

/* Add one. URLs inside lose their password, control characters are escaped. Returns it for findings_hint(), or NULL. */
struct finding *findings_error(struct findings *findings, struct place at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct finding *findings_warn(struct findings *findings, struct place at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
struct finding *findings_add(struct findings *findings, bool warning, struct place at, const char *fmt, va_list args)
    __attribute__((format(printf, 4, 0)));

/* One sentence on what to do. `finding` may be NULL. */
void findings_hint(struct findings *findings, struct finding *finding, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* An allocation failed: reported once, at the end. Returns false always. */
bool findings_no_memory(struct findings *findings);

/* By line and column; equal ones once. Call when all are collected. */
void findings_sort(struct findings *findings);

/* Append as text, `FILE:LINE:COL: error: ...`, or as a JSON array of objects. */
void findings_print(const struct findings *findings, struct text *out);
void findings_json(const struct findings *findings, struct text *out);

/* config_load, with the findings as data: they are initialised by the caller, and sorted when it returns. */
struct config *config_read(const char *path, config_find *find, struct findings *findings);
struct config *config_read_text(const char *yaml, size_t len, const char *path, config_find *find,
                                struct findings *findings);

#endif
