/* Reads back what lies where a route of a configuration sends to, for tests/system/shelf.py:
 *
 *     conformance_shelf FILE ROUTE look | take [BODY...] | hang COUNT
 *
 * look prints all; take removes those bodies, and leaves the rest; hang removes the first, prints COUNT in all, and then does nothing until
 * it is killed. Prints a line `message BODY` for each and `finished` at the end; exit code 1 and `down REASON` if it fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "route_rig.h"

enum { MESSAGES_MAX = 20000 };

static struct {
    struct route_rig rig;
    struct bailey_port *sink;
    char **bodies; /* to be removed */
    int body_count;
    bool looks, hangs;
    struct bailey_delivery *left[MESSAGES_MAX];
    size_t left_count, seen, hang_at;
} run;

static const struct bailey_source *shelf(void)
{
    return run.rig.route->to.broker->connector->shelf;
}

static bool open_shelf(void **self, void *broker, const void *settings, struct bailey_port *port,
                       struct bailey_error *err)
{
    port->only_looks = run.looks;
    return shelf()->open(self, broker, settings, port, err);
}

/* ---- Where the messages go ---- */

static bool sink_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                      struct bailey_error *err)
{
    (void)broker, (void)settings, (void)err;
    *self = &run;
    run.sink = port;
    bailey_up(port);
    return true;
}

static bool is_wanted(struct bailey_bytes body)
{
    if (run.looks)
        return true;
    if (run.hangs)
        return run.seen == 1;
    for (int i = 0; i < run.body_count; i++)
        if (bailey_bytes_is(body, run.bodies[i]))
            return true;
    return false;
}

static size_t sink_send(void *self, struct bailey_delivery *const batch[], size_t count)
{
    (void)self;
    for (size_t i = 0; i < count; i++) {
        struct bailey_bytes body = batch[i]->message->body;
        struct bailey_delivery *delivery = batch[i];

        run.seen++;
        if (!run.hangs || run.seen <= run.hang_at)
            printf("message %.*s\n", (int)body.len, (const char *)body.data);
        if (is_wanted(body))
            bailey_confirm(run.sink, &delivery, 1);
        else if (run.left_count < MESSAGES_MAX)
            run.left[run.left_count++] = delivery;
        else
            abort();
    }
    fflush(stdout);
    return count;
}

static void sink_close(void *self)
{
    (void)self;
    bailey_hand_back(run.sink, run.left, run.left_count, false);
    run.left_count = 0;
    bailey_closed(run.sink);
}

/* ---- The lane ---- */

static void start(void)
{
    static const struct bailey_option no_options[] = {{0}};
    static const struct bailey_sink sink = {
        .options = no_options, .open = sink_open, .send = sink_send, .close = sink_close};
    static struct bailey_source source;

    source = *shelf();
    source.open = open_shelf;
    route_rig_start(&run.rig, &source, &sink, MESSAGES_MAX);
}

static int carry(void)
{
    int result = 0;

    while (!run.rig.ended) {
        loop_turn(run.rig.loop, 20);
        if (run.rig.status.state == LANE_DOWN && result == 0) {
            printf("down %s\n", run.rig.status.reason);
            result = 1;
            lane_stop(run.rig.lane);
        } else if (run.rig.status.state == LANE_DRAINING && !run.hangs) { /* that was all: the rest is left */
            lane_stop(run.rig.lane);
        }
    }
    if (result == 0)
        printf("finished\n");
    return result;
}

int main(int argc, char **argv)
{
    int result;

    if (argc < 4)
        return 2;
    route_rig_load(&run.rig, argv[1], argv[2]);
    if (shelf() == NULL) {
        printf("down no shelf\n");
        return 1;
    }
    run.looks = strcmp(argv[3], "look") == 0;
    run.hangs = strcmp(argv[3], "hang") == 0;
    run.hang_at = run.hangs && argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    run.bodies = argv + 4;
    run.body_count = argc - 4;
    start();
    result = carry();
    route_rig_end(&run.rig);
    return result;
}
