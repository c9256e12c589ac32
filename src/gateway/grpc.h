/*
 * gRPC through the gateway: calls of any service, message by message, to the providers whose
 * `grpc.services` name it.
 * The request's task, and one more for the way up.
 * grpc_run and grpc_refuse yield.
 * The call lives in the exchange's arena.
 * What fails is told as a status of gRPC: in the head where nothing was sent, else in the trailers.
 */
#ifndef WEIR_GATEWAY_GRPC_H
#define WEIR_GATEWAY_GRPC_H

#include "gateway/operation.h"

struct grpc_call;

/* The request is a call of gRPC: over HTTP/2, by its content type. */
bool grpc_is_call(const struct http_request *http);
extern const struct operation grpc_operation;

/* Ends the call as a refusal with that status of HTTP would. */
YIELDS void grpc_refuse(struct exchange *ex, unsigned status, struct str message);

#endif
