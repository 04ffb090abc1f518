/* The envelope as STOMP headers, and back: each broker gets what it has a header for, none is steered, and headers from outside
 * cannot do more than set what they name. test_stomp_map_round.c shows that nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "stomp_brokers.h"

static const struct bailey_marks no_marks;
static uint8_t space[1 << 19];

static struct bailey_header text_header(const char *name, const char *value)
{
    return (struct bailey_header){text(name), {.kind = BAILEY_KIND_STRING, .bytes = text(value)}};
}

static bool is(struct bailey_bytes bytes, const char *str)
{
    return bailey_bytes_is(bytes, str);
}

static struct bailey_message *receive_text(const char *frame, enum stomp_dialect dialect)
{
    struct way way = {dialect, STOMP_ESCAPES_12, 0, NULL, false};

    return receive_frame((struct bailey_bytes){(const uint8_t *)frame, strlen(frame) + 1}, &way);
}

/* ---- What a SEND looks like ---- */

/* A record as Kafka's source gives it: a timestamp, two headers, nothing else. */
static struct bailey_message *plain_message(void)
{
    struct bailey_message *msg = message_new(stomp_pool);
    struct bailey_header *headers = bailey_message_alloc(msg, 2 * sizeof *headers);

    headers[0] = text_header("color", "red: \\1");
    headers[1] = text_header("size", "12");
    msg->headers = headers;
    msg->header_count = 2;
    msg->key = text("k1");
    msg->body = text("body");
    msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
    msg->timestamp_ms = WALL_MS;
    return msg;
}

static void assert_frame(struct bailey_bytes frame, const char *expected)
{
    if (frame.len != strlen(expected) + 1 || memcmp(frame.data, expected, frame.len) != 0)
        fail_msg("\"%s\", not \"%s\"", (const char *)frame.data, expected);
}

static void says_a_plain_record_plainly(void **state)
{
    static const struct {
        enum stomp_dialect dialect;
        const char *frame;
    } rows[] = {
#define HEAD "SEND\ndestination:/queue/q\nreceipt:7\ncontent-length:4\npersistent:true\n"
#define TAIL "color:red\\c \\\\1\nsize:12\nbailey-order:color,size\n\nbody"
        {STOMP_ACTIVEMQ, HEAD "timestamp:1700000000000\nbailey-key:k1\nbailey-none:durable,priority,message-id\n" TAIL},
        {STOMP_ARTEMIS, HEAD "bailey-timestamp:1700000000000\nbailey-key:k1\nbailey-none:durable,priority\n" TAIL},
        {STOMP_RABBITMQ, HEAD "timestamp:1700000000\nbailey-key:k1\nbailey-none:durable\n" TAIL},
        {STOMP_GENERIC, HEAD "timestamp:1700000000000\nbailey-key:k1\nbailey-none:durable,priority\n" TAIL},
    };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct way way = {rows[i].dialect, STOMP_ESCAPES_12, STOMP_PERSISTENT_ALWAYS, NULL, false};
        struct bailey_message *msg = plain_message();

        assert_frame(send_frame(msg, &way), rows[i].frame);
        bailey_message_unref(msg);
    }
}

/* What the broker has a header for is readable by those who know no Bailey. */
static void gives_properties_to_the_brokers_own_headers(void **state)
{
    static const struct {
        enum stomp_dialect dialect;
        const char *frame;
    } rows[] = {
#undef HEAD
#define HEAD "SEND\ndestination:/queue/q\nreceipt:7\ncontent-length:0\n"
        {STOMP_ACTIVEMQ,
         HEAD "content-type:text/plain\nbailey-content-encoding:gzip\ncorrelation-id:c\nreply-to:/queue/r\n"
              "bailey-message-id:m\ntype:t\nbailey-app-id:a\nbailey-user-id:u\npriority:9\n"
              "bailey-priority:200\npersistent:true\nexpires:1700000060000\ntimestamp:1234567\n\n"},
        {STOMP_ARTEMIS,
         HEAD "content-type:text/plain\nbailey-content-encoding:gzip\ncorrelation-id:c\nreply-to:/queue/r\n"
              "bailey-message-id:m\ntype:t\nbailey-app-id:a\nbailey-user-id:u\npriority:9\n"
              "bailey-priority:200\npersistent:true\nexpires:1700000060000\nbailey-timestamp:1234567\n\n"},
        {STOMP_RABBITMQ,
         HEAD "content-type:text/plain\ncontent-encoding:gzip\ncorrelation-id:c\nreply-to:/queue/r\n"
              "amqp-message-id:m\ntype:t\napp-id:a\nbailey-user-id:u\npriority:200\npersistent:true\n"
              "expiration:60000\nbailey-expires:1700000060000\ntimestamp:1234\nbailey-timestamp:1234567\n\n"},
        {STOMP_GENERIC,
         HEAD "content-type:text/plain\nbailey-content-encoding:gzip\ncorrelation-id:c\nreply-to:/queue/r\n"
              "bailey-message-id:m\ntype:t\nbailey-app-id:a\nbailey-user-id:u\npriority:200\n"
              "persistent:true\nexpires:1700000060000\ntimestamp:1234567\n\n"},
    };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct way way = {rows[i].dialect, STOMP_ESCAPES_12, STOMP_PERSISTENT_AS_MESSAGE, NULL, false};
        struct bailey_message *msg = message_new(stomp_pool);

        msg->body = BAILEY_EMPTY_BYTES;
        msg->content_type = text("text/plain");
        msg->content_encoding = text("gzip");
        msg->correlation_id = text("c");
        msg->reply_to = text("/queue/r");
        msg->message_id = text("m");
        msg->type = text("t");
        msg->app_id = text("a");
        msg->user_id = text("u");
        msg->priority = 200;
        msg->durability = BAILEY_DURABLE;
        msg->expires_at_ms = WALL_MS + 60000;
        msg->timestamp_kind = BAILEY_TIMESTAMP_CREATE;
        msg->timestamp_ms = 1234567;
        assert_frame(send_frame(msg, &way), rows[i].frame);
        bailey_message_unref(msg);
    }
}

