/* Messages: one block of a pool each, with scratch space behind the struct for header arrays and small copies.
 *
 *     block: [ struct bailey_message | scratch ... ]  → chunks from malloc for what does not fit
 */
#include <bailey/message.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "message/pool.h"

enum { MESSAGE_MAGIC = 0x6d736721, SCRATCH = POOL_BLOCK - sizeof(struct bailey_message), CHUNK_MIN = 1024 };

static_assert(sizeof(struct bailey_message) % 8 == 0, "scratch is aligned");
static_assert(sizeof(struct bailey_message) <= POOL_BLOCK / 2, "half a block is scratch");

union block {
    union block *next_free;
    struct bailey_message msg;
    unsigned char bytes[POOL_BLOCK];
};

struct slab {
    struct slab *next;
    union block blocks[POOL_SLAB];
};

struct bailey_pool {
    union block *free;
    struct slab *slabs;
    size_t out;
    bool is_closed;
};

struct bailey_chunk {
    struct bailey_chunk *next;
    size_t used, cap;
    unsigned char data[];
};

/* ---- Pool ---- */

struct bailey_pool *message_pool_new(void)
{
    struct bailey_pool *pool = calloc(1, sizeof *pool);

    if (pool == NULL)
        abort();
    return pool;
}

static void pool_destroy(struct bailey_pool *pool)
{
    while (pool->slabs != NULL) {
        struct slab *slab = pool->slabs;

        pool->slabs = slab->next;
        free(slab);
    }
    free(pool);
}

void message_pool_free(struct bailey_pool *pool)
{
    if (pool == NULL)
        return;
    pool->is_closed = true;
    if (pool->out == 0)
        pool_destroy(pool);
}

static void pool_grow(struct bailey_pool *pool)
{
    struct slab *slab = malloc(sizeof *slab);

    if (slab == NULL)
        abort();
    slab->next = pool->slabs;
    pool->slabs = slab;
    for (int i = POOL_SLAB; i-- > 0;) {
        slab->blocks[i].next_free = pool->free;
        pool->free = &slab->blocks[i];
    }
}

struct bailey_message *message_new(struct bailey_pool *pool)
{
    if (pool->free == NULL)
        pool_grow(pool);
    union block *block = pool->free;
    struct bailey_message *msg = &block->msg;

    pool->free = block->next_free;
    pool->out++;
    memset(msg, 0, sizeof *msg);
    msg->magic = MESSAGE_MAGIC;
    msg->refs = 1;
    msg->priority = -1;
    msg->origin.partition = -1;
    msg->origin.offset = -1;
    msg->pool = pool;
    return msg;
}

static void message_free(struct bailey_message *msg)
{
    struct bailey_pool *pool = msg->pool;
    union block *block = (union block *)msg;

    while (msg->chunks != NULL) {
        struct bailey_chunk *chunk = msg->chunks;

        msg->chunks = chunk->next;
        free(chunk);
    }
    if (msg->release != NULL)
        msg->release(msg->release_owner, msg->release_cookie);
    *(volatile uint32_t *)&msg->magic = 0; /* a stale pointer now asserts */
    block->next_free = pool->free;         /* overlays the magic */
    pool->free = block;
    if (--pool->out == 0 && pool->is_closed)
        pool_destroy(pool);
}

/* ---- References ---- */

struct bailey_message *bailey_message_ref(struct bailey_message *msg)
{
    assert(msg->magic == MESSAGE_MAGIC);
    msg->refs++;
    return msg;
}

void bailey_message_unref(struct bailey_message *msg)
{
    if (msg == NULL)
        return;
    assert(msg->magic == MESSAGE_MAGIC);
    if (--msg->refs == 0)
        message_free(msg);
}

void bailey_message_keep(struct bailey_message *msg, void (*release)(void *owner, void *cookie), void *owner,
                         void *cookie)
{
    assert(msg->magic == MESSAGE_MAGIC);
    assert(msg->release == NULL); /* once */
    msg->release = release;
    msg->release_owner = owner;
    msg->release_cookie = cookie;
}

/* ---- Memory of a message ---- */

void *bailey_message_alloc(struct bailey_message *msg, size_t len)
{
    struct bailey_chunk *chunk = msg->chunks;

    assert(msg->magic == MESSAGE_MAGIC);
    if (len > SIZE_MAX / 2)
        abort();
    len = (len + 7) & ~(size_t)7;
    if (len <= SCRATCH - msg->inline_used) {
        void *space = (unsigned char *)(msg + 1) + msg->inline_used;

        msg->inline_used += (uint32_t)len;
        return space;
    }
    if (chunk == NULL || chunk->cap - chunk->used < len) {
        size_t cap = len > CHUNK_MIN ? len : CHUNK_MIN;

        chunk = malloc(sizeof *chunk + cap);
        if (chunk == NULL)
            abort(); /* credit bounds what a lane holds: the machine is out of memory */
        *chunk = (struct bailey_chunk){.next = msg->chunks, .cap = cap};
        msg->chunks = chunk;
    }
    chunk->used += len;
    return chunk->data + chunk->used - len;
}

