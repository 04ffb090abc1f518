/* ERROR frames as errors. There are no codes in STOMP: what a text means is guessed from words that brokers use. */
#include "connection_impl.h"

#include <stdio.h>
#include <strings.h>

/* Words of a refusal that only an operator can do something about. */
static const char *const config_words[] = {
    "access refused",      "access denied", "access_refused", "not authorized", "unauthorized", "permission",
    "is invalid",          "security",      "authenticat",    "virtual host",   "bad connect",  "invalid destination",
    "unknown destination", "selector",      "not_allowed",
};

/* Words for a destination that is not there, and is not made by a SEND (RabbitMQ: an exchange; Artemis: without auto-create). */
static const char *const unroutable_words[] = {"no exchange", "destination does not exist"};

static bool has_any(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasestr(text, words[i]) != NULL)
            return true;
    return false;
}

static bool is_config(const char *text)
{
    return has_any(text, config_words, sizeof config_words / sizeof *config_words);
}

bool stomp_reply_is_unroutable(const struct bailey_error *err)
{
    return has_any(err->text, unroutable_words, sizeof unroutable_words / sizeof *unroutable_words);
}

/* The first line of `text`, without what cannot be printed. */
static void first_line(char *out, size_t size, const char *text)
{
    size_t len = 0;

    while (len + 1 < size && text[len] != '\0' && text[len] != '\n' && text[len] != '\r') {
        unsigned char c = (unsigned char)text[len];

        out[len++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
    }
    out[len] = '\0';
}

void stomp_reply_error(struct bailey_error *err, const char *address, const char *message, const char *body)
{
    char head[160], line[160];
    enum bailey_error_kind kind = is_config(message) || is_config(body) ? BAILEY_ERR_CONFIG : BAILEY_ERR_TRANSIENT;

    first_line(head, sizeof head, message);
    first_line(line, sizeof line, body);
    if (head[0] == '\0' && line[0] == '\0')
        snprintf(head, sizeof head, "an ERROR frame without a text");
    if (line[0] == '\0' || strstr(line, head) != NULL ||
        strstr(head, line) != NULL) /* ActiveMQ's stack traces repeat it */
        bailey_fail(err, kind, "%.60s: %.160s", address, head[0] != '\0' ? head : line);
    else
        bailey_fail(err, kind, "%.60s: %.80s: %.90s", address, head, line);
    err->domain = "stomp";
}
