/* admin/health.h: the pages /healthz (does the process live?) and /readyz (do all routes run?), as JSON.
 *
 *     /healthz  {"version":1,"status":"ok"}
 *     /readyz   {"version":1,"ready":false,"instance":"gw-1",
 *                "routes":[{"name":"orders","state":"held","reason":"...","since_seconds":1.250,
 *                           "unsettled":10,"unconfirmed":3}],
 *                "brokers":[{"name":"k","connections":1,"expected":2}]}
 *
 * /healthz says nothing of the brokers: a supervisor that restarted us because a broker is away would make it worse.
 */
#ifndef BAILEY_HEALTH_H
#define BAILEY_HEALTH_H

#include "admin/snapshot.h"
#include "base/text.h"

#define HEALTH_TYPE "application/json"

/* Append the page. Any thread: they read nothing but `snapshot`. */
void health_render_live(struct text *out);
void health_render_ready(struct text *out, const struct snapshot *snapshot);

/* Append {"version":1,"error":"..."}, the body of every refusal. */
void health_render_error(struct text *out, const char *error);

#endif
