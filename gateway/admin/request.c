/* Reads line by line between the CRLFs. A head is complete when the empty line is there: until then only its length and
 * bare line feeds are looked at, so a client that sends byte by byte costs little. */
#include "admin/request.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

struct span {
    const char *data;
    size_t len;
};

static bool equals(struct span span, const char *word)
{
    return span.len == strlen(word) && memcmp(span.data, word, span.len) == 0;
}

static bool equals_nocase(struct span span, const char *word)
{
    return span.len == strlen(word) && strncasecmp(span.data, word, span.len) == 0;
}

/* RFC 9110, 5.6.2 */
static bool is_token(struct span span)
{
    for (size_t i = 0; i < span.len; i++) {
        unsigned char c = (unsigned char)span.data[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

        if (!alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return span.len > 0;
}

/* No control character but the tab. */
static bool is_text(struct span span)
{
    for (size_t i = 0; i < span.len; i++) {
        unsigned char c = (unsigned char)span.data[i];

        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Cut off what stands before the first `c`, and `c` itself. False if there is none. */
static bool cut(struct span *rest, char c, struct span *before)
{
    const char *at = memchr(rest->data, c, rest->len);

    if (at == NULL)
        return false;
    *before = (struct span){rest->data, (size_t)(at - rest->data)};
    rest->len -= before->len + 1;
    rest->data = at + 1;
    return true;
}

static struct span trimmed(struct span span)
{
    while (span.len > 0 && (span.data[0] == ' ' || span.data[0] == '\t'))
        span.data++, span.len--;
    while (span.len > 0 && (span.data[span.len - 1] == ' ' || span.data[span.len - 1] == '\t'))
        span.len--;
    return span;
}

/* ---- The request line ---- */

/* "/path?query", or "http://authority/path?query", whose authority counts instead of Host (RFC 9112, 3.2.2). */
static bool read_target(struct span target, struct request *request)
{
    static const char scheme[] = "http://";
    struct span path;

    if (target.len > strlen(scheme) && strncasecmp(target.data, scheme, strlen(scheme)) == 0) {
        const char *host = target.data + strlen(scheme), *end = target.data + target.len;
        const char *slash = memchr(host, '/', (size_t)(end - host));

        if (slash == NULL)
            return false;
        request->host = host;
        request->host_len = (size_t)(slash - host);
        target = (struct span){slash, (size_t)(end - slash)};
    }
    if (target.len == 0 || target.data[0] != '/' || !is_text(target))
        return false;
    request->path = target.data;
    request->path_len = cut(&target, '?', &path) ? path.len : target.len;
    return true;
}

static int read_request_line(struct span line, struct request *request)
{
    struct span method, target;

    if (!cut(&line, ' ', &method) || !is_token(method) || !cut(&line, ' ', &target))
        return -400;
    if (line.len != strlen("HTTP/1.1") || memcmp(line.data, "HTTP/", 5) != 0)
        return -400;
    if (!equals(line, "HTTP/1.1") && !equals(line, "HTTP/1.0"))
        return -505;
    request->keep_alive = equals(line, "HTTP/1.1");
    request->method = equals(method, "GET") ? REQUEST_GET : equals(method, "HEAD") ? REQUEST_HEAD : REQUEST_OTHER;
    return read_target(target, request) ? 1 : -400;
}

/* ---- Fields ---- */

struct fields {
    size_t count;
    struct span host;
    bool has_host, has_length, close, keep_alive;
};

static void read_connection(struct span value, struct fields *fields)
{
    struct span word;
    bool more;

    do {
        more = cut(&value, ',', &word);
        word = trimmed(more ? word : value);
        fields->close |= equals_nocase(word, "close");
        fields->keep_alive |= equals_nocase(word, "keep-alive");
    } while (more);
}

/* A length that is no number, or given twice, is refused; how long the body is does not matter to us. */
static int read_length(struct span value, struct fields *fields, struct request *request)
{
    if (fields->has_length || value.len == 0)
        return -400;
    fields->has_length = true;
    for (size_t i = 0; i < value.len; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return -400;
        request->has_body |= value.data[i] != '0';
    }
    return 1;
}

static int read_field(struct span line, struct fields *fields, struct request *request)
{
    struct span name;

    if (++fields->count > REQUEST_FIELDS_MAX)
        return -431;
    if (!cut(&line, ':', &name) || !is_token(name) || !is_text(line))
        return -400;
    struct span value = trimmed(line);

    if (equals_nocase(name, "host")) {
        if (fields->has_host)
            return -400;
        fields->has_host = true;
        fields->host = value;
    } else if (equals_nocase(name, "content-length")) {
        return read_length(value, fields, request);
    } else if (equals_nocase(name, "connection")) {
        read_connection(value, fields);
    }
    request->has_body |= equals_nocase(name, "transfer-encoding");
    request->has_origin |= equals_nocase(name, "origin");
    return 1;
}

/* What follows from the fields together. */
static int conclude(const struct fields *fields, struct request *request)
{
    bool http_1_1 = request->keep_alive;

    if (http_1_1 && !fields->has_host)
        return -400;
    if (fields->has_host && request->host == NULL) {
        request->host = fields->host.data;
        request->host_len = fields->host.len;
    }
    /* What follows a body that nobody reads is no request. */
    request->keep_alive = (http_1_1 || fields->keep_alive) && !fields->close && !request->has_body;
    return 1;
}

/* ---- The head ---- */

/* The head is not complete: can it still become one? */
static int unfinished(const char *data, size_t len)
{
    for (const char *lf = memchr(data, '\n', len); lf != NULL; lf = memchr(lf + 1, '\n', len - (size_t)(lf + 1 - data)))
        if (lf == data || lf[-1] != '\r')
            return -400;
    return 0;
}

int request_parse(const char *data, size_t len, struct request *request)
{
    struct fields fields = {0};
    size_t skipped = 0;
    int result;

    *request = (struct request){0};
    while (skipped < 4 && len - skipped >= 2 && memcmp(data + skipped, "\r\n", 2) == 0)
        skipped += 2; /* RFC 9112, 2.2: empty lines before a request are ignored; two are enough */
    const char *begin = data + skipped, *end = memmem(begin, len - skipped, "\r\n\r\n", 4);
    if (len >= REQUEST_HEAD_MAX && (end == NULL || end - data + 4 > REQUEST_HEAD_MAX))
        return -431;
    if (end == NULL)
        return unfinished(begin, len - skipped);

    struct span rest = {begin, (size_t)(end - begin) + 2}, line;
    for (bool first = true; cut(&rest, '\n', &line); first = false) {
        if (line.len == 0 || line.data[line.len - 1] != '\r')
            return -400;
        line.len--;
        result = first ? read_request_line(line, request) : read_field(line, &fields, request);
        if (result < 0)
            return result;
    }
    result = conclude(&fields, request);
    return result < 0 ? result : (int)(end - data) + 4;
}

/* ---- Host ---- */

/* "name", "name:port", "1.2.3.4:port", "[::1]:port" → what stands before the port, without brackets. */
static bool split_port(struct span host, struct span *name, bool *brackets)
{
    const char *end;

    *brackets = host.len > 0 && host.data[0] == '[';
    if (*brackets)
        end = memchr(host.data, ']', host.len);
    else if ((end = memchr(host.data, ':', host.len)) == NULL)
        end = host.data + host.len;
    if (end == NULL)
        return false;
    *name = (struct span){host.data + *brackets, (size_t)(end - host.data) - *brackets};

    struct span port = {end + *brackets, host.len - (size_t)(end - host.data) - *brackets};
    if (port.len > 0 && (port.data[0] != ':' || port.len > 6))
        return false;
    for (size_t i = 1; i < port.len; i++)
        if (port.data[i] < '0' || port.data[i] > '9')
            return false;
    return name->len > 0;
}

static bool is_address(struct span name, bool brackets)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;

    if (name.len >= sizeof text || memchr(name.data, '\0', name.len) != NULL)
        return false;
    memcpy(text, name.data, name.len);
    text[name.len] = '\0';
    return inet_pton(brackets ? AF_INET6 : AF_INET, text, &address) == 1;
}

bool request_host_allowed(const char *host, size_t len, const char *const *names)
{
    struct span name;
    bool brackets;

    if (!split_port((struct span){host, len}, &name, &brackets))
        return false;
    if (is_address(name, brackets) || (!brackets && equals_nocase(name, "localhost")))
        return true;
    for (; !brackets && *names != NULL; names++)
        if (equals_nocase(name, *names))
            return true;
    return false;
}
