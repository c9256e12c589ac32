/*
 * Operations that call a model: read the body, scan it, plan, attempt, relay.
 * The request's task.
 * inference_run yields.
 * The exchange owns what it makes.
 * Every failure is answered in the client's dialect before it returns.
 */
#ifndef WEIR_GATEWAY_INFERENCE_H
#define WEIR_GATEWAY_INFERENCE_H

#include "rt/task.h"

struct exchange;

YIELDS void inference_run(struct exchange *ex);

#endif
