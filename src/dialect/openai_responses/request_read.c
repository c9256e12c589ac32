#include "base/err.h"
#include "dialect/openai_responses/codec.h"

/* The body of POST /v1/responses, member by member. */

typedef int member_reader(struct responses_reading *r, struct json_value value);

static int add_extra(struct responses_reading *r, const char *prefix, struct str key,
                     struct json_value value)
{
    return llm_extra_add(r->arena, r->request, str_c(prefix), key, value) ? 0
                                                                          : responses_no_memory();
}

/* An extra that says what holds anyway: no dialect needs to be told, so none can miss it. */
static int add_settled(struct responses_reading *r, const char *name, struct json_value value,
                       bool is_settled)
{
    const struct llm_extra *before = r->request->last_extra;
    int result = add_extra(r, "", str_c(name), value);
    struct llm_extra *added = r->request->last_extra;
    if (added != NULL && added != before)
        added->is_taken = is_settled;
    return result;
}

static int read_bool(struct responses_reading *r, const char *name, struct json_value value,
                     bool *out)
{
    if (value.kind != JSON_TRUE && value.kind != JSON_FALSE)
        return responses_refuse(r, name, "must be a boolean");
    *out = value.kind == JSON_TRUE;
    return 0;
}

static int read_instructions(struct responses_reading *r, struct json_value value)
{
    struct llm_block *block = llm_block_add(r->arena, &r->request->system, BLOCK_TEXT);
    if (block == NULL)
        return responses_no_memory();
    return responses_read_text(r, "instructions", value, &block->text);
}

static int read_stream(struct responses_reading *r, struct json_value value)
{
    return read_bool(r, "stream", value, &r->request->is_stream);
}

static int read_parallel(struct responses_reading *r, struct json_value value)
{
    bool is_yes = false;
    int result = read_bool(r, "parallel_tool_calls", value, &is_yes);
    r->request->parallel_tools = is_yes ? TRI_YES : TRI_NO;
    return result;
}

static int read_store(struct responses_reading *r, struct json_value value)
{
    bool is_yes = false;
    int result = read_bool(r, "store", value, &is_yes);
    return result < 0 ? result : add_settled(r, "store", value, !is_yes);
}

static int read_background(struct responses_reading *r, struct json_value value)
{
    bool is_yes = false;
    int result = read_bool(r, "background", value, &is_yes);
    return result < 0 ? result : add_settled(r, "background", value, !is_yes);
}

static int read_truncation(struct responses_reading *r, struct json_value value)
{
    if (value.kind != JSON_STRING)
        return responses_refuse(r, "truncation", "must be \"auto\" or \"disabled\"");
    return add_settled(r, "truncation", value,
                       json_string_eq(json_string_raw(value), STR("disabled")));
}

/* What is wanted besides: the reasoning's encrypted content always comes along, and logprobs have
 * their own place. */
static int read_include(struct responses_reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value name;
    bool is_settled = true;
    if (value.kind != JSON_ARRAY)
        return responses_refuse(r, "include", "must be an array of strings");
    json_cursor_init(&cursor, value.text);
    while (json_iter_array(&cursor, &name) == 1) {
        struct str raw = json_string_raw(name);
        if (name.kind != JSON_STRING)
            return responses_refuse(r, "include", "must be an array of strings");
        if (json_string_eq(raw, STR("message.output_text.logprobs")))
            r->request->logprobs = TRI_YES;
        else if (!json_string_eq(raw, STR("reasoning.encrypted_content")))
            is_settled = false;
    }
    return add_settled(r, "include", value, is_settled);
}

