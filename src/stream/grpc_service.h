/*
 * The gRPC services whose messages weir looks into: which model is asked for, what an answer cost.
 * Any thread.
 * Nothing yields.
 * What is found points into the message.
 * A message that is no protobuf tells nothing: it is the upstream's to refuse.
 */
#ifndef WEIR_STREAM_GRPC_SERVICE_H
#define WEIR_STREAM_GRPC_SERVICE_H

#include "base/str.h"
#include "dialect/usage.h"

/* One field of a protobuf message (protobuf.dev/programming-guides/encoding). */
struct protobuf_field {
    uint32_t number;
    uint64_t value;   /* of a number */
    struct str bytes; /* of a text or a message; ptr NULL for a number */
};
/* Takes the next field off the front of *message; false at its end, or where it is cut or broken.
 */
bool protobuf_next(struct str *message, struct protobuf_field *field);

struct grpc_method {
    const char *service; /* a name that ends with '*' is a prefix */
    const char *method;
    uint32_t model_field; /* of the request: a text */
    uint32_t usage_field; /* of the answer: UsageMetadata of Vertex AI; 0 = it tells nothing */
};

/* NULL = its messages are not looked into. */
const struct grpc_method *grpc_method_find(struct str service, struct str method);
/* The model that a request's message, or its beginning, names; empty when it does not. A name like
 * projects/p/locations/l/publishers/google/models/m is told as m. */
struct str grpc_method_model(const struct grpc_method *method, struct str message);
/* Takes what an answer's message tells of tokens; what it does not tell stays. */
void grpc_method_usage(const struct grpc_method *method, struct str message,
                       struct token_usage *usage);

#endif
