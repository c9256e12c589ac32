#include "dialect/bedrock/response.h"

static const struct {
    const char *name;
    enum llm_finish finish;
} reasons[] = {
    {"end_turn", FINISH_STOP},
    {"tool_use", FINISH_TOOL_CALLS},
    {"max_tokens", FINISH_LENGTH},
    {"stop_sequence", FINISH_STOP_SEQUENCE},
    {"guardrail_intervened", FINISH_CONTENT_FILTER},
    {"content_filtered", FINISH_CONTENT_FILTER},
    {"model_context_window_exceeded", FINISH_CONTEXT},
    {"malformed_model_output", FINISH_OTHER},
    {"malformed_tool_use", FINISH_OTHER},
    {"refusal", FINISH_REFUSAL},
    {"pause_turn", FINISH_PAUSE},
};

static const char *const names[FINISH_COUNT] = {
    [FINISH_STOP] = "end_turn",
    [FINISH_STOP_SEQUENCE] = "stop_sequence",
    [FINISH_LENGTH] = "max_tokens",
    [FINISH_CONTEXT] = "model_context_window_exceeded",
    [FINISH_TOOL_CALLS] = "tool_use",
    [FINISH_CONTENT_FILTER] = "content_filtered",
    [FINISH_REFUSAL] = "content_filtered",
    [FINISH_PAUSE] = "end_turn",
    [FINISH_OTHER] = "end_turn",
};

enum llm_finish bedrock_finish_of(struct text stop_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (text_eq(stop_reason, str_c(reasons[i].name)))
            return reasons[i].finish;
    }
    return FINISH_OTHER;
}

/* Of those that mean the same here, the one that the provider said. */
const char *bedrock_stop_reason(enum llm_finish finish, struct text raw_finish)
{
    static const char *const own[] = {"guardrail_intervened", "malformed_model_output",
                                      "malformed_tool_use"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (text_eq(raw_finish, str_c(own[i])) && bedrock_finish_of(raw_finish) == finish)
            return own[i];
    }
    return names[finish];
}
