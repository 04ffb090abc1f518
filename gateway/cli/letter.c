/* Reads what core/dead_letter.c wrote. */
#include "cli/letter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/nearest.h"
#include "core/dead_letter.h"

enum { BODY_SHOWN = 4096, CELL_MAX = 60, REASON_MIN = 12 };

static const char *const fields[] = {"id",       "class",   "code",         "reason",      "source", "sink",
                                     "attempts", "replays", "first-failed", "last-failed", "key",    NULL};

/* ---- What it says ---- */

static struct bailey_bytes text_of(const struct bailey_message *letter, const char *name)
{
    const struct bailey_header *header = bailey_message_header(letter, bailey_bytes_of(name));

    if (header == NULL || (header->value.kind != BAILEY_KIND_STRING && header->value.kind != BAILEY_KIND_BYTES))
        return BAILEY_NULL_BYTES;
    return header->value.bytes;
}

static struct bailey_bytes field(const struct bailey_message *letter, const char *name)
{
    char header[64];

    snprintf(header, sizeof header, DEAD_LETTER_PREFIX "%s", name);
    struct bailey_bytes text = text_of(letter, header);

    if (text.data == NULL && strcmp(name, "key") == 0 && text_of(letter, DEAD_LETTER_ID).data == NULL)
        return letter->key; /* a foreign one */
    return text;
}

/* ---- Which are meant ---- */

static bool read_test(struct letter_test *test, const char *text, size_t len, struct bailey_error *err)
{
    const char *op = memchr(text, '=', len), *tilde = memchr(text, '~', len), *near;

    if (op == NULL || (tilde != NULL && tilde < op))
        op = tilde;
    if (op == NULL)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "a filter is NAME=VALUE or NAME~TEXT, not %.*s", (int)len, text);
    size_t name_len = (size_t)(op - text), value_len = len - name_len - 1;
    if (name_len >= sizeof test->name || value_len >= sizeof test->value)
        return bailey_fail(err, BAILEY_ERR_CONFIG, "the filter is too long");
    *test = (struct letter_test){.contains = *op == '~'};
    memcpy(test->name, text, name_len);
    memcpy(test->value, op + 1, value_len);
    test->is_header = strncmp(test->name, "header.", 7) == 0;
    if (test->is_header) {
        memmove(test->name, test->name + 7, strlen(test->name + 7) + 1);
        return true;
    }
    for (const char *const *known = fields; *known != NULL; known++)
        if (strcmp(*known, test->name) == 0)
            return true;
    near = nearest_name(test->name, fields, sizeof fields / sizeof *fields - 1);
    bailey_fail(err, BAILEY_ERR_CONFIG, "a dead letter has no %.60s", test->name);
    return near == NULL ? bailey_hint(err, "header.%.60s is a header of the message", test->name)
                        : bailey_hint(err, "did you mean %s?", near);
}

bool letter_filter_read(struct letter_filter *filter, const char *text, struct bailey_error *err)
{
    filter->count = 0;
    while (text != NULL && *text != '\0') {
        size_t len = strcspn(text, ",");

        if (filter->count == LETTER_TESTS_MAX)
            return bailey_fail(err, BAILEY_ERR_CONFIG, "a filter has %d parts at most", LETTER_TESTS_MAX);
        if (!read_test(&filter->tests[filter->count++], text, len, err))
            return false;
        text += len + (text[len] == ',');
    }
    return true;
}

/* ---- Text ---- */

/* For a terminal: what is no UTF-8, or a control character, is a dot; at most `max` bytes. */
static void add_harmless(struct text *out, struct bailey_bytes bytes, size_t max)
{
    bool is_text = bailey_utf8_valid(bytes);
    size_t len = bytes.len < max ? bytes.len : max;

    while (is_text && len < bytes.len && len > 0 && (bytes.data[len] & 0xc0) == 0x80)
        len--; /* not within a character */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = bytes.data[i];
        bool is_c1 =
            c == 0xc2 && i + 1 < bytes.len && bytes.data[i + 1] < 0xa0; /* U+0080 to U+009F control a terminal, too */

        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_text)) {
            text_add(out, ".");
        } else if (is_c1) {
            text_add(out, ".");
            i++;
        } else {
            text_add_len(out, (const char *)&bytes.data[i], 1);
        }
    }
    if (len < bytes.len)
        text_add(out, "...");
}

