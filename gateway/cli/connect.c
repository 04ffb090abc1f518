/* cli/connect.c: what `bailey check --connect` found, as a table or as JSON. */
#include "cli/connect.h"

#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

enum { COLUMNS = 7, WIDTH_MAX = 60 };

static const char *const titles[COLUMNS] = {"ROUTE", "END", "BROKER", "ADDRESS", "WHAT", "RESULT", "DETAIL"};

static const struct config_broker *broker_of(const struct probe_row *row)
{
    return row->end->broker;
}

static void fill_cells(const struct probe_row *row, const char *cells[COLUMNS])
{
    cells[0] = row->route->name;
    cells[1] = row->end_name;
    cells[2] = broker_of(row)->name;
    cells[3] = row->address[0] != '\0' ? row->address : "-";
    cells[4] = row->what[0] != '\0' ? row->what : "-";
    cells[5] = probe_result_name(row->result);
    cells[6] = row->detail;
}

/* Characters, not bytes. */
static int width_of(const char *str)
{
    int width = 0;

    for (; *str != '\0'; str++)
        width += ((unsigned char)*str & 0xc0) != 0x80;
    return width;
}

static void widen(int widths[COLUMNS], const char *const cells[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        int width = width_of(cells[i]);

        if (width > widths[i])
            widths[i] = width < WIDTH_MAX ? width : WIDTH_MAX;
    }
}

static void add_cells(struct text *out, const int widths[COLUMNS], const char *const cells[COLUMNS])
{
    int last = cells[COLUMNS - 1][0] != '\0' ? COLUMNS - 1 : COLUMNS - 2;

    for (int i = 0; i < last; i++) {
        int pad = widths[i] - width_of(cells[i]);

        text_printf(out, "%s%*s  ", cells[i], pad > 0 ? pad : 0, "");
    }
    text_printf(out, "%s\n", cells[last]);
}

static size_t count_result(const struct probe_report *report, enum bailey_probe_result result)
{
    size_t count = 0;

    for (size_t i = 0; i < report->count; i++)
        count += report->rows[i].result == result;
    return count;
}

static void add_summary(struct text *out, const struct probe_report *report)
{
    const char *between = "";

    for (int result = BAILEY_PROBE_OK; result <= BAILEY_PROBE_UNCHECKED; result++) {
        size_t count = count_result(report, result);

        if (count == 0)
            continue;
        text_printf(out, "%s%zu %s", between, count, probe_result_name(result));
        between = ", ";
    }
    text_add(out, "\n");
}

void connect_add_table(struct text *out, const struct probe_report *report)
{
    const char *cells[COLUMNS];
    int widths[COLUMNS] = {0};

    widen(widths, titles);
    for (size_t i = 0; i < report->count; i++) {
        fill_cells(&report->rows[i], cells);
        widen(widths, cells);
    }
    add_cells(out, widths, titles);
    for (size_t i = 0; i < report->count; i++) {
        fill_cells(&report->rows[i], cells);
        add_cells(out, widths, cells);
        if (report->rows[i].hint[0] != '\0')
            text_printf(out, "    hint: %s\n", report->rows[i].hint);
    }
    if (report->grant_count > 0)
        text_add(out, "what would give the missing permissions:\n");
    for (size_t i = 0; i < report->grant_count; i++)
        text_printf(out, "    %s\n", report->grants[i]);
    add_summary(out, report);
}

static void add_member(struct text *out, const char *name, const char *value)
{
    text_printf(out, ",\"%s\":", name);
    text_add_json(out, value, strlen(value));
}

void connect_add_json(struct text *out, const struct probe_report *report)
{
    text_printf(out, ",\"connected\":%s,\"ends\":[", probe_report_good(report) ? "true" : "false");
    for (size_t i = 0; i < report->count; i++) {
        const struct probe_row *row = &report->rows[i];

        text_printf(out, "%s{\"route\":", i == 0 ? "" : ",");
        text_add_json(out, row->route->name, strlen(row->route->name));
        add_member(out, "end", row->end_name);
        add_member(out, "broker", broker_of(row)->name);
        add_member(out, "connector", broker_of(row)->connector->name);
        add_member(out, "address", row->address);
        add_member(out, "what", row->what);
        add_member(out, "result", probe_result_name(row->result));
        add_member(out, "detail", row->detail);
        add_member(out, "hint", row->hint);
        text_add(out, "}");
    }
    text_add(out, "],\"grants\":[");
    for (size_t i = 0; i < report->grant_count; i++) {
        text_add(out, i == 0 ? "" : ",");
        text_add_json(out, report->grants[i], strlen(report->grants[i]));
    }
    text_add(out, "]");
}
