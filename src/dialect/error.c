#include "dialect/error.h"

const char *const llm_error_kind_names[LLM_ERROR_KIND_COUNT] = {
    [LLM_ERROR_INVALID_REQUEST] = "invalid_request",
    [LLM_ERROR_AUTHENTICATION] = "authentication",
    [LLM_ERROR_PERMISSION] = "permission",
    [LLM_ERROR_NOT_FOUND] = "not_found",
    [LLM_ERROR_TOO_LARGE] = "too_large",
    [LLM_ERROR_CONTEXT_LENGTH] = "context_length",
    [LLM_ERROR_CONTENT_POLICY] = "content_policy",
    [LLM_ERROR_RATE_LIMIT] = "rate_limit",
    [LLM_ERROR_QUOTA] = "quota",
    [LLM_ERROR_TIMEOUT] = "timeout",
    [LLM_ERROR_OVERLOADED] = "overloaded",
    [LLM_ERROR_SERVER] = "server",
};

/* Where a kind stands for several statuses, the first row is the one that it is written with. */
static const struct {
    unsigned status;
    enum llm_error_kind kind;
} statuses[] = {
    {400, LLM_ERROR_INVALID_REQUEST}, {401, LLM_ERROR_AUTHENTICATION}, {402, LLM_ERROR_QUOTA},
    {403, LLM_ERROR_PERMISSION},      {404, LLM_ERROR_NOT_FOUND},      {504, LLM_ERROR_TIMEOUT},
    {408, LLM_ERROR_TIMEOUT},         {413, LLM_ERROR_TOO_LARGE},      {429, LLM_ERROR_RATE_LIMIT},
    {500, LLM_ERROR_SERVER},          {503, LLM_ERROR_OVERLOADED},     {529, LLM_ERROR_OVERLOADED},
};

enum llm_error_kind llm_error_kind_of_status(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        if (statuses[i].status == status)
            return statuses[i].kind;
    }
    return status >= 400 && status < 500 ? LLM_ERROR_INVALID_REQUEST : LLM_ERROR_SERVER;
}

unsigned llm_error_status_of_kind(enum llm_error_kind kind)
{
    if (kind == LLM_ERROR_CONTEXT_LENGTH || kind == LLM_ERROR_CONTENT_POLICY)
        return 400;
    if (kind == LLM_ERROR_QUOTA)
        return 429;
    for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
        if (statuses[i].kind == kind)
            return statuses[i].status;
    }
    return 500;
}
