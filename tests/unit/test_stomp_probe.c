/* `check --connect` against a broker that does as the test says: what is sent, and what becomes of the answers. Nothing that is
 * sent may create or consume. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "connectors/stomp/options.h"
#include "probe_rig.h"
#include "stomp_peer.h"

#define RABBIT "RabbitMQ/3.10.8"

static const struct bailey_template queue = {.constant = {(const uint8_t *)"/queue/q", 8}, .slot = -1},
                                    topic = {.constant = {(const uint8_t *)"/topic/t", 8}, .slot = -1},
                                    amq_queue = {.constant = {(const uint8_t *)"/amq/queue/q", 12}, .slot = -1},
                                    by_message = {.slot = 0};
static const struct stomp_sink_settings idle_settings = {.destination = &queue, .max_unconfirmed = 10};
static const struct stomp_sink_settings to_queue = {.destination = &queue};
static const struct stomp_source_settings from_queue = {.destination = "/queue/q"};

static struct stomp_rig rig; /* its own sink is idle */
static struct stomp_peer idle, peer;

static struct probe_rig asked;

static void begin(enum bailey_role role, const void *settings, int64_t timeout_ms)
{
    stomp_rig_open_sink(&rig, &idle_settings);
    stomp_peer_open(&rig, &idle, "ActiveMQ/5");
    end_rig_state(&rig.end, LANE_RUNNING);
    probe_rig_init(&asked, rig.end.loop, role, timeout_ms);
    asked.probe.grant = NULL; /* a STOMP broker has no command that gives anything */
    stomp_probe(rig.end.broker, settings, &asked.probe);
}

static void ask(enum bailey_role role, const void *settings, const char *server)
{
    stomp_rig_init(&rig);
    begin(role, settings, 10000);
    stomp_peer_open(&rig, &peer, server);
}

static bool is_done(struct end_rig *r)
{
    (void)r;
    return asked.done;
}

static void finish(enum bailey_probe_result result, const char *detail)
{
    end_rig_until(&rig.end, is_done);
    stomp_peer_close(&idle);
    end_rig_close(&rig.end);
    assert_int_equal(asked.rows, 1);
    assert_int_equal(asked.result, result);
    if (strstr(asked.detail, detail) == NULL)
        fail_msg("it is: %s", asked.detail);
    assert_null(strstr(asked.detail, "SECRET"));
}

/* The rehearsal is refused; the connection ends. */
static void refuse(const char *message, const char *body)
{
    stomp_peer_say(&peer, "ERROR\nmessage:%s\n\n%s\n", message, body);
    stomp_peer_gone(&peer);
}

static void expect_declare(void)
{
    stomp_peer_expect(&peer, "SEND");
    stomp_peer_has(&peer, "destination", "/queue/q");
    stomp_peer_has(&peer, "x-expires", "-1"); /* no queue can have that */
    stomp_peer_has(&peer, "expiration", "none");
}

static void expect_read(void)
{
    stomp_peer_expect(&peer, "SUBSCRIBE");
    stomp_peer_has(&peer, "destination", "/amq/queue/q"); /* which creates nothing */
    stomp_peer_has(&peer, "x-stream-offset", "next");
    stomp_peer_has(&peer, "ack", "client-individual");
}

static void expect_write(const char *destination)
{
    stomp_peer_expect(&peer, "SEND");
    stomp_peer_has(&peer, "destination", destination);
    stomp_peer_has(&peer, "expiration", "none"); /* no message can have that */
    assert_int_equal(peer.body_len, 0);
}

static void leave(void)
{
    stomp_peer_expect(&peer, "DISCONNECT");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    stomp_peer_gone(&peer);
}

static void a_queue_and_the_right_to_read_it(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, RABBIT);
    expect_declare();
    refuse("precondition_failed", "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q' in vhost '/'");
    stomp_peer_open(&rig, &peer, RABBIT);
    expect_read();
    refuse("precondition_failed", "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'q'");
    finish(BAILEY_PROBE_OK, "exists; read allowed");
    assert_string_equal(asked.what, "/queue/q");
    assert_non_null(strstr(asked.address, "127.0.0.1:"));
}

static void what_is_missing_and_will_be_created(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, RABBIT);
    expect_declare();
    refuse("precondition_failed", "PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q': {value_negative,-1}");
    stomp_peer_open(&rig, &peer, RABBIT);
    expect_read();
    refuse("not_found", "NOT_FOUND - no queue 'q' in vhost '/'");
    finish(BAILEY_PROBE_OK, "does not exist; it will be created; read allowed");
}

