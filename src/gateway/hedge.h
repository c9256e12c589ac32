/*
 * Hedging: where the policy asks for it, a request that has no answer after a while is sent to a
 * second target, and the client gets whichever answers first. See docs/internals/hedging.md.
 * The request's task; each leg is a detached request on the same thread.
 * hedge_run yields.
 * The race lives in the exchange's arena: hedge_run returns when both legs have ended.
 * Every failure is answered before it returns.
 */
#ifndef WEIR_GATEWAY_HEDGE_H
#define WEIR_GATEWAY_HEDGE_H

#include "rt/task.h"

struct exchange;

/* After the plan. False: nothing was done, the request goes the usual way. */
YIELDS bool hedge_run(struct exchange *ex);

#endif
