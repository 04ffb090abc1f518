/* By which id a message is acknowledged, whatever its producer has put into its headers. Frames are as the brokers write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/stomp/ackid.h"

#define SESSION "session-efJxmpL2UMBDXiOph5WHYQ"
#define GENUINE(number) "T_1@@" SESSION "@@" #number

static struct stomp_ackid ids;

/* The next MESSAGE has these headers: it must be found so, and with that id. */
static void next(const char *headers, enum stomp_ackid_verdict verdict, const char *expected)
{
    struct stomp_parser parser = {.escapes = STOMP_ESCAPES_12, .body_max = 100};
    struct bailey_bytes id;
    char frame[1024] = "MESSAGE\n";
    size_t used;

    strcat(frame, headers);
    strcat(frame, "\n");
    assert_int_equal(stomp_parse(&parser, (const uint8_t *)frame, strlen(frame) + 1, &used), STOMP_HEAD);
    assert_int_equal(stomp_ackid_next(&ids, &parser, &id), verdict);
    if (expected != NULL)
        assert_true(bailey_bytes_is(id, expected));
    stomp_parser_fini(&parser);
}

static void activemq_writes_its_own_over_a_producers(void **state)
{
    (void)state;
    stomp_ackid_begin(&ids, STOMP_ACTIVEMQ, 12, "", "1");
    next("message-id:ID\\cx-1\nack:ID\\cx-2\n", STOMP_ACKID_GENUINE, "ID:x-2");
    next("message-id:1\n", STOMP_ACKID_MISSING, NULL);
    next("message-id:1\nack:\n", STOMP_ACKID_MISSING, NULL);
    stomp_ackid_begin(&ids, STOMP_ACTIVEMQ, 11, "", "1");
    next("ack:forged\nmessage-id:ID\\cx-1\n", STOMP_ACKID_GENUINE, "ID:x-1");
}

/* Of a broker that nobody knows, two ids that differ are none. */
static void of_two_that_differ_neither_is_believed(void **state)
{
    (void)state;
    stomp_ackid_begin(&ids, STOMP_GENERIC, 12, "", "1");
    next("ack:a\nack:a\n", STOMP_ACKID_GENUINE, "a");
    next("ack:a\nack:b\n", STOMP_ACKID_UNKNOWN, NULL);
    next("ack:\nack:b\n", STOMP_ACKID_UNKNOWN, NULL);
    next("message-id:x\nack:b\n", STOMP_ACKID_GENUINE, "b");
}

static void artemis_writes_its_own_first(void **state)
{
    (void)state;
    stomp_ackid_begin(&ids, STOMP_ARTEMIS, 12, "", "1");
    next("subscription:1\nmessage-id:28,21\nack:28,20\nmessage-id:28,19\nsubscription:x\nack:28,21\n",
         STOMP_ACKID_GENUINE, "28,21");
    next("ack:28,20\n", STOMP_ACKID_MISSING, NULL);
}

static void rabbitmqs_holds_the_session(void **state)
{
    (void)state;
    stomp_ackid_begin(&ids, STOMP_RABBITMQ, 12, SESSION, "1");
    next("message-id:" GENUINE(1) "\nack:" GENUINE(1) "\nack:T_1@@x@@9\nmessage-id:T_1@@x@@9\n", STOMP_ACKID_GENUINE,
         GENUINE(1));
    next("message-id:T_1@@x@@9\nack:T_1@@x@@9\nack:" GENUINE(2) "\n", STOMP_ACKID_GENUINE, GENUINE(2));
    next("message-id:" GENUINE(3) "\nack:forged\n", STOMP_ACKID_GENUINE, GENUINE(3));
    next("message-id:forged\nack:" GENUINE(4) "\n", STOMP_ACKID_GENUINE, GENUINE(4));
}

/* RabbitMQ after 4.3 lets a producer's headers take the place of its own. */
static void what_is_hidden_is_known_by_its_number(void **state)
{
    (void)state;
    stomp_ackid_begin(&ids, STOMP_RABBITMQ, 12, SESSION, "1");
    next("message-id:T_1@@x@@9\nack:T_1@@x@@9\n", STOMP_ACKID_UNKNOWN, NULL); /* counts from 0, or from 1? */
    next("message-id:" GENUINE(1) "\nack:x\n", STOMP_ACKID_GENUINE, GENUINE(1));
    next("message-id:T_1@@x@@9\nack:T_1@@" SESSION "@@\n", STOMP_ACKID_MADE, GENUINE(2));
    next("x:y\n", STOMP_ACKID_MADE, GENUINE(3));
    next("message-id:" GENUINE(4) "\n", STOMP_ACKID_GENUINE, GENUINE(4));
}

/* One that was swallowed, or given twice: nothing that follows can be trusted. */
static void a_gap_is_seen(void **state)
{
    (void)state;
    stomp_ackid_begin(&ids, STOMP_RABBITMQ, 12, SESSION, "1");
    next("message-id:" GENUINE(0) "\n", STOMP_ACKID_GENUINE, GENUINE(0));
    next("message-id:" GENUINE(2) "\n", STOMP_ACKID_OUT_OF_STEP, NULL);
    stomp_ackid_begin(&ids, STOMP_RABBITMQ, 12, SESSION, "1");
    next("message-id:" GENUINE(7) "\n", STOMP_ACKID_GENUINE, GENUINE(7));
    next("message-id:" GENUINE(7) "\n", STOMP_ACKID_OUT_OF_STEP, NULL);
}

/* Numbers that are none, sessions that are another's or not told, another subscription. */
static void what_only_looks_like_it_is_not_believed(void **state)
{
    static const char *const others[] = {
        "T_1@@" SESSION "@@-1",
        "T_1@@" SESSION "@@01",
        "T_1@@" SESSION "@@9223372036854775807",
        "T_1@@" SESSION "@@1 ",
        "T_2@@" SESSION "@@1",
        "T_1@@session-x@@1",
        "T_1@@" SESSION,
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char headers[128] = "message-id:";

        stomp_ackid_begin(&ids, STOMP_RABBITMQ, 12, SESSION, "1");
        strcat(strcat(headers, others[i]), "\n");
        next(headers, STOMP_ACKID_UNKNOWN, NULL);
    }
    stomp_ackid_begin(&ids, STOMP_RABBITMQ, 12, "", "1");
    next("message-id:" GENUINE(1) "\n", STOMP_ACKID_UNKNOWN, NULL);
    next("message-id:T_1@@@@2\n", STOMP_ACKID_UNKNOWN, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activemq_writes_its_own_over_a_producers),
        cmocka_unit_test(of_two_that_differ_neither_is_believed),
        cmocka_unit_test(artemis_writes_its_own_first),
        cmocka_unit_test(rabbitmqs_holds_the_session),
        cmocka_unit_test(what_is_hidden_is_known_by_its_number),
        cmocka_unit_test(a_gap_is_seen),
        cmocka_unit_test(what_only_looks_like_it_is_not_believed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
