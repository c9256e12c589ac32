/*
 * The models that this gateway serves: GET /v1/models and GET /v1/models/{id}.
 * The request's task (and one task a provider while lists are fetched).
 * All yield.
 * Fetched lists live in the thread's snapshot for some minutes.
 * A provider that does not answer is left out and named in x-weir-partial.
 */
#ifndef WEIR_GATEWAY_MODELS_H
#define WEIR_GATEWAY_MODELS_H

#include "rt/task.h"

struct exchange;

/* Routes, aliases, then every provider's models as provider/id. With ?provider=NAME: that
 * provider's own list as it came. */
YIELDS void models_list(struct exchange *ex);
/* One model, as its provider describes it. */
YIELDS void models_get(struct exchange *ex);

#endif
