/*
 * GET /v1/weir/capabilities?model=NAME: what a target can take, said beforehand.
 * The request's task.
 * It yields (it answers).
 * Nothing is kept.
 * An unknown model is refused as everywhere.
 */
#ifndef WEIR_GATEWAY_CAPABILITIES_H
#define WEIR_GATEWAY_CAPABILITIES_H

#include "gateway/exchange.h"

YIELDS void capabilities_get(struct exchange *ex);

#endif
