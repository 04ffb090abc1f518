/* A lane's side of deduplication: gathers what it asks of each shard, and takes the answers. */
#include <assert.h>
#include <stdlib.h>

#include "core/dedup_mail.h"

/* ---- Mail ---- */

void dedup_send_now(struct dedup_outbox *outbox, const struct dedup_address *address)
{
    struct dedup_mail *mail = outbox->open;

    if (mail == NULL)
        return;
    outbox->open = NULL;
    mail->to = address->to;
    mail->task = (struct bailey_task){.run = address->receive, .ctx = mail};
    if (address->is_near)
        bailey_again(address->host, &mail->task);
    else
        bailey_post(address->host, &mail->task);
}

void dedup_send(struct dedup_outbox *outbox, const struct dedup_address *address, const struct dedup_item *item)
{
    if (outbox->open == NULL) {
        outbox->open = malloc(sizeof *outbox->open);
        if (outbox->open == NULL)
            abort(); /* the lanes' credit bounds this: the machine is out of memory */
        outbox->open->next = NULL;
        outbox->open->count = 0;
    }
    outbox->open->items[outbox->open->count++] = *item;
    if (outbox->open->count == DEDUP_MAIL_MAX)
        dedup_send_now(outbox, address);
}

/* ---- The lane's side ---- */

struct dedup_client {
    struct dedup_client_options options;
    struct dedup_outbox *shards; /* by number */
    unsigned *written;           /* numbers of those with an open mail, perhaps among others */
    unsigned written_count;
};

struct dedup_client *dedup_client_new(const struct dedup_client_options *options)
{
    struct dedup_client *client = calloc(1, sizeof *client);

    if (client == NULL)
        abort();
    client->options = *options;
    client->shards = calloc(options->group->count, sizeof *client->shards);
    client->written = calloc(options->group->count, sizeof *client->written);
    if (client->shards == NULL || client->written == NULL)
        abort();
    return client;
}

void dedup_client_free(struct dedup_client *client)
{
    if (client == NULL)
        return;
    for (unsigned i = 0; i < client->options.group->count; i++)
        free(client->shards[i].open);
    free(client->shards);
    free(client->written);
    free(client);
}

unsigned dedup_client_number(const struct dedup_client *client)
{
    return client->options.number;
}

struct bailey_host *dedup_client_host(const struct dedup_client *client)
{
    return client->options.host;
}

static struct dedup_address address_of(const struct dedup_client *client, unsigned number)
{
    struct dedup_shard *shard = client->options.group->shards[number];

    return (struct dedup_address){
        .to = shard,
        .host = dedup_shard_host(shard),
        .is_near = number == client->options.number,
        .receive = dedup_shard_receive,
    };
}

static void request(struct dedup_client *client, const struct dedup_item *item)
{
    unsigned number = id_owner(item->slot->id, client->options.group->count);
    struct dedup_address address = address_of(client, number);

    if (client->shards[number].open == NULL) {
        if (client->written_count == client->options.group->count) /* full of those that have been sent since */
            dedup_flush(client);
        client->written[client->written_count++] = number;
    }
    dedup_send(&client->shards[number], &address, item);
}

void dedup_ask(struct dedup_client *client, struct dedup_slot *slot)
{
    slot->client = client;
    slot->entry = NULL;
    slot->next = NULL;
    request(client, &(struct dedup_item){.slot = slot, .what = DEDUP_ASK});
}

void dedup_finish(struct dedup_client *client, struct dedup_slot *slot, enum id_outcome outcome)
{
    assert(slot->client == client);
    request(client, &(struct dedup_item){.slot = slot, .what = DEDUP_FINISH, .outcome = outcome});
}

void dedup_withdraw(struct dedup_client *client, struct dedup_slot *slot, bool in_doubt)
{
    assert(slot->client == client);
    request(client, &(struct dedup_item){.slot = slot, .what = DEDUP_WITHDRAW, .in_doubt = in_doubt});
}

void dedup_flush(struct dedup_client *client)
{
    for (unsigned i = 0; i < client->written_count; i++) {
        struct dedup_address address = address_of(client, client->written[i]);

        dedup_send_now(&client->shards[client->written[i]], &address);
    }
    client->written_count = 0;
}

void dedup_client_receive(struct bailey_task *task)
{
    struct dedup_mail *mail = task->ctx;
    struct dedup_client *client = mail->to;

    for (size_t i = 0; i < mail->count; i++)
        client->options.on_answer(client->options.ctx, mail->items[i].slot, (enum dedup_answer)mail->items[i].what);
    free(mail);
    client->options.on_answers_end(client->options.ctx);
}