static void add_cell(struct text *out, struct bailey_bytes bytes, size_t width)
{
    size_t before = out->len;

    if (bytes.data == NULL)
        text_add(out, "-");
    else
        add_harmless(out, bytes, bytes.len <= width ? width : width - 3);
    for (size_t used = out->len - before; used < width; used++)
        text_add(out, " ");
    text_add(out, "  ");
}

enum { ID_WIDTH = 32, TIME_WIDTH = 24, CLASS_WIDTH = 13, COUNT_WIDTH = 8, KEY_WIDTH = 16, BODY_WIDTH = 9 };

void letter_add_titles(struct text *out)
{
    text_printf(out, "%-*s  %-*s  %-*s  %-*s  %-*s  %-*s  %-*s  %s\n", ID_WIDTH, "ID", TIME_WIDTH, "LAST FAILED",
                CLASS_WIDTH, "CLASS", COUNT_WIDTH, "ATTEMPTS", COUNT_WIDTH, "REPLAYS", KEY_WIDTH, "KEY", BODY_WIDTH,
                "BYTES", "REASON");
}

/* What is left of a line of which so much is used. */
static size_t reason_width(size_t columns, size_t used)
{
    if (columns == 0)
        return 2 * CELL_MAX;
    return columns > used + REASON_MIN ? columns - used : REASON_MIN;
}

void letter_add_row(struct text *out, const struct bailey_message *letter, size_t columns)
{
    struct bailey_bytes reason = field(letter, "reason");
    size_t before = out->len;
    char size[24];

    snprintf(size, sizeof size, "%zu", letter->body.len);
    add_cell(out, field(letter, "id"), ID_WIDTH);
    add_cell(out, field(letter, "last-failed"), TIME_WIDTH);
    add_cell(out, field(letter, "class"), CLASS_WIDTH);
    add_cell(out, field(letter, "attempts"), COUNT_WIDTH);
    add_cell(out, field(letter, "replays"), COUNT_WIDTH);
    add_cell(out, field(letter, "key"), KEY_WIDTH);
    add_cell(out, letter->body.data == NULL ? BAILEY_NULL_BYTES : bailey_bytes_of(size), BODY_WIDTH);
    if (reason.data != NULL) {
        size_t width = reason_width(columns, out->len - before);

        add_harmless(out, reason, reason.len <= width ? width : width - 3);
    }
    text_add(out, "\n");
}

static void add_line(struct text *out, const char *name, struct bailey_bytes value)
{
    if (value.data == NULL)
        return;
    text_printf(out, "%-16s ", name);
    add_harmless(out, value, BODY_SHOWN);
    text_add(out, "\n");
}

static void add_number(struct text *out, const char *name, int64_t value)
{
    text_printf(out, "%-16s %" PRId64 "\n", name, value);
}

static bool is_ours(const struct bailey_header *header)
{
    return header->name.len >= strlen(DEAD_LETTER_PREFIX) &&
           memcmp(header->name.data, DEAD_LETTER_PREFIX, strlen(DEAD_LETTER_PREFIX)) == 0;
}

