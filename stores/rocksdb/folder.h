/* folder.h: is this folder a store of ours, and may we have it? Asked before RocksDB sees it, which would write into anything. */
#ifndef ROCKSDB_FOLDER_H
#define ROCKSDB_FOLDER_H

#include <bailey/store.h>

/* Make the folder, if it is missing, or take the one that is there. Returns a file descriptor that holds the lock, to be closed last; -1 with
 * `err`, and nothing changed, if it is another's, in use, of a newer version, or damaged. `*fresh`: it has no data yet. */
int folder_take(const char *path, bool *fresh, struct bailey_error *err);

/* Make the folder, which RocksDB wrote, one that can be taken: the last step of a snapshot. */
bool folder_mark(const char *path, struct bailey_error *err);

/* Is there room again, and does the disk take it? Asked before RocksDB is opened anew after a failure. */
bool folder_try(const char *path, int64_t bytes, struct bailey_error *err);

int64_t folder_bytes(const char *path);

/* An error of the system about `path`, with what to do. Returns false. */
bool folder_fail(struct bailey_error *err, const char *doing, const char *path);

#endif
