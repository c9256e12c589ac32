/*
 * What the Responses API keeps: an answer that was stored is read, cancelled, deleted, listed where
 * it was made.
 * The request's task.
 * responses_pass_on yields.
 * Ids are not rewritten: an answer that weir did not keep itself (response_store.h) belongs to a
 * provider, which is found by asking.
 * 404 in OpenAI's words when no provider knows the id.
 */
#ifndef WEIR_GATEWAY_RESPONSES_H
#define WEIR_GATEWAY_RESPONSES_H

#include "gateway/exchange.h"

YIELDS void responses_pass_on(struct exchange *ex);

/* Puts what came before into the body of a request that names it as previous_response_id, for a
 * provider that knows no such thing. 0, or a negative code after a refusal. */
YIELDS int response_expand(struct exchange *ex);
/* The same without a word to the client, for an answer that has begun: *body is what to send in
 * place of ex->body, which stays. -ERR_INVALID where what came before is not known here. */
int response_expanded(struct exchange *ex, struct str *body);
/* Keeps the answer (a response object) to what is in ex->body, unless store is false. */
void response_keep(struct exchange *ex, struct str response);

#endif
