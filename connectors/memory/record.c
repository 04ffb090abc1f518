/* One malloc a record: first the arrays of headers and values, which need alignment, then all bytes.
 *
 *     [ struct record | headers | fields and items of nested values ... ][ names, strings, key, body ... ]
 */
#include "record.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- How much ---- */

struct extent {
    size_t arrays, bytes;
};

static void measure_headers(struct extent *extent, const struct bailey_header *headers, uint32_t count, int depth);

static void measure_value(struct extent *extent, const struct bailey_value *value, int depth)
{
    assert(depth <= BAILEY_VALUE_DEPTH_MAX + 1); /* who decoded it has checked */
    if (value->kind == BAILEY_KIND_STRING || value->kind == BAILEY_KIND_BYTES)
        extent->bytes += value->bytes.len;
    if (value->kind == BAILEY_KIND_TABLE)
        measure_headers(extent, value->fields, value->count, depth);
    if (value->kind == BAILEY_KIND_ARRAY) {
        extent->arrays += value->count * sizeof *value->items;
        for (uint32_t i = 0; i < value->count; i++)
            measure_value(extent, &value->items[i], depth + 1);
    }
}

static void measure_headers(struct extent *extent, const struct bailey_header *headers, uint32_t count, int depth)
{
    extent->arrays += count * sizeof *headers;
    for (uint32_t i = 0; i < count; i++) {
        extent->bytes += headers[i].name.len;
        measure_value(extent, &headers[i].value, depth + 1);
    }
}

/* ---- Copy ---- */

struct copier {
    unsigned char *arrays, *bytes;
};

static struct bailey_bytes copy_bytes(struct copier *copier, struct bailey_bytes from)
{
    struct bailey_bytes to = {copier->bytes, from.len};

    if (from.data == NULL)
        return BAILEY_NULL_BYTES;
    if (from.len == 0)
        return BAILEY_EMPTY_BYTES;
    memcpy(copier->bytes, from.data, from.len);
    copier->bytes += from.len;
    return to;
}

static void *take_array(struct copier *copier, size_t len)
{
    void *array = copier->arrays;

    copier->arrays += len;
    return array;
}

static void copy_headers(struct copier *copier, struct bailey_header *to, const struct bailey_header *from,
                         uint32_t count);

static struct bailey_value copy_value(struct copier *copier, const struct bailey_value *from)
{
    struct bailey_value to = *from;

    if (from->kind == BAILEY_KIND_STRING || from->kind == BAILEY_KIND_BYTES)
        to.bytes = copy_bytes(copier, from->bytes);
    if (from->kind == BAILEY_KIND_TABLE) {
        struct bailey_header *fields = take_array(copier, from->count * sizeof *fields);

        copy_headers(copier, fields, from->fields, from->count);
        to.fields = fields;
    }
    if (from->kind == BAILEY_KIND_ARRAY) {
        struct bailey_value *items = take_array(copier, from->count * sizeof *items);

        for (uint32_t i = 0; i < from->count; i++)
            items[i] = copy_value(copier, &from->items[i]);
        to.items = items;
    }
    return to;
}

static void copy_headers(struct copier *copier, struct bailey_header *to, const struct bailey_header *from,
                         uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        to[i].name = copy_bytes(copier, from[i].name);
        to[i].value = copy_value(copier, &from[i].value);
    }
}

enum { VIEWS = 10 };

static void list_views(struct bailey_message *msg, struct bailey_bytes *views[static VIEWS])
{
    struct bailey_bytes *const all[VIEWS] = {
        &msg->key,      &msg->body,       &msg->content_type, &msg->content_encoding, &msg->correlation_id,
        &msg->reply_to, &msg->message_id, &msg->type,         &msg->app_id,           &msg->user_id,
    };

    memcpy(views, all, sizeof all);
}

