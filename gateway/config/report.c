/* config/report.c: findings of a connector's check() get the place of the option that they name. */
#include <unistd.h>

#include "config/loader.h"
#include "loop/tls.h"

static struct place report_place(const struct bailey_report *report, const char *option)
{
    struct place at = {0};

    if (report->end == NULL)
        return option_place(report->broker, option);
    at = option_place(report->end, option);
    if (at.line == report->end->at.line && at.column == report->end->at.column &&
        yaml_child(report->end, option) == NULL && option[0] != '\0' && yaml_child(report->broker, option) != NULL)
        at = option_place(report->broker, option);
    return at;
}

void bailey_report_error(struct bailey_report *report, const char *option, const char *fmt, ...)
{
    va_list args;

    report->failed = true;
    va_start(args, fmt);
    findings_add(report->findings, false, report_place(report, option), fmt, args);
    va_end(args);
}

void bailey_report_warning(struct bailey_report *report, const char *option, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    findings_add(report->findings, true, report_place(report, option), fmt, args);
    va_end(args);
}

void bailey_report_key(struct bailey_report *report, const char *option, const char *key,
                       const struct bailey_credential *password)
{
    struct bailey_error err = {0};

    if (access(key, R_OK) == 0 && !tls_key_usable(key, password, &err))
        bailey_report_error(report, option, "%s. %s", err.text, err.hint);
}
