/*
 * A whole (not streamed) answer to chat completions or completions, read for what is accounted.
 * Any thread; nothing yields.
 * Spans point into the body.
 * -ERR_INVALID when the body is no JSON object.
 * Source: platform.openai.com/docs/api-reference/chat/object and recorded answers.
 */
#ifndef WEIR_DIALECT_OPENAI_CHAT_RESPONSE_H
#define WEIR_DIALECT_OPENAI_CHAT_RESPONSE_H

#include "dialect/openai_chat/error.h"
#include "dialect/usage.h"

struct openai_answer {
    bool is_error;
    bool has_usage;
    struct openai_error error;
    struct token_usage usage;
    struct str finish_reason; /* of the first choice; JSON text without quotes */
    struct str model;
};

int openai_answer_read(struct str body, struct openai_answer *answer);

/* Reads a usage object of this dialect over *usage: what is not told stays as it is. */
void openai_usage_read(struct str object, struct token_usage *usage);

#endif
