/* bailey/log.h: structured log events on standard error.
 *
 * A stable event name, then typed pairs:
 *     bailey_log(BAILEY_LOG_WARN, "delivery.refused", kv_str("route", name), kv_u64("attempt", n), kv_error(err));
 * prints (format: text)
 *     2026-03-02T10:15:07.112Z warn delivery.refused route=orders attempt=3 error="queue full" class=transient
 *
 * Log once, where the decision is made; below that, return the error. Never a payload, never a secret.
 * All functions may be called on any thread; a line is written whole by one write(2).
 */
#ifndef BAILEY_LOG_H
#define BAILEY_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>

enum bailey_log_level {
    BAILEY_LOG_DEBUG, /* per batch or message; for developers */
    BAILEY_LOG_INFO,  /* lifecycle: a few an hour */
    BAILEY_LOG_WARN,  /* the gateway acted: reconnect, refused message */
    BAILEY_LOG_ERROR, /* someone must act */
};

enum bailey_kv_kind { BAILEY_KV_STR, BAILEY_KV_BYTES, BAILEY_KV_I64, BAILEY_KV_U64, BAILEY_KV_MS, BAILEY_KV_ERROR };

struct bailey_kv {
    const char *key;
    enum bailey_kv_kind kind;
    union {
        const char *str; /* NULL prints as null */
        struct {
            const void *data;
            size_t len;
        } bytes; /* printed as text, what is not printable escaped, cut at 128 bytes */
        int64_t i64;
        uint64_t u64;
        const struct bailey_error *error; /* prints error=, class=, and hint= if there is one */
    };
};

static inline struct bailey_kv kv_str(const char *key, const char *value)
{
    return (struct bailey_kv){.key = key, .kind = BAILEY_KV_STR, .str = value};
}
static inline struct bailey_kv kv_bytes(const char *key, const void *data, size_t len)
{
    return (struct bailey_kv){.key = key, .kind = BAILEY_KV_BYTES, .bytes = {data, len}};
}
static inline struct bailey_kv kv_i64(const char *key, int64_t value)
{
    return (struct bailey_kv){.key = key, .kind = BAILEY_KV_I64, .i64 = value};
}
static inline struct bailey_kv kv_u64(const char *key, uint64_t value)
{
    return (struct bailey_kv){.key = key, .kind = BAILEY_KV_U64, .u64 = value};
}
static inline struct bailey_kv kv_ms(const char *key, int64_t milliseconds)
{
    return (struct bailey_kv){.key = key, .kind = BAILEY_KV_MS, .i64 = milliseconds};
}
static inline struct bailey_kv kv_error(const struct bailey_error *err)
{
    return (struct bailey_kv){.key = "error", .kind = BAILEY_KV_ERROR, .error = err};
}

/* True if an event of `level` would be printed: ask before preparing costly pairs. */
bool bailey_log_wants(enum bailey_log_level level);

/* Print one event with `count` pairs. Use the macro below. */
void bailey_log_event(enum bailey_log_level level, const char *event, const struct bailey_kv *pairs, size_t count);

#define bailey_log(level, event, ...)                                                                                \
    do {                                                                                                             \
        if (bailey_log_wants(level)) {                                                                               \
            const struct bailey_kv bailey_log_pairs_[] = {__VA_ARGS__};                                              \
            bailey_log_event(level, event, bailey_log_pairs_, sizeof bailey_log_pairs_ / sizeof *bailey_log_pairs_); \
        }                                                                                                            \
    } while (0)

#endif
