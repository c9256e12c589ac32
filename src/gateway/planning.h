/*
 * From a request to its plan: what routes may ask of it (facts), and how targets are doing (view).
 * The request's task; planning_forbid any thread.
 * exchange_plan (exchange.h) yields; nothing else does.
 * Facts and plan live in the exchange's arena.
 * -ERR_x after an answer.
 */
#ifndef WEIR_GATEWAY_PLANNING_H
#define WEIR_GATEWAY_PLANNING_H

#include "route/health.h"
#include "route/plan.h"

struct exchange;
struct virtual_key;

/* What health is asked for on behalf of the request. */
void planning_ask(const struct exchange *ex, unsigned provider, struct str model,
                  struct health_ask *ask);

/* The time to an answer of the first step's target that `percent` of them keep: to the first token
 * for streams, to the end otherwise. -1 = not known. */
int64_t planning_answer_ns(const struct exchange *ex, unsigned percent);

/* The step's target is the exchange's from now on. */
void planning_take_step(struct exchange *ex, const struct plan_step *step);

/* Plans `ex->asked` as it would be now, and changes nothing: what POST /v1/weir/plan shows. */
int planning_foresee(struct exchange *ex, struct plan *plan);

/* Takes out what the key may not use; PLAN_FORBIDDEN where nothing is left to begin with.
 * `has_own`: the fallbacks are the request's own list. */
void planning_forbid(struct plan *plan, const struct plan_world *world,
                     const struct virtual_key *key, bool has_own, struct arena *arena);

#endif
