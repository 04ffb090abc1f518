/* Matching a returned message by its bytes: all that basic.return gives. */
#include "returned.h"

#include <stdio.h>
#include <stdlib.h>

#include <bailey/delivery.h>

enum { KEPT_CAP = 1 << 20 };

static void keep(struct amq_returned *r, struct bailey_bytes part)
{
    if (r->len + part.len > r->cap) {
        r->cap = 2 * (r->len + part.len);
        r->data = realloc(r->data, r->cap);
        if (r->data == NULL)
            abort();
    }
    if (part.len > 0)
        memcpy(r->data + r->len, part.data, part.len);
    r->len += part.len;
}

bool amq_returned_begin(struct amq_returned *r, struct bailey_bytes args)
{
    struct amq_reader in = {args.data, args.data + args.len, false};
    unsigned code = amq_read_u16(&in);
    struct bailey_bytes text = amq_read_shortstr(&in), key;

    amq_read_shortstr(&in); /* exchange: the channel's own */
    key = amq_read_shortstr(&in);
    if (in.bad)
        return false;
    r->code = code;
    snprintf(r->text, sizeof r->text, "%.*s", (int)(text.len < 99 ? text.len : 99), (const char *)text.data);
    r->len = 0;
    keep(r, key);
    r->props_at = r->len;
    return true;
}

void amq_returned_header(struct amq_returned *r, struct bailey_bytes props)
{
    keep(r, props);
    r->body_at = r->len;
}

void amq_returned_body(struct amq_returned *r, struct bailey_bytes part)
{
    keep(r, part);
}

void amq_returned_free(struct amq_returned *r)
{
    free(r->data);
    r->data = NULL;
    r->cap = r->len = 0;
}

void amq_returned_end(struct amq_returned *r)
{
    if (r->cap > KEPT_CAP)
        amq_returned_free(r);
}

static bool equal(struct bailey_bytes a, const uint8_t *data, size_t len)
{
    return a.len == len && (len == 0 || memcmp(a.data, data, len) == 0);
}

static bool same_message(const struct amq_returned *r, const struct amq_returned_among *among,
                         const struct bailey_delivery *delivery)
{
    return equal(among->routing_key(among->ctx, delivery), r->data, r->props_at) &&
           equal(delivery->message->body, r->data + r->body_at, r->len - r->body_at);
}

/* Had the delivery these very properties? For one with an expiry, which is relative to its sending: no. */
static bool same_properties(const struct amq_returned *r, const struct amq_returned_among *among,
                            const struct bailey_delivery *delivery)
{
    size_t len = r->body_at - r->props_at;
    uint8_t *again = malloc(len + 1);
    struct amq_writer w = {again, again + len, false};
    struct bailey_marks marks = {delivery->id, delivery->possible_duplicate};
    enum amq_map_result result;
    bool same;

    if (again == NULL)
        abort();
    result = amq_map_encode(&w, delivery->message, among->map, among->wall_ms, &marks);
    same = result == AMQ_MAP_OK && (size_t)(w.at - again) == len && memcmp(again, r->data + r->props_at, len) == 0;
    free(again);
    return same;
}

uint64_t amq_returned_find(const struct amq_returned *r, const struct amq_returned_among *among)
{
    const struct amq_window *window = among->window;
    uint64_t from = window->return_from > window->base ? window->return_from : window->base, second_best = 0;

    for (uint64_t tag = from; tag < window->next; tag++) {
        const struct bailey_delivery *delivery = amq_window_at(window, tag);

        if (delivery == NULL || !same_message(r, among, delivery))
            continue;
        if (same_properties(r, among, delivery))
            return tag;
        if (second_best == 0)
            second_best = tag;
    }
    return second_best;
}
