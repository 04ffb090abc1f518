/* A table of the keys in the lane. A key is there as long as one has its turn; behind that one stand those that are held. */
#include "core/order.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/arena.h"

enum { BUCKETS_MIN = 64 };

/* In the order of coming. */
struct line {
    struct delivery *first, *last;
};

struct order_key {
    uint64_t hash;
    struct order_key *chain; /* of its bucket; of the free ones */
    struct delivery *turn;   /* who has it */
    bool is_refused;         /* was that one refused? */
    struct line held;
    int64_t here; /* of those that are held: in memory */
};

struct order {
    enum bailey_order kind;
    unsigned char secret[crypto_shorthash_KEYBYTES];
    struct arena *arena; /* of the keys */
    struct order_key *free;
    struct order_key **buckets;
    size_t bucket_count, key_count; /* a power of two */
    struct line coming;             /* they have their turn, and are held until order_next() gives them */
    int64_t held, stuck;            /* stuck: the sum of `here` of the keys whose first was refused */
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* the lane's credit bounds what is asked for: the machine is out of memory */
    return memory;
}

/* ---- Keys ---- */

static uint64_t hash_bytes(const struct order *order, struct bailey_bytes bytes)
{
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, bytes.data, bytes.len, order->secret);
    return hash;
}

/* False: a message without a key has no order. */
static bool hash_of(const struct order *order, const struct bailey_message *msg, uint64_t *hash)
{
    switch (order->kind) {
    case BAILEY_ORDER_KEY:
        *hash = hash_bytes(order, msg->key);
        return msg->key.data != NULL;
    case BAILEY_ORDER_PARTITION:
        *hash = hash_bytes(order, msg->origin.topic) + (uint64_t)(msg->origin.partition + 1) * 0x9e3779b97f4a7c15u;
        return true;
    default:
        *hash = 0;
        return true;
    }
}

static struct order_key **bucket_of(const struct order *order, uint64_t hash)
{
    return &order->buckets[hash & (order->bucket_count - 1)];
}

static struct order_key *key_find(const struct order *order, uint64_t hash)
{
    struct order_key *key = *bucket_of(order, hash);

    while (key != NULL && key->hash != hash)
        key = key->chain;
    return key;
}

static void key_link(struct order *order, struct order_key *key)
{
    struct order_key **bucket = bucket_of(order, key->hash);

    key->chain = *bucket;
    *bucket = key;
}

static void grow_buckets(struct order *order)
{
    struct order_key **old = order->buckets;
    size_t old_count = order->bucket_count;

    order->bucket_count = old_count == 0 ? BUCKETS_MIN : old_count * 2;
    order->buckets = must(calloc(order->bucket_count, sizeof(struct order_key *)));
    for (size_t i = 0; i < old_count; i++)
        for (struct order_key *key = old[i], *chain; key != NULL; key = chain) {
            chain = key->chain;
            key_link(order, key);
        }
    free(old);
}

static void key_add(struct order *order, uint64_t hash, struct delivery *dlv)
{
    struct order_key *key = order->free;

    if (key == NULL)
        key = must(arena_alloc(order->arena, sizeof *key));
    else
        order->free = key->chain;
    if (order->key_count++ == order->bucket_count)
        grow_buckets(order);
    *key = (struct order_key){.hash = hash, .turn = dlv};
    key_link(order, key);
    dlv->turn = key;
}

static void key_remove(struct order *order, struct order_key *key)
{
    struct order_key **at = bucket_of(order, key->hash);

    while (*at != key)
        at = &(*at)->chain;
    *at = key->chain;
    key->chain = order->free;
    order->free = key;
    order->key_count--;
}

/* ---- Those that are held ---- */

static void line_add(struct line *line, struct delivery *dlv)
{
    dlv->held_prev = line->last;
    dlv->held_next = NULL;
    *(line->last == NULL ? &line->first : &line->last->held_next) = dlv;
    line->last = dlv;
}

static void line_remove(struct line *line, struct delivery *dlv)
{
    *(dlv->held_prev == NULL ? &line->first : &dlv->held_prev->held_next) = dlv->held_next;
    *(dlv->held_next == NULL ? &line->last : &dlv->held_next->held_prev) = dlv->held_prev;
    dlv->held_next = dlv->held_prev = NULL;
}

