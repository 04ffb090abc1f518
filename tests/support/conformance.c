/* conformance.c: the cases. Their names are the rules for a connector. */
#include "conformance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness.h"
#include "message/pool.h"

enum { PATIENCE_MS = 60000, MESSAGES_MAX = 20000, BODY_MAX = 1 << 20 };

/* ---- Places and configurations ---- */

static char place[64], in_queue[80], out_queue[80];
static int placed; /* messages that it was given, or makes itself */

static void new_place(const struct subject *subject)
{
    static unsigned number;

    snprintf(place, sizeof place, "conformance-%s-%d-%u", subject->name, (int)getpid(), ++number);
    snprintf(in_queue, sizeof in_queue, "%s.in", place);
    snprintf(out_queue, sizeof out_queue, "%s.out", place);
}

/* `text` with the name of the place for each `@`, and the number of its messages for each `#`. */
static void add_placed(struct text *yaml, const char *text)
{
    for (; *text != '\0'; text++)
        if (*text == '@')
            text_add(yaml, place);
        else if (*text == '#')
            text_printf(yaml, "%d", placed);
        else
            text_add_len(yaml, text, 1);
}

struct routes {
    const char *sink; /* route `in`: memory → subject, with these options of the subject's sink; NULL: no such route */
    const char *source; /* route `out`: subject → memory; or NULL */
    const char *script; /* further options of the memory sink of `out`, each with a comma before it; or NULL */
    const char *credit; /* NULL: the default */
};

static struct bridge start(const struct subject *subject, struct routes routes)
{
    struct text yaml = {0};
    const char *credit = routes.credit != NULL ? routes.credit : "{ messages: 2000 }";

    text_printf(&yaml, "instance: conformance\nworkers: 2\nbrokers:\n  m: { connector: memory }\n  x: %s\nroutes:\n",
                subject->broker);
    if (routes.sink != NULL) {
        text_printf(&yaml, "  - { name: in, credit: %s, from: { broker: m, queue: %s }, to: { broker: x, ", credit,
                    in_queue);
        add_placed(&yaml, routes.sink);
        text_add(&yaml, " } }\n");
    }
    if (routes.source != NULL) {
        text_printf(&yaml, "  - { name: out, credit: %s, retry: { backoff: 1s..1s }, from: { broker: x, ", credit);
        add_placed(&yaml, routes.source);
        text_printf(&yaml, " }, to: { broker: m, queue: %s%s } }\n", out_queue,
                    routes.script != NULL ? routes.script : "");
    }
    struct bridge bridge = bridge_start(yaml.data);

    text_free(&yaml);
    return bridge;
}

static void drain_and_stop(struct bridge *bridge)
{
    assert_true(bridge_drain(bridge, PATIENCE_MS));
    for (size_t i = 0; i < gateway_route_count(bridge->gateway); i++) {
        struct route_status status;

        gateway_status(bridge->gateway, i, &status);
        assert_int_equal(status.unsettled, 0);
        assert_int_equal(status.unconfirmed, 0);
        assert_int_equal(status.waiting, 0);
    }
    bridge_stop(bridge);
}

/* ---- Numbered messages ---- */

/* Into the queue that the subject's sink is fed from. A subject without a sink makes them itself. */
static void put_numbers(const struct subject *subject, int first, int count)
{
    struct bailey_pool *pool;

    placed = first + count;
    if (subject->sink == NULL)
        return;
    pool = message_pool_new();
    for (int i = first; i < first + count; i++) {
        struct bailey_message *msg = message_new(pool);
        char *body = bailey_message_alloc(msg, 64), key[16];

        msg->key = bailey_message_copy(msg, key, (size_t)snprintf(key, sizeof key, "key-%d", i % 7));
        msg->body = (struct bailey_bytes){(const uint8_t *)body, (size_t)snprintf(body, 64, "message %d", i)};
        memory_queues->put(in_queue, (const struct bailey_message *const *)&msg, 1);
        bailey_message_unref(msg);
    }
    message_pool_free(pool);
}

