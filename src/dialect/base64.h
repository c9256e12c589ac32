/*
 * Base64 as it stands in JSON: read in either alphabet, with or without padding (Google's JSON has
 * all of these), written in the standard form (RFC 4648 section 4).
 * Any thread; nothing yields.
 * Results live in the arena, or are what was given where nothing had to change.
 * TEXT_NONE / ptr NULL when out of memory or, decoding, when it is no base64.
 */
#ifndef WEIR_DIALECT_BASE64_H
#define WEIR_DIALECT_BASE64_H

#include "base/arena.h"
#include "dialect/text.h"

/* With the standard alphabet and padding; what is no base64 is left as it is. */
struct text base64_standard(struct arena *arena, struct text data);
struct str base64_decode(struct arena *arena, struct str data);
struct str base64_encode(struct arena *arena, struct str bytes);

#endif
