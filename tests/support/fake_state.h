/* fake_state.h: a state (core/state.h) that a test holds in its hands: what is kept, when it answers, what fails.
 *
 * One thread: answers come in the loop's next turn, or when the test lets them go.
 */
#ifndef BAILEY_TEST_FAKE_STATE_H
#define BAILEY_TEST_FAKE_STATE_H

#include "core/filter.h"
#include "core/state.h"

enum { FAKE_KEPT_MAX = 4096, FAKE_REQUESTS_MAX = 64 };

struct fake_record {
    struct id id;
    struct state_found found;
};

struct fake_state {
    struct state state; /* first */

    /* What is kept. */
    struct fake_record records[FAKE_KEPT_MAX], intents[FAKE_KEPT_MAX];
    size_t record_count, intent_count;

    bool holds;                                  /* answers wait for fake_state_release() */
    bool fails_commits, fails_lookups;           /* "no space left" */
    bool holds_loads;                            /* loads wait for fake_state_load() */
    size_t commits, changes, lookups, looked_up; /* requests, and what was in them */
    size_t peeks;                                /* answered */
    int64_t expire_ms;                           /* of the last commit */

    struct state_commit *commits_held[FAKE_REQUESTS_MAX];
    struct state_lookup *lookups_held[FAKE_REQUESTS_MAX];
    struct state_load *loads_held[FAKE_REQUESTS_MAX];
    size_t commits_waiting, lookups_waiting, loads_waiting;
};

void fake_state_init(struct fake_state *fake, bool is_durable);

/* Answer all that waits, once; answers come in the next turn. */
void fake_state_release(struct fake_state *fake);
void fake_state_load(struct fake_state *fake);

bool fake_state_has_record(const struct fake_state *fake, struct id id);
bool fake_state_has_intent(const struct fake_state *fake, struct id id);

#endif
