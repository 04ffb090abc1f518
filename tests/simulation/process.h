/* process.h: a simulated process of bailey: its workers (each a `struct bailey_host`) on virtual time, and the lanes on them.
 *
 * A worker is the host that the core sees: its clock, timers (the real wheel), tasks, mail and generator. The process can crash
 * at any step: whenever its code calls out, be it for the time or to send a frame, it may not come back. Then all of its memory
 * is gone, and only what has left it on its links, or is kept by its store, remains.
 */
#ifndef BAILEY_SIM_PROCESS_H
#define BAILEY_SIM_PROCESS_H

#include <bailey/host.h>

#include "loop/wheel.h"
#include "sim.h"

struct letter;
struct link;

struct bailey_host {
    struct wheel wheel;
    struct bailey_task *first, **last; /* tasks of the next turn */
    int64_t now_ms;
    struct dice dice;
    struct process *process;
    struct event turn, mail;
    struct letter *letters; /* by the time when they arrive */
    size_t letter_count, letter_cap;
    int64_t stalled_until_ms; /* it does not run: swapped out, stopped, slow */
};

enum { WORKERS_MAX = 2 };

struct process {
    struct sim *sim;
    unsigned number, worker_count;
    bool is_alive;
    struct bailey_host *running; /* whose code is on the stack */
    struct bailey_host workers[WORKERS_MAX];
    struct memory memory;
    int64_t wall_ms;         /* what the run's time lacks to its machine's clock */
    int64_t mail_ms;         /* how long a letter is on its way, at most */
    uint64_t steps_to_crash; /* 0: none is planned */
    jmp_buf crash;
    struct link *links;
    void (*on_crash)(struct process *process); /* the world picks up what remains */
    void (*on_idle)(struct process *process,
                    struct bailey_host *host); /* it ran, and has nothing more to do at the moment */
    void *ctx;
};

/* A new process begins in the place of one that is not alive. */
void process_begin(struct process *process, unsigned workers);

/* Run `code` as that worker's, unless its process is not alive. It may crash in there. */
void process_run(struct bailey_host *host, void (*code)(void *ctx), void *ctx);

/* Its code comes by here: at each call out of it. */
void process_step(struct process *process);

/* A letter from something outside of the workers (`sender`: in the order in which it sent them). */
void process_mail(struct bailey_host *host, struct bailey_task *task, const void *sender);
/* No letter is on its way in it. */
bool process_has_mail(const struct process *process);

/* Crash after `steps` more steps (1: at the next). */
void process_crash_after(struct process *process, uint64_t steps);
void process_crash(struct process *process);

/* It ends orderly: nothing of it may be left, no timer, task, letter, link or byte. */
void process_end(struct process *process);

#endif
