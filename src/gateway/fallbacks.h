/*
 * What a client says itself about other models to try: a member "fallbacks" of the body (in every
 * dialect), and the header x-weir-fallback: off.
 * The request's task.
 * fallbacks_take yields (it may answer).
 * Names live in the exchange's arena.
 * A list that is none is refused with 400.
 */
#ifndef WEIR_GATEWAY_FALLBACKS_H
#define WEIR_GATEWAY_FALLBACKS_H

#include "gateway/request_facts.h"
#include "rt/task.h"

struct exchange;

/* After the scan: the member is taken out of the body, whose scan is made anew. 0 or -ERR_x after
 * it has answered. */
YIELDS int fallbacks_take(struct exchange *ex);

/* The client wants the first target or none. */
bool fallbacks_are_off(const struct exchange *ex);

#endif
