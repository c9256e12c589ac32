/*
 * One question to the resolver: c-ares on this thread's loop, without any cache.
 * Only loop threads; each has its own channel. Runs on the loop's stack.
 * Nothing yields.
 * The answer belongs to this module and lasts until the callback returns.
 * Every query calls back exactly once.
 */
#ifndef WEIR_RT_DNS_QUERY_H
#define WEIR_RT_DNS_QUERY_H

#include "rt/dns.h"

enum dns_status {
    DNS_OK,
    DNS_NO_SUCH_NAME, /* the resolver said so: no name, or no address for it */
    DNS_BAD_NAME,     /* not a name that can be asked for */
    DNS_FAILED,       /* no answer from the resolver */
};

struct dns_result {
    enum dns_status status;
    const char *reason; /* a literal, when not DNS_OK */
    unsigned ttl_s;
    struct dns_answer answer; /* ports are 0 */
};

typedef void dns_result_fn(void *arg, const struct dns_result *result);

/* Asks for both families; /etc/hosts, search domains and the order of RFC 6724 apply. fn may be
 * called before it returns. Must run on the loop's stack. */
void dns_query(const char *name, dns_result_fn *fn, void *arg);

/* Gives the channel of this thread back; what is under way calls back with DNS_FAILED. */
void dns_query_fini(void);

/* See dns_use_servers. */
void dns_query_use_servers(const char *csv);

#endif
