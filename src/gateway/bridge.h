/*
 * GET /v1/ws: one WebSocket that carries many requests, each of which goes the whole way of a
 * request of its own and is answered in messages (docs/websocket.md).
 * Loop threads; a socket's requests stay on its thread.
 * bridge_run yields.
 * The socket owns its requests: they are cancelled, and waited for, before it ends.
 * Before the socket an error is an HTTP answer; within it, a message or a close frame.
 */
#ifndef WEIR_GATEWAY_BRIDGE_H
#define WEIR_GATEWAY_BRIDGE_H

#include "rt/task.h"

struct exchange;

YIELDS void bridge_run(struct exchange *ex);

/* This thread's sockets, from now on: idle ones close, busy ones take no new requests and close
 * after the last answer. */
void bridge_drain(void);

#endif
