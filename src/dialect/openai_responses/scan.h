/*
 * What is found in a body on the same-dialect path: indexes into llm_scan.json.found.
 * Any thread; nothing yields.
 * Owns nothing.
 * Cannot fail.
 */
#ifndef WEIR_DIALECT_OPENAI_RESPONSES_SCAN_H
#define WEIR_DIALECT_OPENAI_RESPONSES_SCAN_H

#include "dialect/dialect.h"

enum {
    RESPONSES_WANT_MODEL = LLM_WANT_OWN,
    RESPONSES_WANT_STREAM,
    RESPONSES_WANT_INPUT,
    RESPONSES_WANT_PREVIOUS, /* previous_response_id */
    RESPONSES_WANT_STORE,
    RESPONSES_WANT_BACKGROUND,
    RESPONSES_WANT_CONVERSATION,
    RESPONSES_WANT_COUNT
};

#endif
