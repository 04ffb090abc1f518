/* message/codec.h: a message as bytes, to be kept in a store and made again from them: the whole envelope, origin included, but for
 * `group` and `position`, which belong to one opening of a source.
 *
 * The form is ours, begins with its version, and is the same on every machine (big-endian); a later version reads all earlier
 * ones. It carries no check sum: stores have their own. Input is hostile all the same: every length is checked.
 */
#ifndef BAILEY_CODEC_H
#define BAILEY_CODEC_H

#include <bailey/message.h>

enum { CODEC_VERSION = 1 };

/* Exact number of bytes of message_encode(). */
size_t message_encoded_size(const struct bailey_message *msg);

/* Writes exactly that many to `out`. */
void message_encode(const struct bailey_message *msg, uint8_t *out);

/* Fill `msg` (`size` too), which is new, from `bytes`, which are copied once. False with `err` (permanent) if they are of a later
 * version or damaged; then `msg` may hold a part, and is only good to be unreferenced. */
bool message_decode(struct bailey_message *msg, struct bailey_bytes bytes, struct bailey_error *err);

#endif
