/* fuzz_template.c: the first line is a template, the rest is the message: parse, fill, and check what came out. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "message/pool.h"
#include "message/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void fill(const struct template *tmpl, struct bailey_bytes rest)
{
    struct bailey_pool *pool = message_pool_new();
    struct bailey_message *msg = message_new(pool);
    struct bailey_header headers[] = {
        {.name = bailey_bytes_of("x"), .value = {.kind = BAILEY_KIND_BYTES, .bytes = rest}},
        {.name = bailey_bytes_of("n"), .value = {.kind = BAILEY_KIND_I64, .i64 = (int64_t)rest.len - 5}},
    };
    struct bailey_error err = {0};
    struct bailey_bytes result;

    msg->key = rest.len % 3 == 0 ? BAILEY_NULL_BYTES : rest;
    msg->body = rest;
    msg->headers = headers;
    msg->header_count = 2;
    msg->origin.topic = rest.len % 2 == 0 ? rest : BAILEY_NULL_BYTES;
    if (!template_fill(tmpl, msg, "route", &result, &err)) {
        if (err.kind != BAILEY_ERR_PERMANENT || err.text[0] == '\0')
            abort();
    } else if (result.data == NULL || result.len > TEMPLATE_RESULT_MAX) {
        abort();
    }
    bailey_message_unref(msg);
    message_pool_free(pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\n', size);
    size_t len = end == NULL ? size : (size_t)(end - data), error_at = 0;
    struct bailey_error err = {0};
    struct arena *arena = arena_new();
    char *text = calloc(len + 1, 1);
    struct template *tmpl;

    if (len > 0)
        memcpy(text, data, len);
    tmpl = template_parse(arena, text, &error_at, &err);
    if (tmpl == NULL) {
        if (err.kind != BAILEY_ERR_CONFIG || error_at > strlen(text))
            abort();
    } else {
        struct bailey_bytes rest = end == NULL ? BAILEY_EMPTY_BYTES : (struct bailey_bytes){end + 1, size - len - 1};
        fill(tmpl, rest);
    }
    (void)template_present(text);
    free(text);
    arena_free(arena);
    return 0;
}