/* What came out, by number. */
static struct {
    int seen[MESSAGES_MAX], marked[MESSAGES_MAX];
    int count, distinct, duplicates;
    int unmarked; /* of all copies of a message but one must say that they may be a duplicate; those that do not */
    int disorder; /* a first coming after a higher number's */
    int highest;
} tally;

/* A broker may store what was on its way to it after what was sent again: so no matter which copy comes first. */
static int unmarked_of(int number)
{
    int excess = tally.seen[number] - 1 - tally.marked[number];

    return excess > 0 ? excess : 0;
}

static void note(void *ctx, const struct bailey_message *msg)
{
    char text[64] = "";
    int number = -1;
    bool is_marked = bailey_message_header(msg, bailey_bytes_of("bailey-possible-duplicate")) != NULL;

    (void)ctx;
    memcpy(text, msg->body.data, msg->body.len < sizeof text ? msg->body.len : sizeof text - 1);
    assert_true(sscanf(text, "message %d", &number) == 1 || sscanf(text, "bailey 1 %*d %d", &number) == 1);
    assert_in_range(number, 0, MESSAGES_MAX - 1);
    tally.count++;
    tally.unmarked -= unmarked_of(number);
    tally.seen[number]++;
    tally.marked[number] += is_marked || msg->redelivered;
    tally.unmarked += unmarked_of(number);
    if (tally.seen[number] > 1) {
        tally.duplicates++;
        return;
    }
    tally.distinct++;
    tally.disorder += number < tally.highest;
    if (number > tally.highest)
        tally.highest = number;
}

static void take_numbers(void)
{
    memory_queues->take(out_queue, SIZE_MAX, note, NULL);
}

static void forget_numbers(void)
{
    memset(&tally, 0, sizeof tally);
}

struct expected {
    int distinct;
};

static bool all_came(void *ctx)
{
    take_numbers();
    return tally.distinct >= ((struct expected *)ctx)->distinct;
}

static void wait_for_numbers(int distinct)
{
    if (!wait_until(all_came, &(struct expected){distinct}, PATIENCE_MS))
        fail_msg("%d of %d messages came, %d of them twice", tally.distinct, distinct, tally.duplicates);
}

static void assert_each_came_once(int count)
{
    take_numbers();
    assert_int_equal(tally.distinct, count);
    if (tally.duplicates > 0)
        fail_msg("%d duplicates, %d of them unmarked", tally.duplicates, tally.unmarked);
}

/* Put `count` messages into the subject, and nothing else. */
static void fill(const struct subject *subject, int count)
{
    struct bridge bridge;

    new_place(subject);
    forget_numbers();
    put_numbers(subject, 0, count);
    if (subject->sink == NULL)
        return;
    bridge = start(subject, (struct routes){.sink = subject->sink});
    assert_true(bridge_wait_delivered(&bridge, "in", count, PATIENCE_MS));
    drain_and_stop(&bridge);
    assert_int_equal(memory_queues->depth(in_queue), 0);
}

/* ---- Cases ---- */

static void everything_arrives_once_and_in_order(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;

    new_place(subject);
    forget_numbers();
    put_numbers(subject, 0, subject->sink != NULL ? 1 : subject->messages);
    bridge = start(subject, (struct routes){.sink = subject->sink, .source = subject->source});
    wait_for_numbers(1); /* a quorum queue that was just created may refuse what comes before it has a leader */
    if (subject->sink != NULL)
        put_numbers(subject, 1, subject->messages - 1);
    wait_for_numbers(subject->messages);
    drain_and_stop(&bridge);
    assert_each_came_once(subject->messages);
    assert_int_equal(tally.disorder, 0);
    assert_int_equal(memory_queues->depth(in_queue), 0);
}

/* A sink that confirms nothing: its messages must stay at the source, and come again after the end. */
static void a_source_keeps_what_was_not_confirmed(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;

    fill(subject, 200);
    bridge = start(subject, (struct routes){.source = subject->source, .script = ", store: confirmed, delay: 10m"});
    for (int64_t until_ms = monotonic_ms() + PATIENCE_MS; bridge_status(&bridge, "out").unconfirmed < 200;)
        assert_true(monotonic_ms() < until_ms);
    bridge_stop(&bridge);
    take_numbers();
    assert_int_equal(tally.count, 0);
    bridge = start(subject, (struct routes){.source = subject->source});
    wait_for_numbers(200);
    drain_and_stop(&bridge);
    assert_each_came_once(200);
}

