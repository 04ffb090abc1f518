/* loop/loop.h: a worker's event loop: one libwebsockets context on one thread.
 *
 * `struct bailey_host`, which connectors see, is the loop. A turn: again-tasks, mail from other threads, timers, output of
 * the transports; then wait for descriptors. All functions are called on the loop's thread unless marked otherwise.
 */
#ifndef BAILEY_LOOP_H
#define BAILEY_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include <bailey/host.h>

struct loop_options {
    unsigned fds_max; /* descriptors that may be watched at once; 0 = 1,024 */
    uint64_t seed;    /* of bailey_random(); 0 = from the system */
};

/* Any thread; then the loop belongs to the thread that calls loop_run. NULL with `err` if it cannot be made. */
struct bailey_host *loop_new(const struct loop_options *options, struct bailey_error *err);

/* Serve until loop_stop(). */
void loop_run(struct bailey_host *loop);

/* Any thread: loop_run() returns soon. */
void loop_stop(struct bailey_host *loop);

/* One turn, waiting at most `wait_ms`: for tests that drive a loop themselves. */
void loop_turn(struct bailey_host *loop, int64_t wait_ms);

/* Jobs that were started and are not done yet: those of bailey_job_start(), and what else will come by bailey_post(). */
unsigned loop_jobs(const struct bailey_host *loop);
void loop_jobs_add(struct bailey_host *loop, int change);

/* After loop_run returned, with no job left and all watches and transports closed. NULL is allowed. */
void loop_free(struct bailey_host *loop);

/* True on the thread that runs `loop`: for assertions. */
bool loop_is_current(const struct bailey_host *loop);

/* What belongs to the user of a loop (the worker). */
void loop_set_user(struct bailey_host *loop, void *user);
void *loop_user(const struct bailey_host *loop);

/* ---- Descriptors ---- */

enum loop_events { LOOP_READABLE = 1, LOOP_WRITABLE = 2, LOOP_CLOSED = 4 };

struct loop_watch;

/* Watch `fd` (takes it: it is closed with the watch) for reading. LOOP_CLOSED comes when the peer is gone: the watch is
 * then over, and the descriptor readable for the last time. NULL if the loop has no room. */
struct loop_watch *loop_watch_open(struct bailey_host *loop, int fd, void (*on_event)(void *ctx, unsigned events),
                                   void *ctx);

/* Ask for one LOOP_WRITABLE. Not from within on_event: use bailey_again(). */
void loop_watch_writable(struct loop_watch *watch);

/* No LOOP_READABLE while held. Also from within on_event. */
void loop_watch_hold(struct loop_watch *watch, bool held);

/* No event follows. Also from within on_event. */
void loop_watch_close(struct loop_watch *watch);

/* Run `task` at the end of this turn, before the loop waits: what gathers output flushes there. */
void loop_at_turn_end(struct bailey_host *loop, struct bailey_task *task);
void loop_at_turn_end_stop(struct bailey_host *loop, struct bailey_task *task);

/* A buffer to read into, shared by all of the loop's transports: valid until control returns to the loop. */
enum { LOOP_READ_BUFFER = 256 << 10 };
uint8_t *loop_read_buffer(struct bailey_host *loop);

/* What TLS connections of the loop share (loop/tls.h). */
struct tls_store *loop_tls_store(struct bailey_host *loop);

#endif
