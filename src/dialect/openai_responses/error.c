#include "dialect/openai_responses/codec.h"

/*
 * Errors: {"error": {"message", "type", "param", "code"}} as a body, the same or a flat one in an
 * `error` event, and {"code", "message"} in a failed response. xAI's is {"code", "error": "text"}.
 */

/* What words of a code or type mean; the first that is found counts. */
static const struct {
    const char *word;
    enum llm_error_kind kind;
} kinds[] = {
    {"context_length", LLM_ERROR_CONTEXT_LENGTH},
    {"insufficient_quota", LLM_ERROR_QUOTA},
    {"billing", LLM_ERROR_QUOTA},
    {"rate_limit", LLM_ERROR_RATE_LIMIT},
    {"too_many_requests", LLM_ERROR_RATE_LIMIT},
    {"content_filter", LLM_ERROR_CONTENT_POLICY},
    {"content_policy", LLM_ERROR_CONTENT_POLICY},
    {"responsibleai", LLM_ERROR_CONTENT_POLICY},
    {"cyber_policy", LLM_ERROR_CONTENT_POLICY},
    {"invalid_api_key", LLM_ERROR_AUTHENTICATION},
    {"authentication", LLM_ERROR_AUTHENTICATION},
    {"unauthorized", LLM_ERROR_AUTHENTICATION},
    {"unauthenticated", LLM_ERROR_AUTHENTICATION},
    {"permission", LLM_ERROR_PERMISSION},
    {"model_not_found", LLM_ERROR_NOT_FOUND},
    {"not_found", LLM_ERROR_NOT_FOUND},
    {"overloaded", LLM_ERROR_OVERLOADED},
    {"unavailable", LLM_ERROR_OVERLOADED},
    {"timeout", LLM_ERROR_TIMEOUT},
    {"server_error", LLM_ERROR_SERVER},
    {"internal", LLM_ERROR_SERVER},
    {"invalid", LLM_ERROR_INVALID_REQUEST},
};

static bool kind_of_words(struct text words, enum llm_error_kind *kind)
{
    for (size_t i = 0; words.s.len > 0 && i < ARRAY_LEN(kinds); i++) {
        if (str_ifind(words.s, str_c(kinds[i].word)) >= 0) {
            *kind = kinds[i].kind;
            return true;
        }
    }
    return false;
}

/* What a status does not tell: some providers answer 400 to a wrong key. */
static const struct {
    const char *words;
    enum llm_error_kind kind;
} messages[] = {
    {"incorrect api key", LLM_ERROR_AUTHENTICATION},
    {"context window", LLM_ERROR_CONTEXT_LENGTH},
    {"maximum context length", LLM_ERROR_CONTEXT_LENGTH},
    {"maximum prompt length", LLM_ERROR_CONTEXT_LENGTH},
    {"exceeded your current quota", LLM_ERROR_QUOTA},
};

/* A status is coarse: the code says more where it says something of the same family. */
static void settle_kind(struct llm_error *error)
{
    enum llm_error_kind kind;
    error->kind = llm_error_kind_of_status(error->status);
    if (kind_of_words(error->code, &kind) || kind_of_words(error->type, &kind)) {
        bool says_more = error->status == 0 || kind != LLM_ERROR_INVALID_REQUEST;
        if (says_more)
            error->kind = kind;
    }
    if (error->kind != LLM_ERROR_INVALID_REQUEST && error->kind != LLM_ERROR_SERVER &&
        error->kind != LLM_ERROR_RATE_LIMIT)
        return;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        if (str_ifind(error->message.s, str_c(messages[i].words)) >= 0)
            error->kind = messages[i].kind;
    }
}

static struct text word_of(struct json_value value)
{
    if (value.kind == JSON_NUMBER)
        return text_plain(value.text);
    return text_of(value);
}

static void read_members(struct str object, struct llm_error *error)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    int64_t status;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (str_eq(key, STR("message")) || str_eq(key, STR("detail")))
            error->message = text_of(value);
        else if (str_eq(key, STR("type")) && !text_eq(text_of(value), STR("error")))
            error->type = text_of(value);
        else if (str_eq(key, STR("code")))
            error->code = word_of(value);
        else if (str_eq(key, STR("param")))
            error->param = text_of(value);
        else if ((str_eq(key, STR("status")) || str_eq(key, STR("status_code"))) &&
                 json_number_i64(value, &status) && status >= 400 && status <= 599)
            error->status = (unsigned)status;
    }
}

