/* cli/connect.h: how `bailey check --connect` shows what was found. */
#ifndef BAILEY_CLI_CONNECT_H
#define BAILEY_CLI_CONNECT_H

#include "base/text.h"
#include "host/probe.h"

/* Append a table with a row a finding, the missing grants, and a line of sums. */
void connect_add_table(struct text *out, const struct probe_report *report);

/* Append the members "connected", "ends" and "grants", each after a comma. */
void connect_add_json(struct text *out, const struct probe_report *report);

#endif
