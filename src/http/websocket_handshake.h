/*
 * The opening handshake of WebSocket over HTTP/1.1 (RFC 6455 section 4), both roles. Sans-I/O.
 * One task at a time; nothing yields.
 * What is written lives in the arena that is given; what is read points into the headers.
 * -ERR_INVALID (a client's request), -ERR_PROTOCOL (an upstream's answer), -ERR_NOMEM, with words
 * in the error slot.
 * The only extension that is let through is permessage-deflate (RFC 7692): frames that another one
 * has changed could not be read.
 */
#ifndef WEIR_HTTP_WEBSOCKET_HANDSHAKE_H
#define WEIR_HTTP_WEBSOCKET_HANDSHAKE_H

#include "http/message.h"

enum {
    WS_KEY_LEN = 24,    /* of Sec-WebSocket-Key */
    WS_ACCEPT_LEN = 28, /* of Sec-WebSocket-Accept */
};

/* What a client asks for. */
struct ws_offer {
    struct str key;        /* empty over HTTP/2 */
    struct str protocols;  /* all it offers, separated by commas; empty = none */
    struct str extensions; /* its permessage-deflate offers, as they came; empty = none */
};

/* True for a request that wants to become a WebSocket, well formed or not. */
bool ws_is_upgrade(const struct http_headers *headers);

/*
 * Reads a client's request; one of METHOD_CONNECT is an extended CONNECT of HTTP/2 (RFC 8441),
 * which needs no Upgrade and has no key. -ERR_INVALID names what is wrong; *status is what it is
 * answered with: 426 for another version than 13 (with Sec-WebSocket-Version: 13), else 400.
 */
int ws_offer_read(struct ws_offer *offer, struct arena *arena, enum http_method method,
                  const struct http_headers *headers, unsigned *status);

/* The next of the protocols offered; false when that was all. */
bool ws_protocol_next(struct str *protocols, struct str *protocol);
bool ws_has_protocol(struct str protocols, struct str protocol);

/* Writes Sec-WebSocket-Accept for a key (section 4.2.2). No NUL. */
void ws_accept(struct str key, char out[WS_ACCEPT_LEN]);
/* A fresh Sec-WebSocket-Key. No NUL. */
void ws_make_key(char out[WS_KEY_LEN]);

/* Adds what a server's answer says beside Upgrade and Connection, without a key no accept: an
 * agreed protocol and agreed extensions where they are not empty. */
int ws_answer_write(struct http_headers *headers, struct arena *arena, struct str key,
                    struct str protocol, struct str extensions);
/* The same for a client's request. `key` must live as long as the headers. */
int ws_offer_write(struct http_headers *headers, struct arena *arena, const struct ws_offer *offer);

struct ws_agreement {
    struct str protocol;   /* empty = none */
    struct str extensions; /* as the server wrote them; empty = none */
    bool has_deflate;
};

/*
 * Reads the answer to `offer`, whose status is 101: the key was accepted, the protocol is one of
 * those offered, and no other extension than an offered permessage-deflate is on.
 */
int ws_answer_read(struct ws_agreement *agreed, struct arena *arena, const struct ws_offer *offer,
                   const struct http_headers *headers);

#endif
