/*
 * The fields of a request as each dialect spells them: a note tells a client of its own words.
 * Any thread; nothing yields.
 * Names are static.
 * Cannot fail.
 */
#ifndef WEIR_DIALECT_FIELD_H
#define WEIR_DIALECT_FIELD_H

#include "dialect/request.h"

enum llm_field {
    FIELD_MAX_TOKENS,
    FIELD_TEMPERATURE,
    FIELD_TOP_P,
    FIELD_TOP_K,
    FIELD_STOP,
    FIELD_FREQUENCY_PENALTY,
    FIELD_PRESENCE_PENALTY,
    FIELD_SEED,
    FIELD_N,
    FIELD_LOGPROBS,
    FIELD_TOP_LOGPROBS,
    FIELD_LOGIT_BIAS,
    FIELD_USER,
    FIELD_METADATA,
    FIELD_SERVICE_TIER,
    FIELD_MODALITIES,
    FIELD_AUDIO,
    FIELD_FORMAT,
    FIELD_REASONING,
    FIELD_TOOLS,
    FIELD_TOOL_CHOICE,
    FIELD_PARALLEL_TOOLS,
    FIELD_MESSAGES,
    FIELD_CONTENT,
    FIELD_SYSTEM,
    FIELD_COUNT
};

/* As the request's source spells it: "generationConfig.topP". Where the source has no such field it
 * is OpenAI's word; never NULL. */
const char *llm_field_name(const struct llm_request *request, enum llm_field field);

#endif