static void what_is_missing_and_stays_so(void **state)
{
    static const struct stomp_source_settings settings = {.destination = "/amq/queue/q"};

    (void)state;
    ask(BAILEY_SOURCE, &settings, RABBIT);
    expect_read();
    refuse("not_found", "NOT_FOUND - no queue 'q' in vhost '/'");
    finish(BAILEY_PROBE_MISSING, "no queue 'q'");
}

static void a_sink_may_write(void **state)
{
    (void)state;
    ask(BAILEY_SINK, &to_queue, RABBIT);
    expect_declare();
    refuse("precondition_failed", "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q'");
    stomp_peer_open(&rig, &peer, RABBIT);
    expect_write("/amq/queue/q");
    refuse("precondition_failed", "PRECONDITION_FAILED - invalid expiration 'none': no_integer");
    finish(BAILEY_PROBE_OK, "exists; write allowed");
}

/* Where nothing would be declared anyway, the message goes to the same destination. */
static void what_a_sink_does_not_declare(void **state)
{
    static const struct stomp_sink_settings to_topic = {.destination = &topic, .unroutable = STOMP_UNROUTABLE_ACCEPT},
                                            to_amq = {.destination = &amq_queue, .unroutable = STOMP_UNROUTABLE_ACCEPT};

    (void)state;
    ask(BAILEY_SINK, &to_topic, RABBIT);
    expect_write("/topic/t");
    refuse("precondition_failed", "PRECONDITION_FAILED - invalid expiration 'none': no_integer");
    finish(BAILEY_PROBE_OK, "write allowed");
    ask(BAILEY_SINK, &to_amq, RABBIT);
    expect_write("/amq/queue/q");
    refuse("precondition_failed", "PRECONDITION_FAILED - invalid expiration 'none': no_integer");
    finish(BAILEY_PROBE_OK, "whether it exists cannot be told; write allowed");
}

static void a_denial_names_what_is_needed(void **state)
{
    static const char refused[] = "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'";

    (void)state;
    ask(BAILEY_SOURCE, &from_queue, RABBIT);
    expect_declare();
    refuse("access_refused", refused);
    finish(BAILEY_PROBE_DENIED, "refused for user 'u' (it needs configure)");
    assert_non_null(strstr(asked.hint, "configure"));
    ask(BAILEY_SOURCE, &from_queue, RABBIT);
    expect_declare();
    refuse("precondition_failed", "PRECONDITION_FAILED - inequivalent arg 'x-expires' for queue 'q'");
    stomp_peer_open(&rig, &peer, RABBIT);
    expect_read();
    refuse("access_refused", refused);
    finish(BAILEY_PROBE_DENIED, "(it needs read)");
}

/* Bailey would declare it as durable. */
static void another_kind_of_queue_is_refused(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, RABBIT);
    expect_declare();
    refuse("precondition_failed", "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/'");
    finish(BAILEY_PROBE_REFUSED, "inequivalent arg 'durable'");
}

