/* Gives messages to a sink whose broker is to hold them, for tests/system/delay_native.py:
 *
 *     conformance_delay FILE ROUTE BODY=MS ...
 *
 * Sends each with a time that many ms from now. Prints `confirmed` when the broker has confirmed all; exit code 1 and the reason if it
 * does not within a minute, or refuses one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "route_rig.h"

enum { PATIENCE_MS = 60000 };

static struct {
    struct route_rig rig;
    struct bailey_port *source;
    char **words;
    int count, settled;
    int64_t now_ms;
} run;

/* ---- Where the messages come from ---- */

static bool source_open(void **self, void *broker, const void *settings, struct bailey_port *port,
                        struct bailey_error *err)
{
    (void)broker, (void)settings, (void)err;
    *self = &run;
    run.source = port;
    bailey_up(port);
    return true;
}

static void source_resume(void *self)
{
    (void)self;
}

static void source_settle(void *self, const struct bailey_settlement *ended, size_t count)
{
    (void)self;
    for (size_t i = 0; i < count; i++)
        run.settled += ended[i].outcome == BAILEY_ACCEPTED;
}

static void source_drain(void *self)
{
    (void)self;
    bailey_drained(run.source);
}

static void source_close(void *self)
{
    (void)self;
    bailey_closed(run.source);
}

static void push_all(void)
{
    for (int i = 0; i < run.count; i++) {
        struct bailey_message *msg = bailey_message_new(run.source);

        msg->body = bailey_message_copy(msg, run.words[i], strcspn(run.words[i], "="));
        msg->group = 1;
        msg->position = (uint64_t)i;
        bailey_receive(run.source, &msg, 1);
    }
}

/* ---- The sink, told when ---- */

static const struct bailey_sink *sink_of(void)
{
    return run.rig.route->to.broker->connector->sink;
}

static size_t send_at(void *self, struct bailey_delivery *const batch[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *word = run.words[((const struct bailey_message *)batch[i]->message)->position];

        batch[i]->deliver_at_ms = run.now_ms + strtoll(strchr(word, '=') + 1, NULL, 10);
    }
    return sink_of()->send(self, batch, count);
}

/* ---- The lane ---- */

static void start(void)
{
    static const struct bailey_option no_options[] = {{0}};
    static const struct bailey_source source = {.options = no_options,
                                                .open = source_open,
                                                .resume = source_resume,
                                                .settle = source_settle,
                                                .drain = source_drain,
                                                .close = source_close};
    static struct bailey_sink sink;

    sink = *sink_of();
    sink.send = send_at;
    route_rig_start(&run.rig, &source, &sink, 1000);
}

static bool is_refused(void)
{
    for (int kind = 0; kind < BAILEY_ERR_KINDS; kind++)
        if (run.rig.status.refused[kind] > 0)
            return true;
    return false;
}

static int carry(void)
{
    int64_t end_ms = monotonic_ms() + PATIENCE_MS;
    bool pushed = false;

    while (run.settled < run.count && !is_refused() && monotonic_ms() < end_ms) {
        loop_turn(run.rig.loop, 20);
        if (!pushed && run.rig.status.state == LANE_RUNNING) {
            pushed = true;
            run.now_ms = bailey_wall_ms(run.rig.loop);
            push_all();
        }
    }
    printf("%s\n", run.settled == run.count ? "confirmed" : run.rig.status.reason);
    lane_stop(run.rig.lane);
    while (!run.rig.ended)
        loop_turn(run.rig.loop, 20);
    return run.settled == run.count ? 0 : 1;
}

int main(int argc, char **argv)
{
    int result;

    if (argc < 4)
        return 2;
    route_rig_load(&run.rig, argv[1], argv[2]);
    run.words = argv + 3;
    run.count = argc - 3;
    start();
    result = carry();
    route_rig_end(&run.rig);
    return result;
}
