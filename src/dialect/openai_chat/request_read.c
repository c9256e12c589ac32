#include "base/err.h"
#include "dialect/openai_chat/codec.h"

/* The body of POST /v1/chat/completions, member by member. */

typedef int member_reader(struct chat_reading *r, struct json_value value);

static int add_extra(struct chat_reading *r, const char *prefix, struct str key,
                     struct json_value value)
{
    return llm_extra_add(r->arena, r->request, str_c(prefix), key, value) ? 0 : chat_no_memory();
}

/* An extra whose meaning has a place of its own: only this dialect's writer looks at it. */
static int add_settled(struct chat_reading *r, const char *name, struct json_value value)
{
    const struct llm_extra *before = r->request->last_extra;
    if (add_extra(r, "", str_c(name), value) < 0)
        return -ERR_NOMEM;
    struct llm_extra *added = r->request->last_extra;
    if (added != NULL && added != before)
        added->is_taken = true;
    return 0;
}

static int read_tri(struct chat_reading *r, const char *name, struct json_value value,
                    enum tri *out)
{
    if (value.kind != JSON_TRUE && value.kind != JSON_FALSE)
        return chat_refuse(r, name, "must be a boolean");
    *out = value.kind == JSON_TRUE ? TRI_YES : TRI_NO;
    return 0;
}

static int read_model(struct chat_reading *r, struct json_value value)
{
    return chat_read_text(r, "model", value, &r->request->model);
}

static int read_stream(struct chat_reading *r, struct json_value value)
{
    enum tri is_stream = TRI_NO;
    int result = read_tri(r, "stream", value, &is_stream);
    r->request->is_stream = is_stream == TRI_YES;
    return result;
}

static int read_stream_options(struct chat_reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value member;
    struct str key;
    enum tri usage = TRI_NO;
    int result = 0;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "stream_options", "must be an object");
    json_cursor_init(&cursor, value.text);
    while (result == 0 && json_iter_object(&cursor, &key, &member) == 1) {
        if (member.kind == JSON_NULL)
            continue;
        if (json_string_eq(key, STR("include_usage")))
            result = read_tri(r, "stream_options.include_usage", member, &usage);
        else
            result = add_extra(r, "stream_options", key, member);
    }
    r->request->includes_usage = usage == TRI_YES;
    return result;
}

static int read_parallel(struct chat_reading *r, struct json_value value)
{
    return read_tri(r, "parallel_tool_calls", value, &r->request->parallel_tools);
}

static int read_logprobs(struct chat_reading *r, struct json_value value)
{
    return read_tri(r, "logprobs", value, &r->request->logprobs);
}

static int read_max_completion(struct chat_reading *r, struct json_value value)
{
    if (value.kind != JSON_NUMBER)
        return chat_refuse(r, "max_completion_tokens", "must be a number");
    r->request->max_tokens = value.text;
    return add_settled(r, "max_completion_tokens", value);
}

static int read_max_tokens(struct chat_reading *r, struct json_value value)
{
    if (value.kind != JSON_NUMBER)
        return chat_refuse(r, "max_tokens", "must be a number");
    if (r->request->max_tokens.len > 0) /* the newer name counts */
        return 0;
    r->request->max_tokens = value.text;
    return 0;
}

static int read_stop(struct chat_reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    if (value.kind == JSON_STRING) {
        if (!llm_name_add(r->arena, &r->request->stop, text_of(value)))
            return chat_no_memory();
        return add_settled(r, "stop", value);
    }
    if (value.kind != JSON_ARRAY)
        return chat_refuse(r, "stop", "must be a string or an array of strings");
    struct llm_name **end = &r->request->stop;
    json_cursor_init(&cursor, value.text);
    while (json_iter_array(&cursor, &item) == 1) {
        if (item.kind != JSON_STRING)
            return chat_refuse(r, "stop", "must be a string or an array of strings");
        if (!llm_name_add(r->arena, end, text_of(item)))
            return chat_no_memory();
        end = &(*end)->next;
    }
    return 0;
}

