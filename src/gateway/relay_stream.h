/*
 * The relay of streamed answers, and what both relays share.
 * The request's task.
 * relay_stream and relay_refuse_broken yield.
 * The exchange owns all.
 * A failure before the first event is a whole error answer, one after it the dialect's error event.
 */
#ifndef WEIR_GATEWAY_RELAY_STREAM_H
#define WEIR_GATEWAY_RELAY_STREAM_H

#include "dialect/openai_chat/error.h"
#include "dialect/usage.h"
#include "rt/task.h"

struct exchange;

YIELDS void relay_stream(struct exchange *ex);

/* Usage into the record, after the provider's quirks. */
void relay_note_usage(struct exchange *ex, const struct token_usage *usage);
/* What a provider's error is called, for the record. */
struct str relay_error_class(struct exchange *ex, const struct openai_error *error);
/* The upstream failed before the head was sent: answers, unless it is the client that is gone. */
YIELDS void relay_refuse_broken(struct exchange *ex, int code);

#endif
