/* A table of the keys in the lane: each has a count of turns and the list of those that are held. */
#include "core/order.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

enum { BUCKETS_MIN = 64, KEYS_A_SLAB = 64 };

struct order_key {
    uint64_t hash;
    struct order_key *chain;       /* of its bucket; of the free ones */
    struct delivery *first, *last; /* held, in the order of receiving */
    struct delivery *refused;      /* those that were refused and keep their turn, by held_next, oldest first */
    uint32_t turns, refusals;      /* deliveries that have their turn; of those: in `refused` */
    int64_t here;                  /* of those that are held: in memory */
    bool is_broken;                /* one was refused, and not all that had their turn then are through */
    uint64_t broken_from;          /* sequence of that one: who was on the way behind it will be refused, too */
    bool is_coming;                /* in the list of keys that may have one for order_next() */
    struct order_key *next_coming;
};

struct slab {
    struct slab *next;
    struct order_key items[KEYS_A_SLAB];
};

struct order {
    enum bailey_order kind;
    bool pipelines;
    unsigned char secret[crypto_shorthash_KEYBYTES];
    struct order_key **buckets;
    size_t bucket_count, key_count; /* a power of two */
    struct slab *slabs;
    struct order_key *free;
    struct order_key *coming, **coming_last;
    int64_t held, stuck; /* stuck: the sum of `here` of the keys that have a refused one */
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

static void grow_buckets(struct order *order)
{
    struct order_key **old = order->buckets;
    size_t old_count = order->bucket_count;

    order->bucket_count = old_count * 2;
    order->buckets = must(calloc(order->bucket_count, sizeof(struct order_key *)));
    for (size_t i = 0; i < old_count; i++)
        for (struct order_key *key = old[i], *chain; key != NULL; key = chain) {
            struct order_key **bucket = bucket_of(order, key->hash);

            chain = key->chain;
            key->chain = *bucket;
            *bucket = key;
        }
    free(old);
}

static void add_slab(struct order *order)
{
    struct slab *slab = must(calloc(1, sizeof *slab));

    slab->next = order->slabs;
    order->slabs = slab;
    for (int i = 0; i < KEYS_A_SLAB; i++) {
        slab->items[i].chain = order->free;
        order->free = &slab->items[i];
    }
}

static struct order_key *key_of(struct order *order, uint64_t hash)
{
    struct order_key *key = *bucket_of(order, hash);

    while (key != NULL && key->hash != hash)
        key = key->chain;
    if (key != NULL)
        return key;
    if (order->free == NULL)
        add_slab(order);
    if (order->key_count == order->bucket_count)
        grow_buckets(order);
    struct order_key **bucket = bucket_of(order, hash);