struct bailey_bytes bailey_message_copy(struct bailey_message *msg, const void *data, size_t len)
{
    void *copy;

    if (data == NULL)
        return BAILEY_NULL_BYTES;
    if (len == 0)
        return BAILEY_EMPTY_BYTES;
    copy = bailey_message_alloc(msg, len);
    memcpy(copy, data, len);
    return (struct bailey_bytes){copy, len};
}

/* ---- New messages from old ---- */

static void copy_bytes(struct bailey_message *msg, struct bailey_bytes *bytes)
{
    *bytes = bailey_message_copy(msg, bytes->data, bytes->len);
}

/* Everything but identity and ownership. */
static void copy_fields(struct bailey_message *to, const struct bailey_message *from)
{
    struct bailey_message kept = *to;

    *to = *from;
    to->refs = kept.refs;
    to->pool = kept.pool;
    to->release = NULL;
    to->release_owner = to->release_cookie = NULL;
    to->chunks = NULL;
    to->inline_used = 0;
}

struct bailey_message *bailey_message_detach(struct bailey_message *msg)
{
    struct bailey_message *own;
    struct bailey_header *headers;

    assert(msg->magic == MESSAGE_MAGIC);
    if (msg->release == NULL)
        return msg;
    own = message_new(msg->pool);
    copy_fields(own, msg);
    struct bailey_bytes *const views[] = {
        &own->key,
        &own->body,
        &own->content_type,
        &own->content_encoding,
        &own->correlation_id,
        &own->reply_to,
        &own->message_id,
        &own->type,
        &own->app_id,
        &own->user_id,
        &own->origin.topic,
        &own->origin.queue,
        &own->origin.exchange,
        &own->origin.routing_key,
        &own->origin.destination,
    };
    headers = own->header_count ? bailey_message_alloc(own, own->header_count * sizeof *headers) : NULL;
    for (uint32_t i = 0; i < own->header_count; i++) {
        headers[i].name = bailey_message_copy(own, msg->headers[i].name.data, msg->headers[i].name.len);
        headers[i].value = bailey_value_copy(own, &msg->headers[i].value);
    }
    own->headers = headers;
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        copy_bytes(own, views[i]);
    bailey_message_unref(msg);
    return own;
}

static void release_parent(void *owner, void *cookie)
{
    (void)cookie;
    bailey_message_unref(owner);
}

struct bailey_message *bailey_message_with_key(struct bailey_message *msg, struct bailey_bytes key)
{
    struct bailey_message *changed = message_new(msg->pool);

    copy_fields(changed, msg);
    bailey_message_keep(changed, release_parent, bailey_message_ref(msg), NULL);
    changed->key = bailey_message_copy(changed, key.data, key.len);
    return changed;
}

static bool begins_with(struct bailey_bytes name, const char *prefix)
{
    size_t len = strlen(prefix);

    return name.len >= len && memcmp(name.data, prefix, len) == 0;
}

struct bailey_message *message_with_headers(struct bailey_message *msg, struct bailey_bytes key, const char *without,
                                            const struct bailey_header *added, size_t count)
{
    struct bailey_message *changed = bailey_message_with_key(msg, key);
    struct bailey_header *headers = bailey_message_alloc(changed, (msg->header_count + count) * sizeof *headers);
    uint32_t kept = 0;

    for (uint32_t i = 0; i < msg->header_count; i++)
        if (!begins_with(msg->headers[i].name, without))
            headers[kept++] = msg->headers[i];
    for (size_t i = 0; i < count; i++, kept++)
        headers[kept] = (struct bailey_header){
            .name = bailey_message_copy(changed, added[i].name.data, added[i].name.len),
            .value = bailey_value_copy(changed, &added[i].value),
        };
    changed->headers = headers;
    changed->header_count = kept;
    return changed;
}

/* ---- Looking at it ---- */

const struct bailey_header *bailey_message_header(const struct bailey_message *msg, struct bailey_bytes name)
{
    for (uint32_t i = 0; i < msg->header_count; i++)
        if (bailey_bytes_equal(msg->headers[i].name, name))
            return &msg->headers[i];
    return NULL;
}

static size_t value_size(const struct bailey_value *value, int depth)
{
    size_t size = 0;

    switch (value->kind) {
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        return value->bytes.len;
    case BAILEY_KIND_TABLE:
        for (uint32_t i = 0; i < value->count && depth < BAILEY_VALUE_DEPTH_MAX; i++)
            size += value->fields[i].name.len + value_size(&value->fields[i].value, depth + 1);
        return size;
    case BAILEY_KIND_ARRAY:
        for (uint32_t i = 0; i < value->count && depth < BAILEY_VALUE_DEPTH_MAX; i++)
            size += value_size(&value->items[i], depth + 1);
        return size;
    default:
        return 8;
    }
}

size_t message_size(const struct bailey_message *msg)
{
    size_t size = MESSAGE_COST + msg->key.len + msg->body.len;

    assert(msg->magic == MESSAGE_MAGIC);
    for (uint32_t i = 0; i < msg->header_count; i++)
        size += msg->headers[i].name.len + value_size(&msg->headers[i].value, 0);
    return size;
}
