/* base/log.c: one line an event, built on the stack and written by one write(2).
 *
 * No allocation and no lock: an event can be logged in any state of the process. A value that does not fit is cut; room
 * for the end of the line is always kept back, so that a JSON line stays JSON.
 */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"

enum { TAIL = 32, BYTES_MAX = 128 }; /* TAIL: closing quote, truncated mark, brace, newline */

static _Atomic int log_level = BAILEY_LOG_INFO;
static atomic_bool log_json;
static _Atomic int log_fd = STDERR_FILENO;

struct line {
    char data[LOG_LINE_MAX];
    size_t len;
    bool json, cut;
};

void log_set_level(enum bailey_log_level level)
{
    atomic_store(&log_level, (int)level);
}

void log_set_json(bool json)
{
    atomic_store(&log_json, json);
}

void log_set_fd(int fd)
{
    atomic_store(&log_fd, fd);
}

const char *log_level_name(enum bailey_log_level level)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    return (unsigned)level < sizeof names / sizeof *names ? names[level] : "error";
}

bool bailey_log_wants(enum bailey_log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level, memory_order_relaxed);
}

/* All or nothing, so that no escape sequence is cut in two. */
static bool put(struct line *line, const char *data, size_t len)
{
    if (line->len + len > LOG_LINE_MAX - TAIL) {
        line->cut = true;
        return false;
    }
    memcpy(line->data + line->len, data, len);
    line->len += len;
    return true;
}

static bool put_str(struct line *line, const char *str)
{
    return put(line, str, strlen(str));
}

static void put_tail(struct line *line, const char *str)
{
    size_t len = strlen(str);

    if (line->len + len <= LOG_LINE_MAX) {
        memcpy(line->data + line->len, str, len);
        line->len += len;
    }
}

/* Bytes of the printable character at `data`; 0 if it must be escaped. C1 controls count as not printable. */
static size_t printable(const char *data, size_t len)
{
    unsigned char c = (unsigned char)data[0];
    size_t size = text_utf8(data, len);

    if (c < 0x20 || c == 0x7f || (size == 2 && c == 0xc2 && (unsigned char)data[1] < 0xa0))
        return 0;
    return size;
}

static bool put_escaped(struct line *line, unsigned char c)
{
    char escape[8];

    if (c == '"' || c == '\\')
        snprintf(escape, sizeof escape, "\\%c", c);
    else if (c == '\n')
        snprintf(escape, sizeof escape, "\\n");
    else if (c == '\t')
        snprintf(escape, sizeof escape, "\\t");
    else if (line->json && c >= 0x80)
        snprintf(escape, sizeof escape, "\\ufffd");
    else if (line->json)
        snprintf(escape, sizeof escape, "\\u%04x", c);
    else
        snprintf(escape, sizeof escape, "\\x%02x", c);
    return put_str(line, escape);
}

static bool plain(const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (data[i] <= ' ' || data[i] == '"' || data[i] == '\\' || data[i] == '=' || data[i] == 0x7f)
            return false; /* char may be signed: what is not ASCII is quoted as well */
    return len > 0;
}

static void put_value(struct line *line, const char *data, size_t len)
{
    if (!line->json && plain(data, len) && line->len + len <= LOG_LINE_MAX - TAIL) {
        put(line, data, len);
        return;
    }
    if (!put_str(line, "\""))
        return;
    for (size_t i = 0; i < len;) {
        size_t size = printable(data + i, len - i);
        bool fits = size == 0 || data[i] == '"' || data[i] == '\\' ? put_escaped(line, (unsigned char)data[i])
                                                                   : put(line, data + i, size);
        if (!fits)
            break;
        i += size == 0 ? 1 : size;
    }
    put_tail(line, "\"");
}

/* Room for a key and the shortest value, or the pair is left out. */
static bool put_key(struct line *line, const char *key, const char *suffix)
{
    size_t before = line->len;

    if (line->json ? put_str(line, ",\"") && put_str(line, key) && put_str(line, suffix) && put_str(line, "\":")
                   : put_str(line, " ") && put_str(line, key) && put_str(line, "="))
        if (line->len + 24 <= LOG_LINE_MAX - TAIL)
            return true;
    line->len = before;
    line->cut = true;
    return false;
}

static void put_text(struct line *line, const char *key, const char *data, size_t len)
{
    if (put_key(line, key, ""))
        put_value(line, data, len);
}

static void put_number(struct line *line, const struct bailey_kv *pair)
{
    bool ms = pair->kind == BAILEY_KV_MS;
    char number[32];

    if (!put_key(line, pair->key, ms ? "_ms" : ""))
        return;
    if (pair->kind == BAILEY_KV_U64)
        snprintf(number, sizeof number, "%llu", (unsigned long long)pair->u64);
    else
        snprintf(number, sizeof number, "%lld%s", (long long)pair->i64, ms && !line->json ? "ms" : "");
    put_str(line, number);
}

static void put_pair(struct line *line, const struct bailey_kv *pair)
{
    switch (pair->kind) {
    case BAILEY_KV_STR:
        if (pair->str != NULL)
            put_text(line, pair->key, pair->str, strlen(pair->str));
        else if (put_key(line, pair->key, ""))
            put_str(line, "null");
        break;
    case BAILEY_KV_BYTES:
        put_text(line, pair->key, pair->bytes.data, pair->bytes.len < BYTES_MAX ? pair->bytes.len : BYTES_MAX);
        break;
    case BAILEY_KV_I64:
    case BAILEY_KV_U64:
    case BAILEY_KV_MS:
        put_number(line, pair);
        break;
    case BAILEY_KV_ERROR:
        put_text(line, pair->key, pair->error->text, strlen(pair->error->text));
        put_pair(line, &(struct bailey_kv){.key = "class", .str = bailey_error_kind_name(pair->error->kind)});
        if (pair->error->hint[0] != '\0')
            put_text(line, "hint", pair->error->hint, strlen(pair->error->hint));
        break;
    }
}

static void put_head(struct line *line, enum bailey_log_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    char stamp[64];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t len = strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(stamp + len, sizeof stamp - len, ".%03dZ", (int)(now.tv_nsec / 1000000));

    put_str(line, line->json ? "{\"time\":\"" : "");
    put_str(line, stamp);
    put_str(line, line->json ? "\",\"level\":\"" : " ");
    put_str(line, log_level_name(level));
    put_str(line, line->json ? "\",\"event\":\"" : " ");
    put_str(line, event);
    put_str(line, line->json ? "\"" : "");
}

void bailey_log_event(enum bailey_log_level level, const char *event, const struct bailey_kv *pairs, size_t count)
{
    struct line line;
    int saved = errno;

    line.len = 0;
    line.cut = false;
    line.json = atomic_load_explicit(&log_json, memory_order_relaxed);
    put_head(&line, level, event);
    for (size_t i = 0; i < count; i++)
        put_pair(&line, &pairs[i]);
    if (line.cut)
        put_tail(&line, line.json ? ",\"truncated\":true" : " truncated=true");
    put_tail(&line, line.json ? "}\n" : "\n");

    /* Standard error may be a pipe that nobody reads any more: there is nothing to do about it. */
    while (write(atomic_load_explicit(&log_fd, memory_order_relaxed), line.data, line.len) < 0 && errno == EINTR)
        continue;
    errno = saved;
}