void responses_error_value(struct json_value value, struct llm_error *error)
{
    uint64_t n;
    if (value.kind == JSON_OBJECT)
        read_members(value.text, error);
    else if (value.kind == JSON_STRING)
        error->message = text_of(value);
    /* "429": a status in the place of a code. */
    if (error->status == 0 && str_to_u64(error->code.s, &n) && n >= 400 && n <= 599)
        error->status = (unsigned)n;
    settle_kind(error);
    if (error->status == 0)
        error->status = llm_error_status_of_kind(error->kind);
}

bool responses_read_error(unsigned status, struct str type_header, struct str body,
                          struct llm_error *error)
{
    struct json_value inner, code;
    (void)type_header;
    *error = LLM_ERROR_NONE;
    error->status = status;
    error->kind = llm_error_kind_of_status(status);
    if (json_find(body, "error", &inner) &&
        (inner.kind == JSON_OBJECT || inner.kind == JSON_STRING)) {
        if (inner.kind == JSON_STRING && json_find(body, "code", &code))
            error->code = word_of(code);
    } else if (json_find(body, "message", &inner) || json_find(body, "detail", &inner)) {
        inner = (struct json_value){JSON_OBJECT, body};
    } else {
        return false;
    }
    responses_error_value(inner, error);
    return true;
}

static const char *const types[LLM_ERROR_KIND_COUNT] = {
    [LLM_ERROR_INVALID_REQUEST] = "invalid_request_error",
    [LLM_ERROR_AUTHENTICATION] = "authentication_error",
    [LLM_ERROR_PERMISSION] = "permission_error",
    [LLM_ERROR_NOT_FOUND] = "not_found_error",
    [LLM_ERROR_TOO_LARGE] = "invalid_request_error",
    [LLM_ERROR_CONTEXT_LENGTH] = "invalid_request_error",
    [LLM_ERROR_CONTENT_POLICY] = "invalid_request_error",
    [LLM_ERROR_RATE_LIMIT] = "rate_limit_error",
    [LLM_ERROR_QUOTA] = "insufficient_quota",
    [LLM_ERROR_TIMEOUT] = "server_error",
    [LLM_ERROR_OVERLOADED] = "server_error",
    [LLM_ERROR_SERVER] = "server_error",
};
static const char *const codes[LLM_ERROR_KIND_COUNT] = {
    [LLM_ERROR_INVALID_REQUEST] = "invalid_request",
    [LLM_ERROR_AUTHENTICATION] = "invalid_api_key",
    [LLM_ERROR_PERMISSION] = "permission_denied",
    [LLM_ERROR_NOT_FOUND] = "model_not_found",
    [LLM_ERROR_TOO_LARGE] = "request_too_large",
    [LLM_ERROR_CONTEXT_LENGTH] = "context_length_exceeded",
    [LLM_ERROR_CONTENT_POLICY] = "content_policy_violation",
    [LLM_ERROR_RATE_LIMIT] = "rate_limit_exceeded",
    [LLM_ERROR_QUOTA] = "insufficient_quota",
    [LLM_ERROR_TIMEOUT] = "timeout",
    [LLM_ERROR_OVERLOADED] = "server_is_overloaded",
    [LLM_ERROR_SERVER] = "server_error",
};

struct text responses_error_code(const struct llm_error *error)
{
    enum llm_error_kind kind;
    if (error->is_own)
        return error->code;
    /* Its own word, where it is one that these clients can know. */
    if (!text_is_empty(error->code) && kind_of_words(error->code, &kind) && kind == error->kind)
        return error->code;
    return text_plain(str_c(codes[error->kind]));
}

void responses_write_error(const struct llm_error *error, struct buf *out)
{
    struct responses_list members = {out, false};
    BUF_LIT(out, "{\"error\":{");
    responses_member_text(&members, "message", error->message);
    responses_member_text(&members, "type", text_plain(str_c(types[error->kind])));
    if (text_is_empty(error->param))
        responses_member_raw(&members, "param", STR("null"));
    else
        responses_member_text(&members, "param", error->param);
    if (error->kind == LLM_ERROR_INVALID_REQUEST && text_is_empty(error->code))
        responses_member_raw(&members, "code", STR("null"));
    else
        responses_member_text(&members, "code", responses_error_code(error));
    BUF_LIT(out, "}}");
}
