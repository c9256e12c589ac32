/*
 * Counting the tokens of a request: POST /v1/messages/count_tokens.
 * Any thread; nothing yields.
 * The body is appended to the caller's buf.
 * -ERR_INVALID with words, -ERR_NOMEM.
 * Source: platform.claude.com/docs/en/api/messages-count-tokens.
 */
#ifndef WEIR_DIALECT_ANTHROPIC_COUNT_H
#define WEIR_DIALECT_ANTHROPIC_COUNT_H

#include "dialect/target.h"

/* As write_request, but without what says how to answer (max_tokens, stream, sampling ...). */
int anthropic_write_count_request(struct llm_request *request, const struct llm_target *target,
                                  struct arena *arena, struct llm_notes *notes, struct buf *out);
/* {"input_tokens": 12} -> 12. */
int anthropic_read_count(struct str body, int64_t *tokens);

#endif
