/*
 * Percent-encoding (RFC 3986 section 2.1).
 * Any thread; nothing yields.
 * Results live in the arena.
 * ptr NULL when out of memory; a '%' that begins no code stays what it is.
 * Everything but the unreserved characters is encoded.
 */
#ifndef WEIR_BASE_PERCENT_H
#define WEIR_BASE_PERCENT_H

#include "base/arena.h"

struct str percent_encode(struct arena *arena, struct str s);
struct str percent_decode(struct arena *arena, struct str s);

#endif
