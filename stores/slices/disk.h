/* disk.h: whole reads and writes of files, with errors that name them.
 *
 * All return false with `err`. What the disk refuses is TRANSIENT; what the operator must set right (permissions, a file
 * that is damaged or of another program) is CONFIG. `path` is for the error only where a descriptor is given.
 */
#ifndef SLICES_DISK_H
#define SLICES_DISK_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>

/* "cannot WHAT PATH: why", by errno. */
bool disk_fail(struct bailey_error *err, const char *what, const char *path);

bool disk_no_memory(struct bailey_error *err);

/* "PATH is damaged at byte OFFSET: WHAT", and what can be done. */
bool disk_damaged(struct bailey_error *err, const char *path, uint64_t offset, const char *what);

/* A file for reading and writing; closed on exec. -1 on failure. `flags`: of open(2). */
int disk_open(const char *path, int flags, struct bailey_error *err);

bool disk_size(int fd, const char *path, uint64_t *size, struct bailey_error *err);
bool disk_write(int fd, const char *path, const void *data, size_t len, uint64_t offset, struct bailey_error *err);

/* A file that ends earlier is damaged. */
bool disk_read(int fd, const char *path, void *data, size_t len, uint64_t offset, struct bailey_error *err);

bool disk_sync(int fd, const char *path, struct bailey_error *err);
bool disk_sync_folder(const char *path, struct bailey_error *err);
bool disk_rename(const char *from, const char *to, struct bailey_error *err);

/* Remove a file; one that is missing is removed already. */
bool disk_unlink(const char *path, struct bailey_error *err);

/* "FOLDER/NAME", to be freed; NULL without memory. `fmt` makes the name. */
char *disk_path(const char *folder, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
