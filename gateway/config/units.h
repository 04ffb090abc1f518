/* config/units.h: numbers with units, as they are written in the configuration and on the command line.
 *
 * A number is decimal digits, then the unit at once: 250ms, 30s, 16MiB, 10k. No fractions, no two units in one.
 */
#ifndef BAILEY_UNITS_H
#define BAILEY_UNITS_H

#include <stdint.h>

#include "base/text.h"

enum units_result { UNITS_OK, UNITS_NO_NUMBER, UNITS_NO_UNIT, UNITS_BAD_UNIT, UNITS_TOO_LARGE };

/* A whole number, perhaps negative, perhaps with k (1,000) or M (1,000,000). */
enum units_result units_count(const char *str, int64_t *value);

/* Milliseconds; the unit (ms s m h d) is required, but for 0. */
enum units_result units_duration(const char *str, int64_t *ms);

/* Bytes; B, KiB, MiB, GiB, or no unit. */
enum units_result units_size(const char *str, int64_t *bytes);

/* The shortest exact way to write it: 90000 ms is 90s, 65536 bytes are 64KiB, 10000 is 10000. */
void units_add_duration(struct text *text, int64_t ms);
void units_add_size(struct text *text, int64_t bytes);

#endif
