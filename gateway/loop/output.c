/* A list of pieces over chunks of 32 KiB. A piece grows while what is added lies right behind it, so that a hundred short
 * frames are one piece. A chunk is freed with its last piece: an idle connection keeps none. */
#include "loop/output.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct output_chunk {
    size_t used, cap;
    size_t pieces; /* that refer to it */
    uint8_t data[];
};

static struct output_piece *add_piece(struct output *output)
{
    if (output->last == output->cap) {
        if (output->first > output->cap / 2) {
            memmove(output->pieces, output->pieces + output->first,
                    (output->last - output->first) * sizeof *output->pieces);
            output->last -= output->first;
            output->first = 0;
        } else {
            output->cap = output->cap ? output->cap * 2 : 16;
            output->pieces = realloc(output->pieces, output->cap * sizeof *output->pieces);
            if (output->pieces == NULL)
                abort();
        }
    }
    return &output->pieces[output->last++];
}

uint8_t *output_reserve(struct output *output, size_t len)
{
    struct output_chunk *chunk = output->current;

    if (chunk != NULL && chunk->cap - chunk->used >= len)
        return chunk->data + chunk->used;
    if (chunk != NULL && chunk->pieces == 0)
        free(chunk);
    size_t cap = len > OUTPUT_CHUNK ? len : OUTPUT_CHUNK;

    chunk = malloc(sizeof *chunk + cap);
    if (chunk == NULL)
        abort();
    chunk->used = chunk->pieces = 0;
    chunk->cap = cap;
    output->current = chunk;
    return chunk->data;
}

void output_commit(struct output *output, size_t len)
{
    struct output_chunk *chunk = output->current;
    struct output_piece *end = output->last > output->first ? &output->pieces[output->last - 1] : NULL;

    assert(chunk != NULL && len <= chunk->cap - chunk->used);
    if (len == 0)
        return;
    if (end != NULL && end->chunk == chunk && end->data + end->len == chunk->data + chunk->used) {
        end->len += len;
    } else {
        *add_piece(output) = (struct output_piece){chunk->data + chunk->used, len, chunk};
        chunk->pieces++;
    }
    chunk->used += len;
    output->len += len;
}

void output_append(struct output *output, const void *data, size_t len)
{
    if (len == 0)
        return;
    if (len <= OUTPUT_COPY_MAX) {
        memcpy(output_reserve(output, len), data, len);
        output_commit(output, len);
        return;
    }
    *add_piece(output) = (struct output_piece){data, len, NULL};
    output->len += len;
}

int output_peek(const struct output *output, struct iovec *iov, int max)
{
    int count = 0;

    for (size_t i = output->first; i < output->last && count < max; i++, count++)
        iov[count] = (struct iovec){(void *)(uintptr_t)output->pieces[i].data, output->pieces[i].len};
    return count;
}

static void drop_piece(struct output *output)
{
    struct output_chunk *chunk = output->pieces[output->first++].chunk;

    if (chunk == NULL || --chunk->pieces > 0)
        return;
    if (chunk == output->current)
        output->current = NULL;
    free(chunk);
}

void output_written(struct output *output, size_t len)
{
    assert(len <= output->len);
    output->len -= len;
    while (len > 0) {
        struct output_piece *piece = &output->pieces[output->first];

        if (len < piece->len) {
            piece->data += len;
            piece->len -= len;
            return;
        }
        len -= piece->len;
        drop_piece(output);
    }
    if (output->first == output->last)
        output->first = output->last = 0;
}

void output_free(struct output *output)
{
    while (output->first < output->last)
        drop_piece(output);
    free(output->current);
    free(output->pieces);
    *output = (struct output){0};
}
