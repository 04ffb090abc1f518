/* sim.h: one run of the simulation: virtual time, chance, memory, and the end of a run that broke a rule.
 *
 * Everything that happens in a run follows from its seed: events at the same millisecond run in an order that is drawn, and
 * nothing depends on an address, a thread or a real clock. One thread.
 */
#ifndef BAILEY_SIM_H
#define BAILEY_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Chance ---- */

struct dice {
    uint64_t state;
};

uint64_t dice_next(struct dice *dice);
uint64_t dice_below(struct dice *dice, uint64_t limit);               /* 0 .. limit-1 */
int64_t dice_between(struct dice *dice, int64_t least, int64_t most); /* both included */
bool dice_percent(struct dice *dice, unsigned percent);

/* ---- Time ---- */

/* Belongs to its owner; zeroed but for `run` and `ctx` before first use. */
struct event {
    void (*run)(struct event *event);
    void *ctx;
    int64_t due_ms;
    uint64_t order; /* among those of the same millisecond */
    size_t place;   /* in the heap, from 1; 0: not planned */
};

struct ledger;

struct sim {
    int64_t now_ms;
    struct dice dice;
    struct event **heap; /* from index 1 */
    size_t heap_count, heap_cap;
    struct ledger *ledger;
    bool is_calm; /* the faults are over: what was broken recovers */
    uint64_t events, digest;
    bool trace;
    jmp_buf broken;
    char why[320]; /* the rule that was broken */
};

/* Run `event` at `due_ms`, or now if that is past; planning it again moves it. */
void sim_plan(struct sim *sim, struct event *event, int64_t due_ms);
void sim_cancel(struct sim *sim, struct event *event);

/* Run the next event; false: there is none until `until_ms`, which is now. */
bool sim_next(struct sim *sim, int64_t until_ms);

/* ---- What happened ---- */

/* Fold it into the digest of the run, and print it with --trace. `what` is a format with one or two uint64_t (%llu). */
void sim_note(struct sim *sim, const char *what, uint64_t a, uint64_t b);

/* A rule is broken: the run ends here. */
_Noreturn void sim_fail(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- Memory ----
 * The program is linked with --wrap=malloc and so on: what is allocated belongs to the process that runs at the moment, or to
 * the world outside of them. A process that crashes leaves its memory at once, wherever it stood. */

struct memory_block;

struct memory {
    struct memory_block *first;
    size_t blocks, bytes;
};

/* Whose memory malloc() gives from now on (NULL: the world's). Returns whose it was. */
struct memory *memory_of(struct memory *owner);

/* The world's, whoever asks. Zeroed, and grown: never NULL. */
void *world_alloc(size_t count, size_t size);
void *world_grow(void *array, size_t count, size_t size);

/* Free all that is left of `owner` (NULL: of the world). */
void memory_drop(struct memory *owner);
const struct memory *memory_world(void);

/* Room for one more in a growing array of the world's. */
#define WORLD_ROOM(array, count, cap)                                      \
    do {                                                                   \
        if ((count) >= (cap)) {                                            \
            (cap) = (cap) ? (cap)*2 : 32;                                  \
            (array) = world_grow((array), (size_t)(cap), sizeof *(array)); \
        }                                                                  \
    } while (0)

#endif
