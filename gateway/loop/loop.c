/* The worker's loop.
 *
 *     turn:  again-tasks → mail → timers → turn-end tasks (flush of output) → wait in libwebsockets' poll(2)
 *                                                                             └→ callbacks of descriptors → turn-end tasks
 *
 * libwebsockets is the poller; descriptors are adopted in its RAW_FILE role. (WebSocket is our own: websocket.h.) What is
 * known of 4.1.6: lws_service(ctx, 0) sleeps until an event, a negative argument makes one pass without waiting; a
 * writable request made inside the WRITEABLE callback is cleared after it, so it is made from a turn-end task.
 */
#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <libwebsockets.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "loop/job.h"
#include "loop/mailbox.h"
#include "loop/tls.h"
#include "loop/wheel.h"

enum { TURN_NS = 250000 }; /* see moderate() */

struct task_list {
    struct bailey_task *first, **last;
};

struct bailey_host {
    struct lws_context *context;
    struct lws_vhost *vhost;
    lws_sorted_usec_list_t sul; /* the wheel's next timer */
    struct wheel wheel;
    struct mailbox mailbox;
    struct task_list again, turn_end;
    int64_t now_ms, turn_began_ns;
    uint64_t random;
    atomic_bool stopping;
    atomic_int posting; /* threads inside bailey_post(): they touch the loop after their task may have run */
    pthread_t thread;
    bool running, has_waited;
    unsigned jobs;
    void *user;
    uint8_t *read_buffer;
    struct tls_store *tls_store; /* NULL: no connection has asked for TLS */
};

struct loop_watch {
    struct bailey_host *loop;
    struct lws *wsi;
    void (*on_event)(void *ctx, unsigned events);
    void *ctx;
    int fd;
    bool in_event, closed;
};

/* ---- Task lists ---- */

