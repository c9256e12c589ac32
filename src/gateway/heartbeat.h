/*
 * Keeps a client's stream alive while a provider is waited for: heartbeats once the head has left,
 * and the head itself where the route wants it early.
 * The request's task begins and ends it; a task of its own writes in between, and only then.
 * What is tagged YIELDS writes to the client.
 * Lives in the exchange's arena.
 * A client that cannot be written to is noticed by the exchange's own next write; heartbeat_now
 * tells of it by the write's -ERR_x.
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

/* For who waits itself, as long as nothing of an answer was sent: when there is something to write
 * next; CLOCK_NEVER = nothing. */
int64_t heartbeat_next_ns(const struct exchange *ex);
/* Writes it: the head, or a heartbeat after it. The head binds to nothing. */
YIELDS int heartbeat_now(struct exchange *ex);

/* The head left early and nothing came of it: the dialect's error event, and the end. */
YIELDS void heartbeat_fail(struct exchange *ex, const struct llm_error *error);

#endif