static bool sends_header(struct bailey_message *msg, const struct way *way, const char *name, const char *value)
{
    struct bailey_bytes body, found;
    struct stomp_parser parser = parse_frame(send_frame(msg, way), way->escapes, &body);
    bool same;

    found = stomp_frame_header(&parser, name);
    same = value == NULL ? found.data == NULL : found.data != NULL && is(found, value);
    stomp_parser_fini(&parser);
    return same;
}

static void never_asks_rabbitmq_for_a_transient_queue(void **state)
{
    struct way way = *way_of(STOMP_RABBITMQ);
    struct bailey_message *msg = plain_message();

    (void)state;
    way.persistent = STOMP_PERSISTENT_NEVER;
    assert_true(sends_header(msg, &way, "persistent", NULL));
    way.dialect = STOMP_ARTEMIS; /* whose default is persistent */
    assert_true(sends_header(msg, &way, "persistent", "false"));
    bailey_message_unref(msg);
}

static void hands_replies_only_to_addresses_that_the_broker_can_read(void **state)
{
    static const struct {
        const char *reply_to;
        bool activemq, artemis, rabbitmq;
    } rows[] = {
        {"/queue/r", true, true, true},
        {"/topic/a.b-c_1", true, true, true},
        {"r", false, true, true},
        {"/amq/queue/r", false, false, true},
        {"/exchange/e", false, false, true},
        {"/temp-queue/r", false, false, false}, /* would make one, of this connection's */
        {"/temp-topic/r", false, false, false},
        {"/remote-temp-queue/ID:x", false, false, false},
        {"/reply-queue/r", false, false, false},
        {"/queue/", false, false, false}, /* RabbitMQ would close the connection */
        {"/queue/a/b", false, false, false},
        {"/exchange/e/k/x", false, false, false},
        {"/nonsense/r", false, false, false},
        {"/queue/a,/queue/b", false, false, false}, /* ActiveMQ: both */
        {"/queue/a?consumer.exclusive=true", false, false, false},
        {"queue://r", false, false, false},
        {"", false, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bailey_message *msg = plain_message();
        const char *reply_to = rows[i].reply_to;

        msg->reply_to = text(reply_to);
        assert_true(sends_header(msg, way_of(STOMP_ACTIVEMQ), "reply-to", rows[i].activemq ? reply_to : NULL));
        assert_true(sends_header(msg, way_of(STOMP_ARTEMIS), "reply-to", rows[i].artemis ? reply_to : NULL));
        assert_true(sends_header(msg, way_of(STOMP_RABBITMQ), "reply-to", rows[i].rabbitmq ? reply_to : NULL));
        bailey_message_unref(msg);
    }
}

static void keeps_properties_within_what_rabbitmq_can_hold(void **state)
{
    char id[257];

    (void)state;
    for (size_t len = 255; len <= 256; len++) {
        struct bailey_message *msg = plain_message();

        memset(id, 'i', len);
        id[len] = '\0';
        msg->correlation_id = text(id);
        assert_true(sends_header(msg, way_of(STOMP_RABBITMQ), "correlation-id", len == 255 ? id : NULL));
        assert_true(sends_header(msg, way_of(STOMP_RABBITMQ), "bailey-correlation-id", len == 255 ? NULL : id));
        assert_true(sends_header(msg, way_of(STOMP_ARTEMIS), "correlation-id", id));
        bailey_message_unref(msg);
    }
}

/* At each place of a longer value, for octets are looked at eight at a time. */
static void lets_no_control_character_stand_under_its_name(void **state)
{
    (void)state;
    for (int octet = 0; octet < 128; octet++)
        for (size_t at = 0; at < 20; at++) {
            struct bailey_message *msg = message_new(stomp_pool);
            struct bailey_header header = text_header("h", NULL);
            uint8_t value[] = "twenty plain octets.";
            bool is_control = (octet < ' ' && octet != '\t' && octet != '\n') || octet == 0x7f;

            value[at] = (uint8_t)octet;
            header.value.bytes = (struct bailey_bytes){value, 20};
            msg->headers = &header;
            msg->header_count = 1;
            assert_int_equal(sends_header(msg, way_of(STOMP_ACTIVEMQ), "h", NULL), is_control);
            bailey_message_unref(msg);
        }
}

static void lets_steering_headers_pass_only_if_listed(void **state)
{
    static const char *const names[] = {"JMSXGroupID",
                                        "AMQ_SCHEDULED_DELAY",
                                        "_AMQ_DUPL_ID",
                                        "CC",
                                        "BCC",
                                        "x-death",
                                        "x-delay",
                                        "x-max-length",
                                        "x-stream-filter-value",
                                        "transformation",
                                        "selector",
                                        "prefetch-count",
                                        "amq-msg-type",
                                        "JMSReplyTo",
                                        "activemq.prefetchSize",
                                        "durable"};
    static const struct bailey_list all = {names, sizeof names / sizeof *names};

    (void)state;
    for (size_t i = 0; i < all.count; i++)
        for (int way = 0; way < WAYS; way++) {
            struct bailey_message *msg = message_new(stomp_pool), *back;
            struct bailey_header header = text_header(names[i], "1");
            struct way listed = ways[way];

            listed.pass = &all;
            msg->headers = &header;
            msg->header_count = 1;
            assert_true(sends_header(msg, &ways[way], names[i], NULL));
            back = there_and_back(msg, &ways[way]);
            assert_null(message_difference(msg, back));
            bailey_message_unref(back);
            if (strcmp(names[i], "amq-msg-type") != 0 || listed.dialect != STOMP_ACTIVEMQ)
                assert_true(sends_header(msg, &listed, names[i], "1"));
            bailey_message_unref(msg);
        }
}

/* Not even pass_headers lets a user say what the frame itself says. */
static void lets_no_header_stand_for_the_protocols(void **state)
{
    static const char *const names[] = {"destination",  "receipt",   "content-length", "message-id",     "transaction",
                                        "subscription", "ack",       "persistent",     "priority",       "reply-to",
                                        "timestamp",    "type",      "content-type",   "correlation-id", "redelivered",
                                        "bailey-key",   "bailey-h-1"};
    static const struct bailey_list all = {names, sizeof names / sizeof *names};
    struct bailey_header headers[sizeof names / sizeof *names];

    (void)state;
    for (size_t i = 0; i < all.count; i++)
        headers[i] = text_header(names[i], "forged");
    for (int i = 0; i < WAYS; i++) {
        struct bailey_message *msg = message_new(stomp_pool), *back;
        struct way way = ways[i];
        struct bailey_bytes frame;

        way.pass = &all;
        msg->headers = headers;
        msg->header_count = (uint32_t)all.count;
        frame = send_frame(msg, &way);
        assert_null(memmem(frame.data, frame.len, "forged", 6));
        back = there_and_back(msg, &way);
        assert_null(message_difference(msg, back));
        bailey_message_unref(back);
        bailey_message_unref(msg);
    }
}

static void marks_a_possible_duplicate_once(void **state)
{
    struct bailey_message *msg = plain_message(), *back, *again;
    struct way doubt = *way_of(STOMP_RABBITMQ);

    (void)state;
    doubt.doubt = true;
    back = there_and_back(msg, &doubt);
    assert_int_equal(back->header_count, 3);
    assert_true(is(back->headers[2].name, "bailey-possible-duplicate"));
    assert_true(is(back->headers[2].value.bytes, "1"));
    again = there_and_back(back, &doubt);
    assert_null(message_difference(back, again));
    bailey_message_unref(again);
    bailey_message_unref(back);
    bailey_message_unref(msg);
}

/* As text where it is that, else in bailey-h; both come back, behind the message's own headers. */
static void adds_the_id_of_a_route_with_dedup(void **state)
{
    static const struct {
        struct bailey_bytes id;
        const char *line; /* in the frame, or NULL */
        enum bailey_kind kind;
    } rows[] = {
        {{(const uint8_t *)"order:7", 7}, "\nbailey-id:order\\c7\n", BAILEY_KIND_STRING},
        {{(const uint8_t *)"\0\xff", 2}, NULL, BAILEY_KIND_BYTES},
        {{(const uint8_t *)"\x7f", 1}, NULL, BAILEY_KIND_STRING},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bailey_message *msg = plain_message(), *back;
        struct way way = *way_of(STOMP_RABBITMQ);
        struct bailey_bytes frame;

        way.id = rows[i].id;
        way.scope = "route.a";
        frame = send_frame(msg, &way);
        assert_int_equal(memmem(frame.data, frame.len, "bailey-id:", 10) != NULL, rows[i].line != NULL);
        if (rows[i].line != NULL)
            assert_non_null(memmem(frame.data, frame.len, rows[i].line, strlen(rows[i].line)));
        back = there_and_back(msg, &way);
        assert_int_equal(back->header_count, 3);
        assert_true(is(back->headers[2].name, "bailey-id"));
        assert_int_equal(back->headers[2].value.kind, rows[i].kind);
        assert_true(bailey_bytes_equal(back->headers[2].value.bytes, rows[i].id));
        bailey_message_unref(back);
        bailey_message_unref(msg);
    }
}

/* Each where it stood, on every broker. Without an id they are headers like any other: test_stomp_map_round. */
static void replaces_marks_from_outside(void **state)
{
    struct bailey_header headers[] = {
        {text("bailey-id"), {.kind = BAILEY_KIND_NULL}},
        text_header("n", "v"),
        text_header("bailey-possible-duplicate", "0"),
        {text("bailey-id"), {.kind = BAILEY_KIND_I64, .i64 = 7}},
    };

    (void)state;
    for (int i = 0; i < WAYS; i++) {
        struct bailey_message *msg = plain_message(), *back;
        struct way way = ways[i];

        way.id = text("ours");
        way.doubt = true;
        msg->headers = headers;
        msg->header_count = 4;
        back = there_and_back(msg, &way);
        assert_int_equal(back->header_count, 4);
        assert_true(is(back->headers[0].value.bytes, "ours"));
        assert_true(is(back->headers[1].value.bytes, "v"));
        assert_true(is(back->headers[2].value.bytes, "1"));
        assert_true(is(back->headers[3].value.bytes, "ours"));
        bailey_message_unref(back);
        bailey_message_unref(msg);
    }
}

/* Artemis alone gets an id by which it drops copies, and nobody else's in its place. */
static void lets_artemis_drop_a_copy(void **state)
{
    static const char *const names[] = {"_AMQ_DUPL_ID"};
    static const struct bailey_list list = {names, 1};
    static const char line[] = "\n_AMQ_DUPL_ID:route.a/7\n";

    (void)state;
    for (int i = 0; i < WAYS; i++) {
        struct bailey_message *msg = plain_message();
        struct bailey_header theirs = text_header("_AMQ_DUPL_ID", "theirs");
        struct way way = ways[i];
        struct bailey_bytes frame;

        way.id = text("7");
        way.pass = &list;
        msg->headers = &theirs;
        msg->header_count = 1;
        frame = send_frame(msg, &way); /* without a scope it is not ours to say */
        assert_non_null(memmem(frame.data, frame.len, "\n_AMQ_DUPL_ID:theirs\n", 21));
        assert_null(memmem(frame.data, frame.len, line, sizeof line - 1));
        way.scope = "route.a";
        frame = send_frame(msg, &way);
        assert_int_equal(memmem(frame.data, frame.len, line, sizeof line - 1) != NULL, way.dialect == STOMP_ARTEMIS);
        assert_int_equal(memmem(frame.data, frame.len, "_AMQ_DUPL_ID:theirs", 19) == NULL,
                         way.dialect == STOMP_ARTEMIS);
        bailey_message_unref(msg);
    }
}

static void drops_what_is_over(void **state)
{
    struct bailey_message *msg = plain_message();
    struct stomp_map_options options = {STOMP_ACTIVEMQ, STOMP_PERSISTENT_ALWAYS, NULL, NULL};
    struct stomp_writer w = {.at = space, .end = space + sizeof space, .escapes = STOMP_ESCAPES_12};

    (void)state;
    msg->expires_at_ms = WALL_MS;
    assert_int_equal(stomp_map_export(&w, msg, &options, WALL_MS, &no_marks), STOMP_MAP_EXPIRED);
    assert_int_equal(stomp_map_export(&w, msg, &options, WALL_MS - 1, &no_marks), STOMP_MAP_OK);
    bailey_message_unref(msg);
}

static void says_full_where_no_head_could_hold_it(void **state)
{
    struct stomp_map_options options = {STOMP_ARTEMIS, STOMP_PERSISTENT_ALWAYS, NULL, NULL};
    struct bailey_header *headers = calloc(5000, sizeof *headers);
    struct stomp_writer w = {.at = space, .end = space + sizeof space, .escapes = STOMP_ESCAPES_12};
    struct bailey_message *msg = plain_message();
    uint8_t *big = calloc(1, STOMP_HEAD_MAX);

    (void)state;
    assert_non_null(headers);
    assert_non_null(big);
    msg->key = (struct bailey_bytes){big, STOMP_HEAD_MAX};
    assert_int_equal(stomp_map_export(&w, msg, &options, WALL_MS, &no_marks), STOMP_MAP_OK);
    assert_true(w.full);
    w = (struct stomp_writer){.at = space, .end = space + sizeof space, .escapes = STOMP_ESCAPES_12};
    msg->key.len = STOMP_HEAD_MAX * 15 / 16; /* as base64 it is more than all parts hold */
    assert_int_equal(stomp_map_export(&w, msg, &options, WALL_MS, &no_marks), STOMP_MAP_OK);
    assert_true(w.full);
    w = (struct stomp_writer){.at = space, .end = space + sizeof space, .escapes = STOMP_ESCAPES_12};
    msg->key.len = 1;
    msg->headers = headers;
    msg->header_count = 5000;
    for (size_t i = 0; i < 5000; i++)
        headers[i] = text_header("same", "");
    assert_int_equal(stomp_map_export(&w, msg, &options, WALL_MS, &no_marks), STOMP_MAP_OK);
    assert_true(w.full);
    bailey_message_unref(msg);
    free(headers);
    free(big);
}

static void guesses_enough_for_text(void **state)
{
    (void)state;
    for (int i = 0; i < WAYS; i++) {
        struct bailey_message *msg = plain_message();
        struct bailey_bytes frame;

        msg->reply_to = msg->content_type = msg->user_id = text(":::::::::::::::::::::::::::::");
        msg->priority = 200;
        msg->hops = 200;
        msg->expires_at_ms = INT64_MAX;
        msg->timestamp_ms = INT64_MIN + 1;
        msg->timestamp_kind = BAILEY_TIMESTAMP_APPEND;
        msg->body = BAILEY_NULL_BYTES;
        frame = send_frame(msg, &ways[i]);
        assert_true(stomp_map_guess(msg, &no_marks) > frame.len - strlen("SEND\ndestination:/queue/q\nreceipt:7\n"));
        bailey_message_unref(msg);
    }
}

/* ---- 1.0 ---- */

static void says_in_1_0_only_what_1_0_can(void **state)
{
    static const char *const values[] = {"a\nb", "a\rb", " a", "a ", "\t", "a\n"};
    const struct way *way = &ways[WAYS - 1];

    (void)state;
    assert_int_equal(way->escapes, STOMP_ESCAPES_NONE);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct bailey_message *msg = message_new(stomp_pool), *back;
        struct bailey_header header = text_header("h", values[i]);

        msg->headers = &header;
        msg->header_count = 1;
        msg->type = text(values[i]);
        msg->key = text(values[i]);
        assert_true(sends_header(msg, way, "h", NULL));
        assert_true(sends_header(msg, way, "type", NULL));
        assert_true(sends_header(msg, way, "bailey-key", NULL));
        back = there_and_back(msg, way);
        assert_null(message_difference(msg, back));
        bailey_message_unref(back);
        bailey_message_unref(msg);
    }
}