/* What is carried, and nothing of whose it is or where it was read. */
static void copy_fields(struct bailey_message *to, const struct bailey_message *from)
{
    to->key = from->key;
    to->body = from->body;
    to->headers = from->headers;
    to->header_count = from->header_count;
    to->priority = from->priority;
    to->timestamp_kind = from->timestamp_kind;
    to->durability = from->durability;
    to->hops = from->hops;
    to->timestamp_ms = from->timestamp_ms;
    to->expires_at_ms = from->expires_at_ms;
    to->content_type = from->content_type;
    to->content_encoding = from->content_encoding;
    to->correlation_id = from->correlation_id;
    to->reply_to = from->reply_to;
    to->message_id = from->message_id;
    to->type = from->type;
    to->app_id = from->app_id;
    to->user_id = from->user_id;
}

/* ---- Marks ---- */

static void add_mark(struct bailey_message *shown, struct bailey_header *headers, const char *name,
                     struct bailey_value value)
{
    if (bailey_message_header(shown, bailey_bytes_of(name)) == NULL)
        headers[shown->header_count++] = (struct bailey_header){bailey_bytes_of(name), value};
}

/* Let `shown` have its headers under `marks`. Returns what is to be freed when it has been copied; NULL if nothing changes. */
static struct bailey_header *show_marks(struct bailey_message *shown, const struct bailey_marks *marks)
{
    struct bailey_header *headers;

    if (marks->id.data == NULL && !marks->possible_duplicate)
        return NULL;
    headers = malloc((shown->header_count + 2) * sizeof *headers);
    if (headers == NULL)
        abort(); /* as below */
    for (uint32_t i = 0; i < shown->header_count; i++)
        headers[i] = (struct bailey_header){shown->headers[i].name, bailey_marked_value(marks, &shown->headers[i])};
    shown->headers = headers;
    if (marks->id.data != NULL)
        add_mark(shown, headers, BAILEY_HEADER_ID, bailey_id_value(marks->id));
    if (marks->possible_duplicate)
        add_mark(shown, headers, BAILEY_HEADER_DUPLICATE, bailey_duplicate_value());
    return headers;
}

struct record *record_new(const struct bailey_message *msg, const struct bailey_marks *marks)
{
    struct bailey_message shown = {0};
    struct bailey_header *marked, *headers;
    struct bailey_bytes *views[VIEWS];
    struct extent extent = {0};

    copy_fields(&shown, msg);
    marked = show_marks(&shown, marks);
    list_views(&shown, views);
    measure_headers(&extent, shown.headers, shown.header_count, 0);
    for (int i = 0; i < VIEWS; i++)
        extent.bytes += views[i]->len;

    struct record *record = malloc(sizeof *record + extent.arrays + extent.bytes);

    if (record == NULL)
        abort(); /* the queue's capacity bounds it: the machine is out of memory */
    *record = (struct record){.refs = 1, .envelope = shown};
    struct copier copier = {(unsigned char *)(record + 1), (unsigned char *)(record + 1) + extent.arrays};

    headers = take_array(&copier, shown.header_count * sizeof *headers);
    copy_headers(&copier, headers, shown.headers, shown.header_count);
    list_views(&record->envelope, views);
    for (int i = 0; i < VIEWS; i++)
        *views[i] = copy_bytes(&copier, *views[i]);
    record->envelope.headers = headers;
    free(marked);
    return record;
}

struct record *record_ref(struct record *record)
{
    atomic_fetch_add_explicit(&record->refs, 1, memory_order_relaxed);
    return record;
}

void record_unref(struct record *record)
{
    if (record != NULL && atomic_fetch_sub_explicit(&record->refs, 1, memory_order_acq_rel) == 1)
        free(record);
}

static void release(void *owner, void *cookie)
{
    (void)cookie;
    record_unref(owner);
}

void record_show(struct record *record, struct bailey_message *msg)
{
    copy_fields(msg, &record->envelope);
    msg->redelivered = record->redelivered;
    bailey_message_keep(msg, release, record_ref(record), NULL);
}
