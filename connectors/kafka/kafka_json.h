/* kafka_json.h: single members of a JSON object (RFC 8259) from a token server. Pure, any thread.
 *
 * Hostile input: nothing is read beyond the text, nothing recurses, nothing is allocated.
 */
#ifndef KAFKA_JSON_H
#define KAFKA_JSON_H

#include "kafka.h"

/* The text of the object's member `name`, without escapes, cut to `size` and ended by a zero byte. False if it is not
 * there, is no string, does not fit, holds a zero byte, or the object is malformed before it. */
bool kafka_json_text(struct bailey_bytes object, const char *name, char *out, size_t size);

/* Its number, cut to an integer between 0 and 10^15; a number in a string counts, too. -1 if there is none. */
int64_t kafka_json_number(struct bailey_bytes object, const char *name);

/* The payload of a JWT (RFC 7519), decoded into `out` of `size` bytes; null if the token is no JWT. */
struct bailey_bytes kafka_jwt_payload(const char *token, uint8_t *out, size_t size);

#endif