static void what_was_settled_does_not_come_again(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;

    fill(subject, 200);
    bridge = start(subject, (struct routes){.source = subject->source});
    wait_for_numbers(200);
    drain_and_stop(&bridge);
    put_numbers(subject, 200, 1); /* the one that must come; what came before it would come before it */
    bridge = start(subject, (struct routes){.sink = subject->sink, .source = subject->source});
    wait_for_numbers(201);
    drain_and_stop(&bridge);
    assert_each_came_once(201);
}

static void a_refused_message_alone_is_sent_again(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;
    struct route_status status;

    fill(subject, 100);
    bridge =
        start(subject, (struct routes){.source = subject->source, .script = ", fail_every: 10, fail_kind: permanent"});
    wait_for_numbers(100);
    assert_true(bridge_drain(&bridge, PATIENCE_MS));
    status = bridge_status(&bridge, "out");
    assert_int_equal(status.refused[BAILEY_ERR_PERMANENT], 10);
    assert_int_equal(status.retried, 10);
    assert_int_equal(status.unsettled, 0);
    bridge_stop(&bridge);
    assert_each_came_once(100);
}

/* What waits for its next attempt at a drain goes back to the source, and comes again later. */
static void a_refused_message_goes_back_at_a_drain(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;

    fill(subject, 50);
    bridge = start(subject, (struct routes){.source = subject->source, .script = ", fail_every: 50, fail_times: 0"});
    wait_for_numbers(49);
    drain_and_stop(&bridge);
    take_numbers();
    assert_int_equal(tally.distinct, 49);
    bridge = start(subject, (struct routes){.source = subject->source});
    wait_for_numbers(50);
    drain_and_stop(&bridge);
    assert_int_equal(tally.distinct, 50);
}

static void a_lost_sink_at_the_other_side_loses_nothing(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;
    int64_t in_doubt;

    fill(subject, 2000);
    bridge = start(
        subject, (struct routes){.source = subject->source, .script = ", lose_after: 500, lose_times: 3, delay: 5ms"});
    wait_for_numbers(2000);
    in_doubt = bridge_status(&bridge, "out").in_doubt;
    drain_and_stop(&bridge);
    take_numbers();
    assert_int_equal(tally.distinct, 2000);
    assert_true(in_doubt > 0);
    assert_in_range(tally.duplicates, 1, in_doubt);
    assert_int_equal(tally.unmarked, 0);
}

static void a_connection_that_is_lost_by_script_loses_nothing(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;

    new_place(subject);
    forget_numbers();
    put_numbers(subject, 0, 2000);
    bridge = start(subject, (struct routes){.sink = subject->lossy_sink, .source = subject->lossy_source});
    wait_for_numbers(2000);
    drain_and_stop(&bridge);
    take_numbers();
    assert_int_equal(tally.distinct, 2000);
    assert_int_equal(tally.unmarked, 0);
}

/* Cut while messages flow both ways. */
static void a_connection_that_is_cut_loses_nothing(void **state)
{
    enum { CHUNK = 1000, CHUNKS = 12 };
    const struct subject *subject = *state;
    struct bridge bridge;
    unsigned cut = 0;

    new_place(subject);
    forget_numbers();
    bridge = start(subject, (struct routes){.sink = subject->sink, .source = subject->source});
    assert_true(bridge_wait_state(&bridge, "in", LANE_RUNNING, PATIENCE_MS));
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        put_numbers(subject, chunk * CHUNK, CHUNK);
        if (chunk % 4 == 3) {
            wait_for_numbers(chunk * CHUNK - CHUNK / 2); /* in the middle of a flow */
            cut += proxy_cut(subject->proxy);
        }
    }
    wait_for_numbers(CHUNKS * CHUNK);
    drain_and_stop(&bridge);
    take_numbers();
    assert_int_equal(tally.distinct, CHUNKS * CHUNK);
    assert_true(cut >= 3);
    print_message("[          ] %s: %u connections cut, %d duplicates, %d unmarked\n", subject->name, cut,
                  tally.duplicates, tally.unmarked);
}

