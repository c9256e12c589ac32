#include "dialect/openai_chat/error.h"

#include "base/json.h"

static void add_nullable(struct buf *out, struct str value)
{
    if (value.len == 0)
        BUF_LIT(out, "null");
    else
        buf_add_json(out, value);
}

void openai_error_write(struct buf *out, struct str type, struct str param, struct str code,
                        struct str message)
{
    BUF_LIT(out, "{\"error\":{\"message\":");
    buf_add_json(out, message);
    BUF_LIT(out, ",\"type\":");
    buf_add_json(out, type);
    BUF_LIT(out, ",\"param\":");
    add_nullable(out, param);
    BUF_LIT(out, ",\"code\":");
    add_nullable(out, code);
    BUF_LIT(out, "}}");
}

/* What a type or code means where no status is told; the first that is found in the text counts. */
static const struct {
    const char *word;
    unsigned status;
} status_words[] = {
    {"rate_limit", 429},        {"insufficient_quota", 429}, {"quota", 429},
    {"too_many_requests", 429}, {"overloaded", 503},         {"unavailable", 503},
    {"authentication", 401},    {"invalid_api_key", 401},    {"unauthorized", 401},
    {"permission", 403},        {"not_found", 404},          {"context_length", 400},
    {"invalid_request", 400},   {"validation", 400},         {"content_filter", 400},
    {"timeout", 504},           {"server_error", 500},       {"internal", 500},
    {"tool_use_failed", 400},
};

static unsigned status_of_words(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(status_words); i++) {
        if (str_ifind(text, str_c(status_words[i].word)) >= 0)
            return status_words[i].status;
    }
    return 0;
}

/* A number, or a text of digits, that is an HTTP error status; else 0. */
static unsigned status_of_value(struct json_value value)
{
    struct str text = value.kind == JSON_STRING ? json_string_raw(value) : value.text;
    uint64_t n;
    return str_to_u64(text, &n) && n >= 400 && n <= 599 ? (unsigned)n : 0;
}

static struct str text_of(struct json_value value)
{
    if (value.kind == JSON_STRING)
        return json_string_raw(value);
    return value.kind == JSON_NUMBER ? value.text : STR_EMPTY;
}

/* Members that say what went wrong, inside "error" or beside it. */
static void read_member(struct openai_error *error, struct str key, struct json_value value)
{
    if (str_eq(key, STR("message")) || str_eq(key, STR("detail"))) {
        if (error->message.len == 0)
            error->message = text_of(value);
    } else if (str_eq(key, STR("type"))) {
        error->type = text_of(value);
    } else if (str_eq(key, STR("code"))) {
        error->code = text_of(value);
        if (error->status == 0)
            error->status = status_of_value(value);
    } else if (str_eq(key, STR("status_code")) || str_eq(key, STR("status"))) {
        unsigned status = status_of_value(value);
        if (status != 0)
            error->status = status;
    }
}

static void read_object(struct openai_error *error, struct str object)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    json_cursor_init(&cursor, object);
    while (json_iter_object(&cursor, &key, &value) == 1)
        read_member(error, key, value);
}

bool openai_error_read(struct str document, struct openai_error *error)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    struct json_value inner = {JSON_NONE, STR_EMPTY};
    bool is_error_object = false;
    *error = (struct openai_error){0};
    json_cursor_init(&cursor, document);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (str_eq(key, STR("error")))
            inner = value;
        else if (str_eq(key, STR("object")) && str_eq(json_string_raw(value), STR("error")))
            is_error_object = true;
    }
    bool has_inner =
        inner.kind == JSON_OBJECT || (inner.kind == JSON_STRING && json_string_raw(inner).len > 0);
    if (!has_inner && !is_error_object)
        return false;
    error->raw = has_inner ? inner.text : document;
    if (inner.kind == JSON_OBJECT)
        read_object(error, inner.text);
    else if (inner.kind == JSON_STRING)
        error->message = json_string_raw(inner);
    if (is_error_object)
        read_object(error, document);
    if (error->status == 0)
        error->status = status_of_words(error->type);
    if (error->status == 0)
        error->status = status_of_words(error->code);
    return true;
}
