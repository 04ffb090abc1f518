/* base/log.h: how the log is set up (bailey/log.h is how it is written). */
#ifndef BAILEY_BASE_LOG_H
#define BAILEY_BASE_LOG_H

#include <bailey/log.h>

/* Any thread; counts from the next event on. At first: BAILEY_LOG_INFO, text, standard error. */
void log_set_level(enum bailey_log_level level);
void log_set_json(bool json);

/* For log_set_level(): no event at all. */
enum { LOG_LEVEL_NONE = BAILEY_LOG_ERROR + 1 };

/* Write to `fd` instead of standard error, which stays the caller's (tests, `copy`). */
void log_set_fd(int fd);

/* "debug", "info", "warn", "error". */
const char *log_level_name(enum bailey_log_level level);

/* The longest line, with its newline; what does not fit is cut and marked by truncated=true. */
enum { LOG_LINE_MAX = 4096 };

#endif
