#include "sim/recorded_errors.h"

const struct recorded_error recorded_errors[DIALECT_COUNT][ERRORS_OF_DIALECT] = {
    [DIALECT_OPENAI_CHAT] =
        {{429, "{\"error\":{\"message\":\"Rate limit reached. Please try again in 1.2s.\",\"type\":"
               "\"tokens\",\"param\":null,\"code\":\"rate_limit_exceeded\"}}"},
         {401, "{\"error\":{\"message\":\"Incorrect API key provided\",\"type\":"
               "\"invalid_request_error\",\"param\":null,\"code\":\"invalid_api_key\"}}"},
         {500, "{\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\","
               "\"param\":null,\"code\":null}}"},
         {400, "{\"error\":{\"message\":\"This model's maximum context length is 8192 tokens.\","
               "\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":"
               "\"context_length_exceeded\"}}"},
         {502, "<html><h1>502 Bad Gateway</h1></html>"}},
    [DIALECT_ANTHROPIC] =
        {{529, "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
               "\"Overloaded\"},\"request_id\":\"req_1\"}"},
         {429, "{\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":"
               "\"This request would exceed your organization's rate limit\"}}"},
         {404, "{\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":"
               "\"model: claude-x\"}}"},
         {400, "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
               "\"prompt is too long: 210000 tokens > 200000 maximum\"}}"},
         {503, "upstream connect error or disconnect/reset before headers"}},
    [DIALECT_GEMINI] =
        {{503, "{\"error\":{\"code\":503,\"message\":\"The model is overloaded. Please try again "
               "later.\",\"status\":\"UNAVAILABLE\"}}"},
         {429, "{\"error\":{\"code\":429,\"message\":\"Resource has been exhausted\",\"status\":"
               "\"RESOURCE_EXHAUSTED\"}}"},
         {400, "{\"error\":{\"code\":400,\"message\":\"API key not valid.\",\"status\":"
               "\"INVALID_ARGUMENT\"}}"},
         {403, "{\"error\":{\"code\":403,\"message\":\"Permission denied\",\"status\":"
               "\"PERMISSION_DENIED\"}}"},
         {500, "{\"error\":{\"code\":500,\"message\":\"Internal error\",\"status\":"
               "\"INTERNAL\"}}"}},
    [DIALECT_BEDROCK] = {{429, "{\"message\":\"Too many requests, please wait\"}"},
                         {403, "{\"message\":\"You don't have access to the model\"}"},
                         {400, "{\"message\":\"Input is too long for requested model.\"}"},
                         {503, "{\"message\":\"Service unavailable\"}"},
                         {500, "{\"message\":\"Internal failure\"}"}},
    [DIALECT_COHERE] = {{429, "{\"id\":\"1\",\"message\":\"You are past the per minute limit\"}"},
                        {401, "{\"id\":\"1\",\"message\":\"invalid api token\"}"},
                        {400, "{\"id\":\"1\",\"message\":\"too many tokens: 9 > 8\"}"},
                        {500, "{\"id\":\"1\",\"message\":\"internal server error\"}"},
                        {503, ""}},
    [DIALECT_OPENAI_RESPONSES] =
        {{429, "{\"error\":{\"message\":\"You exceeded your current quota\",\"type\":"
               "\"insufficient_quota\",\"param\":null,\"code\":\"insufficient_quota\"}}"},
         {404, "{\"error\":{\"message\":\"The model does not exist\",\"type\":"
               "\"invalid_request_error\",\"param\":null,\"code\":\"model_not_found\"}}"},
         {500, "{\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\","
               "\"param\":null,\"code\":null}}"},
         {400, "{\"error\":{\"message\":\"Unknown parameter\",\"type\":\"invalid_request_error\","
               "\"param\":\"x\",\"code\":\"unknown_parameter\"}}"},
         {504, ""}},
};
