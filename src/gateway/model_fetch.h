/*
 * Fetches providers' model lists, several at a time, and keeps them for a while.
 * The request's task; each fetch is a task of its own on the same loop.
 * model_lists_refresh yields.
 * The lists belong to the thread's snapshot.
 * A fetch that fails leaves an empty list, asked again after a short while.
 */
#ifndef WEIR_GATEWAY_MODEL_FETCH_H
#define WEIR_GATEWAY_MODEL_FETCH_H

#include "gateway/exchange.h"

/* True when the provider's models are asked for upstream: it has a path for them, and the config
 * does not name them one by one. */
bool model_list_is_fetched(const struct provider *provider);

/* Brings every fetched list up to date; 0 or -ERR_CANCELED. */
YIELDS int model_lists_refresh(struct exchange *ex);

#endif