static void count_here(struct order *order, struct order_key *key, int change)
{
    key->here += change;
    if (key->is_refused)
        order->stuck += change;
}

static void hold(struct order *order, struct order_key *key, struct delivery *dlv)
{
    line_add(&key->held, dlv);
    count_here(order, key, 1);
    dlv->turn = key;
    dlv->state = DELIVERY_HELD;
    order->held++;
}

static void let_off(struct order *order, struct order_key *key, struct delivery *dlv)
{
    line_remove(&key->held, dlv);
    if (dlv->spill == SPILL_NONE)
        count_here(order, key, -1);
}

/* The first that is held has its turn now. If there is none, the key is gone. */
static void pass_on(struct order *order, struct order_key *key)
{
    if (key->is_refused)
        order->stuck -= key->here;
    key->is_refused = false;
    key->turn = key->held.first;
    if (key->turn == NULL) {
        key_remove(order, key);
        return;
    }
    let_off(order, key, key->turn);
    line_add(&order->coming, key->turn);
}

/* ---- What a lane does ---- */

bool order_is_new(const struct order *order, const struct delivery *dlv)
{
    uint64_t hash;

    return dlv->turn == NULL && hash_of(order, dlv->pub.message, &hash);
}

bool order_enter(struct order *order, struct delivery *dlv)
{
    struct order_key *key;
    uint64_t hash;

    if (dlv->turn != NULL || !hash_of(order, dlv->pub.message, &hash)) /* it has entered in an earlier round */
        return true;
    key = key_find(order, hash);
    if (key != NULL) {
        hold(order, key, dlv);
        return false;
    }
    key_add(order, hash, dlv);
    return true;
}

void order_refused(struct order *order, const struct delivery *dlv)
{
    struct order_key *key = dlv->turn;

    if (key == NULL || key->is_refused)
        return;
    assert(key->turn == dlv);
    key->is_refused = true;
    order->stuck += key->here;
}

void order_leave(struct order *order, struct delivery *dlv)
{
    struct order_key *key = dlv->turn;

    if (key == NULL)
        return;
    dlv->turn = NULL;
    if (dlv->state == DELIVERY_HELD)
        order->held--;
    if (key->turn != dlv) {
        let_off(order, key, dlv);
        return;
    }
    if (dlv->state == DELIVERY_HELD)
        line_remove(&order->coming, dlv);
    pass_on(order, key);
}

struct delivery *order_next(struct order *order)
{
    struct delivery *dlv = order->coming.first;

    if (dlv == NULL)
        return NULL;
    line_remove(&order->coming, dlv);
    dlv->state = DELIVERY_READY;
    order->held--;
    return dlv;
}

bool order_is_stuck(const struct delivery *dlv)
{
    return dlv->turn != NULL && dlv->turn->is_refused;
}

uint64_t order_key_number(const struct delivery *dlv)
{
    return dlv->turn->hash;
}

struct delivery *order_first_held(const struct delivery *dlv)
{
    return dlv->turn->held.first;
}

void order_moved(struct order *order, const struct delivery *dlv, bool is_here)
{
    if (dlv->turn->turn != dlv) /* else it is not among those that are held behind one */
        count_here(order, dlv->turn, is_here ? 1 : -1);
}

int64_t order_stuck(const struct order *order)
{
    return order == NULL ? 0 : order->stuck;
}

int64_t order_held(const struct order *order)
{
    return order == NULL ? 0 : order->held;
}

/* ---- Life ---- */

struct order *order_new(enum bailey_order kind, struct bailey_host *host)
{
    struct order *order = must(calloc(1, sizeof *order));

    order->kind = kind;
    for (size_t i = 0; i < sizeof order->secret; i += sizeof(uint64_t)) {
        uint64_t word = bailey_random(host);

        memcpy(order->secret + i, &word, sizeof word);
    }
    order->arena = must(arena_new());
    grow_buckets(order);
    return order;
}

void order_free(struct order *order)
{
    if (order == NULL)
        return;
    arena_free(order->arena);
    free(order->buckets);
    free(order);
}
