#include "dialect/openai_chat/codec.h"
#include "dialect/openai_chat/error.h"

/*
 * Errors of the contract, on top of error.h. Providers of this dialect agree on little:
 * {"error": {...}}, {"error": "text"}, {"object": "error", ...}, {"message"}, {"detail"}.
 */

/* What words of a code or type mean; the first that is found counts. */
static const struct {
    const char *word;
    enum llm_error_kind kind;
} words_of_codes[] = {
    {"context_length", LLM_ERROR_CONTEXT_LENGTH},
    {"exceed_context", LLM_ERROR_CONTEXT_LENGTH},
    {"insufficient_quota", LLM_ERROR_QUOTA},
    {"billing", LLM_ERROR_QUOTA},
    {"insufficient_balance", LLM_ERROR_QUOTA},
    {"rate_limit", LLM_ERROR_RATE_LIMIT},
    {"too_many_requests", LLM_ERROR_RATE_LIMIT},
    {"content_filter", LLM_ERROR_CONTENT_POLICY},
    {"content_policy", LLM_ERROR_CONTENT_POLICY},
    {"responsibleai", LLM_ERROR_CONTENT_POLICY},
    {"invalid_api_key", LLM_ERROR_AUTHENTICATION},
    {"authentication", LLM_ERROR_AUTHENTICATION},
    {"unauthorized", LLM_ERROR_AUTHENTICATION},
    {"permission", LLM_ERROR_PERMISSION},
    {"not_found", LLM_ERROR_NOT_FOUND},
    {"overloaded", LLM_ERROR_OVERLOADED},
    {"unavailable", LLM_ERROR_OVERLOADED},
    {"timeout", LLM_ERROR_TIMEOUT},
    {"server_error", LLM_ERROR_SERVER},
    {"internal", LLM_ERROR_SERVER},
    {"request_too_large", LLM_ERROR_TOO_LARGE},
    {"invalid", LLM_ERROR_INVALID_REQUEST},
};
/* What neither status nor code tell. */
static const struct {
    const char *words;
    enum llm_error_kind kind;
} words_of_messages[] = {
    {"incorrect api key", LLM_ERROR_AUTHENTICATION},
    {"context window", LLM_ERROR_CONTEXT_LENGTH},
    {"maximum context length", LLM_ERROR_CONTEXT_LENGTH},
    {"max context length", LLM_ERROR_CONTEXT_LENGTH},
    {"maximum prompt length", LLM_ERROR_CONTEXT_LENGTH},
    {"exceeded your current quota", LLM_ERROR_QUOTA},
    {"insufficient balance", LLM_ERROR_QUOTA},
};

static bool kind_of_word(struct text text, enum llm_error_kind *kind)
{
    for (size_t i = 0; text.s.len > 0 && i < ARRAY_LEN(words_of_codes); i++) {
        if (str_ifind(text.s, str_c(words_of_codes[i].word)) >= 0) {
            *kind = words_of_codes[i].kind;
            return true;
        }
    }
    return false;
}

static void settle_kind(struct llm_error *error)
{
    enum llm_error_kind kind;
    error->kind = llm_error_kind_of_status(error->status);
    bool has_word = kind_of_word(error->code, &kind) || kind_of_word(error->type, &kind);
    if (has_word && (error->status == 0 || kind != LLM_ERROR_INVALID_REQUEST))
        error->kind = kind;
    bool is_coarse = error->kind == LLM_ERROR_INVALID_REQUEST || error->kind == LLM_ERROR_SERVER ||
                     error->kind == LLM_ERROR_RATE_LIMIT || error->kind == LLM_ERROR_TOO_LARGE;
    for (size_t i = 0; is_coarse && i < ARRAY_LEN(words_of_messages); i++) {
        if (str_ifind(error->message.s, str_c(words_of_messages[i].words)) >= 0)
            error->kind = words_of_messages[i].kind;
    }
}

/* "detail" may be a list of what is wrong (Mistral, vLLM): its first "msg". */
static struct text message_of(struct str body)
{
    static const char *const paths[] = {
        "message", "detail", "detail.message", "detail[0].msg", "message.detail[0].msg", "msg",
    };
    struct json_value value;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (json_find(body, paths[i], &value) && value.kind == JSON_STRING)
            return text_of(value);
    }
    return TEXT_NONE;
}

bool chat_read_error(unsigned status, struct str type_header, struct str body,
                     struct llm_error *error)
{
    struct openai_error read;
    struct json_value value;
    (void)type_header;
    *error = LLM_ERROR_NONE;
    error->status = status;
    error->kind = llm_error_kind_of_status(status);
    if (openai_error_read(body, &read)) {
        error->message = (struct text){read.message, true};
        error->type = (struct text){read.type, true};
        error->code = (struct text){read.code, true};
        if (status == 0)
            error->status = read.status;
        if (read.message.len == 0)
            error->message = message_of(body);
        if (json_find(body, "error.param", &value) || json_find(body, "param", &value))
            error->param = text_of(value);
        if (read.code.len == 0 && json_find(body, "code", &value))
            error->code = text_of(value); /* xAI: beside the text */
    } else {
        error->message = message_of(body);
        if (json_find(body, "code", &value))
            error->code = text_of(value);
        if (json_find(body, "type", &value))
            error->type = text_of(value);
        if (!text_is_some(error->message))
            return false;
    }
    settle_kind(error);
    if (error->status == 0)
        error->status = llm_error_status_of_kind(error->kind);
    return true;
}

/* What the SDKs of this dialect know. */
static const struct {
    const char *type, *code;
} names[LLM_ERROR_KIND_COUNT] = {
    [LLM_ERROR_INVALID_REQUEST] = {"invalid_request_error", NULL},
    [LLM_ERROR_AUTHENTICATION] = {"invalid_request_error", "invalid_api_key"},
    [LLM_ERROR_PERMISSION] = {"invalid_request_error", "permission_denied"},
    [LLM_ERROR_NOT_FOUND] = {"invalid_request_error", "model_not_found"},
    [LLM_ERROR_TOO_LARGE] = {"invalid_request_error", "request_too_large"},
    [LLM_ERROR_CONTEXT_LENGTH] = {"invalid_request_error", "context_length_exceeded"},
    [LLM_ERROR_CONTENT_POLICY] = {"invalid_request_error", "content_policy_violation"},
    [LLM_ERROR_RATE_LIMIT] = {"rate_limit_error", "rate_limit_exceeded"},
    [LLM_ERROR_QUOTA] = {"insufficient_quota", "insufficient_quota"},
    [LLM_ERROR_TIMEOUT] = {"server_error", "timeout"},
    [LLM_ERROR_OVERLOADED] = {"server_error", "overloaded"},
    [LLM_ERROR_SERVER] = {"server_error", NULL},
};

void chat_write_error(const struct llm_error *error, struct buf *out)
{
    struct chat_list members = {out, false};
    const char *code = names[error->kind].code;
    BUF_LIT(out, "{\"error\":{");
    chat_member_text(&members, "message", error->message);
    chat_member_text(&members, "type",
                     error->is_own ? error->type : text_plain(str_c(names[error->kind].type)));
    if (text_is_empty(error->param))
        chat_member_raw(&members, "param", STR("null"));
    else
        chat_member_text(&members, "param", error->param);
    if (code != NULL && !error->is_own)
        chat_member_text(&members, "code", text_plain(str_c(code)));
    else if (!text_is_empty(error->code))
        chat_member_text(&members, "code", error->code);
    else
        chat_member_raw(&members, "code", STR("null"));
    BUF_LIT(out, "}}");
}