    key = order->free;
    order->free = key->chain;
    *key = (struct order_key){.hash = hash, .chain = *bucket};
    *bucket = key;
    order->key_count++;
    return key;
}

static void key_free(struct order *order, struct order_key *key)
{
    struct order_key **at = bucket_of(order, key->hash);

    while (*at != key)
        at = &(*at)->chain;
    *at = key->chain;
    key->chain = order->free;
    order->free = key;
    order->key_count--;
}

/* ---- Held ones ---- */

static void count_here(struct order *order, struct order_key *key, int change)
{
    key->here += change;
    if (key->refused != NULL)
        order->stuck += change;
}

/* At its place in the order of receiving, which is the end as a rule. */
static void hold(struct order *order, struct order_key *key, struct delivery *dlv)
{
    struct delivery *after = key->last;

    while (after != NULL && after->sequence > dlv->sequence)
        after = after->held_prev;
    dlv->held_prev = after;
    dlv->held_next = after == NULL ? key->first : after->held_next;
    *(dlv->held_prev == NULL ? &key->first : &dlv->held_prev->held_next) = dlv;
    *(dlv->held_next == NULL ? &key->last : &dlv->held_next->held_prev) = dlv;
    dlv->turn = key;
    dlv->state = DELIVERY_HELD;
    order->held++;
    count_here(order, key, 1);
}

static void let_off(struct order *order, struct delivery *dlv)
{
    struct order_key *key = dlv->turn;

    *(dlv->held_prev == NULL ? &key->first : &dlv->held_prev->held_next) = dlv->held_next;
    *(dlv->held_next == NULL ? &key->last : &dlv->held_next->held_prev) = dlv->held_prev;
    dlv->held_next = dlv->held_prev = NULL;
    order->held--;
    if (dlv->spill == SPILL_NONE)
        count_here(order, key, -1);
}

static bool is_before(const struct delivery *one, const struct delivery *other)
{
    return one != NULL && other != NULL && one->sequence < other->sequence;
}

/* May the first of those that are held go, or a new one? After a refusal not before the sink has said of all that were on their way
 * whether they were refused, too; and then only what is older than the refused ones. */
static bool may_go(const struct order *order, const struct order_key *key)
{
    if (!order->pipelines)
        return key->turns == 0;
    return !key->is_broken || (key->turns == key->refusals && is_before(key->first, key->refused));
}

static void add_refused(struct order *order, struct order_key *key, struct delivery *dlv)
{
    struct delivery **at = &key->refused;

    while (is_before(*at, dlv))
        at = &(*at)->held_next;
    if (*at == dlv)
        return;
    if (key->refused == NULL)
        order->stuck += key->here;
    dlv->held_next = *at;
    *at = dlv;
    key->refusals++;
    if (!key->is_broken || dlv->sequence < key->broken_from)
        key->broken_from = dlv->sequence;
    key->is_broken = true;
}

static void remove_refused(struct order *order, struct order_key *key, struct delivery *dlv)
{
    struct delivery **at = &key->refused;

    while (is_before(*at, dlv))
        at = &(*at)->held_next;
    if (*at != dlv)
        return;
    *at = dlv->held_next;
    dlv->held_next = NULL;
    key->refusals--;
    if (key->refused == NULL)
        order->stuck -= key->here;
}

static void give_turn_back(struct order *order, struct order_key *key, struct delivery *dlv)
{
    assert(key->turns > 0);
    remove_refused(order, key, dlv);
    key->turns--;
    if (key->turns == 0)
        key->is_broken = false;
    else if (key->turns == key->refusals) /* none is on the way */
        key->broken_from = key->refused->sequence;
}

/* One of this key went: perhaps the next may come; or nobody is left. */
static void see_to(struct order *order, struct order_key *key)
{
    if (key->is_coming)
        return;
    if (key->first != NULL && may_go(order, key)) {
        key->is_coming = true;
        key->next_coming = NULL;
        *order->coming_last = key;
        order->coming_last = &key->next_coming;
    } else if (key->first == NULL && key->turns == 0) {
        key_free(order, key);
    }
}

/* What had its turn is held, at its place. */
static void hold_again(struct order *order, struct order_key *key, struct delivery *dlv)
{
    give_turn_back(order, key, dlv);
    hold(order, key, dlv);
    see_to(order, key);
}

static bool is_refused(const struct order_key *key, const struct delivery *dlv)
{
    const struct delivery *at = key->refused;

    while (is_before(at, dlv))
        at = at->held_next;
    return at == dlv;
}

bool order_is_behind(const struct delivery *dlv)
{
    const struct order_key *key = dlv->turn;

    return key != NULL && key->is_broken && dlv->sequence > key->broken_from && !is_refused(key, dlv);
}

/* ---- What a lane does ---- */

bool order_is_new(const struct order *order, const struct delivery *dlv)
{
    uint64_t hash;

    return dlv->turn == NULL && hash_of(order, dlv->pub.message, &hash);
}

bool order_enter(struct order *order, struct delivery *dlv)
{
    uint64_t hash;

    if (dlv->turn != NULL) /* from an earlier round */
        return true;
    if (!hash_of(order, dlv->pub.message, &hash))
        return true;
    struct order_key *key = key_of(order, hash);

    if (key->first != NULL || !may_go(order, key)) {
        hold(order, key, dlv);
        return false;
    }
    key->turns++;
    dlv->turn = key;
    return true;
}

bool order_refused(struct order *order, struct delivery *dlv)
{
    struct order_key *key = dlv->turn;

    if (key == NULL)
        return true;
    if (order_is_behind(dlv)) {
        hold_again(order, key, dlv);
        return false;
    }
    add_refused(order, key, dlv);
    return true;
}

bool order_hold(struct order *order, struct delivery *dlv)
{
    struct order_key *key = dlv->turn;

    if (key == NULL || !(is_before(key->refused, dlv) || is_before(key->first, dlv)))
        return false;
    hold_again(order, key, dlv);
    return true;
}

void order_leave(struct order *order, struct delivery *dlv)
{
    struct order_key *key = dlv->turn;

    if (key == NULL)
        return;
    if (dlv->state == DELIVERY_HELD) {
        let_off(order, dlv);
    } else {
        give_turn_back(order, key, dlv);
    }
    dlv->turn = NULL;
    see_to(order, key);
}

bool order_is_stuck(const struct delivery *dlv)
{
    return dlv->turn != NULL && dlv->turn->refused != NULL;
}

uint64_t order_key_number(const struct delivery *dlv)
{
    return dlv->turn->hash;
}

struct delivery *order_first_held(const struct delivery *dlv)
{
    return dlv->turn->first;
}

struct delivery *order_next(struct order *order)
{
    struct order_key *key;

    while ((key = order->coming) != NULL) {
        struct delivery *dlv = key->first;

        if (dlv != NULL && may_go(order, key)) {
            let_off(order, dlv);
            key->turns++;
            dlv->state = DELIVERY_READY;
            return dlv;
        }
        order->coming = key->next_coming;
        if (order->coming == NULL)
            order->coming_last = &order->coming;
        key->is_coming = false;
        see_to(order, key);
    }
    return NULL;
}

void order_moved(struct order *order, const struct delivery *dlv, bool is_here)
{
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

struct order *order_new(enum bailey_order kind, bool pipelines, struct bailey_host *host)
{
    struct order *order = must(calloc(1, sizeof *order));

    order->kind = kind;
    order->pipelines = pipelines;
    for (size_t i = 0; i < sizeof order->secret; i += sizeof(uint64_t)) {
        uint64_t word = bailey_random(host);

        memcpy(order->secret + i, &word, sizeof word);
    }
    order->bucket_count = BUCKETS_MIN;
    order->buckets = must(calloc(order->bucket_count, sizeof(struct order_key *)));
    order->coming_last = &order->coming;
    return order;
}

void order_free(struct order *order)
{
    if (order == NULL)
        return;
    while (order->slabs != NULL) {
        struct slab *slab = order->slabs;

        order->slabs = slab->next;
        free(slab);
    }
    free(order->buckets);
    free(order);
}
