/* The steps that a route may have between its source and its sink: key, order, id, time and address. Each works on a whole batch. */
#include "core/delivery.h"
#include "core/lane.h"

/* `key:` sets the message's key. */
static bool set_key(const struct lane_options *options, struct delivery *dlv, struct bailey_error *err)
{
    struct bailey_message *msg = dlv->pub.message;
    struct bailey_bytes key;

    if (dlv->is_keyed) /* in an earlier round: the template may refer to the key */
        return true;
    if (!template_fill(options->key, msg, options->route, &key, err))
        return false;
    dlv->is_keyed = true;
    if (bailey_bytes_equal(key, msg->key))
        return true;
    dlv->pub.message = bailey_message_with_key(msg, key);
    bailey_message_unref(msg); /* the new one holds it */
    return true;
}

/* `dedup.id`: its text for those that come back from a wait, too, since it lives in the message. */
static bool set_id(const struct lane_options *options, struct delivery *dlv, struct bailey_error *err)
{
    struct bailey_bytes text;

    if (options->reader != NULL) { /* one dead letter is sent once, whatever its id */
        dlv->slot.id = dlv->kept_as;
        if (options->dedup->id == NULL)
            return true;
    }
    if (!template_fill(options->dedup->id, dlv->pub.message, options->route, &text, err))
        return false;
    if (text.len == 0)
        return bailey_fail(err, BAILEY_ERR_PERMANENT, "the id of dedup is empty");
    dlv->pub.id = text;
    if (!dlv->holds_slot && options->reader == NULL)
        dlv->slot.id = id_of(&options->dedup->state->key, text);
    return true;
}

bool address_fill(struct delivery *dlv, struct template *const *templates, size_t count, const char *route,
                  struct bailey_error *err)
{
    struct bailey_bytes *address = dlv->address;

    if (count > DELIVERY_ADDRESSES)
        address = bailey_message_alloc(dlv->pub.message, count * sizeof *address);
    for (size_t i = 0; i < count; i++)
        if (!template_fill(templates[i], dlv->pub.message, route, &address[i], err))
            return false;
    dlv->pub.address = address;
    return true;
}

/* The sink's templates. */
static bool set_address(const struct lane_options *options, struct delivery *dlv, struct bailey_error *err)
{
    return address_fill(dlv, options->templates, options->template_count, options->route, err);
}

static void run_each(const struct step *step, struct batch *batch,
                     bool (*run)(const struct lane_options *, struct delivery *, struct bailey_error *))
{
    size_t kept = 0;

    for (size_t i = 0; i < batch->count; i++) {
        struct delivery *dlv = batch->items[i];
        struct bailey_error err;

        if (run(step->options, dlv, &err))
            batch->items[kept++] = dlv;
        else
            lane_refuse(dlv->lane, dlv, &err);
    }
    batch->count = kept;
}

static void key_step(const struct step *step, struct batch *batch)
{
    run_each(step, batch, set_key);
}

static void id_step(const struct step *step, struct batch *batch)
{
    run_each(step, batch, set_id);
    lane_ask(batch);
}

static void delay_step(const struct step *step, struct batch *batch)
{
    (void)step;
    if (batch->count > 0)
        lane_delay(batch);
}

static void order_step(const struct step *step, struct batch *batch)
{
    (void)step;
    if (batch->count > 0)
        lane_line_up(batch);
}

static void address_step(const struct step *step, struct batch *batch)
{
    run_each(step, batch, set_address);
}

size_t steps_build(struct step steps[STEPS_MAX], const struct lane_options *options)
{
    size_t count = 0;

    if (options->key != NULL)
        steps[count++] = (struct step){key_step, options};
    if (options->order != BAILEY_ORDER_NONE)
        steps[count++] = (struct step){order_step, options};
    if (options->dedup != NULL)
        steps[count++] = (struct step){id_step, options};
    if (options->delay != NULL || options->deliver_at != NULL)
        steps[count++] = (struct step){delay_step, options};
    if (options->template_count > 0)
        steps[count++] = (struct step){address_step, options};
    return count;
}
