/* process.c: the host's functions, and the ways in and out of a process. */
#include "process.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "link.h"

struct letter {
    struct bailey_task *task;
    const void *sender;
    int64_t due_ms;
};

/* ---- The host ---- */

int64_t bailey_now_ms(const struct bailey_host *host)
{
    process_step(host->process);
    return host->now_ms;
}

int64_t bailey_wall_ms(const struct bailey_host *host)
{
    return host->process->wall_ms + host->now_ms;
}

uint64_t bailey_random(struct bailey_host *host)
{
    process_step(host->process);
    return dice_next(&host->dice);
}

void bailey_timer_start(struct bailey_host *host, struct bailey_timer *timer, int64_t delay_ms)
{
    process_step(host->process);
    assert(delay_ms >= 0);
    wheel_start(&host->wheel, timer, host->now_ms + delay_ms);
}

void bailey_timer_stop(struct bailey_host *host, struct bailey_timer *timer)
{
    process_step(host->process);
    wheel_stop(timer);
}

void bailey_again(struct bailey_host *host, struct bailey_task *task)
{
    process_step(host->process);
    if (task->queued)
        return;
    task->queued = true;
    task->next = NULL;
    *host->last = task;
    host->last = &task->next;
}

void bailey_again_stop(struct bailey_host *host, struct bailey_task *task)
{
    struct bailey_task **at = &host->first;

    if (!task->queued)
        return;
    while (*at != task)
        at = &(*at)->next;
    *at = task->next;
    if (host->last == &task->next)
        host->last = at;
    task->queued = false;
}

/* ---- Mail ---- */

/* In the order in which each sender posted, and whenever it comes to those of others. */
void process_mail(struct bailey_host *host, struct bailey_task *task, const void *sender)
{
    struct sim *sim = host->process->sim;
    int64_t due_ms = sim->now_ms + dice_between(&sim->dice, 0, host->process->mail_ms);
    size_t at = host->letter_count;

    for (size_t i = 0; i < host->letter_count; i++) {
        if (host->letters[i].task == task)
            sim_fail(sim, "process %u: a task is posted twice", host->process->number);
        if (host->letters[i].sender == sender && host->letters[i].due_ms > due_ms)
            due_ms = host->letters[i].due_ms;
    }
    while (at > 0 && host->letters[at - 1].due_ms > due_ms)
        at--;
    WORLD_ROOM(host->letters, host->letter_count, host->letter_cap);
    memmove(host->letters + at + 1, host->letters + at, (host->letter_count - at) * sizeof *host->letters);
    host->letters[at] = (struct letter){task, sender, due_ms};
    host->letter_count++;
    sim_plan(sim, &host->mail, host->letters[0].due_ms);
}

void bailey_post(struct bailey_host *host, struct bailey_task *task)
{
    process_step(host->process);
    process_mail(host, task, host->process->running);
}

bool process_has_mail(const struct process *process)
{
    for (unsigned i = 0; i < process->worker_count; i++)
        if (process->workers[i].letter_count > 0)
            return true;
    return false;
}

static void read_mail(void *ctx)
{
    struct bailey_host *host = ctx;

    while (host->letter_count > 0 && host->letters[0].due_ms <= host->now_ms) {
        struct bailey_task *task = host->letters[0].task;

        memmove(host->letters, host->letters + 1, --host->letter_count * sizeof *host->letters);
        task->run(task);
    }
}

static void mail_due(struct event *event)
{
    struct bailey_host *host = event->ctx;
    struct sim *sim = host->process->sim;

    if (sim->now_ms < host->stalled_until_ms) {
        sim_plan(sim, event, host->stalled_until_ms);
        return;
    }
    process_run(host, read_mail, host);
    if (host->letter_count > 0)
        sim_plan(sim, event, host->letters[0].due_ms);
}

/* ---- A turn ---- */

/* What a task queues is left for the next turn. */
static void run_tasks(struct bailey_host *host)
{
    size_t count = 0;

    for (struct bailey_task *task = host->first; task != NULL; task = task->next)
        count++;
    while (count-- > 0 && host->first != NULL) {
        struct bailey_task *task = host->first;

        bailey_again_stop(host, task);
        task->run(task);
    }
}

static void turn(void *ctx)
{
    struct bailey_host *host = ctx;

    run_tasks(host);
    wheel_advance(&host->wheel, host->now_ms);
}

