/* The records are text, so that a person can read the file: "bailey-resume 1 seed=1 keys=100 lane=0 lanes=1 turn=7 next=42 crc=..." */
#include "resume.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "payload.h"

static int format_record(char text[static RESUME_SLOT], const struct resume_owner *owner, uint64_t turn, uint64_t next)
{
    int len =
        snprintf(text, RESUME_SLOT,
                 "bailey-resume 1 seed=%" PRIu64 " keys=%" PRIu64 " lane=%u lanes=%u turn=%" PRIu64 " next=%" PRIu64,
                 owner->seed, owner->keys, owner->lane, owner->lanes, turn, next);

    return len +
           snprintf(text + len, (size_t)(RESUME_SLOT - len), " crc=%08" PRIx32 "\n", payload_crc32(text, (size_t)len));
}

/* Anything but what format_record() makes is no record. */
static bool parse_record(const char *text, struct resume_owner *owner, uint64_t *turn, uint64_t *next)
{
    char again[RESUME_SLOT];

    if (sscanf(text,
               "bailey-resume 1 seed=%" SCNu64 " keys=%" SCNu64 " lane=%u lanes=%u turn=%" SCNu64 " next=%" SCNu64,
               &owner->seed, &owner->keys, &owner->lane, &owner->lanes, turn, next) != 6)
        return false;
    int len = format_record(again, owner, *turn, *next);

    return memcmp(text, again, (size_t)len) == 0;
}

static bool same_owner(const struct resume_owner *a, const struct resume_owner *b)
{
    return a->seed == b->seed && a->keys == b->keys && a->lane == b->lane && a->lanes == b->lanes;
}

static bool read_records(struct resume *resume, const char *path, uint64_t *next, struct bailey_error *err)
{
    char data[2 * RESUME_SLOT + 1] = {0};
    ssize_t got = pread(resume->fd, data, sizeof data - 1, 0);
    bool found = false;

    *next = 0;
    if (got < 0)
        return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", errno, "cannot read %s: %s", path,
                                  strerror(errno));
    for (int slot = 0; slot < 2; slot++) {
        char text[RESUME_SLOT + 1] = {0};
        struct resume_owner owner;
        uint64_t turn, number;

        memcpy(text, data + slot * RESUME_SLOT, RESUME_SLOT);
        if (!parse_record(text, &owner, &turn, &number))
            continue;
        if (!same_owner(&owner, &resume->owner)) {
            bailey_fail(err, BAILEY_ERR_CONFIG, "%s was written with seed %" PRIu64 ", %" PRIu64 " keys, lane %u of %u",
                        path, owner.seed, owner.keys, owner.lane, owner.lanes);
            return bailey_hint(err, "set these again, or give another file to `resume`");
        }
        if (!found || turn > resume->turn) {
            resume->turn = turn;
            *next = number;
        }
        found = true;
    }
    if (!found && got > 0) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "%s is no resume file, or it is damaged", path);
        return bailey_hint(err, "remove it to begin with the first message");
    }
    return true;
}

bool resume_open(struct resume *resume, const char *path, const struct resume_owner *owner, uint64_t *next,
                 struct bailey_error *err)
{
    char name[PATH_MAX];
    int len = owner->lanes > 1 ? snprintf(name, sizeof name, "%s.%u", path, owner->lane)
                               : snprintf(name, sizeof name, "%s", path);

    *resume = (struct resume){.fd = -1, .owner = *owner};
    if (len >= (int)sizeof name)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the name of the resume file is too long");
    resume->fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (resume->fd < 0)
        return bailey_fail_native(err, BAILEY_ERR_CONFIG, "errno", errno, "cannot open %s: %s", name, strerror(errno));
    if (flock(resume->fd, LOCK_EX | LOCK_NB) != 0)
        bailey_fail(err, BAILEY_ERR_TRANSIENT, "the resume file %s is in use", name);
    else if (read_records(resume, name, next, err))
        return true;
    resume_close(resume);
    return false;
}

bool resume_write(struct resume *resume, uint64_t next, struct bailey_error *err)
{
    char text[RESUME_SLOT];
    uint64_t turn = resume->turn + 1;
    int len = format_record(text, &resume->owner, turn, next);
    ssize_t written;

    memset(text + len, '\n', (size_t)(RESUME_SLOT - len));
    written = pwrite(resume->fd, text, sizeof text, (off_t)(turn % 2) * RESUME_SLOT);
    if (written != (ssize_t)sizeof text)
        return bailey_fail_native(err, BAILEY_ERR_TRANSIENT, "errno", written < 0 ? errno : ENOSPC,
                                  "cannot write the resume file: %s", strerror(written < 0 ? errno : ENOSPC));
    resume->turn = turn;
    return true;
}

void resume_close(struct resume *resume)
{
    if (resume->fd >= 0)
        close(resume->fd);
    resume->fd = -1;
}