static void tasks_init(struct task_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

static void tasks_add(struct task_list *list, struct bailey_task *task)
{
    assert(task->run != NULL);
    if (task->queued)
        return;
    task->queued = true;
    task->next = NULL;
    *list->last = task;
    list->last = &task->next;
}

static void tasks_remove(struct task_list *list, struct bailey_task *task)
{
    struct bailey_task **at;

    if (!task->queued)
        return;
    for (at = &list->first; *at != NULL; at = &(*at)->next) {
        if (*at != task)
            continue;
        *at = task->next;
        if (list->last == &task->next)
            list->last = at;
        task->queued = false;
        return;
    }
}

static struct bailey_task *tasks_pop(struct task_list *list)
{
    struct bailey_task *task = list->first;

    if (task == NULL)
        return NULL;
    list->first = task->next;
    if (list->first == NULL)
        list->last = &list->first;
    task->queued = false;
    return task;
}

/* Run what stands in the list now; what is added meanwhile waits for the next turn. */
static void tasks_run(struct task_list *list)
{
    struct bailey_task mark = {.queued = false}, *task;

    if (list->first == NULL)
        return;
    mark.run = (void (*)(struct bailey_task *))abort;
    tasks_add(list, &mark);
    while ((task = tasks_pop(list)) != &mark)
        task->run(task);
}

/* ---- Time ---- */

static int64_t clock_ns(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t clock_ms(clockid_t clock)
{
    return clock_ns(clock) / 1000000;
}

int64_t bailey_now_ms(const struct bailey_host *host)
{
    return host->now_ms;
}

int64_t bailey_wall_ms(const struct bailey_host *host)
{
    (void)host;
    return clock_ms(CLOCK_REALTIME);
}

uint64_t bailey_random(struct bailey_host *host)
{
    uint64_t z = host->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 (Steele, Lea, Flood 2014) */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void bailey_timer_start(struct bailey_host *host, struct bailey_timer *timer, int64_t delay_ms)
{
    assert(loop_is_current(host));
    if (delay_ms < 0)
        delay_ms = 0;
    wheel_start(&host->wheel, timer, delay_ms > WHEEL_TIME_MAX_MS ? delay_ms : host->now_ms + delay_ms);
}

void bailey_timer_stop(struct bailey_host *host, struct bailey_timer *timer)
{
    (void)host;
    wheel_stop(timer);
}

/* ---- Tasks and jobs ---- */

void bailey_again(struct bailey_host *host, struct bailey_task *task)
{
    assert(loop_is_current(host));
    tasks_add(&host->again, task);
}

void bailey_again_stop(struct bailey_host *host, struct bailey_task *task)
{
    tasks_remove(&host->again, task);
}

void loop_at_turn_end(struct bailey_host *loop, struct bailey_task *task)
{
    tasks_add(&loop->turn_end, task);
}

void loop_at_turn_end_stop(struct bailey_host *loop, struct bailey_task *task)
{
    tasks_remove(&loop->turn_end, task);
}

void bailey_post(struct bailey_host *host, struct bailey_task *task)
{
    atomic_fetch_add_explicit(&host->posting, 1, memory_order_relaxed);
    if (mailbox_post(&host->mailbox, task))
        lws_cancel_service(host->context);
    atomic_fetch_sub_explicit(&host->posting, 1, memory_order_release);
}

static void job_done(struct bailey_task *task)
{
    struct bailey_job *job = task->ctx;

    job->host->jobs--;
    job->done(job);
}

void bailey_job_start(struct bailey_host *host, struct bailey_job *job)
{
    assert(loop_is_current(host));
    job->host = host;
    job->task = (struct bailey_task){.run = job_done, .ctx = job};
    host->jobs++;
    job_submit(job);
}

unsigned loop_jobs(const struct bailey_host *loop)
{
    return loop->jobs;
}

void loop_jobs_add(struct bailey_host *loop, int change)
{
    assert(loop_is_current(loop));
    loop->jobs += (unsigned)change;
}

static void read_mail(struct bailey_host *loop)
{
    struct bailey_task *task = mailbox_take(&loop->mailbox);

    while (task != NULL) {
        struct bailey_task *next = task->next;

        task->run(task);
        task = next;
    }
}

/* ---- Descriptors ---- */

/* The loop has waited: read the clock once before the first callback. */
static void after_wait(struct bailey_host *loop)
{
    if (loop->has_waited)
        loop->now_ms = clock_ms(CLOCK_MONOTONIC);
    loop->has_waited = false;
}

static int watch_event(struct loop_watch *watch, unsigned events)
{
    if (watch == NULL || watch->closed)
        return -1;
    after_wait(watch->loop);
    watch->in_event = true;
    watch->on_event(watch->ctx, events);
    watch->in_event = false;
    return watch->closed ? -1 : 0; /* -1: libwebsockets closes it */
}

static void watch_destroyed(struct loop_watch *watch)
{
    if (watch == NULL)
        return;
    watch->wsi = NULL;
    if (!watch->closed) {
        after_wait(watch->loop);
        watch->in_event = true;
        watch->on_event(watch->ctx, LOOP_CLOSED);
        watch->in_event = false;
    }
    if (watch->closed)
        free(watch); /* else its owner closes it later */
}

static int on_descriptor(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
    (void)user, (void)in, (void)len;
    switch (reason) {
    case LWS_CALLBACK_RAW_RX_FILE:
        return watch_event(lws_get_opaque_user_data(wsi), LOOP_READABLE);
    case LWS_CALLBACK_RAW_WRITEABLE_FILE:
        return watch_event(lws_get_opaque_user_data(wsi), LOOP_WRITABLE);
    case LWS_CALLBACK_RAW_CLOSE_FILE:
        watch_destroyed(lws_get_opaque_user_data(wsi));
        return 0;
    default:
        return 0;
    }
}

static const struct lws_protocols protocols[] = {{.name = "descriptor", .callback = on_descriptor}, {.name = NULL}};

struct loop_watch *loop_watch_open(struct bailey_host *loop, int fd, void (*on_event)(void *ctx, unsigned events),
                                   void *ctx)
{
    struct loop_watch *watch = calloc(1, sizeof *watch);
    lws_adopt_desc_t adopt = {
        .vh = loop->vhost, .type = LWS_ADOPT_RAW_FILE_DESC, .fd = {.filefd = fd}, .vh_prot_name = protocols[0].name};

    if (watch == NULL)
        abort();
    *watch = (struct loop_watch){.loop = loop, .on_event = on_event, .ctx = ctx, .fd = fd};
    adopt.opaque = watch;
    watch->wsi = lws_adopt_descriptor_vhost_via_info(&adopt);
    if (watch->wsi == NULL) { /* it has closed fd, and may have called back */
        free(watch);
        return NULL;
    }
    return watch;
}

void loop_watch_writable(struct loop_watch *watch)
{
    if (watch->wsi != NULL)
        lws_callback_on_writable(watch->wsi);
}

void loop_watch_hold(struct loop_watch *watch, bool held)
{
    if (watch->wsi != NULL)
        lws_rx_flow_control(watch->wsi, !held);
}

void loop_watch_close(struct loop_watch *watch)
{
    assert(!watch->closed);
    watch->closed = true;
    if (watch->in_event)
        return; /* watch_event() or watch_destroyed() sees to the rest */
    if (watch->wsi == NULL)
        free(watch);
    else
        lws_set_timeout(watch->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_SYNC);
}

uint8_t *loop_read_buffer(struct bailey_host *loop)
{
    if (loop->read_buffer == NULL && (loop->read_buffer = malloc(LOOP_READ_BUFFER)) == NULL)
        abort();
    return loop->read_buffer;
}

struct tls_store *loop_tls_store(struct bailey_host *loop)
{
    if (loop->tls_store == NULL)
        loop->tls_store = tls_store_new();
    return loop->tls_store;
}

/* ---- Wakers ---- */

static void waker_event(void *ctx, unsigned events)
{
    struct bailey_waker *waker = ctx;
    uint64_t count;

    if (events & LOOP_READABLE && read(waker->fd, &count, sizeof count) == (ssize_t)sizeof count)
        waker->on_wake(waker);
}

bool bailey_waker_open(struct bailey_host *host, struct bailey_waker *waker, struct bailey_error *err)
{
    waker->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (waker->fd < 0)
        return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", errno, "cannot make an eventfd: %s",
                                  strerror(errno));
    waker->watch = loop_watch_open(host, waker->fd, waker_event, waker);
    if (waker->watch == NULL)
        return bailey_fail(err, BAILEY_ERR_TRANSIENT, "too many descriptors in one worker");
    return true;
}

void bailey_waker_close(struct bailey_waker *waker)
{
    if (waker->watch == NULL)
        return;
    loop_watch_close(waker->watch);
    waker->watch = NULL;
    waker->fd = -1;
}

/* ---- Life ---- */

static void timer_due(lws_sorted_usec_list_t *sul)
{
    (void)sul; /* it ends the wait; the turn advances the wheel */
}

static void on_lws_log(int level, const char *line)
{
    (void)level, (void)line; /* what matters is told through our own events, with its context */
}

struct bailey_host *loop_new(const struct loop_options *options, struct bailey_error *err)
{
    struct bailey_host *loop = calloc(1, sizeof *loop);
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .fd_limit_per_thread = options->fds_max ? options->fds_max : 1024,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .pt_serv_buf_size = 4096,
        .options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
    };

    if (loop == NULL) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "out of memory");
        return NULL;
    }
    lws_set_log_level(0, on_lws_log);
    loop->context = lws_create_context(&info);
    if (loop->context != NULL)
        loop->vhost = lws_create_vhost(loop->context, &info);
    if (loop->vhost == NULL) {
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "cannot make an event loop (libwebsockets)");
        loop_free(loop);
        return NULL;
    }
    loop->random = options->seed;
    if (loop->random == 0 && getrandom(&loop->random, sizeof loop->random, 0) < 0)
        loop->random = (uint64_t)clock_ms(CLOCK_REALTIME);
    loop->now_ms = clock_ms(CLOCK_MONOTONIC);
    wheel_init(&loop->wheel, loop->now_ms);
    tasks_init(&loop->again);
    tasks_init(&loop->turn_end);
    return loop;
}

