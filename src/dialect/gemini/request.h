/*
 * Requests to generateContent and streamGenerateContent: read into the neutral form and written
 * from it.
 * Any thread; nothing yields.
 * As dialect.h says; what is read points into the body.
 * -ERR_INVALID with words for the client, -ERR_NOMEM.
 * Source: ai.google.dev/api/generate-content, cloud.google.com/vertex-ai generateContent.
 */
#ifndef WEIR_DIALECT_GEMINI_REQUEST_H
#define WEIR_DIALECT_GEMINI_REQUEST_H

#include "dialect/dialect.h"

int gemini_read_request(struct str body, struct arena *arena, struct llm_request *request);
int gemini_write_request(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, struct buf *out);

/* The members of the request's object, without the braces; `only_prompt` leaves out what does not
 * count as input: sampling, safety and the like. */
int gemini_write_members(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, bool only_prompt,
                         struct buf *out);

#endif