static void a_source_never_exceeds_its_credit(void **state)
{
    enum { CREDIT = 50, MESSAGES = 600 };
    const struct subject *subject = *state;
    struct bridge bridge;
    int64_t most = 0;

    fill(subject, MESSAGES);
    bridge = start(subject,
                   (struct routes){.source = subject->source, .script = ", delay: 10ms", .credit = "{ messages: 50 }"});
    for (int64_t until_ms = monotonic_ms() + PATIENCE_MS; tally.distinct < MESSAGES; take_numbers()) {
        int64_t unsettled = bridge_status(&bridge, "out").unsettled;

        most = unsettled > most ? unsettled : most;
        assert_true(monotonic_ms() < until_ms);
    }
    drain_and_stop(&bridge);
    assert_in_range(most, CREDIT / 2, CREDIT);
    assert_each_came_once(MESSAGES);
}

/* A sink that takes nothing holds the source; no message is lost, and none is counted as refused. */
static void a_held_sink_holds_the_source(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;
    struct route_status status;

    fill(subject, 1000);
    bridge =
        start(subject,
              (struct routes){.source = subject->source, .script = ", capacity: 100", .credit = "{ messages: 200 }"});
    assert_true(memory_queues->wait(out_queue, 100, PATIENCE_MS));
    for (int64_t until_ms = monotonic_ms() + 300; monotonic_ms() < until_ms;) { /* would it take more? */
        assert_int_equal(memory_queues->depth(out_queue), 100);
        assert_in_range(bridge_status(&bridge, "out").unsettled, 0, 200);
    }
    wait_for_numbers(1000); /* taking makes room */
    status = bridge_status(&bridge, "out");
    assert_int_equal(status.refused[BAILEY_ERR_TRANSIENT] + status.refused[BAILEY_ERR_PERMANENT], 0);
    drain_and_stop(&bridge);
    assert_each_came_once(1000);
}

static void a_drain_finishes_what_is_in_flight(void **state)
{
    const struct subject *subject = *state;
    struct bridge bridge;
    int came;

    fill(subject, 1000);
    bridge = start(
        subject, (struct routes){.source = subject->source, .script = ", delay: 200ms", .credit = "{ messages: 300 }"});
    for (int64_t until_ms = monotonic_ms() + PATIENCE_MS; bridge_status(&bridge, "out").unconfirmed == 0;)
        assert_true(monotonic_ms() < until_ms);
    drain_and_stop(&bridge);
    take_numbers();
    came = tally.distinct;
    assert_in_range(came, 1, 999);
    bridge = start(subject, (struct routes){.source = subject->source});
    wait_for_numbers(1000);
    drain_and_stop(&bridge);
    assert_each_came_once(1000);
}

static void it_can_be_stopped_while_it_opens(void **state)
{
    const struct subject *subject = *state;

    new_place(subject);
    forget_numbers();
    for (int i = 0; i < 10; i++) {
        struct bridge bridge = start(subject, (struct routes){.sink = subject->sink, .source = subject->source});
        int64_t began_ms = monotonic_ms();

        if (i % 2 == 1)
            assert_true(bridge_drain(&bridge, PATIENCE_MS));
        bridge_stop(&bridge);
        assert_true(monotonic_ms() - began_ms < 15000);
    }
}

