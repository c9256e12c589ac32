/*
 * A provider as one loop thread calls it: its origin with this thread's TLS context, and the parts
 * of a request that do not change.
 * Built and used on one loop thread; upstream_fini there too.
 * Nothing yields.
 * Strings live in the arena it was built with, which must outlive it.
 * -ERR_INVALID / -ERR_NOMEM with the provider's name in the message.
 */
#ifndef WEIR_GATEWAY_UPSTREAM_H
#define WEIR_GATEWAY_UPSTREAM_H

#include "http/client.h"
#include "provider/credential.h"

struct upstream {
    const struct provider *provider;
    struct http_origin origin;
    struct http_headers *headers; /* by key: a credential that does not change, and the row's own
                                     headers */
    uint32_t *key_weights;
    unsigned key_count;            /* at least 1 */
    struct credential *credential; /* one that must be applied to each request; else NULL */
};

int upstream_init(struct upstream *upstream, struct arena *arena, const struct provider *provider,
                  uint64_t generation);
void upstream_fini(struct upstream *upstream);
/* On the loop thread, once: from now on it can authenticate. 0 or -ERR_NOMEM. */
int upstream_start(struct upstream *upstream);

/* Adds to *headers, which are the request's, what authenticates it. */
YIELDS int upstream_authenticate(const struct upstream *upstream, struct arena *arena,
                                 const struct http_call_request *request,
                                 struct http_headers *headers);

/*
 * Path and query for an operation with a key of the pool: "{model}" in the row's path becomes the
 * model (percent-encoded), for OPERATION_MODELS a model that is given becomes one segment more; a
 * credential that travels in the query is added. ptr NULL when out of memory.
 */
struct str upstream_target(const struct upstream *upstream, unsigned key, struct arena *arena,
                           enum provider_operation operation, struct str model);

/* The same for a path that is none of the row's operations. `adds_model`: as a segment more, where
 * the path has no "{model}". */
struct str upstream_target_at(const struct upstream *upstream, unsigned key, struct arena *arena,
                              struct str path, bool adds_model, struct str model);

/* The name of a key of the pool, for logs; empty where there is but one. */
struct str upstream_key_name(const struct upstream *upstream, unsigned key);

#endif
