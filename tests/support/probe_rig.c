#include "probe_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static void on_found(struct bailey_probe *probe, const struct bailey_probe_row *row)
{
    struct probe_rig *rig = (struct probe_rig *)probe;

    rig->rows++;
    rig->result = row->result;
    snprintf(rig->address, sizeof rig->address, "%s", row->address);
    snprintf(rig->what, sizeof rig->what, "%s", row->what);
    snprintf(rig->detail, sizeof rig->detail, "%s", row->detail);
    snprintf(rig->hint, sizeof rig->hint, "%s", row->hint != NULL ? row->hint : "");
}

static void on_grant(struct bailey_probe *probe, const char *command)
{
    struct probe_rig *rig = (struct probe_rig *)probe;

    snprintf(rig->grant, sizeof rig->grant, "%s", command);
}

static void on_done(struct bailey_probe *probe)
{
    struct probe_rig *rig = (struct probe_rig *)probe;

    assert_false(rig->done);
    rig->done = true;
}

void probe_rig_init(struct probe_rig *rig, struct bailey_host *host, enum bailey_role role, int64_t timeout_ms)
{
    *rig = (struct probe_rig){.probe = {.host = host,
                                        .role = role,
                                        .route = "r",
                                        .lanes = 1,
                                        .timeout_ms = timeout_ms,
                                        .found = on_found,
                                        .grant = on_grant,
                                        .done = on_done}};
}
