/* state/clock.c: the state's clock, by which records age: ms that never run back, over restarts and jumps of the wall clock.
 *
 * While the process runs it is the monotonic clock and a constant. An anchor in the store says where it was: the boot, the
 * monotonic time, the state's time. After a restart in the same boot the monotonic clock says how long that took, whatever
 * was done to the wall clock meanwhile; after another boot only the wall clock can, and then time stands still at worst.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/big_endian.h"
#include "state/store_impl.h"

enum { BOOT_ID = 16, ANCHOR_VERSION = 1 };

struct anchor {
    uint8_t boot[BOOT_ID];
    int64_t monotonic_ms, state_ms;
};

static int64_t read_clock(clockid_t clock)
{
    struct timespec ts;

    clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t state_monotonic_ms(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

bool state_wait(sem_t *sem, int64_t wait_ms)
{
    int64_t until_ms = state_monotonic_ms() + wait_ms;
    struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
    int result;

    do
        result = sem_clockwait(sem, CLOCK_MONOTONIC, &until);
    while (result != 0 && errno == EINTR);
    return result == 0;
}

/* Zeros if the system does not say: then each restart counts as another boot. */
static void read_boot(uint8_t boot[static BOOT_ID])
{
    static const char hex[] = "0123456789abcdef";
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    int digits = 0, c;

    memset(boot, 0, BOOT_ID);
    while (file != NULL && digits < 2 * BOOT_ID && (c = fgetc(file)) != EOF) {
        const char *digit = memchr(hex, c, 16);

        if (digit == NULL)
            continue; /* the dashes */
        boot[digits / 2] = (uint8_t)(boot[digits / 2] << 4 | (digit - hex));
        digits++;
    }
    if (file != NULL)
        fclose(file);
}

bool state_clock_keep(struct state_store *store, struct bailey_error *err)
{
    int64_t monotonic_ms = state_monotonic_ms();
    uint8_t value[META_VALUE] = {ANCHOR_VERSION};

    if (store->meta == NULL)
        return true;
    read_boot(value + 1);
    big_endian_put(value + 1 + BOOT_ID, (uint64_t)monotonic_ms, 8);
    big_endian_put(value + 1 + BOOT_ID + 8, (uint64_t)(monotonic_ms + store->clock_ms), 8);
    return meta_put(store, "clock", value, err);
}

/* What the state's clock shows now, by the anchor that was kept. */
static int64_t resume(const struct anchor *anchor, const uint8_t boot[static BOOT_ID], int64_t monotonic_ms,
                      int64_t wall_ms)
{
    static const uint8_t unknown[BOOT_ID];
    bool same_boot = memcmp(anchor->boot, boot, BOOT_ID) == 0 && memcmp(boot, unknown, BOOT_ID) != 0;

    if (same_boot && monotonic_ms >= anchor->monotonic_ms)
        return anchor->state_ms + monotonic_ms - anchor->monotonic_ms;
    return wall_ms > anchor->state_ms ? wall_ms : anchor->state_ms;
}

bool state_clock_open(struct state_store *store, struct bailey_error *err)
{
    int64_t monotonic_ms = state_monotonic_ms(), wall_ms = read_clock(CLOCK_REALTIME), now_ms = wall_ms;
    uint8_t value[META_VALUE], boot[BOOT_ID];
    struct anchor anchor;
    bool found = false;

    if (store->meta != NULL && !meta_get(store, "clock", value, &found, err))
        return false;
    if (found) {
        memcpy(anchor.boot, value + 1, BOOT_ID);
        anchor.monotonic_ms = bailey_aging_time(value + 1 + BOOT_ID);
        anchor.state_ms = bailey_aging_time(value + 1 + BOOT_ID + 8);
        read_boot(boot);
        now_ms = resume(&anchor, boot, monotonic_ms, wall_ms);
    }
    store->clock_ms = now_ms - monotonic_ms;
    return state_clock_keep(store, err);
}
