/* resume.h: where a generator goes on after its process was killed: a small file with the lowest number not settled.
 *
 * The file holds two records of one line each, at 0 and RESUME_SLOT, written in turn, each with a CRC: a torn write leaves
 * the other. It is not synced: a kill of the process loses nothing of it, and a crash of the machine can only make numbers
 * come again, never leave one out. The file is locked while it is open. One thread an object.
 */
#ifndef GENERATE_RESUME_H
#define GENERATE_RESUME_H

#include <stdint.h>

#include <bailey/error.h>

enum { RESUME_SLOT = 512 }; /* bytes */

/* Whose numbers they are: a file of other settings must not be mistaken for ours. */
struct resume_owner {
    uint64_t seed, keys;
    unsigned lane, lanes;
};

struct resume {
    int fd;
    struct resume_owner owner;
    uint64_t turn; /* of the last record */
};

/* Open or create the file `path`. With several lanes each has its own: `path` and ".LANE". `*next` gets what was written last, 0
 * for a new file. False: cannot be opened, in use, damaged, or of other settings. */
bool resume_open(struct resume *resume, const char *path, const struct resume_owner *owner, uint64_t *next,
                 struct bailey_error *err);

bool resume_write(struct resume *resume, uint64_t next, struct bailey_error *err);

void resume_close(struct resume *resume);

#endif
