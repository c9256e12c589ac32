/*
 * Answers of the Responses API that weir keeps itself, so that previous_response_id also works with
 * providers that have no such API. In memory, bounded in bytes and time, off by default.
 * Any thread: one store for the process, behind a lock that is held for a lookup or an insertion;
 * only requests of this API take it.
 * Nothing yields.
 * What is found is copied into the caller's buf. A key sees its own answers only.
 * false when there is no such thing, or no memory to keep it.
 */
#ifndef WEIR_GATEWAY_RESPONSE_STORE_H
#define WEIR_GATEWAY_RESPONSE_STORE_H

#include "base/buf.h"

/* What is kept of one answer: the object itself, and the items that a next turn begins with. */
struct stored_response {
    struct str id, key; /* the virtual key that asked; empty when the gateway is open */
    struct str response, items;
};

/* Bytes that may be kept in all (0 = nothing), and for how long. Takes effect at once. */
void response_store_configure(uint64_t bytes_max, int64_t ttl_ns);

bool response_store_is_on(void);
void response_store_put(const struct stored_response *stored);
/* Either buf may be NULL. */
bool response_store_get(struct str id, struct str key, struct buf *response, struct buf *items);
bool response_store_delete(struct str id, struct str key);

#endif
