/*
 * Signatures of reasoning on their way through a dialect that is not their maker's. A client gets
 * them in the place that its dialect has for one, marked with their maker, and sends them back in
 * the next turn; only the maker ever sees them again. Any thread; nothing yields. Results live in
 * the arena. TEXT_NONE / false when out of memory.
 *
 * The mark: "weir:MAKER:PLACE:" before the signature, where MAKER is the dialect's name and PLACE
 * is "thinking" or "call" (it belongs to the tool call that follows: Gemini). A signature without a
 * mark is of the dialect it was found in.
 */
#ifndef WEIR_DIALECT_SIGNATURE_H
#define WEIR_DIALECT_SIGNATURE_H

#include "dialect/request.h"

enum signature_place { SIGNATURE_OF_THINKING, SIGNATURE_OF_CALL };

/* The signature as a client of `reader` is given it: as it is where the reader is its maker and the
 * place is thinking, else marked. */
struct text signature_mark(struct arena *arena, const struct llm_signature *signature,
                           enum signature_place place, enum dialect_id reader);
/* What a client of `reader` sent back. */
struct llm_signature signature_unmark(struct arena *arena, struct text data, enum dialect_id reader,
                                      enum signature_place *place);
/* True when the text of a body holds a mark: then it cannot be passed on as it is. */
bool signature_is_marked(struct str body);

/*
 * After reading a request: a thinking block without text whose signature is a call's (PLACE call)
 * gives it to the call that follows and goes.
 */
void signature_settle(struct llm_request *request);

/*
 * Before writing for `target`: thinking blocks whose signature another dialect made lose it, and
 * those that are nothing without it (redacted, or without text) go. A thinking block without a
 * signature of the target's goes too where `needs_own` (Anthropic and Bedrock refuse one). Noted as
 * "thinking".
 */
struct llm_notes;
void signature_strip(struct llm_request *request, enum dialect_id target, bool needs_own,
                     struct llm_notes *notes);

#endif
