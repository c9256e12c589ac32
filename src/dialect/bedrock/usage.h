/*
 * Token counts as Bedrock tells them. Input tokens do not include those of the cache.
 * Any thread; nothing yields.
 * Owns nothing.
 * Cannot fail, but by the buf's own flag.
 */
#ifndef WEIR_DIALECT_BEDROCK_USAGE_H
#define WEIR_DIALECT_BEDROCK_USAGE_H

#include "dialect/event.h"

void bedrock_usage_read(struct str object, struct token_usage *usage);
/* The object. Counts that Converse always has are 0 where none was told. */
void bedrock_usage_write(struct buf *out, const struct token_usage *usage);

#endif
