/* Mail between lanes and shards: gathered for each receiver, and sent when it is full or the sender is done. */
#include "core/dedup_mail.h"

#include <stdlib.h>

static void *must(void *memory)
{
    if (memory == NULL)
        abort(); /* the lanes' credit bounds this: the machine is out of memory */
    return memory;
}

void dedup_post_init(struct dedup_post *post, unsigned count)
{
    *post = (struct dedup_post){
        .count = count,
        .open = must(calloc(count, sizeof(struct dedup_mail *))),
        .written = must(calloc(count, sizeof *post->written)),
    };
}

void dedup_post_fini(struct dedup_post *post)
{
    for (unsigned i = 0; i < post->count; i++)
        free(post->open[i]);
    free(post->open);
    free(post->written);
}

static void send_one(struct dedup_post *post, unsigned number)
{
    struct dedup_mail *mail = post->open[number];

    if (mail == NULL)
        return;
    post->open[number] = NULL;
    if (mail->is_near)
        bailey_again(mail->host, &mail->task);
    else
        bailey_post(mail->host, &mail->task);
}

void dedup_post_send(struct dedup_post *post)
{
    for (unsigned i = 0; i < post->written_count; i++)
        send_one(post, post->written[i]);
    post->written_count = 0;
}

void dedup_post_begin(struct dedup_post *post, unsigned number, void *to, struct bailey_host *host, bool is_near,
                      void (*receive)(struct bailey_task *task))
{
    struct dedup_mail *mail = must(malloc(sizeof *mail)); /* its items are written one by one */

    mail->task = (struct bailey_task){.run = receive, .ctx = mail};
    mail->to = to;
    mail->host = host;
    mail->is_near = is_near;
    mail->next = NULL;
    mail->count = 0;
    if (post->written_count == post->count) /* full of those that have been sent since */
        dedup_post_send(post);
    post->open[number] = mail;
    post->written[post->written_count++] = number;
}

void dedup_post_add(struct dedup_post *post, unsigned number, const struct dedup_item *item)
{
    struct dedup_mail *mail = post->open[number];

    mail->items[mail->count++] = *item;
    if (mail->count == DEDUP_MAIL_MAX)
        send_one(post, number);
}