/* ---- Receiving ---- */

static void reads_what_activemq_sends(void **state)
{
    struct bailey_message *msg =
        receive_text("MESSAGE\ncontent-length:0\nexpires:1800000000000\ndestination:/queue/q\n"
                     "subscription:0\npriority:4\nmessage-id:ID\\chost-1\\c1\nack:ID\\chost-2\n"
                     "timestamp:1699999999999\npersistent:true\ncorrelation-id:c\ntype:t\n"
                     "redelivered:true\nJMSXUserID:alice\nreply-to:/queue/r\ncontent-type:x/y\n"
                     "version:2\ncolor:red\noriginal-destination:/queue/o\n\n",
                     STOMP_ACTIVEMQ);

    (void)state;
    assert_int_equal(msg->header_count, 3);
    assert_true(is(msg->headers[0].name, "version")); /* of CONNECTED only: here it is somebody's */
    assert_true(is(msg->headers[1].name, "color"));
    assert_int_equal(msg->headers[1].value.kind, BAILEY_KIND_STRING);
    assert_true(is(msg->headers[2].value.bytes, "/queue/o"));
    assert_true(is(msg->origin.destination, "/queue/q"));
    assert_true(is(msg->message_id, "ID:host-1:1"));
    assert_true(is(msg->correlation_id, "c"));
    assert_true(is(msg->reply_to, "/queue/r"));
    assert_true(is(msg->content_type, "x/y"));
    assert_true(is(msg->type, "t"));
    assert_true(is(msg->user_id, "alice"));
    assert_int_equal(msg->priority, 4);
    assert_int_equal(msg->durability, BAILEY_DURABLE);
    assert_int_equal(msg->expires_at_ms, 1800000000000);
    assert_int_equal(msg->timestamp_kind, BAILEY_TIMESTAMP_CREATE);
    assert_int_equal(msg->timestamp_ms, 1699999999999);
    assert_true(msg->redelivered);
    assert_null(msg->key.data);
    assert_non_null(msg->body.data);
    bailey_message_unref(msg);
}

