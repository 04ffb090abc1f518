/* admin/request.h: the head of an HTTP/1 request (RFC 9112), read strictly.
 *
 * What the RFC only tolerates (a bare line feed, folded lines, space before a colon) is refused: no client of ours
 * sends it, and readings that differ are what request smuggling lives on. Pure functions; any thread.
 */
#ifndef BAILEY_REQUEST_H
#define BAILEY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>

enum { REQUEST_HEAD_MAX = 8192, REQUEST_FIELDS_MAX = 64 };

enum request_method { REQUEST_GET, REQUEST_HEAD, REQUEST_OTHER };

struct request {
    enum request_method method;
    const char *path; /* into the data, without the query; begins with '/' */
    size_t path_len;
    const char *host; /* into the data: `Host:`, or the authority of an absolute target; NULL if there is none */
    size_t host_len;
    bool has_origin; /* `Origin:`: a script in a browser asks */
    bool has_body;   /* Content-Length above 0, or Transfer-Encoding */
    bool keep_alive; /* the connection may carry another request */
};

/* Read the head that `data` begins with. Returns its length with the empty line that ends it (then `request` is
 * filled), 0 if it is not complete yet, or the negative HTTP status to refuse it with: 400, 431 (too many fields, or no
 * end within REQUEST_HEAD_MAX), 505. */
int request_parse(const char *data, size_t len, struct request *request);

/* True if `host` (with or without port) is an address, "localhost" or one of `names` (NULL ends them; case is ignored).
 * A page of another site that reaches us by DNS rebinding makes the browser send that site's name. */
bool request_host_allowed(const char *host, size_t len, const char *const *names);

#endif
