/* admin/metrics.h: the page /metrics, in Prometheus' text format 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). docs/metrics.md lists what it holds.
 */
#ifndef BAILEY_METRICS_H
#define BAILEY_METRICS_H

#include "admin/snapshot.h"
#include "base/text.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Append the page. Any thread: it reads nothing but `snapshot`. */
void metrics_render(struct text *out, const struct snapshot *snapshot);

#endif
