/*
 * The head of a request as we send it upstream.
 * Any thread; nothing yields.
 * The text is appended to the caller's buf.
 * -ERR_INVALID when the request cannot be written safely, -ERR_NOMEM.
 * RFC 9112 section 3; nothing that a value holds can begin another line.
 */
#ifndef WEIR_HTTP_CLIENT_REQUEST_H
#define WEIR_HTTP_CLIENT_REQUEST_H

#include "http/client.h"

/* 0 when the head can be written: to know before a connection is taken. */
int client_check_request(const struct http_origin *origin, const struct http_call_request *request);
/* True for headers that we decide ourselves, and what belongs to the other hop. */
bool client_leaves_out(struct str name);
/* True when the head says how long the body is. */
bool client_has_length(const struct http_call_request *request);
/* Of a request that was checked. */
int client_write_head(struct buf *out, const struct http_origin *origin,
                      const struct http_call_request *request);

#endif
