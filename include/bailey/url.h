/* bailey/url.h: the authority of a broker's URL, [user[:password]@]host[:port] (RFC 3986, 3.2). Pure, any thread.
 *
 * No part of a URL is echoed in an error: it may hold a password.
 */
#ifndef BAILEY_URL_H
#define BAILEY_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <bailey/error.h>

/* Where a decoded part goes. */
struct bailey_url_part {
    char *out;        /* gets it, and a NUL; left alone if the URL has no such part */
    size_t size;      /* of `out` */
    const char *word; /* what errors call it: "password" */
};

struct bailey_authority {
    struct bailey_url_part user, password, host; /* the host without the brackets of an IPv6 address */
    uint16_t *port;                              /* left alone if the URL has none */
    bool has_userinfo;                           /* out: an @ was there */
};

/* Read the authority that begins at `text` (behind the scheme's "//"). Returns what follows it: "", or its /, ? or #. The last @
 * of it ends the userinfo, for a password may hold an unescaped one. NULL with a CONFIG error. */
const char *bailey_url_authority(const char *text, struct bailey_authority *authority, struct bailey_error *err);

/* Percent-decode [from, to). False with a CONFIG error: a malformed escape, %00, or too long. */
bool bailey_url_decode(const char *from, const char *to, const struct bailey_url_part *part, struct bailey_error *err);

#endif
