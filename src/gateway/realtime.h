/*
 * Sessions of realtime models: a client's WebSocket joined to a provider's. The request takes the
 * way of all others (key, plan, attempts) until a provider has accepted; then frames cross.
 * The request's task, and one of its own for the other direction while a session lasts.
 * What is tagged YIELDS.
 * Lives in the exchange's arena.
 * Before the session an error is an HTTP answer, and another target may be tried; within it, a
 * close frame.
 */
#ifndef WEIR_GATEWAY_REALTIME_H
#define WEIR_GATEWAY_REALTIME_H

#include "http/websocket_handshake.h"

struct exchange;
struct http_call_request;

struct realtime {
    struct ws_offer client;     /* what the client asks for; its credential is taken out */
    struct ws_offer upstream;   /* what this attempt asks for */
    struct ws_agreement agreed; /* what the provider said to that */
    struct str query;           /* of the client, without what the path of the provider says */
    char key[WS_KEY_LEN];
};

/* An endpoint: GET with Upgrade: websocket. */
YIELDS void realtime_run(struct exchange *ex);

/* The credential that browsers send as a subprotocol, since they can set no header
 * (openai-insecure-api-key.KEY); empty = there is none. */
struct str realtime_credential(struct exchange *ex);

/* The phases of an attempt, as those of the exchange: 0, or -ERR_x and it was answered. */
YIELDS int realtime_prepare(struct exchange *ex);
/* Adds to the request what asks for the upgrade. 0 or -ERR_NOMEM. */
int realtime_offer(struct exchange *ex, struct http_call_request *request,
                   struct http_headers *headers);
/* After the head: a session, or what went wrong. */
YIELDS void realtime_relay(struct exchange *ex);

#endif
