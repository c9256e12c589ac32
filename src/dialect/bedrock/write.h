/*
 * Commas and keys of the JSON that is being appended.
 * Any thread; nothing yields.
 * They look at the last byte of the buf to see whether something stands before.
 * Fails by the buf's own flag.
 */
#ifndef WEIR_DIALECT_BEDROCK_WRITE_H
#define WEIR_DIALECT_BEDROCK_WRITE_H

#include "base/buf.h"

/* The key of the next member of the object that is open, with its comma where one is due. */
void bedrock_key(struct buf *out, const char *name);
/* The comma before the next element of the array that is open. */
void bedrock_item(struct buf *out);

#endif
