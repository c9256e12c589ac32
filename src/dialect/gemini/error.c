#include "dialect/gemini/codec.h"
#include "dialect/gemini/member.h"

/* Errors are {"error":{code, message, status, details}}, as such or first in a list. */

static const struct {
    struct str status;
    enum llm_error_kind kind;
} kinds[] = {
    {STR_INIT("INVALID_ARGUMENT"), LLM_ERROR_INVALID_REQUEST},
    {STR_INIT("FAILED_PRECONDITION"), LLM_ERROR_INVALID_REQUEST},
    {STR_INIT("OUT_OF_RANGE"), LLM_ERROR_INVALID_REQUEST},
    {STR_INIT("UNAUTHENTICATED"), LLM_ERROR_AUTHENTICATION},
    {STR_INIT("PERMISSION_DENIED"), LLM_ERROR_PERMISSION},
    {STR_INIT("NOT_FOUND"), LLM_ERROR_NOT_FOUND},
    {STR_INIT("RESOURCE_EXHAUSTED"), LLM_ERROR_RATE_LIMIT},
    {STR_INIT("UNAVAILABLE"), LLM_ERROR_OVERLOADED},
    {STR_INIT("DEADLINE_EXCEEDED"), LLM_ERROR_TIMEOUT},
    {STR_INIT("INTERNAL"), LLM_ERROR_SERVER},
    {STR_INIT("UNKNOWN"), LLM_ERROR_SERVER},
};

/* How each kind is told. */
static const char *const statuses[LLM_ERROR_KIND_COUNT] = {
    [LLM_ERROR_INVALID_REQUEST] = "INVALID_ARGUMENT",
    [LLM_ERROR_AUTHENTICATION] = "UNAUTHENTICATED",
    [LLM_ERROR_PERMISSION] = "PERMISSION_DENIED",
    [LLM_ERROR_NOT_FOUND] = "NOT_FOUND",
    [LLM_ERROR_TOO_LARGE] = "INVALID_ARGUMENT",
    [LLM_ERROR_CONTEXT_LENGTH] = "INVALID_ARGUMENT",
    [LLM_ERROR_CONTENT_POLICY] = "INVALID_ARGUMENT",
    [LLM_ERROR_RATE_LIMIT] = "RESOURCE_EXHAUSTED",
    [LLM_ERROR_QUOTA] = "RESOURCE_EXHAUSTED",
    [LLM_ERROR_TIMEOUT] = "DEADLINE_EXCEEDED",
    [LLM_ERROR_OVERLOADED] = "UNAVAILABLE",
    [LLM_ERROR_SERVER] = "INTERNAL",
};

/* "7s", "0.5s" */
static int64_t delay_ms(struct json_value value)
{
    struct str raw = json_string_raw(value);
    double seconds = 0;
    if (raw.len < 2 || raw.ptr[raw.len - 1] != 's' ||
        !json_number_double((struct json_value){JSON_NUMBER, str_head(raw, raw.len - 1)},
                            &seconds) ||
        !(seconds >= 0 && seconds < 1e9))
        return -1;
    return (int64_t)(seconds * 1000);
}

static void read_details(struct json_value details, struct llm_error *error)
{
    struct gemini_list list;
    struct json_value detail, value;
    gemini_list_init(&list, details);
    while (gemini_list_next(&list, &detail)) {
        if (detail.kind != JSON_OBJECT)
            continue;
        if (gemini_find(detail.text, "retryDelay", &value))
            error->retry_after_ms = delay_ms(value);
        if (gemini_find(detail.text, "reason", &value)) {
            error->code = text_of(value);
            if (text_eq(error->code, STR("API_KEY_INVALID")))
                error->kind = LLM_ERROR_AUTHENTICATION;
        }
    }
}

static void refine(struct llm_error *error)
{
    struct str words = error->message.s;
    if (error->kind != LLM_ERROR_INVALID_REQUEST)
        return;
    if (str_ifind(words, STR("token count")) >= 0 && str_ifind(words, STR("exceeds")) >= 0)
        error->kind = LLM_ERROR_CONTEXT_LENGTH;
    else if (str_ifind(words, STR("API key not valid")) >= 0 ||
             str_ifind(words, STR("API key expired")) >= 0)
        error->kind = LLM_ERROR_AUTHENTICATION;
}

bool gemini_read_error(unsigned status, struct str type_header, struct str body,
                       struct llm_error *error)
{
    struct json_cursor cursor;
    struct json_value value, first, object;
    (void)type_header;
    *error = LLM_ERROR_NONE;
    error->status = status;
    if (status != 0)
        error->kind = llm_error_kind_of_status(status);
    if (!gemini_find(body, "error", &object)) {
        json_cursor_init(&cursor, body);
        if (json_iter_array(&cursor, &first) != 1 || first.kind != JSON_OBJECT ||
            !gemini_find(first.text, "error", &object))
            return false;
    }
    if (object.kind != JSON_OBJECT)
        return false;
    if (status == 0 && gemini_find(object.text, "code", &value)) {
        int64_t code = gemini_count(value);
        if (code >= 400 && code < 600) {
            error->status = (unsigned)code;
            error->kind = llm_error_kind_of_status(error->status);
        }
    }
    if (gemini_find(object.text, "status", &value))
        error->type = text_of(value);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (text_eq(error->type, kinds[i].status))
            error->kind = kinds[i].kind;
    }
    if (gemini_find(object.text, "message", &value))
        error->message = text_of(value);
    refine(error);
    if (gemini_find(object.text, "details", &value))
        read_details(value, error);
    if (error->status == 0)
        error->status = llm_error_status_of_kind(error->kind);
    return true;
}

#define DETAIL(type) "{\"@type\":\"type.googleapis.com/google.rpc." type "\","

static void write_details(const struct llm_error *error, struct buf *out)
{
    bool has_code = error->is_own && text_is_some(error->code);
    if (!has_code && error->retry_after_ms < 0)
        return;
    BUF_LIT(out, ",\"details\":[");
    if (has_code) {
        BUF_LIT(out, DETAIL("ErrorInfo") "\"reason\":");
        text_write(out, error->code);
        BUF_LIT(out, ",\"domain\":\"weir\"}");
    }
    if (error->retry_after_ms >= 0) {
        gemini_comma(out);
        /* A protobuf Duration: "48s", "0.500s". */
        BUF_LIT(out, DETAIL("RetryInfo") "\"retryDelay\":\"");
        buf_add_i64(out, error->retry_after_ms / 1000);
        if (error->retry_after_ms % 1000 != 0)
            buf_printf(out, ".%03d", (int)(error->retry_after_ms % 1000));
        BUF_LIT(out, "s\"}");
    }
    buf_add_char(out, ']');
}

void gemini_write_error(const struct llm_error *error, struct buf *out)
{
    unsigned status = error->status != 0 ? error->status : llm_error_status_of_kind(error->kind);
    BUF_LIT(out, "{\"error\":{\"code\":");
    buf_add_u64(out, status);
    BUF_LIT(out, ",\"message\":");
    text_write(out, error->message);
    buf_printf(out, ",\"status\":\"%s\"", statuses[error->kind]);
    write_details(error, out);
    BUF_LIT(out, "}}");
}
