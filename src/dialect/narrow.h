/*
 * What is taken out of a request before a writer sees it, for all dialects alike: what another
 * vendor made or keeps for itself, and what the model is known not to take.
 * Any thread; nothing yields.
 * The request's lists are changed in place; nothing is allocated.
 * Cannot fail; what goes is noted, in the source's own words.
 */
#ifndef WEIR_DIALECT_NARROW_H
#define WEIR_DIALECT_NARROW_H

#include "dialect/target.h"

/*
 * After this no writer sees
 *   - blocks and tools that only another dialect understands,
 *   - a choice of tools that are not there, or that demands a call where none can be demanded,
 *   - Claude Code's billing block and its account in the user id, unless the target is Anthropic's,
 *   - images, audio, video, documents, tools, n, logprobs, sampling parameters, reasoning and a
 *     prefilled answer where the model is known to take none,
 *   - n where the dialect has none (all but OpenAI chat and Gemini); 1 goes without a note.
 */
void llm_request_narrow(struct llm_request *request, enum dialect_id dialect,
                        const struct llm_target *target, struct llm_notes *notes);

/*
 * Claude with a budget refuses a turn that goes on after tool calls which no thinking precedes, and
 * thinking of others cannot be shown to it. Call it after signature_strip: then the wish to think
 * goes for this turn, and is noted. (With adaptive thinking there is no such rule.)
 */
void llm_request_settle_thinking(struct llm_request *request, enum dialect_id dialect,
                                 const struct llm_target *target, struct llm_notes *notes);

#endif
