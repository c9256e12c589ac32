#include "dialect/field.h"

/* Where a dialect has no such field, the first column's name stands. */
static const char *const names[FIELD_COUNT][DIALECT_COUNT] = {
    /* openai_chat, anthropic, gemini, bedrock, cohere, openai_responses */
    [FIELD_MAX_TOKENS] = {"max_completion_tokens", "max_tokens", "generationConfig.maxOutputTokens",
                          "inferenceConfig.maxTokens", "max_tokens", "max_output_tokens"},
    [FIELD_TEMPERATURE] = {"temperature", NULL, "generationConfig.temperature",
                           "inferenceConfig.temperature", NULL, NULL},
    [FIELD_TOP_P] = {"top_p", NULL, "generationConfig.topP", "inferenceConfig.topP", "p", NULL},
    [FIELD_TOP_K] = {"top_k", NULL, "generationConfig.topK", "additionalModelRequestFields.top_k",
                     "k", NULL},
    [FIELD_STOP] = {"stop", "stop_sequences", "generationConfig.stopSequences",
                    "inferenceConfig.stopSequences", "stop_sequences", NULL},
    [FIELD_FREQUENCY_PENALTY] = {"frequency_penalty", NULL, "generationConfig.frequencyPenalty",
                                 NULL, NULL, NULL},
    [FIELD_PRESENCE_PENALTY] = {"presence_penalty", NULL, "generationConfig.presencePenalty", NULL,
                                NULL, NULL},
    [FIELD_SEED] = {"seed", NULL, "generationConfig.seed", NULL, NULL, NULL},
    [FIELD_N] = {"n", NULL, "generationConfig.candidateCount", NULL, NULL, NULL},
    [FIELD_LOGPROBS] = {"logprobs", NULL, "generationConfig.responseLogprobs", NULL, NULL, NULL},
    [FIELD_TOP_LOGPROBS] = {"top_logprobs", NULL, "generationConfig.logprobs", NULL, NULL, NULL},
    [FIELD_LOGIT_BIAS] = {"logit_bias", NULL, NULL, NULL, NULL, NULL},
    [FIELD_USER] = {"user", "metadata.user_id", NULL, NULL, NULL, NULL},
    [FIELD_METADATA] = {"metadata", NULL, NULL, "requestMetadata", NULL, NULL},
    [FIELD_SERVICE_TIER] = {"service_tier", NULL, "serviceTier", "serviceTier", NULL, NULL},
    [FIELD_MODALITIES] = {"modalities", NULL, "generationConfig.responseModalities", NULL, NULL,
                          NULL},
    [FIELD_AUDIO] = {"audio", NULL, "generationConfig.speechConfig", NULL, NULL, NULL},
    [FIELD_FORMAT] = {"response_format", "output_config.format",
                      "generationConfig.responseMimeType", "outputConfig", NULL, "text.format"},
    [FIELD_REASONING] = {"reasoning_effort", "thinking", "generationConfig.thinkingConfig",
                         "additionalModelRequestFields.thinking", "thinking", "reasoning"},
    [FIELD_TOOLS] = {"tools", NULL, NULL, "toolConfig.tools", NULL, NULL},
    [FIELD_TOOL_CHOICE] = {"tool_choice", NULL, "toolConfig.functionCallingConfig",
                           "toolConfig.toolChoice", NULL, NULL},
    [FIELD_PARALLEL_TOOLS] = {"parallel_tool_calls", "tool_choice.disable_parallel_tool_use", NULL,
                              NULL, NULL, NULL},
    [FIELD_MESSAGES] = {"messages", NULL, "contents", NULL, NULL, "input"},
    [FIELD_CONTENT] = {"content", NULL, "parts", NULL, NULL, NULL},
    [FIELD_SYSTEM] = {"system", NULL, "systemInstruction.parts", NULL, NULL, "instructions"},
};

const char *llm_field_name(const struct llm_request *request, enum llm_field field)
{
    const char *name = names[field][request->source];
    return name != NULL ? name : names[field][DIALECT_OPENAI_CHAT];
}
