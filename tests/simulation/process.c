/* process.c: the host's functions, and the ways in and out of a process. */
#include "process.h"

#include <assert.h>

#include "link.h"

/* ---- The host ---- */

int64_t bailey_now_ms(const struct bailey_host *host)
{
    process_step(host->process);
    return host->now_ms;
}

int64_t bailey_wall_ms(const struct bailey_host *host)
{
    return INT64_C(1700000000000) + host->now_ms;
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

/* When the process has to run again: soon for tasks; for timers never early, and a little late. */
static void plan_turn(struct process *process)
{
    struct sim *sim = process->sim;
    int64_t next_ms = wheel_next_ms(&process->host.wheel), due_ms = sim->now_ms;

    if (process->host.first == NULL) {
        if (next_ms < 0)
            return;
        due_ms = next_ms + dice_between(&sim->dice, 0, 2);
    }
    if (due_ms < process->stalled_until_ms)
        due_ms = process->stalled_until_ms;
    if (process->turn.place == 0 || due_ms < process->turn.due_ms)
        sim_plan(sim, &process->turn, due_ms);
}

static void turn_due(struct event *event)
{
    struct process *process = event->ctx;

    if (process->sim->now_ms < process->stalled_until_ms)
        sim_plan(process->sim, event, process->stalled_until_ms);
    else
        process_run(process, turn, &process->host);
}

/* ---- In and out ---- */

void process_begin(struct process *process)
{
    struct sim *sim = process->sim;

    assert(!process->is_alive);
    process->is_alive = true;
    process->steps_to_crash = 0;
    process->stalled_until_ms = 0;
    process->turn.run = turn_due;
    process->turn.ctx = process;
    process->host = (struct bailey_host){.now_ms = sim->now_ms, .dice = {dice_next(&sim->dice)}, .process = process};
    process->host.last = &process->host.first;
    wheel_init(&process->host.wheel, sim->now_ms);
    sim_note(sim, "process %llu: begins", process->number, 0);
}

static void crashed(struct process *process)
{
    sim_note(process->sim, "process %llu: crashes", process->number, 0);
    process->is_alive = false;
    process->steps_to_crash = 0;
    sim_cancel(process->sim, &process->turn);
    while (process->links != NULL)
        link_crash(process->links);
    memory_drop(&process->memory);
    process->on_crash(process);
}

void process_run(struct process *process, void (*code)(void *ctx), void *ctx)
{
    struct memory *was;

    if (!process->is_alive)
        return;
    assert(!process->is_running); /* the world never calls in from within a call out */
    process->is_running = true;
    process->host.now_ms = process->sim->now_ms;
    was = memory_of(&process->memory);
    if (setjmp(process->crash) == 0)
        code(ctx);
    else
        process->is_alive = false;
    memory_of(was);
    process->is_running = false;
    if (!process->is_alive) {
        crashed(process);
        return;
    }
    plan_turn(process);
    if (process->host.first == NULL)
        process->on_idle(process);
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
    assert(!process->is_running);
    if (process->is_alive)
        crashed(process);
}

void process_end(struct process *process)
{
    struct sim *sim = process->sim;

    assert(process->is_alive);
    if (process->links != NULL)
        sim_fail(sim, "process %u ends, and a connection of it is left", process->number);
    if (process->host.first != NULL)
        sim_fail(sim, "process %u ends, and a task of it is queued", process->number);
    if (wheel_next_ms(&process->host.wheel) >= 0)
        sim_fail(sim, "process %u ends, and a timer of it runs", process->number);
    if (process->memory.blocks > 0)
        sim_fail(sim, "process %u ends, and %zu blocks of its memory are left", process->number,
                 process->memory.blocks);
    process->is_alive = false;
    process->steps_to_crash = 0;
    sim_cancel(sim, &process->turn);
    sim_note(sim, "process %llu: ends", process->number, 0);
}
