/* Writes down why a message is given up. */
#include "core/dead_letter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core/identity.h"
#include "core/lane.h"
#include "message/pool.h"

enum { ID_TEXT = 32, TEXT_MAX = 512, HEADERS_MAX = 16 };

struct headers {
    struct bailey_header items[HEADERS_MAX];
    size_t count;
};

static void add(struct headers *headers, const char *name, struct bailey_bytes value)
{
    headers->items[headers->count++] = (struct bailey_header){
        .name = bailey_bytes_of(name),
        .value = {.kind = bailey_utf8_valid(value) ? BAILEY_KIND_STRING : BAILEY_KIND_BYTES, .bytes = value},
    };
}

/* ---- What the texts say ---- */

static void write_id(struct id id, char text[static ID_TEXT + 1])
{
    snprintf(text, ID_TEXT + 1, "%016" PRIx64 "%016" PRIx64, id.word[0], id.word[1]);
}

static void write_time(int64_t wall_ms, char text[static 32])
{
    time_t seconds = wall_ms / 1000;
    struct tm tm;
    size_t len;

    gmtime_r(&seconds, &tm);
    len = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, 32 - len, ".%03dZ", (int)(wall_ms % 1000));
}

static int shown(struct bailey_bytes bytes)
{
    return (int)(bytes.len < 200 ? bytes.len : 200);
}

static void write_source(const struct lane_options *options, const struct bailey_origin *origin,
                         char text[static TEXT_MAX])
{
    const char *broker = options->from.broker_name;

    if (origin->topic.data != NULL)
        snprintf(text, TEXT_MAX, "%s %.*s-%" PRId32 "-%" PRId64, broker, shown(origin->topic),
                 (const char *)origin->topic.data, origin->partition, origin->offset);
    else if (origin->queue.data != NULL)
        snprintf(text, TEXT_MAX, "%s %.*s", broker, shown(origin->queue), (const char *)origin->queue.data);
    else if (origin->destination.data != NULL)
        snprintf(text, TEXT_MAX, "%s %.*s", broker, shown(origin->destination), (const char *)origin->destination.data);
    else
        snprintf(text, TEXT_MAX, "%s", broker);
}

static void write_sink(const struct lane_options *options, const struct delivery *dlv, char text[static TEXT_MAX])
{
    size_t used = (size_t)snprintf(text, TEXT_MAX, "%s", options->to.broker_name);

    for (size_t i = 0; dlv->is_prepared && i < options->template_count && used < TEXT_MAX; i++)
        used += (size_t)snprintf(text + used, TEXT_MAX - used, " %.*s", shown(dlv->pub.address[i]),
                                 (const char *)dlv->pub.address[i].data);
}

static void write_code(const struct bailey_error *err, char text[static 64])
{
    text[0] = '\0';
    if (err->domain != NULL)
        snprintf(text, 64, "%s:%d", err->domain, err->native);
}

/* ---- All of them ---- */

struct bailey_message *dead_letter_new(const struct lane_options *options, struct bailey_host *host,
                                       const struct delivery *dlv, const struct dead_letter_reason *reason)
{
    struct bailey_message *msg = dlv->pub.message;
    struct headers headers = {.count = 0};
    char id[ID_TEXT + 1], source[TEXT_MAX], sink[TEXT_MAX], code[64], attempts[16], replays[16], first[32], last[32];

    write_id(identity_of(options, host, dlv), id);
    write_source(options, &msg->origin, source);
    write_sink(options, dlv, sink);
    write_code(reason->err, code);
    write_time(dlv->first_failed_ms, first);
    write_time(dlv->last_failed_ms, last);
    snprintf(attempts, sizeof attempts, "%" PRIu32, dlv->pub.attempts);
    add(&headers, DEAD_LETTER_ID, bailey_bytes_of(id));
    add(&headers, DEAD_LETTER_PREFIX "route", bailey_bytes_of(options->route));
    add(&headers, DEAD_LETTER_PREFIX "class", bailey_bytes_of(reason->class));
    if (code[0] != '\0')
        add(&headers, DEAD_LETTER_PREFIX "code", bailey_bytes_of(code));
    add(&headers, DEAD_LETTER_PREFIX "reason", bailey_bytes_of(reason->err->text));
    add(&headers, DEAD_LETTER_PREFIX "source", bailey_bytes_of(source));
    add(&headers, DEAD_LETTER_PREFIX "sink", bailey_bytes_of(sink));
    add(&headers, DEAD_LETTER_PREFIX "attempts", bailey_bytes_of(attempts));
    add(&headers, DEAD_LETTER_PREFIX "first-failed", bailey_bytes_of(first));
    add(&headers, DEAD_LETTER_PREFIX "last-failed", bailey_bytes_of(last));
    if (msg->key.data != NULL)
        add(&headers, DEAD_LETTER_KEY, msg->key);
    if (dlv->is_keyed)
        add(&headers, DEAD_LETTER_KEYED, bailey_bytes_of("1"));
    if (dlv->replays > 0) {
        snprintf(replays, sizeof replays, "%u", dlv->replays);
        add(&headers, DEAD_LETTER_REPLAYS, bailey_bytes_of(replays));
    }
    return message_with_headers(msg, bailey_bytes_of(id), DEAD_LETTER_PREFIX, headers.items, headers.count);
}
