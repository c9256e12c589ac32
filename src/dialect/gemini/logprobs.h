/*
 * Probabilities of tokens: Gemini's logprobsResult and the neutral form, which is OpenAI's array.
 * Any thread; nothing yields.
 * Writers append to the caller's buf.
 * They fail only by the buf's own flag; what is not of the form is left out.
 * Source: ai.google.dev/api/generate-content#LogprobsResult, OpenAI's chat completions.
 */
#ifndef WEIR_DIALECT_GEMINI_LOGPROBS_H
#define WEIR_DIALECT_GEMINI_LOGPROBS_H

#include "base/buf.h"

/* logprobsResult -> [{"token","logprob","bytes","top_logprobs"}]. Nothing where it names no token.
 */
void gemini_read_logprobs(struct buf *out, struct str result);
/* The other way: {"topCandidates":[...],"chosenCandidates":[...]}. */
void gemini_write_logprobs(struct buf *out, struct str tokens);

#endif