static void reads_what_artemis_sends(void **state)
{
    struct bailey_message *msg = receive_text(
        "MESSAGE\nsubscription:0\ncontent-length:0\nmessage-id:4\\c1\ndestination:q\nexpires:0\n"
        "redelivered:false\npriority:4\npersistent:false\ntimestamp:1699999999999\n"
        "destination-type:ANYCAST\nreceipt:r\ntimestamp:5\ncolor:red\ncolor:blue\nack:forged\nack:4\\c1\n\n",
        STOMP_ARTEMIS);

    (void)state;
    assert_int_equal(msg->header_count, 2); /* repeated by others, kept by us */
    assert_true(is(msg->headers[0].value.bytes, "red"));
    assert_true(is(msg->headers[1].value.bytes, "blue"));
    assert_null(msg->message_id.data); /* theirs names a delivery */
    assert_int_equal(msg->expires_at_ms, 0);
    assert_int_equal(msg->durability, BAILEY_TRANSIENT);
    assert_int_equal(msg->timestamp_ms, 1699999999999); /* the first counts */
    assert_false(msg->redelivered);
    bailey_message_unref(msg);
}

static void reads_what_rabbitmq_sends(void **state)
{
    struct bailey_message *msg =
        receive_text("MESSAGE\nsubscription:0\ndestination:/queue/q\nmessage-id:T_0@@session-x@@1\nredelivered:false\n"
                     "app-id:a\nuser-id:guest\ntype:t\ntimestamp:1700000000\namqp-message-id:m\nexpiration:60000\n"
                     "reply-to:/reply-queue/amq.gen-1\ncorrelation-id:c\npriority:200\ncontent-encoding:gzip\n"
                     "receipt:r\nexpires:5\n\n",
                     STOMP_RABBITMQ);

    (void)state;
    assert_int_equal(msg->header_count, 1);
    assert_true(is(msg->headers[0].name, "expires")); /* means nothing there */
    assert_true(is(msg->message_id, "m"));
    assert_true(is(msg->reply_to, "amq.gen-1"));
    assert_true(is(msg->app_id, "a"));
    assert_true(is(msg->user_id, "guest"));
    assert_true(is(msg->content_encoding, "gzip"));
    assert_int_equal(msg->priority, 200);
    assert_int_equal(msg->expires_at_ms, WALL_MS + 60000);
    assert_int_equal(msg->timestamp_ms, 1700000000000);
    assert_int_equal(msg->durability, BAILEY_TRANSIENT);
    bailey_message_unref(msg);
}

