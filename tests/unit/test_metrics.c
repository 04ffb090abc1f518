/* admin/metrics.c: the exact text of the page, and what hostile names cannot do to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "admin/metrics.h"

static struct route_status routes[2];
static struct connection_status brokers[4];
static struct snapshot snapshot;
static struct text page;

static int begin(void **state)
{
    (void)state;
    memset(routes, 0, sizeof routes);
    routes[0] = (struct route_status){.name = "orders",
                                      .state = LANE_RUNNING,
                                      .received = 12,
                                      .delivered = 11,
                                      .unsettled = 1,
                                      .refused = {0, 3, 2, 1},
                                      .latency_count = {5, 3, 0, 1},
                                      .latency_sum_ms = 61234};
    routes[0].latency_count[LATENCY_BUCKETS - 1] = 2;
    routes[1] = (struct route_status){.name = "back", .state = LANE_HELD};
    brokers[0] = (struct connection_status){"all", 2, 2};
    brokers[1] = (struct connection_status){"some", 2, 1};
    brokers[2] = (struct connection_status){"unused", 0, 0};
    brokers[3] = (struct connection_status){"more", 1, 2};
    snapshot = (struct snapshot){.instance = "gw-1",
                                 .version = "0.1.0",
                                 .routes = routes,
                                 .route_count = 2,
                                 .brokers = brokers,
                                 .broker_count = 4,
                                 .resident_bytes = 12345678,
                                 .open_fds = 17,
                                 .cpu_us = 3000042};
    return 0;
}

static int end(void **state)
{
    (void)state;
    text_free(&page);
    return 0;
}

static const char *render(void)
{
    text_free(&page);
    metrics_render(&page, &snapshot);
    return page.data;
}

static void must_hold(const char *expected)
{
    if (strstr(render(), expected) == NULL)
        fail_msg("expected:\n%s\ngot:\n%s", expected, page.data);
}

static void a_metric_has_its_head_once_and_then_a_line_a_route(void **state)
{
    (void)state;
    must_hold("# HELP bailey_messages_received_total Messages taken from the source.\n"
              "# TYPE bailey_messages_received_total counter\n"
              "bailey_messages_received_total{route=\"orders\"} 12\n"
              "bailey_messages_received_total{route=\"back\"} 0\n"
              "# HELP ");
    must_hold("# TYPE bailey_unsettled gauge\n"
              "bailey_unsettled{route=\"orders\"} 1\n");
}

static void refusals_are_counted_by_class(void **state)
{
    (void)state;
    must_hold("# TYPE bailey_messages_refused_total counter\n"
              "bailey_messages_refused_total{route=\"orders\",class=\"transient\"} 3\n"
              "bailey_messages_refused_total{route=\"orders\",class=\"permanent\"} 2\n"
              "bailey_messages_refused_total{route=\"orders\",class=\"configuration\"} 1\n"
              "bailey_messages_refused_total{route=\"orders\",class=\"unroutable\"} 0\n"
              "bailey_messages_refused_total{route=\"back\",class=\"transient\"} 0\n");
}

static void the_state_is_one_among_all(void **state)
{
    (void)state;
    must_hold("bailey_route_state{route=\"back\",state=\"finished\"} 0\n"
              "bailey_route_state{route=\"back\",state=\"stopped\"} 0\n"
              "bailey_route_state{route=\"back\",state=\"running\"} 0\n"
              "bailey_route_state{route=\"back\",state=\"draining\"} 0\n"
              "bailey_route_state{route=\"back\",state=\"starting\"} 0\n"
              "bailey_route_state{route=\"back\",state=\"stalled\"} 0\n"
              "bailey_route_state{route=\"back\",state=\"held\"} 1\n"
              "bailey_route_state{route=\"back\",state=\"blocked\"} 0\n"
              "bailey_route_state{route=\"back\",state=\"down\"} 0\n");
}

static void the_histogram_adds_up(void **state)
{
    (void)state;
    must_hold("# TYPE bailey_delivery_seconds histogram\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.001\"} 5\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.002\"} 8\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.005\"} 8\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.01\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.025\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.05\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.1\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.25\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"0.5\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"1\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"2.5\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"10\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"60\"} 9\n"
              "bailey_delivery_seconds_bucket{route=\"orders\",le=\"+Inf\"} 11\n"
              "bailey_delivery_seconds_sum{route=\"orders\"} 61.234\n"
              "bailey_delivery_seconds_count{route=\"orders\"} 11\n");
    must_hold("bailey_delivery_seconds_sum{route=\"back\"} 0\n");
}

static void a_broker_is_up_when_all_connections_that_should_be_are(void **state)
{
    (void)state;
    must_hold("bailey_connection_up{broker=\"all\"} 1\n"
              "bailey_connection_up{broker=\"some\"} 0\n"
              "bailey_connection_up{broker=\"unused\"} 0\n"
              "bailey_connection_up{broker=\"more\"} 1\n");
    must_hold("bailey_connections{broker=\"all\"} 2\n"
              "bailey_connections{broker=\"some\"} 1\n");
}

static void the_process_tells_what_it_knows(void **state)
{
    (void)state;
    must_hold("bailey_build_info{version=\"0.1.0\"} 1\n");
    must_hold("process_cpu_seconds_total 3.000042\n");
    must_hold("process_resident_memory_bytes 12345678\n");
    must_hold("process_open_fds 17\n");
    snapshot.resident_bytes = snapshot.open_fds = -1;
    assert_null(strstr(render(), "process_resident_memory_bytes"));
    assert_null(strstr(page.data, "process_open_fds"));
}

static void names_cannot_break_out_of_their_label(void **state)
{
    (void)state;
    routes[1].name = "a\\b\"c\nd\xff\xc3\xa4";
    must_hold("bailey_unsettled{route=\"a\\\\b\\\"c\\nd\xef\xbf\xbd\xc3\xa4\"} 0\n");
    brokers[0].broker = "x\"} 1\nevil 2";
    must_hold("bailey_connection_up{broker=\"x\\\"} 1\\nevil 2\"} 1\n");
    assert_null(strstr(page.data, "\nevil"));
}

/* What a scraper checks: each line is a comment or `name[{labels}] number`; a name's lines stand together. */
static void every_line_is_well_formed(void **state)
{
    char *line, *rest, family[128] = "", seen[16384] = "\n";

    (void)state;
    render();
    for (line = strtok_r(page.data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            size_t len = strcspn(line + 7, " "), used = strlen(seen);

            assert_in_range(len, 1, sizeof family - 3);
            snprintf(family, sizeof family, "\n%.*s\n", (int)len, line + 7);
            assert_null(strstr(seen, family));
            snprintf(seen + used, sizeof seen - used, "%s", family + 1);
            family[len + 1] = '\0';
            continue;
        }
        if (line[0] == '#') {
            assert_int_equal(strncmp(line, "# TYPE ", 7), 0);
            assert_int_equal(strncmp(line + 7, family + 1, strlen(family + 1)), 0);
            continue;
        }
        char *value = strrchr(line, ' '), *value_end;

        assert_non_null(value);
        assert_int_equal(strncmp(line, family + 1, strlen(family + 1)), 0);
        strtod(value + 1, &value_end);
        assert_true(value_end > value + 1 && *value_end == '\0');
    }
    assert_non_null(strstr(seen, "\nbailey_source_lag\n"));
}

static void no_routes_are_no_lines(void **state)
{
    (void)state;
    snapshot.route_count = snapshot.broker_count = 0;
    render();
    assert_null(strstr(page.data, "route=\""));
    assert_non_null(strstr(page.data, "bailey_build_info"));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(a_metric_has_its_head_once_and_then_a_line_a_route),
        TEST(refusals_are_counted_by_class),
        TEST(the_state_is_one_among_all),
        TEST(the_histogram_adds_up),
        TEST(a_broker_is_up_when_all_connections_that_should_be_are),
        TEST(the_process_tells_what_it_knows),
        TEST(names_cannot_break_out_of_their_label),
        TEST(every_line_is_well_formed),
        TEST(no_routes_are_no_lines),
    };

    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
