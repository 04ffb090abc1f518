/* process.h: a simulated process of bailey: one worker (a `struct bailey_host`) on virtual time, and the lanes on it.
 *
 * It is the host that the core sees: its clock, timers (the real wheel), tasks and generator. It can crash at any step:
 * whenever its code calls out, be it for the time or to send a frame, it may not come back. Then all of its memory is gone,
 * and only what has left it on its links remains.
 */
#ifndef BAILEY_SIM_PROCESS_H
#define BAILEY_SIM_PROCESS_H

#include <bailey/host.h>

#include "loop/wheel.h"
#include "sim.h"

struct link;

struct bailey_host {
    struct wheel wheel;
    struct bailey_task *first, **last; /* tasks of the next turn */
    int64_t now_ms;
    struct dice dice;
    struct process *process;
};

struct process {
    struct sim *sim;
    unsigned number;
    bool is_alive;
    bool is_running; /* its code is on the stack */
    struct bailey_host host;
    struct memory memory;
    struct event turn;
    int64_t stalled_until_ms; /* it does not run: swapped out, stopped, slow */
    uint64_t steps_to_crash;  /* 0: none is planned */
    jmp_buf crash;
    struct link *links;
    void (*on_crash)(struct process *process); /* the world picks up what remains */
    void (*on_idle)(struct process *process);  /* it ran, and has nothing more to do at the moment */
    void *ctx;
};

/* A new process begins in the place of one that is not alive. */
void process_begin(struct process *process);

/* Run `code` as the process's, unless it is not alive. It may crash in there. */
void process_run(struct process *process, void (*code)(void *ctx), void *ctx);

/* Its code comes by here: at each call out of it. */
void process_step(struct process *process);

/* Crash after `steps` more steps (1: at the next). */
void process_crash_after(struct process *process, uint64_t steps);
void process_crash(struct process *process);

/* It ends orderly: nothing of it may be left, no timer, task, link or byte. */
void process_end(struct process *process);

#endif
