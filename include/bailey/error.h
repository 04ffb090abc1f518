/* bailey/error.h: an error is a value that the caller owns.
 *
 * It says what the caller may do (kind), what happened (text) and what the operator should try (hint).
 * No errno, thread-local or global crosses a function boundary. All functions here may be called on any thread.
 */
#ifndef BAILEY_ERROR_H
#define BAILEY_ERROR_H

#include <stdarg.h>
#include <stdbool.h>

enum bailey_error_kind {
    BAILEY_ERR_NONE,
    BAILEY_ERR_TRANSIENT, /* try again after a back-off: busy, timed out, away */
    BAILEY_ERR_PERMANENT, /* the same input will fail again: too large, unroutable, illegal property */
    BAILEY_ERR_CONFIG,    /* the operator must change something: no such queue, wrong password */
    /* 1.3: nobody there takes this message: no queue is bound for it; what becomes of it is the route's `unroutable:` */
    BAILEY_ERR_UNROUTABLE,
    BAILEY_ERR_KINDS
};

struct bailey_error {
    enum bailey_error_kind kind;
    int native;         /* code as the library or protocol gave it; 0 if none */
    const char *domain; /* whose code: "errno", "kafka", "amqp"; a static string, or NULL */
    char text[240];     /* short and factual, lower case, no full stop; never holds a secret */
    char hint[160];     /* one sentence that the operator can act on, or "" */
};

/* Fill `err` (which may be NULL) with a formatted text and no hint.
 * Returns false always, so that a failure is one line: return bailey_fail(err, ...); */
bool bailey_fail(struct bailey_error *err, enum bailey_error_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Same, and name the code that the library gave. `domain` must be a static string. */
bool bailey_fail_native(struct bailey_error *err, enum bailey_error_kind kind, const char *domain, int native,
                        const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Add a hint to an error that is already filled. `err` may be NULL. Returns false always. */
bool bailey_hint(struct bailey_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* "none", "transient", "permanent", "configuration" or "unroutable": the words used in logs and as the metric label `class`. */
const char *bailey_error_kind_name(enum bailey_error_kind kind);

#endif
