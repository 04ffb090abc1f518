/* message/pool.h: where a lane's messages live: blocks of one size, taken and given back without a system call.
 *
 * A pool belongs to one lane and its thread. Blocks come in slabs, on demand; a slab goes back to the system only with the
 * pool, so memory follows the lane's credit and stays flat.
 */
#ifndef BAILEY_POOL_H
#define BAILEY_POOL_H

#include <stddef.h>

#include <bailey/message.h>

enum { POOL_BLOCK = 1024, POOL_SLAB = 64 }; /* bytes a block, its scratch included; blocks a slab */

struct bailey_pool *message_pool_new(void);

/* The pool ends when its last message is gone: a connector may hold one a little longer than the lane lives. */
void message_pool_free(struct bailey_pool *pool);

/* A message with one reference: see bailey_message_new(). */
struct bailey_message *message_new(struct bailey_pool *pool);

/* A new message equal to `msg` but for its key and headers, sharing all else; holds a reference to `msg`. Of its headers those whose
 * names begin with `without` are left out, and `added` follow; `key` and what is added are copied. */
struct bailey_message *message_with_headers(struct bailey_message *msg, struct bailey_bytes key, const char *without,
                                            const struct bailey_header *added, size_t count);

/* Bytes that count against credit: key, body, headers and a fixed part for what a message costs by itself. */
size_t message_size(const struct bailey_message *msg);
enum { MESSAGE_COST = 64 };

#endif
