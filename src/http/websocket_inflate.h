/*
 * Looks into messages that permessage-deflate has compressed (RFC 7692): one direction of one
 * connection, whose messages share a window. Sans-I/O.
 * One task at a time; nothing yields.
 * The inflater owns its window (about 40 KiB); what comes out is the caller's.
 * NULL without memory. -ERR_LIMIT for a message that gets too large, -ERR_PROTOCOL for broken data,
 * -ERR_NOMEM: nothing after that can be read, and the same comes again from every later call.
 */
#ifndef WEIR_HTTP_WEBSOCKET_INFLATE_H
#define WEIR_HTTP_WEBSOCKET_INFLATE_H

#include "base/buf.h"

struct ws_inflater;

struct ws_inflater *ws_inflater_new(void);
/* NULL is allowed. */
void ws_inflater_free(struct ws_inflater *z);

/*
 * Takes the next piece of a message, in any cut, and appends what it says to *out, which may hold
 * `most` bytes. is_last: the message ends with it. Every compressed message must be given, in
 * order; those that are not compressed must not.
 */
int ws_inflate(struct ws_inflater *z, struct str piece, bool is_last, size_t most, struct buf *out);

#endif
