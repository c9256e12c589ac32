/*
 * From a request to its plan: what routes may ask of it (facts), and how targets are doing (view).
 * The request's task.
 * exchange_plan (exchange.h) yields; nothing else does.
 * Facts and plan live in the exchange's arena.
 * -ERR_x after an answer.
 */
#ifndef WEIR_GATEWAY_PLANNING_H
#define WEIR_GATEWAY_PLANNING_H

#include "route/health.h"
#include "route/plan.h"

struct exchange;

/* What health is asked for on behalf of the request. */
void planning_ask(const struct exchange *ex, unsigned provider, struct str model,
                  struct health_ask *ask);

/* The time to an answer of the first step's target that `percent` of them keep: to the first token
 * for streams, to the end otherwise. -1 = not known. */
int64_t planning_answer_ns(const struct exchange *ex, unsigned percent);

/* The step's target is the exchange's from now on. */
void planning_take_step(struct exchange *ex, const struct plan_step *step);

/* Plans `ex->asked` and answers nothing: what GET and POST /v1/weir/plan show. */
int planning_make(struct exchange *ex, struct plan *plan);

#endif
