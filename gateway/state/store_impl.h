/* state/store_impl.h: what the files of state/ share. */
#ifndef BAILEY_STATE_STORE_IMPL_H
#define BAILEY_STATE_STORE_IMPL_H

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include <bailey/store.h>

#include "loop/mailbox.h"
#include "state/store.h"

enum { RECORD_SIZE = 9 }; /* 8 bytes of time, big-endian; 1 byte: enum id_outcome */

struct scope {
    struct state state; /* first: what the core sees is a scope */
    struct state_store *store;
    const struct config_scope *config;
    void *ids, *intents; /* tables */

    /* The committer's. */
    int64_t *expire_ms; /* what each shard asked for last; INT64_MIN: nothing yet */
    int64_t expired_ms; /* what the table was told last */

    /* The loader's. */
    struct state_load **loads; /* one a shard */
};

/* A store that is open. */
struct opened {
    const struct bailey_store *module;
    void *self; /* NULL: it is not */

    /* The committer's. */
    bool is_dirty; /* written since the last good sync */
    int64_t sync_due_ms;
};

/* Messages of one route: those that it keeps, or those that wait behind a refused one. */
struct kept_route {
    struct state_table table; /* first: what the core sees is this */
    struct state_store *store;
    void *rows; /* table; NULL: the route has none */
};

struct committer;

struct state_store {
    const struct config *config;
    struct opened ids, kept; /* in memory: both are one */
    void *meta;              /* table; NULL in memory */
    struct scope *scopes;
    struct kept_route *tables, *spills; /* by the number of the route */
    int64_t clock_ms;                   /* what the monotonic clock lacks to the state's */

    struct committer *writer; /* what commits need; guarded by its lock */
    atomic_bool stopping;
    pthread_t committer, loader;
    bool committer_runs, loader_runs;
    struct mailbox commits, writes;
    sem_t commits_wait; /* posted when a mailbox was empty, and at the stop */
    sem_t loader_stop;
};

/* `PATH/name`, in `path`, which is `size` long. False with `err` if that is too long. */
bool state_path(char *path, size_t size, const struct state_store *store, const char *name, struct bailey_error *err);

bool state_open_table(const struct opened *opened, void **table, const char *kind, const char *name,
                      struct bailey_table_options options, struct bailey_error *err);

void record_encode(uint8_t record[static RECORD_SIZE], int64_t time_ms, uint8_t outcome);
struct state_found record_decode(const uint8_t record[static RECORD_SIZE]);

enum { PATH_LEN_MAX = 4096 };

/* Meta records are of one size; `name` has less than META_KEY bytes. */
enum { META_KEY = 16, META_VALUE = 48 };
bool meta_get(struct state_store *store, const char *name, uint8_t value[static META_VALUE], bool *found,
              struct bailey_error *err);
bool meta_put(struct state_store *store, const char *name, const uint8_t value[static META_VALUE],
              struct bailey_error *err);

/* clock.c: the monotonic clock, */
int64_t state_monotonic_ms(void);
/* waiting for a post, for `wait_ms` at most (false: none came), */
bool state_wait(sem_t *sem, int64_t wait_ms);
/* and the state's clock, which goes on where it was. */
bool state_clock_open(struct state_store *store, struct bailey_error *err);
/* Committer: remember where it is. */
bool state_clock_keep(struct state_store *store, struct bailey_error *err);

/* committer.c */
struct committer *committer_new(struct state_store *store);
void committer_free(struct committer *committer);
void committer_commit(struct state *state, struct state_commit *commit);
void committer_write(struct state_table *table, struct state_write *write);
void *committer_run(void *store);

/* kept.c: open the tables of all routes that keep messages; false with `err`. */
bool kept_open(struct state_store *store, state_store_find *find, struct bailey_error *err);

/* loader.c */
void loader_load(struct state *state, struct state_load *load);
void *loader_run(void *store);

#endif
