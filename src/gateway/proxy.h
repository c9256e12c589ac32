/*
 * Which HTTP proxy an upstream is reached through: the row's own, or the environment's.
 * While a snapshot is built.
 * Nothing yields.
 * Strings live in the arena.
 * -ERR_INVALID when a proxy's URL is malformed (its password is never in the message).
 */
#ifndef WEIR_GATEWAY_PROXY_H
#define WEIR_GATEWAY_PROXY_H

#include "provider/provider.h"
#include "rt/addr.h"
#include "rt/dial.h"

/* proxy->host stays empty when there is none. HTTPS_PROXY and NO_PROXY count for https URLs of
 * rows that name no proxy themselves. */
int proxy_find(struct dial_proxy *proxy, struct arena *arena, const struct provider *provider);

/* True when NO_PROXY (a comma list of hosts, domain suffixes, addresses, networks as 10.0.0.0/8, or
 * "*") names the host. */
bool proxy_is_exempt(struct str no_proxy, struct str host);

#endif
