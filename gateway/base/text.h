/* base/text.h: a growing text buffer, for what is printed.
 *
 * Belongs to its owner, one thread. Zeroed = empty. Never fails: the process ends when memory is exhausted.
 */
#ifndef BAILEY_TEXT_H
#define BAILEY_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct text {
    char *data; /* NUL-terminated once something was added; NULL before */
    size_t len, cap;
};

void text_free(struct text *text);

/* Make room for `len` more bytes now. False if memory is exhausted: for those who can go on without. */
bool text_reserve(struct text *text, size_t len);

void text_add(struct text *text, const char *str);
void text_add_len(struct text *text, const char *data, size_t len);
void text_printf(struct text *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Add `len` bytes as a JSON string with its quotes (RFC 8259); bytes that are not UTF-8 become U+FFFD. */
void text_add_json(struct text *text, const char *data, size_t len);

/* Add `len` bytes in base 64 (RFC 4648, section 4). */
void text_add_base64(struct text *text, const void *data, size_t len);

/* Bytes of the well-formed UTF-8 character (RFC 3629) that `data` begins with; 0 if there is none. */
size_t text_utf8(const char *data, size_t len);

/* Copy `str` into `out` (cut to `size`, always terminated) in a form that may be shown: of URLs in it the password
 * becomes ***, control characters and bytes that are not UTF-8 become `?`. */
void text_mask(char *out, size_t size, const char *str);

#endif
