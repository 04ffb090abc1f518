/* bailey/delivery.h: one message's way through one route, and how it ends.
 *
 * The message is *what*; the delivery is *the promise about it*. A delivery is settled exactly once at its source, and
 * each send() of it gets exactly one verdict from its sink. All functions are called on the lane's worker thread.
 */
#ifndef BAILEY_DELIVERY_H
#define BAILEY_DELIVERY_H

#include <bailey/error.h>
#include <bailey/message.h>
#include <bailey/option.h>

/* How a delivery ended, told to its source: AMQP 1.0's words (OASIS AMQP 1.0, 3.4 Delivery State). */
enum bailey_outcome {
    BAILEY_ACCEPTED, /* the sink took responsibility */
    BAILEY_REJECTED, /* it cannot succeed, and was put nowhere */
    BAILEY_RELEASED, /* not processed: the source may hand it to anyone, at once */
    BAILEY_MODIFIED, /* an attempt was made and failed */
};

/* 1.3: Which order a route keeps (`order:`). */
enum bailey_order {
    BAILEY_ORDER_NONE,
    BAILEY_ORDER_KEY,       /* of the messages with one key */
    BAILEY_ORDER_PARTITION, /* of the messages of one partition of the source */
    BAILEY_ORDER_STRICT,    /* of all messages of a lane */
};

/* What a source is told: the group and position that it gave the message, and the outcome. */
struct bailey_settlement {
    uint64_t position;
    uint32_t group;
    uint32_t outcome; /* enum bailey_outcome */
};

/* What a sink is given. Everything but the `sink_*` words is read-only to it. */
struct bailey_delivery {
    struct bailey_message *message; /* stays alive until the sink has given its verdict */

    /* What the templates of the sink's options gave for this message, by slot: read with bailey_delivery_text(). */
    const struct bailey_bytes *address;

    uint32_t attempts;       /* refusals so far, as this lane knows of them */
    bool possible_duplicate; /* the sink may already have it: a sink marks it (header `bailey-possible-duplicate: 1`) */

    /* Free for the sink from send() until its verdict. */
    uint64_t sink_tag;
    void *sink_ptr;

    /* 1.2: What the route knows the message by, the same at each attempt and after a restart: a sink hands it on, so that who
     * reads there can tell copies. Null where the route has no `dedup`. */
    struct bailey_bytes id;

    /* 1.3: Not before that time (wall clock, ms since 1970); 0: at once. Only where the route has `delay_native`, which needs a sink
     * with BAILEY_DELAYS: its broker holds the message until then. */
    int64_t deliver_at_ms;
};

/* 1.2: What a sink tells readers about a delivery, in headers of these names. A header that the message has already (it came
 * through a Bailey before) gets the new value; else one is added. */
#define BAILEY_HEADER_ID "bailey-id"
#define BAILEY_HEADER_DUPLICATE "bailey-possible-duplicate"

struct bailey_marks {
    struct bailey_bytes id; /* null: none */
    bool possible_duplicate;
};

/* The id as a header's value: text if it is that. */
static inline struct bailey_value bailey_id_value(struct bailey_bytes id)
{
    return (struct bailey_value){.kind = bailey_utf8_valid(id) ? BAILEY_KIND_STRING : BAILEY_KIND_BYTES, .bytes = id};
}

static inline struct bailey_value bailey_duplicate_value(void)
{
    return (struct bailey_value){.kind = BAILEY_KIND_STRING, .bytes = bailey_bytes_of("1")};
}

/* The value of the message's `header` under `marks`. */
static inline struct bailey_value bailey_marked_value(const struct bailey_marks *marks,
                                                      const struct bailey_header *header)
{
    if (marks->id.data != NULL && bailey_bytes_is(header->name, BAILEY_HEADER_ID))
        return bailey_id_value(marks->id);
    if (marks->possible_duplicate && bailey_bytes_is(header->name, BAILEY_HEADER_DUPLICATE))
        return bailey_duplicate_value();
    return header->value;
}

/* The text of a sink option of type BAILEY_OPT_TEMPLATE for this delivery; lives as long as the delivery. */
static inline struct bailey_bytes bailey_delivery_text(const struct bailey_delivery *delivery,
                                                       const struct bailey_template *text)
{
    return text->slot < 0 ? text->constant : delivery->address[text->slot];
}

/* Verdicts of a sink. Each takes the deliveries: the sink may not touch them afterwards. */

/* The broker confirmed that these are durable there. */
void bailey_confirm(struct bailey_port *sink, struct bailey_delivery *const batch[], size_t count);

/* The broker refused this one, or it cannot be expressed. `err->kind` decides what follows; borrows `err`. */
void bailey_refuse(struct bailey_port *sink, struct bailey_delivery *delivery, const struct bailey_error *err);

/* Handed back, because the connection went: sent and neither confirmed nor refused (`in_doubt`: it will be sent again,
 * marked), or never sent at all. Nothing is counted as an attempt. */
void bailey_hand_back(struct bailey_port *sink, struct bailey_delivery *const batch[], size_t count, bool in_doubt);

/* Source: hand over received messages, in their order. Takes them. Allowed beyond the lane's room (a protocol may have
 * no way to stop what is on its way), but ask bailey_room() first where there is one. */
void bailey_receive(struct bailey_port *source, struct bailey_message *const batch[], size_t count);

/* Source: how many more messages the lane has credit for now (0: hold; resume() is called when there is room again). */
size_t bailey_room(const struct bailey_port *source);

/* Source: all messages of `group` were lost to this lane (channel closed, partition taken away): forget those that
 * are not sent yet, without a settlement. Those that are out go on, and are settled; the source ignores what it no
 * longer knows. Returns how many are still out. */
size_t bailey_revoke(struct bailey_port *source, uint32_t group);

#endif
