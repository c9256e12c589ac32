/*
 * What keeps a conversation going by `previous_response_id` where the provider does not: the items
 * of earlier turns are put before those of the new request.
 * Any thread; nothing yields; pure: the caller stores and finds what is kept.
 * Nothing is owned; both functions append to the caller's buf.
 * -ERR_INVALID when a document is not of the API's shape, -ERR_NOMEM.
 * Source: platform.openai.com/docs/guides/conversation-state.
 */
#ifndef WEIR_DIALECT_OPENAI_RESPONSES_STATE_H
#define WEIR_DIALECT_OPENAI_RESPONSES_STATE_H

#include "base/arena.h"
#include "base/buf.h"

/*
 * Appends `body` (a valid JSON object) with `stored_items` (a JSON array, as responses_items_of
 * gave it) before its own input and without previous_response_id. All else stays as it was:
 * instructions are not carried over, as in the API.
 */
int openai_responses_expand(struct str stored_items, struct str body, struct arena *arena,
                            struct buf *out);

/*
 * Appends a JSON array: the input items of a request (already expanded, if it went on from an
 * earlier one) and then the output items of the response to it.
 */
int openai_responses_items_of(struct str request_body, struct str response_json, struct buf *out);

#endif
