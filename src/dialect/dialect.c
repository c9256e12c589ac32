#include "dialect/dialect.h"

const struct json_want llm_wants_shared[LLM_WANT_OWN] = {LLM_SHARED_WANTS};

static const struct dialect *const dialects[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] = &openai_chat_dialect,
    [DIALECT_ANTHROPIC] = &anthropic_dialect,
    [DIALECT_GEMINI] = &gemini_dialect,
    [DIALECT_BEDROCK] = &bedrock_dialect,
    [DIALECT_COHERE] = &cohere_dialect,
    [DIALECT_OPENAI_RESPONSES] = &openai_responses_dialect,
};

const struct dialect *dialect_of(enum dialect_id id)
{
    CHECK(id < DIALECT_COUNT);
    return dialects[id];
}
