/* store_rig.h: a store beside a model of what it must hold.
 *
 * The rig opens a module in a folder that disk_rig.h watches, with a table of each kind that the module offers and RIG_KEYS keys in
 * each; it makes changes in both, drawn from a seed, and compares. After a power cut a store must hold what a prefix of
 * the writes made, which contains all that was synced. What the store should not do fails the test.
 */
#ifndef BAILEY_TEST_STORE_RIG_H
#define BAILEY_TEST_STORE_RIG_H

#include <bailey/store.h>

enum { RIG_AGING, RIG_LIVE, RIG_ORDERED, RIG_TABLES };
enum { RIG_KEYS = 40, RIG_SLICE_MS = 500, RIG_WINDOW_MS = 1500 };

struct rig_record {
    bool present;
    int64_t time_ms;
    uint32_t unique; /* of each put another */
};

struct rig_state {
    struct rig_record of[RIG_TABLES][RIG_KEYS];
};

struct store_rig {
    const struct bailey_store *module;
    void *store;
    void *tables[RIG_TABLES]; /* NULL: not offered */
    char folder[64];          /* that is watched; the store is the folder `store` in it */
    char base[48];
    unsigned image_count;
    uint64_t seed;
    uint32_t unique;
    int64_t now_ms, before_ms, session_before_ms; /* the latest expire(): ever, and since open */

    struct rig_state synced, *since; /* the state after each write since the last sync */
    size_t since_count;
};

/* The stores that were built, and not others, are found from now on. NULL if there is none of that name. */
const struct bailey_store *rig_module(const char *name);

void rig_start(struct store_rig *rig, const struct bailey_store *module, uint64_t seed);
void rig_stop(struct store_rig *rig); /* also while it is not open */

uint64_t rig_draw(struct store_rig *rig, uint64_t below);

/* False, and no change in the model, if the store says so. */
bool rig_open(struct store_rig *rig, struct bailey_error *err); /* with its tables */
bool rig_write(struct store_rig *rig, struct bailey_error *err);
bool rig_sync(struct store_rig *rig, struct bailey_error *err);
bool rig_expire(struct store_rig *rig, struct bailey_error *err);
bool rig_snapshot(struct store_rig *rig,
                  struct bailey_error *err); /* and compares it; false, too, if the copy cannot be read */
void rig_close(struct store_rig *rig);

/* Leave the store as a power cut (or the death of the process) does, and go on with what is left of it, which is compared. */
void rig_power_cut(struct store_rig *rig);
void rig_kill(struct store_rig *rig);

/* Does get_many() of all keys, and scan() from a drawn key, say what the model says? */
bool rig_check_get(struct store_rig *rig, struct bailey_error *err);
bool rig_check_scan(struct store_rig *rig, struct bailey_error *err);

/* For threads beside the one that writes: get_many() and scan() of all. What is found must be whole; that is all that can be said. */
bool rig_read(const struct store_rig *rig, struct bailey_error *err);

#endif