/* Of a broker that would make what it is asked for, and of what nobody has tried, nothing is asked. */
static void who_cannot_be_asked_is_left(void **state)
{
    static const struct stomp_sink_settings to_any = {.destination = &by_message};
    static const struct stomp_source_settings from_topic = {.destination = "/topic/t"};
    static const struct bailey_map_entry stream[] = {{"x-queue-type", "stream"}};
    static const struct stomp_source_settings from_stream = {.destination = "/queue/q", .headers = {stream, 1}};
    static const struct {
        const char *server;
        enum bailey_role role;
        const void *settings;
        const char *detail;
    } cases[] = {
        {"ActiveMQ/5.18.3", BAILEY_SOURCE, &from_queue, "logged in; not looked up: activemq creates what is missing"},
        {"ActiveMQ-Artemis/2.40.0", BAILEY_SINK, &to_queue, "logged in; not looked up: artemis creates"},
        {"some/1", BAILEY_SOURCE, &from_queue, "logged in; not looked up: STOMP has no way to"},
        {"RabbitMQ/3.9.29", BAILEY_SOURCE, &from_queue, "not looked up"},
        {"RabbitMQ/5.0.0", BAILEY_SOURCE, &from_queue, "not looked up"},
        {"RabbitMQ/x", BAILEY_SOURCE, &from_queue, "not looked up"},
        {RABBIT, BAILEY_SOURCE, &from_topic, "not looked up"},
        {RABBIT, BAILEY_SOURCE, &from_stream, "not looked up"},
        {"ActiveMQ/5.18.3", BAILEY_SINK, &to_any, "the messages name the destination"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask(cases[i].role, cases[i].settings, cases[i].server);
        leave(); /* nothing before it */
        finish(BAILEY_PROBE_UNCHECKED, cases[i].detail);
    }
}

static void what_the_end_would_refuse_is_told(void **state)
{
    static const struct stomp_source_settings selecting = {.destination = "/queue/q", .selector = "a = 1"};
    static const struct stomp_sink_settings to_topic = {.destination = &topic};

    (void)state;
    ask(BAILEY_SOURCE, &selecting, RABBIT);
    leave();
    finish(BAILEY_PROBE_REFUSED, "has no selectors");
    ask(BAILEY_SINK, &to_topic, RABBIT);
    leave();
    finish(BAILEY_PROBE_REFUSED, "proves no route for /topic/t");
}

/* A subscription that stands: what came is not acknowledged, and bailey hangs up. */
static void a_rehearsal_that_is_taken_seriously_ends_at_once(void **state)
{
    static const struct stomp_source_settings settings = {.destination = "/amq/queue/q"};

    (void)state;
    ask(BAILEY_SOURCE, &settings, RABBIT);
    expect_read();
    stomp_peer_deliver(&peer, "T_1@@x@@1", "not for us");
    stomp_peer_receipt(&peer, stomp_peer_header(&peer, "receipt"));
    stomp_peer_gone(&peer);
    finish(BAILEY_PROBE_OK, "read can only be told by trying");
}

static void a_refused_login_is_told_and_shows_no_secret(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    begin(BAILEY_SOURCE, &from_queue, 10000);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    refuse("Bad CONNECT", "Access refused for user 'user' with SECRET");
    finish(BAILEY_PROBE_REFUSED, "Access refused for user 'user'");
    assert_non_null(strstr(asked.hint, "passcode"));
}

static void who_hangs_up_refuses(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    begin(BAILEY_SOURCE, &from_queue, 10000);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_close(&peer);
    finish(BAILEY_PROBE_REFUSED, "closed the connection");
}

static void the_next_url_is_tried(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    rig.urls[1] = rig.url;
    rig.broker_settings.urls.count = 2;
    begin(BAILEY_SOURCE, &from_queue, 10000);
    stomp_peer_accept(&rig, &peer);
    stomp_peer_expect(&peer, "CONNECT");
    stomp_peer_close(&peer);
    stomp_peer_open(&rig, &peer, "ActiveMQ/5");
    leave();
    finish(BAILEY_PROBE_UNCHECKED, "logged in");
}

static void silence_has_an_end(void **state)
{
    (void)state;
    stomp_rig_init(&rig);
    begin(BAILEY_SOURCE, &from_queue, 1000);
    stomp_peer_open(&rig, &peer, RABBIT);
    expect_declare();
    stomp_peer_gone(&peer);
    finish(BAILEY_PROBE_UNREACHABLE, "no answer in time");
}

static void nonsense_is_no_answer(void **state)
{
    (void)state;
    ask(BAILEY_SOURCE, &from_queue, RABBIT);
    expect_declare();
    stomp_peer_say(&peer, "nonsense\n\n");
    stomp_peer_gone(&peer);
    finish(BAILEY_PROBE_REFUSED, "malformed frame");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_queue_and_the_right_to_read_it),
        cmocka_unit_test(what_is_missing_and_will_be_created),
        cmocka_unit_test(what_is_missing_and_stays_so),
        cmocka_unit_test(a_sink_may_write),
        cmocka_unit_test(what_a_sink_does_not_declare),
        cmocka_unit_test(a_denial_names_what_is_needed),
        cmocka_unit_test(another_kind_of_queue_is_refused),
        cmocka_unit_test(who_cannot_be_asked_is_left),
        cmocka_unit_test(what_the_end_would_refuse_is_told),
        cmocka_unit_test(a_rehearsal_that_is_taken_seriously_ends_at_once),
        cmocka_unit_test(a_refused_login_is_told_and_shows_no_secret),
        cmocka_unit_test(who_hangs_up_refuses),
        cmocka_unit_test(the_next_url_is_tried),
        cmocka_unit_test(silence_has_an_end),
        cmocka_unit_test(nonsense_is_no_answer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
