/* disk_rig.h: a disk that fails, and loses what was not synced, when a test wants it to.
 *
 * The calls of the whole test program, and of the shared objects that it loads, go through disk_rig.c: open, openat, creat, read,
 * pread, write, pwrite, writev, pwritev, fsync, fdatasync, rename, unlink, rmdir, ftruncate, truncate, fallocate, link, mkdir, close and fclose.
 * Those that concern the watched folder are counted, fail when they are told to, and are remembered; all others pass. Any thread.
 *
 * Not seen: FILE (what fopen() made is missing in an image), renameat2, mmap for writing, duplicated file descriptors, symbolic links.
 * A folder is synced through open(), not opendir(). Renames and links lead neither into the folder nor out of it.
 */
#ifndef BAILEY_TEST_DISK_RIG_H
#define BAILEY_TEST_DISK_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_call {
    DISK_OPEN = 1u << 0,                                  /* open, openat, creat */
    DISK_READ = 1u << 1,                                  /* read, pread */
    DISK_WRITE = 1u << 2,                                 /* write, pwrite, writev, pwritev */
    DISK_SYNC = 1u << 3,                                  /* fsync, fdatasync */
    DISK_RENAME = 1u << 4,                                /* rename, renameat */
    DISK_UNLINK = 1u << 5,                                /* unlink, unlinkat, rmdir */
    DISK_TRUNCATE = 1u << 6,                              /* ftruncate, truncate */
    DISK_ALLOCATE = 1u << 7,                              /* fallocate, posix_fallocate */
    DISK_LINK = 1u << 8,                                  /* link, linkat */
    DISK_MKDIR = 1u << 9,                                 /* mkdir, mkdirat */
    DISK_GROWS = DISK_WRITE | DISK_ALLOCATE | DISK_MKDIR, /* what a full disk refuses, but for open(O_CREAT) */
};

struct disk_fault {
    unsigned calls;     /* enum disk_call */
    size_t nth;         /* of these calls, from 1 */
    int error;          /* ENOSPC, EIO, ... */
    bool writes_a_part; /* the nth, if it writes more than a byte, writes half and says so; later ones fail */
    bool lasts;         /* all later calls fail, too; else just one does */
};

/* Watch `folder`, an absolute path without symbolic links: what is in it now counts as synced. In place of the folder before. */
void disk_rig_watch(const char *folder);
void disk_rig_unwatch(void);

/* From now on count `fault.calls`, and let them fail. A failed sync loses what it should have synced: it is read until the crash, and
 * never comes to the disk by a later sync, as with the page cache of Linux. */
void disk_rig_fail(struct disk_fault fault);
/* Nothing fails any more. Returns the number of calls since disk_rig_fail(). */
size_t disk_rig_heal(void);

/* Make `image`, a new folder: the watched one as a power cut at this moment could leave it. Bytes that were not synced are lost, wholly
 * or in part, also out of order; creations, renames and removals are lost that the sync of their folder did not follow, the
 * later ones first. `seed` draws which. */
void disk_rig_power_cut(const char *image, uint64_t seed);
/* The same, as the death of the process leaves it: nothing is lost. */
void disk_rig_kill(const char *image);

/* A folder with all that is in it, if it is there. */
void disk_rig_remove(const char *path);

#endif
