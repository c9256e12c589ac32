/*
 * What orchestrators and Prometheus ask for: /healthz, /readyz, /metrics.
 * The request's task.
 * All yield (they write an answer).
 * Own nothing.
 * No key is asked for (metrics: unless metrics.require_key).
 */
#ifndef WEIR_GATEWAY_PROBES_H
#define WEIR_GATEWAY_PROBES_H

#include "rt/task.h"

struct exchange;

YIELDS void probe_health(struct exchange *ex);
YIELDS void probe_ready(struct exchange *ex);
YIELDS void probe_metrics(struct exchange *ex);

#endif
