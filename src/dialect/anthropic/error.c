#include "dialect/bedrock/error.h"
#include "base/json.h"
#include "dialect/anthropic/codec.h"

/* Types of Anthropic, then the states of Google that Vertex may answer with. */
static const struct {
    const char *type;
    enum llm_error_kind kind;
    unsigned status; /* where none is told */
} types[] = {
    {"invalid_request_error", LLM_ERROR_INVALID_REQUEST, 400},
    {"authentication_error", LLM_ERROR_AUTHENTICATION, 401},
    {"billing_error", LLM_ERROR_QUOTA, 402},
    {"permission_error", LLM_ERROR_PERMISSION, 403},
    {"not_found_error", LLM_ERROR_NOT_FOUND, 404},
    {"request_too_large", LLM_ERROR_TOO_LARGE, 413},
    {"rate_limit_error", LLM_ERROR_RATE_LIMIT, 429},
    {"timeout_error", LLM_ERROR_TIMEOUT, 504},
    {"api_error", LLM_ERROR_SERVER, 500},
    {"overloaded_error", LLM_ERROR_OVERLOADED, 529},
    {"INVALID_ARGUMENT", LLM_ERROR_INVALID_REQUEST, 400},
    {"FAILED_PRECONDITION", LLM_ERROR_INVALID_REQUEST, 400},
    {"UNAUTHENTICATED", LLM_ERROR_AUTHENTICATION, 401},
    {"PERMISSION_DENIED", LLM_ERROR_PERMISSION, 403},
    {"NOT_FOUND", LLM_ERROR_NOT_FOUND, 404},
    {"RESOURCE_EXHAUSTED", LLM_ERROR_RATE_LIMIT, 429},
    {"DEADLINE_EXCEEDED", LLM_ERROR_TIMEOUT, 504},
    {"UNAVAILABLE", LLM_ERROR_OVERLOADED, 503},
    {"INTERNAL", LLM_ERROR_SERVER, 500},
};

static const char *const type_of_kind[LLM_ERROR_KIND_COUNT] = {
    [LLM_ERROR_INVALID_REQUEST] = "invalid_request_error",
    [LLM_ERROR_AUTHENTICATION] = "authentication_error",
    [LLM_ERROR_PERMISSION] = "permission_error",
    [LLM_ERROR_NOT_FOUND] = "not_found_error",
    [LLM_ERROR_TOO_LARGE] = "request_too_large",
    [LLM_ERROR_CONTEXT_LENGTH] = "invalid_request_error",
    [LLM_ERROR_CONTENT_POLICY] = "invalid_request_error",
    [LLM_ERROR_RATE_LIMIT] = "rate_limit_error",
    [LLM_ERROR_QUOTA] = "billing_error",
    [LLM_ERROR_TIMEOUT] = "timeout_error",
    [LLM_ERROR_OVERLOADED] = "overloaded_error",
    [LLM_ERROR_SERVER] = "api_error",
};

/* What an invalid_request_error may be in truth. */
static const struct {
    const char *words;
    enum llm_error_kind kind;
} messages[] = {
    {"prompt is too long", LLM_ERROR_CONTEXT_LENGTH},
    {"exceed context limit", LLM_ERROR_CONTEXT_LENGTH},
    {"exceeds the context window", LLM_ERROR_CONTEXT_LENGTH},
    {"credit balance is too low", LLM_ERROR_QUOTA},
    {"content filtering policy", LLM_ERROR_CONTENT_POLICY},
};

static void refine(struct llm_error *error)
{
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        if (error->kind == LLM_ERROR_INVALID_REQUEST &&
            str_ifind(error->message.s, str_c(messages[i].words)) >= 0)
            error->kind = messages[i].kind;
    }
}

void anthropic_error_value(struct json_value value, struct llm_error *error)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value member;
    int64_t code = 0;
    if (value.kind == JSON_STRING)
        error->message = text_of(value);
    if (value.kind != JSON_OBJECT)
        return;
    json_cursor_init(&cursor, value.text);
    while (json_iter_object(&cursor, &key, &member) == 1) {
        if (json_string_eq(key, STR("message")))
            error->message = text_of(member);
        else if (json_string_eq(key, STR("type")) ||
                 (json_string_eq(key, STR("status")) && !text_is_some(error->type)))
            error->type = text_of(member);
        else if (json_string_eq(key, STR("code")) && !json_number_i64(member, &code))
            error->code = text_of(member);
    }
    if (error->status == 0 && code >= 400 && code < 600) {
        error->status = (unsigned)code;
        error->kind = llm_error_kind_of_status(error->status);
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (!text_eq(error->type, str_c(types[i].type)))
            continue;
        error->kind = types[i].kind;
        if (error->status == 0)
            error->status = types[i].status;
        break;
    }
    refine(error);
}

bool anthropic_read_error(unsigned status, struct str type_header, struct str body,
                          struct llm_error *error)
{
    struct json_value value;
    struct json_cursor cursor;
    *error = LLM_ERROR_NONE;
    error->status = status;
    if (status != 0)
        error->kind = llm_error_kind_of_status(status);
    body = str_trim(body);
    /* Google's errors may stand in an array. */
    if (str_starts(body, STR("["))) {
        json_cursor_init(&cursor, body);
        if (json_iter_array(&cursor, &value) != 1)
            return false;
        body = value.text;
    }
    if (json_find(body, "error", &value)) {
        anthropic_error_value(value, error);
        return text_is_some(error->message) || text_is_some(error->type);
    }
    /* Bedrock's own. */
    if (!bedrock_error_read(status, type_header, body, error))
        return false;
    refine(error);
    return true;
}

void anthropic_write_error(const struct llm_error *error, struct buf *out)
{
    buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":",
               type_of_kind[error->kind]);
    text_write(out, error->message);
    BUF_LIT(out, "}}");
}