/* Opened and closed many times in a row, with new work each time: stopped at once, in the middle, or drained. */
static void it_opens_and_closes_often(void **state)
{
    enum { EACH = 20 };
    const struct subject *subject = *state;
    struct bridge bridge;

    new_place(subject);
    forget_numbers();
    for (int i = 0; i < subject->openings; i++) {
        put_numbers(subject, i * EACH, EACH);
        bridge = start(subject, (struct routes){.sink = subject->sink, .source = subject->source});
        if (i % 3 > 0)
            assert_true(bridge_wait_delivered(&bridge, subject->sink != NULL ? "in" : "out", 1, PATIENCE_MS));
        if (i % 3 > 1)
            assert_true(bridge_drain(&bridge, PATIENCE_MS));
        bridge_stop(&bridge);
    }
    bridge = start(subject, (struct routes){.sink = subject->sink, .source = subject->source});
    wait_for_numbers(subject->openings * EACH);
    drain_and_stop(&bridge);
    take_numbers();
    assert_int_equal(tally.distinct, subject->openings * EACH);
}

/* ---- The envelope ---- */

static struct bailey_value text_of(const char *text)
{
    return (struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of(text)};
}

/* Static: bodies and headers are shown to the memory queue, which copies. */
static uint8_t big_body[BODY_MAX];
static const struct bailey_value items[] = {{.kind = BAILEY_KIND_I32, .i64 = -1}, {.kind = BAILEY_KIND_STRING}};

static void set_kinds(struct bailey_header *headers, uint32_t *count)
{
    const struct bailey_value values[] = {
        {.kind = BAILEY_KIND_NULL},
        {.kind = BAILEY_KIND_BOOL, .boolean = true},
        {.kind = BAILEY_KIND_I8, .i64 = -128},
        {.kind = BAILEY_KIND_U8, .u64 = 255},
        {.kind = BAILEY_KIND_I16, .i64 = -32768},
        {.kind = BAILEY_KIND_U16, .u64 = 65535},
        {.kind = BAILEY_KIND_I32, .i64 = INT32_MIN},
        {.kind = BAILEY_KIND_U32, .u64 = UINT32_MAX},
        {.kind = BAILEY_KIND_I64, .i64 = INT64_MIN},
        {.kind = BAILEY_KIND_F32, .f64 = 0.25},
        {.kind = BAILEY_KIND_F64, .f64 = 0.1},
        {.kind = BAILEY_KIND_DECIMAL, .u64 = 12345 << 8 | 2},
        {.kind = BAILEY_KIND_BYTES, .bytes = {(const uint8_t *)"\0\xff\x80", 3}},
        {.kind = BAILEY_KIND_TIMESTAMP, .u64 = 1700000000},
        {.kind = BAILEY_KIND_ARRAY, .count = 1, .items = items},
        {.kind = BAILEY_KIND_TABLE},
    };

    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        headers[(*count)++] = (struct bailey_header){.name = bailey_bytes_of("kind"), .value = values[i]};
}

enum { SHAPES = 9, SHAPE_HEADERS = 24 };

/* The message called `shape`, in `msg`; its headers in `headers`. */
static void make_shape(int shape, struct bailey_message *msg, struct bailey_header headers[static SHAPE_HEADERS])
{
    uint32_t count = 0;

    msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
    msg->timestamp_ms = 1700000000123;
    msg->key = bailey_bytes_of("key");
    msg->body = bailey_bytes_of("body");
    switch (shape) {
    case 0: /* nothing special */
        break;
    case 1:
        msg->body = BAILEY_NULL_BYTES;
        break;
    case 2:
        msg->body = BAILEY_EMPTY_BYTES;
        break;
    case 3:
        msg->key = BAILEY_NULL_BYTES;
        break;
    case 4:
        msg->key = BAILEY_EMPTY_BYTES;
        break;
    case 5: /* binary everywhere */
        msg->key = (struct bailey_bytes){(const uint8_t *)"\0\xff\r\n", 4};
        msg->body = (struct bailey_bytes){(const uint8_t *)"\xce\0\0\1", 4};
        headers[count++] = (struct bailey_header){
            .name = bailey_bytes_of("b"), .value = {.kind = BAILEY_KIND_BYTES, .bytes = {(const uint8_t *)"\0\0", 2}}};
        break;
    case 6: /* order and repetition */
        headers[count++] = (struct bailey_header){.name = bailey_bytes_of("twice"), .value = text_of("first")};
        headers[count++] = (struct bailey_header){.name = bailey_bytes_of("other"), .value = text_of("")};
        headers[count++] = (struct bailey_header){.name = bailey_bytes_of("twice"), .value = text_of("second")};
        set_kinds(headers, &count);
        break;
    case 7: /* properties */
        msg->priority = 7;
        msg->durability = BAILEY_DURABLE;
        msg->content_type = bailey_bytes_of("application/json");
        msg->content_encoding = bailey_bytes_of("gzip");
        msg->correlation_id = bailey_bytes_of("correlation");
        msg->reply_to = bailey_bytes_of("reply.queue");
        msg->message_id = bailey_bytes_of("id-1");
        msg->type = bailey_bytes_of("order.created");
        msg->app_id = bailey_bytes_of("app");
        msg->expires_at_ms = 4102444800000; /* 2100-01-01 */
        break;
    default:
        for (size_t i = 0; i < sizeof big_body; i++)
            big_body[i] = (uint8_t)(i * 2654435761u >> 24);
        msg->body = (struct bailey_bytes){big_body, sizeof big_body};
    }
    msg->headers = headers;
    msg->header_count = count;
}

