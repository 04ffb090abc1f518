/* disk_state.h: what of a folder is on the disk, and what only in the page cache. The memory of disk_rig.c, which holds its lock.
 *
 * A node is a file or a folder, whatever its names. A file has the bytes that were synced, and the changes since; a folder has the
 * names that were synced, and those that are seen now; what lies between is a list of moves of the whole tree.
 */
#ifndef BAILEY_TEST_DISK_STATE_H
#define BAILEY_TEST_DISK_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct disk_node;

/* The tree as it is in the real folder `root`. */
struct disk_node *disk_state_load(const char *root);
/* With all its nodes, but those that are still held. */
void disk_state_free(struct disk_node *root);

/* What `path`, relative to `root`, names now; or NULL. */
struct disk_node *disk_find(struct disk_node *root, const char *path);
bool disk_is_folder(const struct disk_node *node);
struct disk_node *disk_hold(struct disk_node *node); /* for an open file descriptor */
void disk_release(struct disk_node *node);           /* may be NULL */

/* What happened. Paths are relative to `root`; names that are not known are passed over. */
struct disk_node *disk_made(struct disk_node *root, const char *path, bool folder);
void disk_removed(struct disk_node *root, const char *path);
void disk_renamed(struct disk_node *root, const char *from, const char *to);
void disk_linked(struct disk_node *root, const char *from, const char *to);
void disk_wrote(struct disk_node *file, off_t at, const void *data, size_t len);
void disk_resized(struct disk_node *file, off_t size);
void disk_synced(struct disk_node *root, struct disk_node *node);
void disk_sync_failed(struct disk_node *node); /* what it should have synced is lost */

/* Write the tree below `image`. `*seed` draws what of the unsynced is there; NULL: all of it. */
void disk_state_write(const struct disk_node *root, const char *image, uint64_t *seed);

#endif