/* Values in a message of their own, as texts. */
static void add_value(struct text *out, const struct bailey_value *value)
{
    switch (value->kind) {
    case BAILEY_KIND_STRING:
    case BAILEY_KIND_BYTES:
        add_harmless(out, value->bytes, BODY_SHOWN);
        break;
    case BAILEY_KIND_NULL:
        text_add(out, "null");
        break;
    case BAILEY_KIND_BOOL:
        text_add(out, value->boolean ? "true" : "false");
        break;
    case BAILEY_KIND_I8:
    case BAILEY_KIND_I16:
    case BAILEY_KIND_I32:
    case BAILEY_KIND_I64:
        text_printf(out, "%" PRId64, value->i64);
        break;
    case BAILEY_KIND_U8:
    case BAILEY_KIND_U16:
    case BAILEY_KIND_U32:
    case BAILEY_KIND_TIMESTAMP:
        text_printf(out, "%" PRIu64, value->u64);
        break;
    case BAILEY_KIND_F32:
    case BAILEY_KIND_F64:
        text_printf(out, "%.17g", value->f64);
        break;
    case BAILEY_KIND_DECIMAL:
        text_printf(out, "%" PRIu64 "e-%u", value->u64 >> 8, (unsigned)(value->u64 & 255));
        break;
    case BAILEY_KIND_TABLE:
        text_add(out, "{");
        for (uint32_t i = 0; i < value->count; i++) {
            text_add(out, i == 0 ? " " : ", ");
            add_harmless(out, value->fields[i].name, CELL_MAX);
            text_add(out, ": ");
            add_value(out, &value->fields[i].value);
        }
        text_add(out, " }");
        break;
    case BAILEY_KIND_ARRAY:
        text_add(out, "[");
        for (uint32_t i = 0; i < value->count; i++) {
            text_add(out, i == 0 ? " " : ", ");
            add_value(out, &value->items[i]);
        }
        text_add(out, " ]");
        break;
    }
}

static void add_headers(struct text *out, const struct bailey_message *letter)
{
    for (uint32_t i = 0; i < letter->header_count; i++) {
        const struct bailey_header *header = &letter->headers[i];

        if (is_ours(header))
            continue;
        text_add(out, "  ");
        add_harmless(out, header->name, CELL_MAX);
        text_add(out, ": ");
        add_value(out, &header->value);
        text_add(out, "\n");
    }
}

static void add_hex(struct text *out, struct bailey_bytes body)
{
    size_t len = body.len < BODY_SHOWN / 4 ? body.len : BODY_SHOWN / 4;

    for (size_t at = 0; at < len; at += 16) {
        size_t count = len - at < 16 ? len - at : 16;

        text_printf(out, "  %06zx ", at);
        for (size_t i = 0; i < 16; i++) {
            if (i < count)
                text_printf(out, " %02x", body.data[at + i]);
            else
                text_add(out, "   ");
        }
        text_add(out, "  ");
        for (size_t i = 0; i < count; i++)
            text_printf(out, "%c", body.data[at + i] >= 0x20 && body.data[at + i] < 0x7f ? body.data[at + i] : '.');
        text_add(out, "\n");
    }
    if (len < body.len)
        text_printf(out, "  ... %zu bytes more\n", body.len - len);
}

static void add_body(struct text *out, struct bailey_bytes body)
{
    if (body.data == NULL) {
        text_add(out, "body             none (a tombstone)\n");
        return;
    }
    text_printf(out, "body             %zu bytes\n", body.len);
    if (!bailey_utf8_valid(body)) {
        add_hex(out, body);
        return;
    }
    text_add(out, body.len > 0 ? "  " : "");
    add_harmless(out, body, BODY_SHOWN);
    text_add(out, body.len > 0 ? "\n" : "");
}

void letter_add_all(struct text *out, const struct bailey_message *letter)
{
    add_line(out, "route", field(letter, "route"));
    for (const char *const *name = fields; *name != NULL; name++)
        add_line(out, *name, field(letter, *name));
    add_line(out, "content type", letter->content_type);
    add_line(out, "content encoding", letter->content_encoding);
    add_line(out, "correlation id", letter->correlation_id);
    add_line(out, "reply to", letter->reply_to);
    add_line(out, "message id", letter->message_id);
    add_line(out, "type", letter->type);
    add_line(out, "app id", letter->app_id);
    add_line(out, "user id", letter->user_id);
    if (letter->priority >= 0)
        add_number(out, "priority", letter->priority);
    if (letter->timestamp_kind != BAILEY_TIMESTAMP_NONE)
        add_number(out, "timestamp ms", letter->timestamp_ms);
    if (letter->expires_at_ms > 0)
        add_number(out, "expires ms", letter->expires_at_ms);
    text_add(out, "headers\n");
    add_headers(out, letter);
    add_body(out, letter->body);
}

