/*
 * Effort (a word) and budget (tokens), one from the other, by one table for all dialects.
 * Any thread; nothing yields.
 * Nothing is allocated.
 * Unknown words give false.
 *
 *   minimal 1024 (a fraction is not worth less), low 2048, medium 8192, high 24576, xhigh 32768,
 *   max 65536; a budget is the highest word whose tokens it reaches.
 */
#ifndef WEIR_DIALECT_REASONING_H
#define WEIR_DIALECT_REASONING_H

#include "dialect/request.h"

/* Tokens for a word; false for words that are not in the table ("none" is 0). */
bool reasoning_budget_of(struct text effort, uint32_t *tokens);
/* The word for tokens: "low", ... never NULL; "none" for none. */
const char *reasoning_effort_of(double tokens);

/* The wish as a number of tokens, as it was told or as its word says; on without either is
 * medium's. 0 = no wish told, or not to think, or the model is to decide. The caller moves it into
 * what its provider takes (Anthropic: at least 1024, less than max_tokens) and notes that. */
uint32_t reasoning_as_budget(const struct llm_reasoning *reasoning);
/* The wish as a word: the client's own, else from its budget ("none" for off, "medium" for on
 * without more); NULL ptr = no wish told, or the model is to decide. */
struct text reasoning_as_effort(const struct llm_reasoning *reasoning);

#endif