static int read_format(struct responses_reading *r, struct json_value value)
{
    static const char *const names[] = {"type", "name", "description", "schema", "strict", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    struct llm_response_format *format = &r->request->format;
    struct str rest = STR_EMPTY, type;
    if (value.kind != JSON_OBJECT)
        return responses_refuse(r, "text.format", "must be an object");
    int result = responses_collect(r, value.text, names, values, &rest);
    if (result == 0)
        result = responses_read_text(r, "text.format.name", values[1], &format->name);
    if (result == 0)
        result = responses_read_text(r, "text.format.description", values[2], &format->description);
    if (result < 0)
        return result;
    type = json_string_raw(values[0]);
    if (str_eq(type, STR("text")))
        format->kind = FORMAT_TEXT;
    else if (str_eq(type, STR("json_object")))
        format->kind = FORMAT_JSON_OBJECT;
    else if (str_eq(type, STR("json_schema")))
        format->kind = FORMAT_JSON_SCHEMA;
    else /* a grammar, or what is yet to come: this dialect's own affair */
        return add_extra(r, "text", STR("format"), value);
    if (format->kind == FORMAT_JSON_SCHEMA && values[3].kind != JSON_OBJECT)
        return responses_refuse(r, "text.format.schema", "must be an object (a JSON Schema)");
    if (values[4].kind != JSON_NONE && values[4].kind != JSON_TRUE && values[4].kind != JSON_FALSE)
        return responses_refuse(r, "text.format.strict", "must be a boolean");
    format->schema = values[3].text;
    format->strict = values[4].kind == JSON_TRUE    ? TRI_YES
                     : values[4].kind == JSON_FALSE ? TRI_NO
                                                    : TRI_UNSET;
    return 0;
}

static int read_text_options(struct responses_reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value member;
    struct str key;
    int result = 0;
    if (value.kind != JSON_OBJECT)
        return responses_refuse(r, "text", "must be an object");
    json_cursor_init(&cursor, value.text);
    while (result == 0 && json_iter_object(&cursor, &key, &member) == 1) {
        if (member.kind == JSON_NULL)
            continue;
        if (json_string_eq(key, STR("format")))
            result = read_format(r, member);
        else
            result = add_extra(r, "text", key, member);
    }
    return result;
}

static int read_reasoning(struct responses_reading *r, struct json_value value)
{
    struct llm_reasoning *reasoning = &r->request->reasoning;
    struct json_cursor cursor;
    struct json_value member;
    struct str key;
    int result = 0;
    if (value.kind != JSON_OBJECT)
        return responses_refuse(r, "reasoning", "must be an object");
    json_cursor_init(&cursor, value.text);
    while (result == 0 && json_iter_object(&cursor, &key, &member) == 1) {
        if (member.kind == JSON_NULL)
            continue;
        if (json_string_eq(key, STR("effort")))
            result = responses_read_text(r, "reasoning.effort", member, &reasoning->effort);
        else if (json_string_eq(key, STR("summary")))
            result = responses_read_text(r, "reasoning.summary", member, &reasoning->summary);
        else
            result = add_extra(r, "reasoning", key, member);
    }
    if (text_eq(reasoning->effort, STR("none")))
        reasoning->mode = REASONING_OFF;
    else if (text_is_some(reasoning->effort) || text_is_some(reasoning->summary))
        reasoning->mode = REASONING_ON;
    if (text_is_some(reasoning->summary))
        reasoning->shows = text_eq(reasoning->summary, STR("none")) ? TRI_NO : TRI_YES;
    return result;
}

static int read_metadata(struct responses_reading *r, struct json_value value)
{
    if (value.kind != JSON_OBJECT)
        return responses_refuse(r, "metadata", "must be an object");
    r->request->metadata = value.text;
    return 0;
}

static int read_model(struct responses_reading *r, struct json_value value)
{
    return responses_read_text(r, "model", value, &r->request->model);
}

static int read_user(struct responses_reading *r, struct json_value value)
{
    return responses_read_text(r, "user", value, &r->request->user);
}

static int read_service_tier(struct responses_reading *r, struct json_value value)
{
    return responses_read_text(r, "service_tier", value, &r->request->service_tier);
}

static const struct {
    const char *name;
    member_reader *read;
} member_readers[] = {
    {"input", responses_read_input},
    {"model", read_model},
    {"instructions", read_instructions},
    {"tools", responses_read_tools},
    {"tool_choice", responses_read_tool_choice},
    {"parallel_tool_calls", read_parallel},
    {"text", read_text_options},
    {"reasoning", read_reasoning},
    {"metadata", read_metadata},
    {"user", read_user},
    {"service_tier", read_service_tier},
    {"stream", read_stream},
    {"store", read_store},
    {"background", read_background},
    {"truncation", read_truncation},
    {"include", read_include},
};

static const struct {
    const char *name;
    size_t offset; /* of a str in the request */
} numbers[] = {
    {"max_output_tokens", offsetof(struct llm_request, max_tokens)},
    {"temperature", offsetof(struct llm_request, temperature)},
    {"top_p", offsetof(struct llm_request, top_p)},
    {"top_logprobs", offsetof(struct llm_request, top_logprobs)},
    {"frequency_penalty", offsetof(struct llm_request, frequency_penalty)},
    {"presence_penalty", offsetof(struct llm_request, presence_penalty)},
};

static int read_member(struct responses_reading *r, struct str key, struct json_value value)
{
    for (size_t i = 0; i < ARRAY_LEN(member_readers); i++) {
        if (json_string_eq(key, str_c(member_readers[i].name)))
            return member_readers[i].read(r, value);
    }
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (!json_string_eq(key, str_c(numbers[i].name)))
            continue;
        if (value.kind != JSON_NUMBER)
            return responses_refuse(r, numbers[i].name, "must be a number");
        *(struct str *)((void *)((char *)r->request + numbers[i].offset)) = value.text;
        return 0;
    }
    return add_extra(r, "", key, value);
}

int responses_read_request(struct str body, struct arena *arena, struct llm_request *request)
{
    struct responses_reading r = {
        .arena = arena, .request = request, .call_names = {.arena = arena}};
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    int more, result = 0;
    *request = (struct llm_request){.source = DIALECT_OPENAI_RESPONSES, .includes_usage = true};
    json_cursor_init(&cursor, body);
    while ((more = json_iter_object(&cursor, &key, &value)) == 1) {
        if (value.kind == JSON_NULL)
            continue;
        result = read_member(&r, key, value);
        if (result < 0)
            return result;
    }
    if (more < 0)
        return err_set(ERR_INVALID, FAULT_CLIENT,
                       "the body is not a JSON object, or is nested too deeply");
    return 0;
}
