/* Declaring queues and exchanges. Arguments come as text: an integer becomes a long, true and false a boolean, the
 * rest text. */
#include "setup.h"

#include <errno.h>
#include <stdlib.h>

enum { ARGUMENTS_MAX = 64 };

static amqp_bytes_t bytes_of(struct bailey_bytes bytes)
{
    return (amqp_bytes_t){bytes.len, (void *)(uintptr_t)bytes.data};
}

static amqp_bytes_t text_of(const char *text)
{
    return text != NULL ? amqp_cstring_bytes(text) : amqp_empty_bytes;
}

static amqp_field_value_t argument_value(const char *text)
{
    char *end;
    long long number;

    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = text[0] == 't'};
    errno = 0;
    number = strtoll(text, &end, 10);
    if (*text != '\0' && *end == '\0' && errno == 0)
        return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_I64, .value.i64 = number};
    return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(text)};
}

/* Fill `entries` (ARGUMENTS_MAX) from `map`; false if there are too many. */
static bool fill_arguments(amqp_table_t *table, amqp_table_entry_t *entries, const struct bailey_map *map)
{
    *table = (amqp_table_t){0, entries};
    if (map->count > ARGUMENTS_MAX - 2)
        return false;
    for (size_t i = 0; i < map->count; i++) {
        if (strlen(map->entries[i].name) > AMQ_SHORTSTR_MAX) /* rabbitmq-c would write a corrupt frame */
            return false;
        entries[table->num_entries++] =
            (amqp_table_entry_t){text_of(map->entries[i].name), argument_value(map->entries[i].value)};
    }
    return true;
}

static bool has_argument(const struct bailey_map *map, const char *name)
{
    for (size_t i = 0; i < map->count; i++)
        if (strcmp(map->entries[i].name, name) == 0)
            return true;
    return false;
}

bool amq_queue_look(struct amq_channel *ch, struct bailey_bytes queue)
{
    amqp_queue_declare_t look = {.queue = bytes_of(queue), .passive = 1};

    return amq_channel_send(ch, AMQP_QUEUE_DECLARE_METHOD, &look);
}

bool amq_queue_ask_type(struct amq_channel *ch, struct bailey_bytes queue)
{
    amqp_table_entry_t type = {text_of("x-queue-type"),
                               {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("bailey-looks")}};
    amqp_queue_declare_t ask = {.queue = bytes_of(queue), .durable = 1, .arguments = {1, &type}};

    return amq_channel_send(ch, AMQP_QUEUE_DECLARE_METHOD, &ask);
}

bool amq_queue_create(struct amq_channel *ch, struct bailey_bytes queue, int queue_type, bool durable,
                      bool single_active, const struct bailey_map *arguments)
{
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    amqp_queue_declare_t create = {.queue = bytes_of(queue), .durable = durable};

    if (!fill_arguments(&create.arguments, entries, arguments))
        return false;
    if (!has_argument(arguments, "x-queue-type"))
        entries[create.arguments.num_entries++] =
            (amqp_table_entry_t){text_of("x-queue-type"),
                                 {.kind = AMQP_FIELD_KIND_UTF8,
                                  .value.bytes = text_of(queue_type == AMQ_QUEUE_CLASSIC ? "classic" : "quorum")}};
    if (single_active)
        entries[create.arguments.num_entries++] = (amqp_table_entry_t){
            text_of("x-single-active-consumer"), {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
    return amq_channel_send(ch, AMQP_QUEUE_DECLARE_METHOD, &create);
}

bool amq_queue_bind(struct amq_channel *ch, const char *queue, const char *exchange, const char *routing_key)
{
    amqp_queue_bind_t bind = {
        .queue = text_of(queue), .exchange = text_of(exchange), .routing_key = text_of(routing_key)};

    return amq_channel_send(ch, AMQP_QUEUE_BIND_METHOD, &bind);
}

bool amq_exchange_look(struct amq_channel *ch, const char *exchange)
{
    amqp_exchange_declare_t look = {.exchange = text_of(exchange), .passive = 1};

    return amq_channel_send(ch, AMQP_EXCHANGE_DECLARE_METHOD, &look);
}

bool amq_exchange_create(struct amq_channel *ch, const char *exchange, const char *type, bool durable,
                         const struct bailey_map *arguments)
{
    amqp_table_entry_t entries[ARGUMENTS_MAX];
    amqp_exchange_declare_t create = {.exchange = text_of(exchange), .type = text_of(type), .durable = durable};

    if (!fill_arguments(&create.arguments, entries, arguments))
        return false;
    return amq_channel_send(ch, AMQP_EXCHANGE_DECLARE_METHOD, &create);
}

bool amq_setup_too_big(struct bailey_error *err)
{
    return bailey_fail(err, BAILEY_ERR_CONFIG, "names or arguments do not fit into a frame of the connection");
}
