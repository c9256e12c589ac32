/*
 * Connecting: resolve, guard, race the addresses (happy eyeballs, RFC 8305), then TLS.
 * Loop threads only.
 * dial yields.
 * On success the io is open and the caller's; on failure it is closed.
 * -ERR_DNS, -ERR_CONNECT, -ERR_TLS, -ERR_FORBIDDEN, -ERR_TIMEOUT, -ERR_CANCELED; fault upstream.
 */
#ifndef WEIR_RT_DIAL_H
#define WEIR_RT_DIAL_H

#include "rt/addr.h"
#include "rt/io.h"
#include "rt/tls.h"

/* Which addresses may be connected to, judged after DNS on the address itself. */
struct dial_policy {
    bool allow_loopback;
    bool allow_private; /* also allows loopback */
    /* With the metadata services of clouds: for fetching the machine's own credentials, never for
     * an address that a request or a provider's row can name. */
    bool allow_link_local;
    /* Reserved addresses are always refused. */
};

/* An HTTP proxy that is asked for a tunnel (CONNECT). host.len 0 = none. */
struct dial_proxy {
    struct str host;
    uint16_t port;
    bool is_tls;
    struct tls_context *tls;  /* how to check a TLS proxy; NULL = as the target is checked */
    struct str authorization; /* value for Proxy-Authorization, or empty; a secret */
};

struct dial_target {
    struct str host;
    uint16_t port;
    struct tls_context *tls; /* NULL = plain */
    struct str tls_host;     /* for SNI and the check; empty = host */
    bool is_http1_only;      /* the handshake offers no h2, whatever `tls` says */
    struct dial_policy policy;
    struct dial_proxy proxy; /* its address is the operator's word: the policy judges the target's
                                literal, names are resolved by the proxy */
};

struct dial_timing {
    int64_t dns_ns, connect_ns, tls_ns;
};

/*
 * TCP_NODELAY and keep-alive are set. With several addresses the next is tried after 250 ms or when
 * one has failed, families alternate, the first that connects wins. Addresses that the policy
 * refuses are left out; when none is left the error is -ERR_FORBIDDEN with the address in the
 * message. The connect deadline covers DNS, connecting and a proxy's answer; the other one TLS with
 * the target. The error's retry is RETRY_YES where nothing has been said about the target that
 * another try could not change (timeouts, refused and reset connections, a failing resolver).
 * `timing` may be NULL.
 * TLS has at most the time between the two deadlines, counted from its own start.
 */
YIELDS int dial(struct io *io, const struct dial_target *target, int64_t connect_deadline_ns,
                int64_t tls_deadline_ns, struct dial_timing *timing);

#endif