/* ---- Is it meant? ---- */

static bool agrees(const struct letter_test *test, struct bailey_bytes text)
{
    if (test->contains)
        return text.len > 0 && memmem(text.data, text.len, test->value, strlen(test->value)) != NULL;
    return bailey_bytes_is(text, test->value);
}

/* A text as it is, other values as they are shown. */
static bool header_agrees(const struct letter_test *test, const struct bailey_message *letter)
{
    const struct bailey_header *header = bailey_message_header(letter, bailey_bytes_of(test->name));
    struct text shown = {0};

    if (header == NULL || header->value.kind == BAILEY_KIND_STRING || header->value.kind == BAILEY_KIND_BYTES)
        return agrees(test, text_of(letter, test->name));
    add_value(&shown, &header->value);
    bool result = agrees(test, (struct bailey_bytes){(const uint8_t *)shown.data, shown.len});
    text_free(&shown);
    return result;
}

bool letter_matches(const struct letter_filter *filter, const struct bailey_message *letter)
{
    struct bailey_bytes route = field(letter, "route");

    if (route.data != NULL && !bailey_bytes_is(route, filter->route))
        return false;
    if (filter->id != NULL && !bailey_bytes_is(field(letter, "id"), filter->id))
        return false;
    for (size_t i = 0; i < filter->count; i++)
        if (!(filter->tests[i].is_header ? header_agrees(&filter->tests[i], letter)
                                         : agrees(&filter->tests[i], field(letter, filter->tests[i].name))))
            return false;
    return true;
}

/* ---- JSON ---- */

static void add_member(struct text *out, const char *name, struct bailey_bytes value)
{
    if (value.data == NULL)
        return;
    text_printf(out, ",\"%s\":", name);
    text_add_json(out, (const char *)value.data, value.len);
}

static void add_json_headers(struct text *out, const struct bailey_message *letter)
{
    bool first = true;

    text_add(out, ",\"headers\":[");
    for (uint32_t i = 0; i < letter->header_count; i++) {
        const struct bailey_header *header = &letter->headers[i];
        struct text value = {0};

        if (is_ours(header))
            continue;
        add_value(&value, &header->value);
        text_add(out, first ? "{\"name\":" : ",{\"name\":");
        text_add_json(out, (const char *)header->name.data, header->name.len);
        text_printf(out, ",\"kind\":\"%c\",\"value\":", (char)header->value.kind);
        text_add_json(out, value.data == NULL ? "" : value.data, value.len);
        text_add(out, "}");
        text_free(&value);
        first = false;
    }
    text_add(out, "]");
}

void letter_add_json(struct text *out, const struct bailey_message *letter, bool whole)
{
    text_printf(out, "{\"bytes\":%zu,\"tombstone\":%s", letter->body.len, letter->body.data == NULL ? "true" : "false");
    add_member(out, "route", field(letter, "route"));
    for (const char *const *name = fields; *name != NULL; name++)
        add_member(out, *name, field(letter, *name));
    add_member(out, "message_id", letter->message_id);
    if (whole) {
        add_member(out, "content_type", letter->content_type);
        add_member(out, "content_encoding", letter->content_encoding);
        add_member(out, "correlation_id", letter->correlation_id);
        add_member(out, "reply_to", letter->reply_to);
        add_member(out, "type", letter->type);
        add_json_headers(out, letter);
        if (bailey_utf8_valid(letter->body)) {
            add_member(out, "body", letter->body);
        } else {
            text_add(out, ",\"body_base64\":\"");
            text_add_base64(out, letter->body.data, letter->body.len);
            text_add(out, "\"");
        }
    }
    text_add(out, "}");
}
