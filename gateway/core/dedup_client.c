/* A lane's side of deduplication: gathers what it asks of each shard, and takes the answers. */
#include <assert.h>
#include <stdlib.h>

#include "core/dedup_mail.h"

struct dedup_client {
    struct dedup_client_options options;
    struct dedup_post post; /* to the shards of other lanes */
    bool has_asked;         /* its own one */
};

struct dedup_client *dedup_client_new(const struct dedup_client_options *options)
{
    struct dedup_client *client = calloc(1, sizeof *client);

    if (client == NULL)
        abort();
    client->options = *options;
    dedup_post_init(&client->post, options->group->count);
    return client;
}

void dedup_client_free(struct dedup_client *client)
{
    if (client == NULL)
        return;
    dedup_post_fini(&client->post);
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

/* The shard on the same worker is asked without mail. */
static bool request(struct dedup_client *client, const struct dedup_item *item)
{
    unsigned number = id_owner(item->slot->id, client->options.group->count);
    struct dedup_shard *shard = client->options.group->shards[number];

    if (number == client->options.number) {
        client->has_asked = true;
        return dedup_shard_take(shard, item);
    }
    if (!dedup_post_is_open(&client->post, number))
        dedup_post_begin(&client->post, number, shard, dedup_shard_host(shard), false, dedup_shard_receive);
    dedup_post_add(&client->post, number, item);
    return false;
}

void dedup_prefetch(const struct dedup_client *client, struct id id)
{
    dedup_shard_prefetch(client->options.group->shards[client->options.number], id);
}

bool dedup_ask(struct dedup_client *client, struct dedup_slot *slot)
{
    slot->client = client;
    slot->entry = NULL;
    slot->next = NULL;
    return request(client, &(struct dedup_item){.slot = slot, .what = DEDUP_ASK});
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
    dedup_post_send(&client->post);
    if (client->has_asked)
        dedup_shard_flush(client->options.group->shards[client->options.number]);
    client->has_asked = false;
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
