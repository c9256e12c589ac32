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

#include "http/channel.h"
#include "http/websocket.h"
#include "http/websocket_handshake.h"

struct exchange;
struct http_call_request;

struct realtime {
    struct ws_offer client;     /* what the client asks for; its credential is taken out */
    struct ws_offer upstream;   /* what this attempt asks for */
    struct ws_agreement agreed; /* what the provider said to that */
    struct str query;           /* of the client, without what the path of the provider says */
    char key[WS_KEY_LEN];
    struct channel channel;  /* to the client */
    struct channel provider; /* to it, until the call is finished */
    bool is_open;        /* the client was answered already: its first message names the model */
    bool is_joined;      /* a provider has accepted */
    bool has_no_model;   /* and the provider is to be told none */
    bool is_passthrough; /* a path of the provider's own, whatever is spoken there */
    /* Where it was: that message, and what came behind it. */
    enum ws_opcode first_opcode;
    struct buf first, ahead;
};

/* An endpoint: GET with Upgrade: websocket, the model in the query (OpenAI, Azure). */
YIELDS void realtime_run(struct exchange *ex);
/* /passthrough/PROVIDER/path: whatever that path of the provider speaks. */
YIELDS void realtime_passthrough_run(struct exchange *ex);
/* The same with the model in the first message (Gemini's BidiGenerateContent): realtime_live.c. */
YIELDS void realtime_live_run(struct exchange *ex);
/* Sends the provider the client's first message, with the target's model in it. 0 or -ERR_x. */
YIELDS int realtime_live_begin(struct exchange *ex);

/* What both begin with: reads the handshake into ex->realtime, which it makes. */
YIELDS int realtime_begin(struct exchange *ex);
/* Plans and tries, as one of the key's sessions. */
YIELDS void realtime_try(struct exchange *ex);

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
