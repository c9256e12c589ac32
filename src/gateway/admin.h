/*
 * What only operators may see: how every target is doing, and what would become of a request.
 * The request's task.
 * All yield (they write an answer).
 * Own nothing.
 * Asked by a key without `admin`: 403. Without any key: only where nobody but this machine can
 * connect.
 */
#ifndef WEIR_GATEWAY_ADMIN_H
#define WEIR_GATEWAY_ADMIN_H

#include "rt/task.h"

struct exchange;

/* GET /v1/weir/health[?provider=NAME] */
YIELDS void health_page_get(struct exchange *ex);
/* POST /v1/weir/plan[?dialect=NAME&model=NAME&stream=true&key=NAME]: the body is a request as a
 * client would send it. */
YIELDS void plan_page_post(struct exchange *ex);

/* 0, or -ERR_FORBIDDEN after an answer. */
YIELDS int admin_check(struct exchange *ex);

#endif