/* RabbitMQ takes the expiry of a dead letter away: it must not die a second time. */
static void forgets_an_expiry_that_the_broker_has_taken_away(void **state)
{
    struct bailey_message *msg =
        receive_text("MESSAGE\nbailey-expires:1700000000001\nexpiration:1000\n\n", STOMP_RABBITMQ);

    (void)state;
    assert_int_equal(msg->expires_at_ms, 1700000000001); /* as it was, not prolonged */
    bailey_message_unref(msg);
    msg = receive_text("MESSAGE\nbailey-expires:1700000000001\n\n", STOMP_RABBITMQ);
    assert_int_equal(msg->expires_at_ms, 0);
    bailey_message_unref(msg);
}

static void tells_text_messages_of_activemq(void **state)
{
    static const struct {
        enum stomp_dialect dialect;
        const char *frame;
        bool is_text;
    } rows[] = {
        {STOMP_ACTIVEMQ, "MESSAGE\n\nbody", true},
        {STOMP_ACTIVEMQ, "MESSAGE\n\n", true},
        {STOMP_ACTIVEMQ, "MESSAGE\ncontent-length:4\n\nbody", false},
        {STOMP_ACTIVEMQ, "MESSAGE\namq-msg-type:text\ncontent-length:4\n\nbody", true},
        {STOMP_ACTIVEMQ, "MESSAGE\nbailey-stomp-text:1\n\nbody", true},
        {STOMP_ARTEMIS, "MESSAGE\n\nbody", false},
        {STOMP_RABBITMQ, "MESSAGE\n\nbody", false},
        {STOMP_GENERIC, "MESSAGE\n\nbody", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bailey_message *msg = receive_text(rows[i].frame, rows[i].dialect);

        assert_int_equal(msg->header_count, rows[i].is_text);
        assert_int_equal(stomp_map_is_text(msg, STOMP_ACTIVEMQ), rows[i].is_text);
        assert_int_equal(stomp_map_is_text(msg, STOMP_ARTEMIS), rows[i].is_text);
        assert_false(stomp_map_is_text(msg, STOMP_RABBITMQ));
        msg->body = (struct bailey_bytes){(const uint8_t *)"a\0b", 3};
        assert_false(stomp_map_is_text(msg, STOMP_ACTIVEMQ)); /* would end at its NUL */
        msg->body = text("\xff");
        assert_false(stomp_map_is_text(msg, STOMP_ACTIVEMQ));
        msg->body = BAILEY_NULL_BYTES;
        assert_false(stomp_map_is_text(msg, STOMP_ACTIVEMQ));
        bailey_message_unref(msg);
    }
}

/* A broker, or a consumer that sends it on, may add headers, leave some out, change values. */
static void puts_headers_in_order_as_far_as_they_are_there(void **state)
{
    struct bailey_message *msg =
        receive_text("MESSAGE\nadded:1\nb:2\na:x\nadded:2\nbailey-order:a=I,gone,b=I,b,*,*3\n\n", STOMP_RABBITMQ);

    (void)state;
    assert_int_equal(msg->header_count, 4);
    assert_true(is(msg->headers[0].name, "a"));
    assert_int_equal(msg->headers[0].value.kind, BAILEY_KIND_STRING); /* is no integer any more */
    assert_true(is(msg->headers[1].name, "b"));
    assert_int_equal(msg->headers[1].value.kind, BAILEY_KIND_I32);
    assert_int_equal(msg->headers[1].value.i64, 2);
    assert_true(is(msg->headers[2].value.bytes, "1"));
    assert_true(is(msg->headers[3].value.bytes, "2"));
    bailey_message_unref(msg);
}

static void believes_no_hostile_header(void **state)
{
    static const struct {
        const char *name, *value;
    } hostile[] = {
        {"bailey-priority", "256"},
        {"bailey-priority", "-1"},
        {"bailey-priority", ""},
        {"bailey-priority", "007"},
        {"bailey-priority", " 1"},
        {"bailey-priority", "1x"},
        {"bailey-durable", "2"},
        {"bailey-durable", "true"},
        {"bailey-expires", "1"},
        {"bailey-expires", "-7"},
        {"bailey-expires", "9223372036854775808"},
        {"bailey-timestamp", "-"},
        {"bailey-timestamp", "--1"},
        {"bailey-timestamp", "99999999999999999999"},
        {"bailey-timestamp", "-9223372036854775808"},
        {"bailey-timestamp-kind", "bogus"},
        {"bailey-timestamp-kind", "append"}, /* of no timestamp */
        {"bailey-hops", "0"},
        {"bailey-hops", "256"},
        {"bailey-hops", "-1"},
        {"bailey-null", "0"},
        {"bailey-null", "true"},
        {"bailey-none", ""},
        {"bailey-none", ",,,bogus,"},
        {"bailey-order", ""},
        {"bailey-order", ",,,,*,*9,*99999999999,*-1,*x,=,=S,user=,user=\x01,user=V,user=="},
        {"bailey-order", "user=F"},
        {"bailey-key-b64", "A"},
        {"bailey-key-b64", "QUJ="}, /* bits behind the end */
        {"bailey-key-b64", "QU=="},
        {"bailey-key-b64", "AAAA\n"},
        {"bailey-key-b64", "===="},
        {"bailey-key-b64", "AA*A"},
        {"bailey-h", "AAAA"},
        {"bailey-h", "!"},
        {"bailey-h", "UwFhAWI"},          /* not of four */
        {"bailey-h", "UwFh"},             /* S, "a", and no value */
        {"bailey-h", "UwFhBWI="},         /* a value longer than there is */
        {"bailey-h", "U4CAgIABYWI="},     /* a length without end */
        {"bailey-h", "Wg"},               /* an unknown kind */
        {"bailey-h", "WgFhAWI="},         /* Z */
        {"bailey-h", "UAthAAAAAAAAAAAA"}, /* P: a property of no name */
        {"bailey-h-1", "UwFhAWIA"},       /* a part without the first */
        {"bailey-h-31", "UwFhAWIA"},
        {"priority", "4294967296"},
        {"priority", "high"},
        {"timestamp", "-1"},
        {"timestamp", "0x10"},
        {"redelivered", "TRUE"},
        {"redelivered", "1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct way way = {STOMP_GENERIC, STOMP_ESCAPES_12, 0, NULL, false};
        struct stomp_writer w = {.at = space, .end = space + sizeof space, .escapes = STOMP_ESCAPES_12};
        struct bailey_message *msg;

        stomp_write_command(&w, "MESSAGE");
        stomp_write_header(&w, hostile[i].name, text(hostile[i].value));
        stomp_write_header(&w, "user", text("value"));
        stomp_write_end_of_head(&w);
        stomp_write_body(&w, BAILEY_EMPTY_BYTES);
        msg = receive_frame((struct bailey_bytes){space, (size_t)(w.at - space)}, &way);
        assert_int_equal(msg->header_count, 1); /* ours are taken out, good or bad */
        assert_true(is(msg->headers[0].name, "user"));
        assert_int_equal(msg->headers[0].value.kind, BAILEY_KIND_STRING);
        assert_true(is(msg->headers[0].value.bytes, "value"));
        assert_int_equal(msg->priority, -1);
        assert_int_equal(msg->durability, BAILEY_DURABILITY_UNKNOWN);
        assert_int_equal(msg->expires_at_ms, 0);
        assert_int_equal(msg->timestamp_kind, BAILEY_TIMESTAMP_NONE);
        assert_int_equal(msg->hops, 0);
        assert_false(msg->redelivered);
        assert_null(msg->key.data);
        assert_non_null(msg->body.data);
        bailey_message_unref(msg);
    }
}

static void takes_no_null_from_a_body_that_came(void **state)
{
    struct bailey_message *msg = receive_text("MESSAGE\nbailey-null:1\n\nbody", STOMP_GENERIC);

    (void)state;
    assert_true(is(msg->body, "body"));
    bailey_message_unref(msg);
}

static void leaves_names_that_are_not_ours(void **state)
{
    struct bailey_message *msg = receive_text("MESSAGE\nbailey-:1\nbailey:1\nBailey-key:1\nbailey-ke:1\nbailey-keys:1\n"
                                              "bailey-h-0:1\nbailey-h-32:1\nbailey-h-01:1\nbailey-h-:1\n\n",
                                              STOMP_GENERIC);

    (void)state;
    assert_int_equal(msg->header_count, 9);
    bailey_message_unref(msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_a_plain_record_plainly),
        cmocka_unit_test(gives_properties_to_the_brokers_own_headers),
        cmocka_unit_test(never_asks_rabbitmq_for_a_transient_queue),
        cmocka_unit_test(hands_replies_only_to_addresses_that_the_broker_can_read),
        cmocka_unit_test(keeps_properties_within_what_rabbitmq_can_hold),
        cmocka_unit_test(lets_no_control_character_stand_under_its_name),
        cmocka_unit_test(lets_steering_headers_pass_only_if_listed),
        cmocka_unit_test(lets_no_header_stand_for_the_protocols),
        cmocka_unit_test(marks_a_possible_duplicate_once),
        cmocka_unit_test(adds_the_id_of_a_route_with_dedup),
        cmocka_unit_test(replaces_marks_from_outside),
        cmocka_unit_test(lets_artemis_drop_a_copy),
        cmocka_unit_test(drops_what_is_over),
        cmocka_unit_test(says_full_where_no_head_could_hold_it),
        cmocka_unit_test(guesses_enough_for_text),
        cmocka_unit_test(says_in_1_0_only_what_1_0_can),
        cmocka_unit_test(reads_what_activemq_sends),
        cmocka_unit_test(reads_what_artemis_sends),
        cmocka_unit_test(reads_what_rabbitmq_sends),
        cmocka_unit_test(forgets_an_expiry_that_the_broker_has_taken_away),
        cmocka_unit_test(tells_text_messages_of_activemq),
        cmocka_unit_test(puts_headers_in_order_as_far_as_they_are_there),
        cmocka_unit_test(believes_no_hostile_header),
        cmocka_unit_test(takes_no_null_from_a_body_that_came),
        cmocka_unit_test(leaves_names_that_are_not_ours),
    };

    return cmocka_run_group_tests(tests, stomp_pool_open, stomp_pool_close);
}
