/*
 * Counting the tokens of a request without answering it: by the target where it can, else an
 * estimate that says so (x-weir-estimated, and "estimated" in the body).
 * The request's task.
 * It yields.
 * Nothing is kept.
 * Refusals as for an inference.
 */
#ifndef WEIR_GATEWAY_COUNT_TOKENS_H
#define WEIR_GATEWAY_COUNT_TOKENS_H

#include "gateway/exchange.h"

YIELDS void count_tokens_run(struct exchange *ex);

/* About four bytes of English a token, more for other scripts, and what a message, a tool and a
 * picture usually cost beside their text. */
uint64_t count_tokens_estimate(const struct llm_request *request);

#endif