static void assert_same_bytes(const char *what, int shape, struct bailey_bytes sent, struct bailey_bytes got)
{
    if (!bailey_bytes_equal(sent, got))
        fail_msg("shape %d, %s: %s of %zu bytes became %s of %zu bytes", shape, what, sent.data ? "value" : "null",
                 sent.len, got.data ? "value" : "null", got.len);
}

static void assert_same_headers(int shape, struct bailey_message *scratch, const struct bailey_message *sent,
                                const struct bailey_message *got)
{
    if (sent->header_count != got->header_count)
        fail_msg("shape %d: %u headers became %u, the last is %.*s", shape, sent->header_count, got->header_count,
                 got->header_count == 0 ? 0 : (int)got->headers[got->header_count - 1].name.len,
                 got->header_count == 0 ? "" : (const char *)got->headers[got->header_count - 1].name.data);
    for (uint32_t i = 0; i < sent->header_count; i++) {
        const struct bailey_header *a = &sent->headers[i], *b = &got->headers[i];

        assert_same_bytes("header name", shape, a->name, b->name);
        if (a->value.kind != b->value.kind)
            fail_msg("shape %d, header %u: kind %c became %c", shape, i, a->value.kind, b->value.kind);
        assert_same_bytes("header value", shape, bailey_value_format(scratch, &a->value),
                          bailey_value_format(scratch, &b->value));
    }
}

struct round_trip {
    const struct subject *subject;
    struct bailey_pool *pool;
    int shape;
};

static void compare_shape(void *ctx, const struct bailey_message *got)
{
    struct round_trip *trip = ctx;
    struct bailey_header headers[SHAPE_HEADERS];
    struct bailey_message *sent = message_new(trip->pool), *scratch = message_new(trip->pool);
    int shape = trip->shape++;

    make_shape(shape, sent, headers);
    assert_same_bytes("key", shape, sent->key, got->key);
    assert_same_bytes("body", shape, sent->body, got->body);
    assert_same_headers(shape, scratch, sent, got);
    assert_same_bytes("content type", shape, sent->content_type, got->content_type);
    assert_same_bytes("content encoding", shape, sent->content_encoding, got->content_encoding);
    assert_same_bytes("correlation id", shape, sent->correlation_id, got->correlation_id);
    assert_same_bytes("reply-to", shape, sent->reply_to, got->reply_to);
    assert_same_bytes("message id", shape, sent->message_id, got->message_id);
    assert_same_bytes("type", shape, sent->type, got->type);
    assert_same_bytes("app id", shape, sent->app_id, got->app_id);
    assert_int_equal(sent->priority, got->priority);
    assert_int_equal(sent->timestamp_kind, got->timestamp_kind);
    assert_int_equal(sent->timestamp_ms, got->timestamp_ms);
    if (sent->durability != BAILEY_DURABILITY_UNKNOWN)
        assert_int_equal(sent->durability, got->durability);
    assert_in_range(got->expires_at_ms, sent->expires_at_ms - (sent->expires_at_ms > 0 ? 60000 : 0),
                    sent->expires_at_ms + (sent->expires_at_ms > 0 ? 60000 : 0));
    bailey_message_unref(sent);
    bailey_message_unref(scratch);
}

