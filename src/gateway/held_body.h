/*
 * The body of a request that came whole and lies in memory, as the `read` and `collect` of its
 * stream give it: for requests that have no connection of their own.
 * The request's task.
 * Nothing yields.
 * The buffer stays the caller's; held_body_collect hands over what is in it.
 * -ERR_LIMIT.
 */
#ifndef WEIR_GATEWAY_HELD_BODY_H
#define WEIR_GATEWAY_HELD_BODY_H

#include "base/buf.h"
#include "http/server.h"

/* All of it in one piece, which lives as long as the buffer. */
void held_body_read(const struct buf *body, struct http_pieces *pieces);
/* Moves it into *out, unless it is larger than `limit` bytes. */
int held_body_collect(struct buf *body, uint64_t limit, struct buf *out);

#endif
