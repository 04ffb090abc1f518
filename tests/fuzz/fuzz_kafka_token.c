/* fuzz_kafka_token.c: what a token server may answer: HTTP, the JSON in it, the JWT in that. Whole or cut in half, nothing
 * is read beyond its end, and what is found lies within it. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "connectors/kafka/kafka_http.h"
#include "connectors/kafka/kafka_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_body(struct bailey_bytes body)
{
    static char token[4096];
    static uint8_t decoded[4096];
    char text[64];

    kafka_json_text(body, "error", text, sizeof text);
    kafka_json_number(body, "expires_in");
    if (kafka_json_text(body, "access_token", token, sizeof token)) {
        struct bailey_bytes payload = kafka_jwt_payload(token, decoded, sizeof decoded);

        assert(strlen(token) < sizeof token && payload.len <= sizeof decoded);
        kafka_json_text(payload, "sub", text, sizeof text);
        kafka_json_number(payload, "exp");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct kafka_http_answer answer, part;
    uint8_t *copy = malloc(len + 1); /* of its own: reading beyond the end is seen */

    if (copy == NULL)
        return 0;
    memcpy(copy, data, len);
    assert(kafka_http_parse(copy, len / 2, false, &part) != KAFKA_HTTP_MORE || part.body.len <= KAFKA_HTTP_MAX);
    memcpy(copy, data, len);
    if (kafka_http_parse(copy, len, true, &answer) == KAFKA_HTTP_WHOLE) {
        assert(answer.status >= 200 && answer.body.len <= len);
        read_body(answer.body);
    }
    read_body((struct bailey_bytes){data, len});
    free(copy);
    return 0;
}
