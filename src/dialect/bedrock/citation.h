/*
 * Citations as Bedrock has them: {title, source, sourceContent, location}.
 * Any thread; nothing yields.
 * What is read points into the text or lives in the arena.
 * Reading cannot fail: what is not understood is in `raw` only. Writing fails by the buf's own
 * flag.
 */
#ifndef WEIR_DIALECT_BEDROCK_CITATION_H
#define WEIR_DIALECT_BEDROCK_CITATION_H

#include "dialect/request.h"

void bedrock_citation_read(struct arena *arena, struct json_value value,
                           struct llm_citation *citation);
void bedrock_citation_write(struct buf *out, const struct llm_citation *citation);

/* The texts of a list of {"text"}, one after the other, `separator` (as it stands in a JSON string)
 * between them. Empty when there are none, ptr NULL when out of memory. *count: how many. */
struct text bedrock_texts_join(struct arena *arena, struct json_value list, struct str separator,
                               unsigned *count);

#endif
