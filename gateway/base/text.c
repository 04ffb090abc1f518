/* base/text.c: a text buffer that doubles, and what is done to text before it is shown. */
#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

enum { TEXT_FIRST = 256 };

static void out_of_memory(void)
{
    fputs("bailey: out of memory\n", stderr);
    abort();
}

void text_free(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

bool text_reserve(struct text *text, size_t len)
{
    if (len > SIZE_MAX / 4 || text->len > SIZE_MAX / 4)
        return false;
    if (text->data != NULL && text->cap - text->len > len)
        return true;

    size_t cap = text->cap == 0 ? TEXT_FIRST : text->cap;
    while (cap - text->len <= len)
        cap *= 2;
    char *data = realloc(text->data, cap);
    if (data == NULL)
        return false;
    if (text->data == NULL)
        data[0] = '\0';
    text->data = data;
    text->cap = cap;
    return true;
}

void text_add_len(struct text *text, const char *data, size_t len)
{
    if (!text_reserve(text, len))
        out_of_memory();
    if (len > 0)
        memcpy(text->data + text->len, data, len);
    text->len += len;
    text->data[text->len] = '\0';
}

void text_add(struct text *text, const char *str)
{
    text_add_len(text, str, strlen(str));
}

void text_printf(struct text *text, const char *fmt, ...)
{
    va_list args;

    if (text->data == NULL && !text_reserve(text, 0))
        out_of_memory();
    va_start(args, fmt);
    int len = vsnprintf(text->data + text->len, text->cap - text->len, fmt, args);
    va_end(args);
    if (len < 0) {
        text->data[text->len] = '\0';
        return;
    }
    if ((size_t)len >= text->cap - text->len) {
        if (!text_reserve(text, (size_t)len))
            out_of_memory();
        va_start(args, fmt);
        vsnprintf(text->data + text->len, text->cap - text->len, fmt, args);
        va_end(args);
    }
    text->len += (size_t)len;
}

void text_add_base64(struct text *text, const void *data, size_t len)
{
    enum { GROUP = 48 }; /* bytes: a multiple of 3, so that nothing is padded in between */
    unsigned char encoded[GROUP / 3 * 4 + 1];

    for (size_t at = 0; at < len; at += GROUP) {
        EVP_EncodeBlock(encoded, (const unsigned char *)data + at, (int)(len - at < GROUP ? len - at : GROUP));
        text_add(text, (const char *)encoded);
    }
}

size_t text_utf8(const char *data, size_t len)
{
    const unsigned char *p = (const unsigned char *)data;
    unsigned min = 0x80, max = 0xbf; /* of the second byte: where overlong forms and surrogates are told apart */
    size_t size;

    if (len == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    size = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (p[0] == 0xe0)
        min = 0xa0;
    else if (p[0] == 0xed)
        max = 0x9f;
    else if (p[0] == 0xf0)
        min = 0x90;
    else if (p[0] == 0xf4)
        max = 0x8f;
    if (len < size || p[1] < min || p[1] > max)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

/* Bytes of the password in the URL that follows "://"; 0 if there is none. `*start` is where it begins. The last @
 * before a blank or quote ends it: a password with an @ or / that somebody forgot to encode is still no part of
 * what is shown. */
static size_t find_password(const char *authority, const char **start)
{
    size_t len = strcspn(authority, " \t\r\n\"'<>");
    const char *at = memrchr(authority, '@', len);
    const char *colon = at == NULL ? NULL : memchr(authority, ':', (size_t)(at - authority));

    if (colon == NULL)
        return 0;
    *start = colon + 1;
    return (size_t)(at - colon - 1);
}

void text_mask(char *out, size_t size, const char *str)
{
    const char *password = NULL, *end = str + strlen(str);
    size_t len = 0, password_len = 0;

    while (*str != '\0' && len + 5 < size) {
        if (password_len > 0 && str == password) {
            memcpy(out + len, "***", 3);
            len += 3;
            str += password_len;
            password_len = 0;
            continue;
        }
        if (password_len == 0 && strncmp(str, "://", 3) == 0)
            password_len = find_password(str + 3, &password);
        size_t n = text_utf8(str, (size_t)(end - str));
        if (n == 0 || (unsigned char)*str < 0x20 || *str == 0x7f)
            out[len++] = '?';
        else
            memcpy(out + len, str, n), len += n;
        str += n == 0 ? 1 : n;
    }
    out[len] = '\0';
}

void text_add_json(struct text *text, const char *data, size_t len)
{
    text_add(text, "\"");
    for (size_t i = 0; i < len;) {
        size_t run = 0; /* bytes that stand as they are */
        for (size_t n; i + run < len; run += n) {
            unsigned char c = (unsigned char)data[i + run];
            n = text_utf8(data + i + run, len - i - run);
            if (n == 0 || c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
                break;
        }
        text_add_len(text, data + i, run);
        i += run;
        if (i == len)
            break;
        unsigned char c = (unsigned char)data[i++];
        if (c >= 0x80)
            text_add(text, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            text_printf(text, "\\%c", c);
        else
            text_printf(text, "\\u%04x", c);
    }
    text_add(text, "\"");
}
