/* host/probe.h: asks the brokers what the routes of a configuration need: `bailey check --connect`.
 *
 * Main thread, which runs a loop of its own until every end has answered. Nothing is created or consumed. All brokers are
 * asked side by side, so that it takes PROBE_MS at most, and PROBE_LATE_MS where a connector breaks its word.
 */
#ifndef BAILEY_PROBE_H
#define BAILEY_PROBE_H

#include "base/text.h"
#include "config/config.h"

enum { PROBE_MS = 10000, PROBE_LATE_MS = 12000, PROBE_ROWS_MAX = 100000 };

struct probe_row {
    const struct config_route *route;
    const struct config_end *end; /* of that route */
    const char *end_name;         /* as in the file: from, to, dead_letter */
    enum bailey_probe_result result;
    char *address, *what, *detail, *hint; /* never NULL; fit to be shown: no control characters, no passwords of URLs */
};

struct probe_report {
    struct probe_row *rows; /* in the order of the routes; from, to, dead_letter */
    size_t count;
    char **grants; /* commands that give what is missing, each once */
    size_t grant_count;
};

/* Ask. False with `err` if no loop can be made. The report belongs to the caller: probe_report_fini(). */
bool probe_routes(const struct config *config, struct probe_report *report, struct bailey_error *err);
void probe_report_fini(struct probe_report *report);

/* Nothing in it stands against a start: all is there, or could not be checked. */
bool probe_report_good(const struct probe_report *report);

/* "ok", "missing", "denied", "refused", "unreachable" or "not checked". */
const char *probe_result_name(enum bailey_probe_result result);

#endif
