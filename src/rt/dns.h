/*
 * Names to addresses: c-ares on this loop, with a cache of ours.
 * Each loop thread has its own resolver and cache; dns_fake is per thread too.
 * dns_resolve yields; c-ares itself runs on the loop's stack.
 * The answer is copied into the caller's struct.
 * -ERR_DNS with what the resolver said, -ERR_TIMEOUT, -ERR_CANCELED.
 */
#ifndef WEIR_RT_DNS_H
#define WEIR_RT_DNS_H

#include "rt/addr.h"
#include "rt/task.h"

enum { DNS_ADDRS_MAX = 16 };

struct dns_answer {
    unsigned count;
    struct net_addr addrs[DNS_ADDRS_MAX]; /* with the port; families as the resolver orders them */
};

/*
 * Literals and "localhost" are answered at once. Otherwise: cache with the TTL clamped to
 * [5 s, 300 s], negative answers kept 5 s and failures of the resolver 1 s, one query per name
 * however many ask (single flight), and the stale answer (up to a day old) when the resolver fails
 * or takes longer than 500 ms. /etc/hosts is honoured. A waiter that is cancelled or times out
 * leaves the query running for the others. The error's retry is RETRY_YES when the resolver failed
 * rather than denied the name.
 */
YIELDS int dns_resolve(struct str host, uint16_t port, struct dns_answer *out, int64_t deadline_ns);

/* Made lazily by the first query of a thread; gives everything back before loop_free. */
void dns_thread_fini(void);

/* Servers to ask in place of the system's, "127.0.0.1:5353,..." (kept as a pointer; NULL = the
 * system's). Forgets what this thread knows; no query may be under way. */
void dns_use_servers(const char *csv);

/* The seam: while set, this thread's resolver asks fn instead of the network. fn returns the
 * number of addresses (> 0), -ERR_INVALID for "no such name", or -ERR_DNS for a resolver that
 * fails; *ttl_s is 60 unless set. Setting or removing it forgets what this thread knows. */
typedef int dns_fake_fn(void *ctx, struct str host, struct net_addr out[DNS_ADDRS_MAX],
                        unsigned *ttl_s);
void dns_fake(dns_fake_fn *fn, void *ctx);

#endif
