/*
 * Counting the tokens of a request: POST .../models/M:countTokens, of AI Studio and of Vertex.
 * Any thread; nothing yields.
 * What is read points into the body; what is written is appended to the caller's buf.
 * -ERR_INVALID with words for the client, -ERR_NOMEM.
 * Source: ai.google.dev/api/tokens, cloud.google.com/vertex-ai countTokens, recorded requests.
 */
#ifndef WEIR_DIALECT_GEMINI_COUNT_H
#define WEIR_DIALECT_GEMINI_COUNT_H

#include "dialect/target.h"

/* {"contents":[...]}, Vertex's form with instructions and tools beside them, or
 * {"generateContentRequest":{...}}. */
int gemini_read_count_request(struct str body, struct arena *arena, struct llm_request *request);
/*
 * What counts as input. Contents alone are written as they are: both services take them. With more
 * it is {"generateContentRequest":{"model":"models/M",...}} for AI Studio and all at the top for
 * Vertex: VARIANT_VERTEX, or a model with a path of its own ("publishers/google/models/M").
 */
int gemini_write_count_request(struct llm_request *request, const struct llm_target *target,
                               struct arena *arena, struct llm_notes *notes, struct buf *out);
/* {"totalTokens": 12} -> 12. */
int gemini_read_count(struct str body, int64_t *tokens);

#endif
