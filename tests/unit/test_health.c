/* admin/health.c: the exact JSON of the pages, whatever a broker's reason holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/health.h"

static struct route_status routes[2];
static struct connection_status brokers[2];
static struct snapshot snapshot;
static struct text page;

static int begin(void **state)
{
    (void)state;
    routes[0] = (struct route_status){
        .name = "orders", .state = LANE_RUNNING, .since_ms = 61007, .unsettled = 10, .unconfirmed = 3};
    routes[1] = (struct route_status){.name = "back", .state = LANE_HELD, .reason = "memory alarm", .since_ms = 5};
    brokers[0] = (struct connection_status){"k", 2, 2};
    brokers[1] = (struct connection_status){"r", 2, 1};
    snapshot = (struct snapshot){.instance = "gw-1",
                                 .version = "0.1.0",
                                 .routes = routes,
                                 .route_count = 2,
                                 .brokers = brokers,
                                 .broker_count = 2};
    return 0;
}

static int end(void **state)
{
    (void)state;
    text_free(&page);
    return 0;
}

static const char *ready(void)
{
    text_free(&page);
    health_render_ready(&page, &snapshot);
    return page.data;
}

static void the_live_page_says_nothing_of_brokers(void **state)
{
    (void)state;
    health_render_live(&page);
    assert_string_equal(page.data, "{\"version\":1,\"status\":\"ok\"}\n");
}

static void the_ready_page_is_exactly_this(void **state)
{
    (void)state;
    assert_string_equal(ready(),
                        "{\"version\":1,\"ready\":false,\"instance\":\"gw-1\",\"routes\":["
                        "{\"name\":\"orders\",\"state\":\"running\",\"reason\":\"\",\"since_seconds\":61.007,"
                        "\"unsettled\":10,\"unconfirmed\":3},"
                        "{\"name\":\"back\",\"state\":\"held\",\"reason\":\"memory alarm\",\"since_seconds\":0.005,"
                        "\"unsettled\":0,\"unconfirmed\":0}],"
                        "\"brokers\":[{\"name\":\"k\",\"connections\":2,\"expected\":2},"
                        "{\"name\":\"r\",\"connections\":1,\"expected\":2}]}\n");
}

static void it_is_ready_when_every_route_runs_or_is_finished(void **state)
{
    (void)state;
    for (int one = 0; one < LANE_STATES; one++) {
        for (int other = 0; other < LANE_STATES; other++) {
            bool good =
                (one == LANE_RUNNING || one == LANE_FINISHED) && (other == LANE_RUNNING || other == LANE_FINISHED);

            routes[0].state = (enum lane_state)one;
            routes[1].state = (enum lane_state)other;
            assert_int_equal(snapshot_ready(&snapshot), good);
            assert_int_equal(
                strncmp(ready(), good ? "{\"version\":1,\"ready\":true," : "{\"version\":1,\"ready\":false,", 25), 0);
        }
    }
}

static void a_reason_cannot_break_out_of_its_string(void **state)
{
    (void)state;
    strncpy(routes[1].reason, "no \"queue\"\\\n\x01\xff", sizeof routes[1].reason - 1);
    assert_non_null(strstr(ready(), "\"reason\":\"no \\\"queue\\\"\\\\\\u000a\\u0001\xef\xbf\xbd\",\"since_seconds\""));
}

static void no_routes_and_brokers_are_empty_lists(void **state)
{
    (void)state;
    snapshot.route_count = snapshot.broker_count = 0;
    assert_string_equal(ready(), "{\"version\":1,\"ready\":true,\"instance\":\"gw-1\",\"routes\":[],\"brokers\":[]}\n");
}

static void an_error_is_json_too(void **state)
{
    (void)state;
    health_render_error(&page, "no such page");
    assert_string_equal(page.data, "{\"version\":1,\"error\":\"no such page\"}\n");
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(the_live_page_says_nothing_of_brokers),
        TEST(the_ready_page_is_exactly_this),
        TEST(it_is_ready_when_every_route_runs_or_is_finished),
        TEST(a_reason_cannot_break_out_of_its_string),
        TEST(no_routes_and_brokers_are_empty_lists),
        TEST(an_error_is_json_too),
    };

    return cmocka_run_group_tests_name("health", tests, NULL, NULL);
}
