/* play.h: one run of the simulation, from its seed to its verdict. */
#ifndef BAILEY_SIM_PLAY_H
#define BAILEY_SIM_PLAY_H

#include <stdbool.h>
#include <stdint.h>

struct totals {
    uint64_t seeds, messages, faults, crashes, duplicates, marked, swallowed, events;
};

struct verdict {
    bool passed;
    uint64_t digest; /* of all that happened, in its order */
    char why[320];   /* the rule that was broken */
};

/* Adds to `totals`. `trace`: print all that happens. */
struct verdict play_seed(uint64_t seed, bool trace, struct totals *totals);

/* The seed that is played at the moment: for a handler of signals. */
uint64_t play_current(void);

#endif