static int read_schema(struct chat_reading *r, struct json_value whole, struct json_value value)
{
    static const char *const names[] = {"name", "description", "schema", "strict", NULL};
    struct json_value v[CHAT_MEMBERS_MAX];
    struct llm_response_format *format = &r->request->format;
    struct str rest = STR_EMPTY;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "response_format.json_schema", "must be an object");
    int result = chat_collect(r, value.text, names, v, &rest);
    if (result == 0)
        result = chat_read_text(r, "response_format.json_schema.name", v[0], &format->name);
    if (result == 0)
        result = chat_read_text(r, "response_format.json_schema.description", v[1],
                                &format->description);
    if (result == 0 && v[2].kind != JSON_NONE && v[2].kind != JSON_OBJECT)
        result = chat_refuse(r, "response_format.json_schema.schema", "must be an object");
    if (result == 0 && v[3].kind != JSON_NONE)
        result = read_tri(r, "response_format.json_schema.strict", v[3], &format->strict);
    format->schema = v[2].text;
    return result == 0 && rest.len > 0 ? add_settled(r, "response_format", whole) : result;
}

static int read_format(struct chat_reading *r, struct json_value value)
{
    struct json_value type, schema = {JSON_NONE, STR_EMPTY};
    struct llm_response_format *format = &r->request->format;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "type", &type) ||
        type.kind != JSON_STRING)
        return chat_refuse(r, "response_format", "must be an object with a type");
    struct str word = json_string_raw(type);
    if (str_eq(word, STR("json_schema"))) {
        format->kind = FORMAT_JSON_SCHEMA;
        (void)json_find(value.text, "json_schema", &schema);
        return read_schema(r, value, schema);
    }
    if (str_eq(word, STR("text")))
        format->kind = FORMAT_TEXT;
    else if (str_eq(word, STR("json_object")))
        format->kind = FORMAT_JSON_OBJECT;
    else
        return add_extra(r, "", STR("response_format"), value);
    return 0;
}

static void settle_effort(struct llm_reasoning *reasoning)
{
    reasoning->mode = text_eq(reasoning->effort, STR("none")) ? REASONING_OFF : REASONING_ON;
}

static int read_effort(struct chat_reading *r, struct json_value value)
{
    int result = chat_read_text(r, "reasoning_effort", value, &r->request->reasoning.effort);
    settle_effort(&r->request->reasoning);
    return result < 0 ? result : add_settled(r, "reasoning_effort", value);
}

/* OpenRouter: {"enabled", "effort", "max_tokens", "exclude"}. */
static int read_reasoning(struct chat_reading *r, struct json_value value)
{
    struct llm_reasoning *reasoning = &r->request->reasoning;
    struct json_value member;
    if (value.kind != JSON_OBJECT)
        return add_extra(r, "", STR("reasoning"), value);
    if (json_find(value.text, "enabled", &member))
        reasoning->mode = member.kind == JSON_FALSE ? REASONING_OFF : REASONING_ON;
    if (json_find(value.text, "max_tokens", &member) && member.kind == JSON_NUMBER) {
        reasoning->budget = member.text;
        reasoning->mode = REASONING_ON;
    }
    if (json_find(value.text, "effort", &member) && member.kind == JSON_STRING) {
        reasoning->effort = text_of(member);
        settle_effort(reasoning);
    }
    if (json_find(value.text, "exclude", &member))
        reasoning->shows = member.kind == JSON_TRUE ? TRI_NO : TRI_YES;
    return add_settled(r, "reasoning", value);
}

/* Z.ai, DeepSeek and those who pass Anthropic's on: {"type", "budget_tokens"}. */
static int read_thinking(struct chat_reading *r, struct json_value value)
{
    struct llm_reasoning *reasoning = &r->request->reasoning;
    struct json_value member;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "type", &member))
        return add_extra(r, "", STR("thinking"), value);
    struct str word = json_string_raw(member);
    reasoning->mode = str_eq(word, STR("disabled"))   ? REASONING_OFF
                      : str_eq(word, STR("adaptive")) ? REASONING_ADAPTIVE
                                                      : REASONING_ON;
    if (json_find(value.text, "budget_tokens", &member) && member.kind == JSON_NUMBER)
        reasoning->budget = member.text;
    return add_settled(r, "thinking", value);
}