/* When the worker has to run again: soon for tasks; for timers never early, and a little late. */
static void plan_turn(struct bailey_host *host)
{
    struct sim *sim = host->process->sim;
    int64_t next_ms = wheel_next_ms(&host->wheel), due_ms = sim->now_ms;

    if (host->first == NULL) {
        if (next_ms < 0)
            return;
        due_ms = next_ms + dice_between(&sim->dice, 0, 2);
    }
    if (due_ms < host->stalled_until_ms)
        due_ms = host->stalled_until_ms;
    if (host->turn.place == 0 || due_ms < host->turn.due_ms)
        sim_plan(sim, &host->turn, due_ms);
}

static void turn_due(struct event *event)
{
    struct bailey_host *host = event->ctx;
    struct sim *sim = host->process->sim;

    if (sim->now_ms < host->stalled_until_ms)
        sim_plan(sim, event, host->stalled_until_ms);
    else
        process_run(host, turn, host);
}

/* ---- In and out ---- */

static void begin_worker(struct bailey_host *host, struct process *process)
{
    struct sim *sim = process->sim;

    *host = (struct bailey_host){.now_ms = sim->now_ms,
                                 .dice = {dice_next(&sim->dice)},
                                 .process = process,
                                 .turn = {.run = turn_due, .ctx = host},
                                 .mail = {.run = mail_due, .ctx = host}};
    host->last = &host->first;
    wheel_init(&host->wheel, sim->now_ms);
}

void process_begin(struct process *process, unsigned workers)
{
    struct sim *sim = process->sim;

    assert(!process->is_alive && workers <= WORKERS_MAX);
    process->is_alive = true;
    process->steps_to_crash = 0;
    process->mail_ms = dice_percent(&sim->dice, 20) ? 100 : dice_between(&sim->dice, 0, 3);
    process->worker_count = workers;
    for (unsigned i = 0; i < workers; i++)
        begin_worker(&process->workers[i], process);
    sim_note(sim, "process %llu: begins", process->number, 0);
}

static void end_worker(struct bailey_host *host)
{
    struct sim *sim = host->process->sim;

    sim_cancel(sim, &host->turn);
    sim_cancel(sim, &host->mail);
    free(host->letters);
    host->letters = NULL;
    host->letter_count = host->letter_cap = 0;
}

static void gone(struct process *process)
{
    process->is_alive = false;
    process->steps_to_crash = 0;
    for (unsigned i = 0; i < process->worker_count; i++)
        end_worker(&process->workers[i]);
}

static void crashed(struct process *process)
{
    sim_note(process->sim, "process %llu: crashes", process->number, 0);
    gone(process);
    while (process->links != NULL)
        link_crash(process->links);
    process->on_crash(process); /* of what its store had at hand a part is written yet */
    memory_drop(&process->memory);
}

void process_run(struct bailey_host *host, void (*code)(void *ctx), void *ctx)
{
    struct process *process = host->process;
    struct memory *was;

    if (process == NULL || !process->is_alive)
        return;
    assert(process->running == NULL); /* the world never calls in from within a call out */
    process->running = host;
    host->now_ms = process->sim->now_ms;
    was = memory_of(&process->memory);
    if (setjmp(process->crash) == 0)
        code(ctx);
    else
        process->is_alive = false;
    memory_of(was);
    process->running = NULL;
    if (!process->is_alive) {
        crashed(process);
        return;
    }
    plan_turn(host);
    if (host->first == NULL)
        process->on_idle(process, host);
}

void process_step(struct process *process)
{
    if (process->steps_to_crash > 0 && --process->steps_to_crash == 0)
        longjmp(process->crash, 1);
}

void process_crash_after(struct process *process, uint64_t steps)
{
    if (process->is_alive)
        process->steps_to_crash = steps;
}

void process_crash(struct process *process)
{
    assert(process->running == NULL);
    if (process->is_alive)
        crashed(process);
}

static void check_worker(struct bailey_host *host, unsigned number)
{
    struct sim *sim = host->process->sim;

    if (host->first != NULL)
        sim_fail(sim, "process %u ends, and a task of it is queued", number);
    if (wheel_next_ms(&host->wheel) >= 0)
        sim_fail(sim, "process %u ends, and a timer of it runs", number);
    if (host->letter_count > 0)
        sim_fail(sim, "process %u ends, and a letter in it is on its way", number);
}

void process_end(struct process *process)
{
    struct sim *sim = process->sim;

    assert(process->is_alive);
    if (process->links != NULL)
        sim_fail(sim, "process %u ends, and a connection of it is left", process->number);
    for (unsigned i = 0; i < process->worker_count; i++)
        check_worker(&process->workers[i], process->number);
    if (process->memory.blocks > 0)
        sim_fail(sim, "process %u ends, and %zu blocks of its memory are left", process->number,
                 process->memory.blocks);
    gone(process);
    sim_note(sim, "process %llu: ends", process->number, 0);
}
