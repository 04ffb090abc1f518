/* core/moment.h: moments as people and programs write them. */
#ifndef BAILEY_MOMENT_H
#define BAILEY_MOMENT_H

#include <bailey/message.h>

/* ms since 1970: a whole number of them ("1764370800000"), or RFC 3339 ("2026-11-28T23:00:00Z", "2026-11-28T23:00:00.5+01:00";
 * a space for the T is allowed, as its section 5.6 says). False: it is neither, or out of the years 1970 to 9999. */
bool moment_parse(struct bailey_bytes text, int64_t *wall_ms);

#endif