void loop_free(struct bailey_host *loop)
{
    if (loop == NULL)
        return;
    assert(loop->jobs == 0);
    while (atomic_load_explicit(&loop->posting, memory_order_acquire) > 0)
        sched_yield(); /* a helper whose task has run already, between its post and its wake-up */
    if (loop->context != NULL)
        lws_context_destroy(loop->context);
    tls_store_free(loop->tls_store);
    free(loop->read_buffer);
    free(loop);
}

static void prepare_wait(struct bailey_host *loop, int64_t wait_ms)
{
    int64_t next_ms = wheel_next_ms(&loop->wheel);

    if (next_ms >= 0 && (wait_ms < 0 || next_ms - loop->now_ms < wait_ms))
        wait_ms = next_ms - loop->now_ms;
    if (wait_ms >= 0) /* +1: a time-out rounded down would spin through the last millisecond */
        lws_sul_schedule(loop->context, 0, &loop->sul, timer_due, (wait_ms + 1) * LWS_US_PER_MS);
    else
        lws_sul_cancel(&loop->sul);
}

/* A peer that sends a few messages at a time would cost a poll, a read and a write each few. So a busy loop makes at most one
 * turn each TURN_NS: what comes meanwhile is one batch. An idle one, whose last turn is long ago, does not wait here. */
static void moderate(struct bailey_host *loop)
{
    int64_t left_ns = TURN_NS - (clock_ns(CLOCK_MONOTONIC) - loop->turn_began_ns);
    struct timespec pause = {.tv_nsec = left_ns};

    if (left_ns > 0)
        nanosleep(&pause, NULL);
    loop->turn_began_ns = clock_ns(CLOCK_MONOTONIC);
}

static void turn(struct bailey_host *loop, int64_t wait_ms)
{
    loop->now_ms = clock_ms(CLOCK_MONOTONIC);
    tasks_run(&loop->again);
    read_mail(loop);
    wheel_advance(&loop->wheel, loop->now_ms);
    tasks_run(&loop->turn_end);

    loop->has_waited = true;
    if (loop->again.first != NULL || loop->turn_end.first != NULL || wait_ms == 0) {
        lws_service(loop->context, -1);
    } else {
        moderate(loop);
        prepare_wait(loop, wait_ms);
        lws_service(loop->context, 0);
    }
    tasks_run(&loop->turn_end);
}

void loop_run(struct bailey_host *loop)
{
    loop->thread = pthread_self();
    loop->running = true;
    while (!atomic_load_explicit(&loop->stopping, memory_order_acquire))
        turn(loop, -1);
    read_mail(loop);
    loop->running = false;
}

void loop_turn(struct bailey_host *loop, int64_t wait_ms)
{
    loop->thread = pthread_self();
    loop->running = true;
    turn(loop, wait_ms);
}

void loop_stop(struct bailey_host *loop)
{
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    lws_cancel_service(loop->context);
}

bool loop_is_current(const struct bailey_host *loop)
{
    return !loop->running || pthread_equal(loop->thread, pthread_self());
}

void loop_set_user(struct bailey_host *loop, void *user)
{
    loop->user = user;
}

void *loop_user(const struct bailey_host *loop)
{
    return loop->user;
}
