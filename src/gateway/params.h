/*
 * What a route says of a target's parameters: members of the body as it is sent, set or supplied.
 * Any thread; nothing yields.
 * The result is appended to the caller's buf.
 * -ERR_NOMEM; -ERR_INVALID where a name leads through something that is no object.
 */
#ifndef WEIR_GATEWAY_PARAMS_H
#define WEIR_GATEWAY_PARAMS_H

#include "base/arena.h"
#include "base/buf.h"
#include "route/plan.h"

bool params_are_there(const struct plan_step *step);

/* `body` is a JSON object that was scanned before. Where a route stands in another, the outer one's
 * overrides win, and the inner one's defaults. */
int params_apply(const struct plan_step *step, struct str body, unsigned max_depth,
                 struct arena *arena, struct buf *out);

#endif
