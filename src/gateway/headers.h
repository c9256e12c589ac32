/*
 * Which headers cross the gateway, each way: tables of data.
 * Any thread; nothing yields.
 * Lists get pointers to the given strings, nothing is copied.
 * false when out of memory.
 * To a provider goes what is named (a client's cookies and internal headers are no vendor's
 * business); to the client goes all but what is named.
 */
#ifndef WEIR_GATEWAY_HEADERS_H
#define WEIR_GATEWAY_HEADERS_H

#include "dialect/dialect.h"
#include "http/message.h"

/* Who speaks to whom. */
struct headers_way {
    enum dialect_id client, provider;
    bool is_translated; /* a body that is not the client's own: its Accept and Content-Type are not
                         */
};

/* `own` (credential, the row's headers) wins over the client's header of the same name. A body has
 * a Content-Type, JSON unless the client says otherwise. */
bool headers_for_upstream(struct http_headers *out, struct arena *arena,
                          const struct http_headers *client, const struct http_headers *own,
                          const struct headers_way *way, bool has_body);

/* What goes back from the provider: its request ids, rate limits and the like. What a vendor tells
 * only its own SDKs stays here where the client is another's. */
bool headers_for_client(struct http_headers *out, struct arena *arena,
                        const struct http_headers *upstream, const struct headers_way *way);

/* The only value of that name from now on. Without memory the old one stays. */
void headers_replace(struct http_headers *headers, struct arena *arena, struct str name,
                     struct str value);

#endif