static int read_user(struct chat_reading *r, struct json_value value)
{
    return chat_read_text(r, "user", value, &r->request->user);
}

static int read_tier(struct chat_reading *r, struct json_value value)
{
    return chat_read_text(r, "service_tier", value, &r->request->service_tier);
}

static const struct {
    const char *name;
    member_reader *read;
} member_readers[] = {
    {"messages", chat_read_messages},
    {"model", read_model},
    {"tools", chat_read_tools},
    {"functions", chat_read_functions},
    {"tool_choice", chat_read_tool_choice},
    {"function_call", chat_read_function_call},
    {"parallel_tool_calls", read_parallel},
    {"max_completion_tokens", read_max_completion},
    {"max_tokens", read_max_tokens},
    {"stop", read_stop},
    {"response_format", read_format},
    {"reasoning_effort", read_effort},
    {"reasoning", read_reasoning},
    {"thinking", read_thinking},
    {"logprobs", read_logprobs},
    {"stream", read_stream},
    {"stream_options", read_stream_options},
    {"user", read_user},
    {"service_tier", read_tier},
};

static const struct {
    const char *name;
    enum json_kind kind;
    const char *words;
    size_t offset; /* of a str in the request */
} values[] = {
#define INTO(member) offsetof(struct llm_request, member)
    {"temperature", JSON_NUMBER, "must be a number", INTO(temperature)},
    {"top_p", JSON_NUMBER, "must be a number", INTO(top_p)},
    {"top_k", JSON_NUMBER, "must be a number", INTO(top_k)},
    {"frequency_penalty", JSON_NUMBER, "must be a number", INTO(frequency_penalty)},
    {"presence_penalty", JSON_NUMBER, "must be a number", INTO(presence_penalty)},
    {"seed", JSON_NUMBER, "must be a number", INTO(seed)},
    {"n", JSON_NUMBER, "must be a number", INTO(n)},
    {"top_logprobs", JSON_NUMBER, "must be a number", INTO(top_logprobs)},
    {"logit_bias", JSON_OBJECT, "must be an object", INTO(logit_bias)},
    {"metadata", JSON_OBJECT, "must be an object", INTO(metadata)},
    {"modalities", JSON_ARRAY, "must be an array", INTO(modalities)},
    {"audio", JSON_OBJECT, "must be an object", INTO(audio)},
};

static int read_member(struct chat_reading *r, struct str key, struct json_value value)
{
    for (size_t i = 0; i < ARRAY_LEN(member_readers); i++) {
        if (json_string_eq(key, str_c(member_readers[i].name)))
            return member_readers[i].read(r, value);
    }
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        if (!json_string_eq(key, str_c(values[i].name)))
            continue;
        if (value.kind != values[i].kind)
            return chat_refuse(r, values[i].name, values[i].words);
        *(struct str *)((void *)((char *)r->request + values[i].offset)) = value.text;
        return 0;
    }
    return add_extra(r, "", key, value);
}

int chat_read_request(struct str body, struct arena *arena, struct llm_request *request)
{
    struct chat_reading r = {.arena = arena, .request = request};
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    bool has_messages = false;
    int result = 0, more = 0;
    *request = (struct llm_request){.source = DIALECT_OPENAI_CHAT};
    json_cursor_init(&cursor, body);
    while (result == 0 && (more = json_iter_object(&cursor, &key, &value)) == 1) {
        has_messages = has_messages || json_string_eq(key, STR("messages"));
        if (value.kind != JSON_NULL)
            result = read_member(&r, key, value);
    }
    if (result == 0 && more < 0)
        return err_set(ERR_INVALID, FAULT_CLIENT, "the body is not a valid JSON object");
    if (result == 0 && request->messages == NULL)
        return chat_refuse(&r, "messages",
                           has_messages ? "must hold at least one message" : "is missing");
    return result;
}
