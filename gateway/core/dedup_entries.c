/* dedup_entries.c: see dedup_entries.h. Entries lie in slabs, the table holds their numbers. */
#include "core/dedup_entries.h"

#include <assert.h>
#include <stdlib.h>

enum { ENTRIES_A_SLAB = 64, PLACES_MIN = 256 };

struct dedup_place {
    uint32_t tag;   /* of the id */
    uint32_t entry; /* its number + 1; 0: the place is empty */
};

struct dedup_slab {
    struct dedup_entry items[ENTRIES_A_SLAB];
};

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* the lanes' credit bounds what is asked for: the machine is out of memory */
    return memory;
}

static struct dedup_entry *entry_at(const struct dedup_entries *entries, uint32_t number)
{
    return &entries->slabs[number / ENTRIES_A_SLAB]->items[number % ENTRIES_A_SLAB];
}

static uint32_t tag_of(struct id id)
{
    return (uint32_t)id.word[1];
}

static size_t after(const struct dedup_entries *entries, size_t at)
{
    return (at + 1) & (entries->place_count - 1);
}

static size_t home(const struct dedup_entries *entries, uint32_t tag)
{
    return tag & (entries->place_count - 1);
}

void dedup_entries_prefetch(const struct dedup_entries *entries, struct id id)
{
    __builtin_prefetch(&entries->places[home(entries, tag_of(id))]);
}

struct dedup_entry *dedup_entries_find(const struct dedup_entries *entries, struct id id)
{
    struct dedup_entry *entry = NULL;
    uint32_t tag = tag_of(id);
    size_t at = home(entries, tag);

    while (entries->places[at].entry != 0) {
        const struct dedup_place *place = &entries->places[at];

        if (place->tag == tag && id_equal(entry_at(entries, place->entry - 1)->id, id)) {
            entry = entry_at(entries, place->entry - 1);
            break;
        }
        at = after(entries, at);
    }
    return entry;
}

static void put(struct dedup_entries *entries, struct dedup_place place)
{
    size_t at = home(entries, place.tag);

    while (entries->places[at].entry != 0)
        at = after(entries, at);
    entries->places[at] = place;
}

/* What stands behind the gap moves up, as far as it is at home there. */
static void take_out(struct dedup_entries *entries, const struct dedup_entry *entry)
{
    size_t gap = home(entries, tag_of(entry->id)), mask = entries->place_count - 1;

    while (entries->places[gap].entry != entry->number + 1)
        gap = after(entries, gap);
    for (size_t at = after(entries, gap); entries->places[at].entry != 0; at = after(entries, at)) {
        if (((at - home(entries, entries->places[at].tag)) & mask) < ((at - gap) & mask))
            continue;
        entries->places[gap] = entries->places[at];
        gap = at;
    }
    entries->places[gap].entry = 0;
}

static void grow_places(struct dedup_entries *entries)
{
    struct dedup_place *old = entries->places;
    size_t old_count = entries->place_count;

    entries->place_count = old_count * 2;
    entries->places = must(calloc(entries->place_count, sizeof *entries->places));
    for (size_t i = 0; i < old_count; i++)
        if (old[i].entry != 0)
            put(entries, old[i]);
    free(old);
}

static void add_slab(struct dedup_entries *entries)
{
    struct dedup_slab *slab = must(calloc(1, sizeof *slab));

    if ((entries->slab_count & (entries->slab_count - 1)) == 0) /* full: 0, 1, 2, 4 ... */
        entries->slabs = must(
            realloc(entries->slabs, (entries->slab_count ? entries->slab_count * 2 : 1) * sizeof(struct dedup_slab *)));
    for (uint32_t i = 0; i < ENTRIES_A_SLAB; i++) {
        slab->items[i].number = (uint32_t)entries->slab_count * ENTRIES_A_SLAB + i;
        slab->items[i].next = entries->free;
        entries->free = &slab->items[i];
    }
    entries->slabs[entries->slab_count++] = slab;
}

struct dedup_entry *dedup_entries_add(struct dedup_entries *entries, struct id id, struct dedup_slot *owner)
{
    if (entries->free == NULL)
        add_slab(entries);
    if (++entries->count > entries->place_count / 2)
        grow_places(entries);
    struct dedup_entry *entry = entries->free;

    entries->free = entry->next;
    *entry = (struct dedup_entry){.id = id, .number = entry->number, .owner = owner, .last = &entry->first};
    put(entries, (struct dedup_place){.tag = tag_of(id), .entry = entry->number + 1});
    if (owner != NULL)
        owner->entry = entry;
    return entry;
}

void dedup_entries_remove(struct dedup_entries *entries, struct dedup_entry *entry)
{
    assert(entry->owner == NULL && entry->first == NULL);
    take_out(entries, entry);
    entry->next = entries->free;
    entries->free = entry;
    entries->count--;
}

void dedup_entry_follow(struct dedup_entry *entry, struct dedup_slot *slot)
{
    slot->entry = entry;
    slot->next = NULL;
    *entry->last = slot;
    entry->last = &slot->next;
}

void dedup_entry_unfollow(struct dedup_entry *entry, struct dedup_slot *slot)
{
    struct dedup_slot **at = &entry->first;

    while (*at != slot)
        at = &(*at)->next;
    *at = slot->next;
    if (entry->last == &slot->next)
        entry->last = at;
}

void dedup_entry_promote(struct dedup_entry *entry)
{
    struct dedup_slot *slot = entry->first;

    if (entry->owner != NULL || slot == NULL)
        return;
    dedup_entry_unfollow(entry, slot);
    entry->owner = slot;
}

void dedup_entries_init(struct dedup_entries *entries)
{
    *entries = (struct dedup_entries){.place_count = PLACES_MIN};
    entries->places = must(calloc(entries->place_count, sizeof *entries->places));
}

void dedup_entries_fini(struct dedup_entries *entries)
{
    for (size_t i = 0; i < entries->slab_count; i++)
        free(entries->slabs[i]);
    free(entries->slabs);
    free(entries->places);
}