static void put_shape(const struct round_trip *trip, int shape)
{
    struct bailey_header headers[SHAPE_HEADERS];
    struct bailey_message *msg = message_new(trip->pool);

    make_shape(shape, msg, headers);
    memory_queues->put(in_queue, (const struct bailey_message *const *)&msg, 1);
    bailey_message_unref(msg);
}

/* One after the other: a broker may give what has a higher priority first. */
static void the_envelope_comes_back(void **state)
{
    const struct subject *subject = *state;
    struct round_trip trip = {.subject = subject, .pool = message_pool_new()};
    struct bridge bridge;

    new_place(subject);
    bridge = start(subject, (struct routes){.sink = subject->sink, .source = subject->source});
    for (int shape = 0; shape < SHAPES; shape++) {
        put_shape(&trip, shape);
        assert_true(memory_queues->wait(out_queue, (size_t)shape + 1, PATIENCE_MS));
    }
    drain_and_stop(&bridge);
    memory_queues->take(out_queue, SIZE_MAX, compare_shape, &trip);
    assert_int_equal(trip.shape, SHAPES);
    message_pool_free(trip.pool);
}

/* ---- All of them ---- */

static bool has_a_sink(const struct subject *subject)
{
    return subject->sink != NULL;
}

static bool is_scripted(const struct subject *subject)
{
    return subject->lossy_source != NULL && subject->lossy_sink != NULL;
}

static bool is_proxied(const struct subject *subject)
{
    return subject->proxy != NULL;
}

static const struct rule {
    const char *name;
    CMUnitTestFunction function;
    bool (*applies)(const struct subject *subject); /* NULL: to all */
} rules[] = {
#define RULE(function)            \
    {                             \
#function, function, NULL \
    }
#define RULE_IF(applies, function)   \
    {                                \
#function, function, applies \
    }
    RULE(everything_arrives_once_and_in_order),
    RULE_IF(has_a_sink, the_envelope_comes_back),
    RULE(a_source_keeps_what_was_not_confirmed),
    RULE(what_was_settled_does_not_come_again),
    RULE(a_refused_message_alone_is_sent_again),
    RULE(a_refused_message_goes_back_at_a_drain),
    RULE(a_lost_sink_at_the_other_side_loses_nothing),
    RULE_IF(is_scripted, a_connection_that_is_lost_by_script_loses_nothing),
    RULE_IF(is_proxied, a_connection_that_is_cut_loses_nothing),
    RULE(a_source_never_exceeds_its_credit),
    RULE(a_held_sink_holds_the_source),
    RULE(a_drain_finishes_what_is_in_flight),
    RULE(it_can_be_stopped_while_it_opens),
    RULE(it_opens_and_closes_often),
#undef RULE
#undef RULE_IF
};
enum { RULES = sizeof rules / sizeof *rules, SUBJECTS_MAX = 8 };

int conformance_run(const char *group, const struct subject *subjects, unsigned count)
{
    static char names[SUBJECTS_MAX * RULES][128];
    struct CMUnitTest tests[SUBJECTS_MAX * RULES] = {0};
    size_t total = 0;

    for (size_t i = 0; i < count * (size_t)RULES; i++) {
        const struct subject *subject = &subjects[i / RULES];
        const struct rule *rule = &rules[i % RULES];

        if (rule->applies != NULL && !rule->applies(subject))
            continue;
        snprintf(names[total], sizeof names[total], "%s: %s", subject->name, rule->name);
        tests[total] = (struct CMUnitTest){
            .name = names[total], .test_func = rule->function, .initial_state = (void *)(uintptr_t)subject};
        total++;
    }
    if (getenv("BAILEY_TEST_FILTER") != NULL)
        cmocka_set_test_filter(getenv("BAILEY_TEST_FILTER"));
    return _cmocka_run_group_tests(group, tests, total, NULL, NULL);
}
