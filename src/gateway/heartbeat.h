/*
 * Keeps a client's stream alive while a provider is waited for: heartbeats once the head has left,
 * and the head itself where the route wants it early.
 * The request's task begins and ends it; a task of its own writes in between, and only then.
 * heartbeat_end yields.
 * Lives in the exchange's arena.
 * A client that cannot be written to is noticed by the exchange's own next write.
 */
#ifndef WEIR_GATEWAY_HEARTBEAT_H
#define WEIR_GATEWAY_HEARTBEAT_H

#include "dialect/error.h"
#include "rt/task.h"

struct exchange;

/* A wait begins. Nothing happens for what is no stream, nor before the head has left unless the
 * policy wants it early. */
void heartbeat_begin(struct exchange *ex);
/* It is over: nothing is written by anybody else from now on. */
YIELDS void heartbeat_end(struct exchange *ex);

/* The head left early and nothing came of it: the dialect's error event, and the end. */
YIELDS void heartbeat_fail(struct exchange *ex, const struct llm_error *error);

#endif
