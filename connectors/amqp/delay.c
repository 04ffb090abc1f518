/* An exchange for each step, so that a message keeps its routing key; one queue bound to it. The queue dead-letters at least once: what
 * the sink's exchange routes nowhere stays in it until there is a queue. Nothing that we declare here expires: it may hold messages. */
#include "delay.h"

#include <stdio.h>

enum { STEP_FIRST_MS = 125, A_DOUBLING = 8, DAY_MS = 86400000 };

void amq_delay_forget(struct amq_delay *delay)
{
    memset(delay->declared, 0, sizeof delay->declared);
}

int64_t amq_delay_step_ms(unsigned step)
{
    return (int64_t)(A_DOUBLING + step % A_DOUBLING) * STEP_FIRST_MS << step / A_DOUBLING;
}

unsigned amq_delay_step(int64_t hold_ms)
{
    unsigned step = 0;

    while (step + 1 < AMQ_DELAY_STEPS && amq_delay_step_ms(step) < hold_ms)
        step++;
    return step;
}

static amqp_table_entry_t text_entry(const char *key, const char *text)
{
    return (amqp_table_entry_t){amqp_cstring_bytes(key),
                                {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(text)}};
}

static bool declare(const struct amq_delay *delay, struct amq_channel *ch)
{
    amqp_table_entry_t arguments[] = {
        text_entry("x-queue-type", "quorum"), text_entry("x-dead-letter-exchange", delay->exchange),
        text_entry("x-dead-letter-strategy", "at-least-once"),
        text_entry("x-overflow", "reject-publish"), /* which that strategy needs */
    };
    amqp_bytes_t name = amqp_cstring_bytes(delay->name);
    amqp_exchange_declare_t exchange = {.exchange = name, .type = amqp_cstring_bytes("fanout"), .durable = 1};
    amqp_queue_declare_t queue = {
        .queue = name, .durable = 1, .arguments = {sizeof arguments / sizeof *arguments, arguments}};
    amqp_queue_bind_t bind = {.queue = name, .exchange = name};

    return amq_channel_send(ch, AMQP_EXCHANGE_DECLARE_METHOD, &exchange) &&
           amq_channel_send(ch, AMQP_QUEUE_DECLARE_METHOD, &queue) &&
           amq_channel_send(ch, AMQP_QUEUE_BIND_METHOD, &bind);
}

bool amq_delay_prepare(struct amq_delay *delay, struct amq_channel *ch, int64_t hold_ms, struct bailey_error *err)
{
    unsigned step = amq_delay_step(hold_ms);
    int len = snprintf(delay->name, sizeof delay->name, "bailey.delay.%s.%lld", delay->exchange,
                       (long long)amq_delay_step_ms(step));

    if (!amq_connection_is_rabbitmq(ch->conn)) {
        bailey_fail(err, BAILEY_ERR_CONFIG, "the broker is no RabbitMQ: it does not hold messages until their time");
        return bailey_hint(err, "Without delay_native the state store holds them.");
    }
    if (hold_ms > amq_delay_step_ms(AMQ_DELAY_STEPS - 1)) {
        bailey_fail(err, BAILEY_ERR_PERMANENT, "RabbitMQ cannot hold a message for longer than %lld days",
                    (long long)amq_delay_step_ms(AMQ_DELAY_STEPS - 1) / DAY_MS);
        return bailey_hint(err, "Without delay_native the state store holds them.");
    }
    if (len >= (int)sizeof delay->name || (!delay->declared[step] && !declare(delay, ch)))
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the exchange's name is too long for queues that delay");
    delay->declared[step] = true;
    return true;
}
