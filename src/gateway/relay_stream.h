/*
 * The relay of streamed answers, and what both relays share.
 * The request's task.
 * relay_stream and relay_refuse_broken yield.
 * The exchange owns all.
 * A failure before the first event is a whole error answer, one after it the dialect's error event.
 */
#ifndef WEIR_GATEWAY_RELAY_STREAM_H
#define WEIR_GATEWAY_RELAY_STREAM_H

#include "rt/task.h"
#include "stream/observer.h"

struct exchange;

/* `framing` is the provider's. */
YIELDS void relay_stream(struct exchange *ex, enum stream_framing framing);

/* Usage into the record, after the provider's quirks. */
void relay_note_usage(struct exchange *ex, const struct token_usage *usage);
/* What a provider's error is called, for the record. */
struct str relay_error_class(struct exchange *ex, const struct llm_error *error);
/* The upstream's body as one piece: in place where it came with one read, else gathered in *kept.
 */
YIELDS int relay_read_whole(struct exchange *ex, struct buf *kept, struct str *body);
/* In what framing the client reads a stream. */
enum stream_framing relay_client_framing(const struct exchange *ex);
/* What a translation saw of the answer, into the record. */
void relay_note_translation(struct exchange *ex);
/* An answer that is an error, where the client has the beginning of another: the attempts are told
 * what it says. */
YIELDS void relay_note_failed_answer(struct exchange *ex);
/* The upstream failed before the head was sent: answers, unless it is the client that is gone. */
YIELDS void relay_refuse_broken(struct exchange *ex, int code);

#endif
