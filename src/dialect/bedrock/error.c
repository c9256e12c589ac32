#include "dialect/bedrock/error.h"

#include "base/json.h"

/* What the names mean. Those of a stream's frames begin with a small letter. */
static const struct {
    const char *name;
    enum llm_error_kind kind;
    unsigned status; /* where none is told */
} names[] = {
    {"ValidationException", LLM_ERROR_INVALID_REQUEST, 400},
    {"SerializationException", LLM_ERROR_INVALID_REQUEST, 400},
    {"ConflictException", LLM_ERROR_INVALID_REQUEST, 400},
    {"UnrecognizedClientException", LLM_ERROR_AUTHENTICATION, 403},
    {"InvalidSignatureException", LLM_ERROR_AUTHENTICATION, 403},
    {"IncompleteSignatureException", LLM_ERROR_AUTHENTICATION, 403},
    {"IncompleteSignature", LLM_ERROR_AUTHENTICATION, 403},
    {"SignatureDoesNotMatch", LLM_ERROR_AUTHENTICATION, 403},
    {"MissingAuthenticationTokenException", LLM_ERROR_AUTHENTICATION, 403},
    {"MissingAuthenticationToken", LLM_ERROR_AUTHENTICATION, 403},
    {"InvalidClientTokenId", LLM_ERROR_AUTHENTICATION, 403},
    {"ExpiredTokenException", LLM_ERROR_AUTHENTICATION, 403},
    {"ExpiredToken", LLM_ERROR_AUTHENTICATION, 403},
    {"RequestExpired", LLM_ERROR_AUTHENTICATION, 403},
    {"NotAuthorized", LLM_ERROR_PERMISSION, 403},
    {"OptInRequired", LLM_ERROR_PERMISSION, 403},
    {"AccessDeniedException", LLM_ERROR_PERMISSION, 403},
    {"AccessDenied", LLM_ERROR_PERMISSION, 403},
    {"ResourceNotFoundException", LLM_ERROR_NOT_FOUND, 404},
    {"UnknownOperationException", LLM_ERROR_NOT_FOUND, 404},
    {"RequestEntityTooLargeException", LLM_ERROR_TOO_LARGE, 413},
    {"ThrottlingException", LLM_ERROR_RATE_LIMIT, 429},
    {"TooManyRequestsException", LLM_ERROR_RATE_LIMIT, 429},
    {"ServiceQuotaExceededException", LLM_ERROR_QUOTA, 429},
    {"ModelNotReadyException", LLM_ERROR_OVERLOADED, 429},
    {"ModelTimeoutException", LLM_ERROR_TIMEOUT, 408},
    {"ServiceUnavailableException", LLM_ERROR_OVERLOADED, 503},
    {"ModelErrorException", LLM_ERROR_SERVER, 424},
    {"ModelStreamErrorException", LLM_ERROR_SERVER, 424},
    {"InternalServerException", LLM_ERROR_SERVER, 500},
    {"InternalFailure", LLM_ERROR_SERVER, 500},
};

/* How an error of each kind is called. */
static const struct {
    const char *type, *stream_type;
} types[LLM_ERROR_KIND_COUNT] = {
    [LLM_ERROR_INVALID_REQUEST] = {"ValidationException", "validationException"},
    [LLM_ERROR_AUTHENTICATION] = {"UnrecognizedClientException", "validationException"},
    [LLM_ERROR_PERMISSION] = {"AccessDeniedException", "validationException"},
    [LLM_ERROR_NOT_FOUND] = {"ResourceNotFoundException", "validationException"},
    [LLM_ERROR_TOO_LARGE] = {"ValidationException", "validationException"},
    [LLM_ERROR_CONTEXT_LENGTH] = {"ValidationException", "validationException"},
    [LLM_ERROR_CONTENT_POLICY] = {"ValidationException", "validationException"},
    [LLM_ERROR_RATE_LIMIT] = {"ThrottlingException", "throttlingException"},
    [LLM_ERROR_QUOTA] = {"ServiceQuotaExceededException", "throttlingException"},
    [LLM_ERROR_TIMEOUT] = {"ModelTimeoutException", "modelStreamErrorException"},
    [LLM_ERROR_OVERLOADED] = {"ServiceUnavailableException", "serviceUnavailableException"},
    [LLM_ERROR_SERVER] = {"InternalServerException", "internalServerException"},
};

/* What models say, by way of a ValidationException, of more tokens than they take. */
static const char *const too_long_words[] = {
    "input is too long",
    "too many input tokens",
    "prompt is too long",
    "context length",
    "context window",
    "maximum number of input tokens",
    "exceeds the maximum number of tokens",
    "input length and",
};

const char *bedrock_error_type(const struct llm_error *error)
{
    return types[error->kind].type;
}

const char *bedrock_stream_error_type(const struct llm_error *error)
{
    return types[error->kind].stream_type;
}

/* "com.amazon.coral.service#X" and "X:http://internal.amazon.com/..." are X. */
static struct str bare_name(struct str name)
{
    struct str head;
    str_cut(&name, ':', &head);
    return str_trim(str_skip(head, (size_t)(str_rindex(head, '#') + 1)));
}

static struct str read_body(struct str body, struct llm_error *error)
{
    struct json_cursor cursor;
    struct str key, type = STR_EMPTY;
    struct json_value value;
    json_cursor_init(&cursor, body);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (value.kind != JSON_STRING)
            continue;
        if (json_string_eq(key, STR("message")) || json_string_eq(key, STR("Message")))
            error->message = text_of(value);
        else if (json_string_eq(key, STR("__type")))
            type = bare_name(json_string_raw(value));
    }
    return type;
}

bool bedrock_error_read(unsigned status, struct str type_header, struct str body,
                        struct llm_error *error)
{
    *error = LLM_ERROR_NONE;
    error->status = status;
    error->kind = llm_error_kind_of_status(status);
    struct str name = read_body(body, error);
    if (type_header.len > 0)
        name = bare_name(type_header);
    if (name.len > 0)
        error->type = text_plain(name);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!str_ieq(name, str_c(names[i].name)))
            continue;
        error->kind = names[i].kind;
        if (status == 0)
            error->status = names[i].status;
        break;
    }
    for (size_t i = 0; i < ARRAY_LEN(too_long_words); i++) {
        if (error->kind == LLM_ERROR_INVALID_REQUEST &&
            str_ifind(error->message.s, str_c(too_long_words[i])) >= 0)
            error->kind = LLM_ERROR_CONTEXT_LENGTH;
    }
    return text_is_some(error->message) || name.len > 0;
}

void bedrock_stream_error_write(const struct llm_error *error, struct buf *out)
{
    BUF_LIT(out, "{\"message\":");
    text_write(out, error->message);
    BUF_LIT(out, "}");
}

void bedrock_error_write(const struct llm_error *error, struct buf *out)
{
    BUF_LIT(out, "{\"message\":");
    text_write(out, error->message);
    BUF_LIT(out, ",\"__type\":\"");
    buf_add_str(out, str_c(bedrock_error_type(error)));
    BUF_LIT(out, "\"}");
}
