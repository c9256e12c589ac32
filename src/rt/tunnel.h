/*
 * Asking an HTTP proxy for a tunnel: CONNECT (RFC 9110 section 9.3.6).
 * Loop threads only.
 * tunnel_open yields.
 * The io stays the caller's, also on failure.
 * -ERR_CONNECT with what the proxy answered, -ERR_PROTOCOL, and those of the io.
 */
#ifndef WEIR_RT_TUNNEL_H
#define WEIR_RT_TUNNEL_H

#include "rt/io.h"

/*
 * Asks for host:port; afterwards the io leads there. `authorization` is the value for
 * Proxy-Authorization, or empty; it never reaches an error or a log.
 */
YIELDS int tunnel_open(struct io *io, struct str host, uint16_t port, struct str authorization,
                       int64_t deadline_ns);

#endif
