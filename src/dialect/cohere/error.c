#include "dialect/cohere/codec.h"

/* Errors are {"id", "message"}, newer ones with "error_type"; what kind it is stands in the status
 * and in the words. */

static const struct {
    struct str words;
    enum llm_error_kind kind;
} hints[] = {
    {STR_INIT("too many tokens"), LLM_ERROR_CONTEXT_LENGTH},
    {STR_INIT("TOO_MANY_TOKENS"), LLM_ERROR_CONTEXT_LENGTH},
    {STR_INIT("API calls / month"), LLM_ERROR_QUOTA},
    {STR_INIT("billing"), LLM_ERROR_QUOTA},
};

static bool may_be(enum llm_error_kind kind, enum llm_error_kind said)
{
    return kind == LLM_ERROR_CONTEXT_LENGTH ? said == LLM_ERROR_INVALID_REQUEST
                                            : said == LLM_ERROR_RATE_LIMIT;
}

bool cohere_read_error(unsigned status, struct str type_header, struct str body,
                       struct llm_error *error)
{
    static const char *const names[] = {"message", "error_type", NULL};
    struct json_value values[2];
    (void)type_header;
    *error = LLM_ERROR_NONE;
    error->status = status;
    error->kind = llm_error_kind_of_status(status);
    if (status == 498) /* "invalid token" */
        error->kind = LLM_ERROR_AUTHENTICATION;
    if (!cohere_collect(body, names, values) || values[0].kind != JSON_STRING)
        return false;
    error->message = text_of(values[0]);
    error->code = text_of(values[1]);
    for (size_t i = 0; i < ARRAY_LEN(hints); i++) {
        bool is_said = str_ifind(error->message.s, hints[i].words) >= 0 ||
                       text_eq(error->code, hints[i].words);
        if (is_said && may_be(hints[i].kind, error->kind))
            error->kind = hints[i].kind;
    }
    return true;
}

void cohere_write_error(const struct llm_error *error, struct buf *out)
{
    buf_add_char(out, '{');
    if (error->kind == LLM_ERROR_CONTEXT_LENGTH)
        BUF_LIT(out, "\"error_type\":\"TOO_MANY_TOKENS\"");
    cohere_member_text(out, "message", error->message);
    buf_add_char(out, '}');
}
