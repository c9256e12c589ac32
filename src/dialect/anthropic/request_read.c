#include "base/err.h"
#include "dialect/anthropic/codec.h"

typedef int read_member_fn(struct anthropic_reader *r, struct json_value value);

static int read_messages(struct anthropic_reader *r, struct json_value value)
{
    static const struct anthropic_member members[] = {
        {"role", WANT_STRING}, {"content", WANT_ANY}, {NULL, WANT_ANY}};
    static const struct {
        const char *name;
        enum llm_role role;
    } roles[] = {{"user", ROLE_USER}, {"assistant", ROLE_ASSISTANT}, {"system", ROLE_SYSTEM}};
    struct json_cursor cursor;
    struct json_value item, v[2];
    ptrdiff_t index = 0;
    int error;
    json_cursor_init(&cursor, value.text);
    while ((error = json_iter_array(&cursor, &item)) == 1) {
        size_t back = anthropic_enter(r, "messages", index++), i = 0;
        error = item.kind == JSON_OBJECT ? anthropic_collect(r, item.text, members, v, NULL)
                                         : anthropic_refuse(r, "", "must be an object");
        if (error < 0)
            return error;
        while (i < ARRAY_LEN(roles) &&
               (v[0].kind != JSON_STRING ||
                !json_string_eq(json_string_raw(v[0]), str_c(roles[i].name))))
            i++;
        if (i == ARRAY_LEN(roles))
            return anthropic_refuse(r, "role", "must be user or assistant");
        struct llm_message *message = llm_message_add(r->arena, r->request, roles[i].role);
        if (message == NULL)
            return anthropic_no_memory();
        error = v[1].kind == JSON_NONE
                    ? anthropic_refuse(r, "content", "is missing")
                    : anthropic_read_content(r, "content", v[1], &message->blocks);
        if (error < 0)
            return error;
        anthropic_leave(r, back);
    }
    return error < 0 ? anthropic_refuse(r, "messages", "is no JSON, or nested too deeply") : 0;
}

static int read_system(struct anthropic_reader *r, struct json_value value)
{
    return anthropic_read_content(r, "system", value, &r->request->system);
}

static int read_stop(struct anthropic_reader *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    struct llm_name **end = &r->request->stop;
    json_cursor_init(&cursor, value.text);
    while (json_iter_array(&cursor, &item) == 1) {
        if (item.kind != JSON_STRING)
            return anthropic_refuse(r, "stop_sequences", "must be an array of strings");
        if (!llm_name_add(r->arena, end, text_of(item)))
            return anthropic_no_memory();
        end = &(*end)->next;
    }
    return 0;
}

static int read_thinking(struct anthropic_reader *r, struct json_value value)
{
    static const struct anthropic_member members[] = {{"type", WANT_STRING},
                                                      {"budget_tokens", WANT_NUMBER},
                                                      {"display", WANT_STRING},
                                                      {NULL, WANT_ANY}};
    struct json_value v[3];
    struct llm_reasoning *reasoning = &r->request->reasoning;
    size_t back = anthropic_enter(r, "thinking", -1);
    int error = anthropic_collect(r, value.text, members, v, NULL);
    if (error < 0)
        return error;
    struct text type = text_of(v[0]), display = text_of(v[2]);
    if (text_eq(type, STR("enabled")))
        reasoning->mode = REASONING_ON;
    else if (text_eq(type, STR("disabled")))
        reasoning->mode = REASONING_OFF;
    else if (text_eq(type, STR("adaptive")))
        reasoning->mode = REASONING_ADAPTIVE;
    else
        return anthropic_refuse(r, "type", "must be enabled, disabled or adaptive");
    reasoning->budget = v[1].text;
    if (text_eq(display, STR("omitted")))
        reasoning->shows = TRI_NO;
    else if (text_eq(display, STR("summarized")))
        reasoning->shows = TRI_YES;
    else if (v[2].kind != JSON_NONE &&
             !llm_extra_add(r->arena, r->request, STR("thinking"), STR("display"), v[2]))
        return anthropic_no_memory();
    anthropic_leave(r, back);
    return 0;
}

/* {"type":"json_schema","schema":{...}} */
static int read_format(struct anthropic_reader *r, struct json_value value)
{
    static const struct anthropic_member members[] = {
        {"type", WANT_STRING}, {"schema", WANT_OBJECT}, {NULL, WANT_ANY}};
    struct json_value v[2];
    int error = anthropic_collect(r, value.text, members, v, NULL);
    if (error < 0)
        return error;
    if (!text_eq(text_of(v[0]), STR("json_schema")))
        return anthropic_refuse(r, "type", "must be json_schema");
    if (v[1].kind == JSON_NONE)
        return anthropic_refuse(r, "schema", "is missing");
    r->request->format.kind = FORMAT_JSON_SCHEMA;
    r->request->format.schema = v[1].text;
    return 0;
}

static int read_output_config(struct anthropic_reader *r, struct json_value value)
{
    static const struct anthropic_member members[] = {
        {"effort", WANT_STRING}, {"format", WANT_OBJECT}, {NULL, WANT_ANY}};
    struct json_value v[2];
    size_t back = anthropic_enter(r, "output_config", -1);
    int error = anthropic_collect(r, value.text, members, v, NULL);
    if (error < 0)
        return error;
    r->request->reasoning.effort = text_of(v[0]);
    size_t inner = anthropic_enter(r, "format", -1);
    error = v[1].kind == JSON_OBJECT ? read_format(r, v[1]) : 0;
    if (error < 0)
        return error;
    anthropic_leave(r, inner);
    anthropic_leave(r, back);
    return 0;
}

/* The same where it was before it had its place: the writer puts it back there. */
static int read_output_format(struct anthropic_reader *r, struct json_value value)
{
    struct llm_request *request = r->request;
    if (!llm_extra_add(r->arena, request, STR_EMPTY, STR("output_format"), value))
        return anthropic_no_memory();
    (void)llm_extra_take(request, 1u << DIALECT_ANTHROPIC, "output_format");
    size_t back = anthropic_enter(r, "output_format", -1);
    int error = read_format(r, value);
    if (error == 0)
        anthropic_leave(r, back);
    return error;
}

static int read_metadata(struct anthropic_reader *r, struct json_value value)
{
    static const struct anthropic_member members[] = {{"user_id", WANT_STRING}, {NULL, WANT_ANY}};
    struct json_value v[1];
    size_t back = anthropic_enter(r, "metadata", -1);
    int error = anthropic_collect(r, value.text, members, v, NULL);
    if (error < 0)
        return error;
    r->request->user = text_of(v[0]);
    anthropic_leave(r, back);
    return 0;
}

static int read_stream(struct anthropic_reader *r, struct json_value value)
{
    r->request->is_stream = value.kind == JSON_TRUE;
    return 0;
}

/* With `read`, it reads the value; else the value is put at `offset`: a string as struct text,
 * all else as struct str. */
static const struct {
    const char *name;
    enum anthropic_wish wish;
    read_member_fn *read;
    size_t offset;
} top[] = {
    {"model", WANT_STRING, NULL, offsetof(struct llm_request, model)},
    {"messages", WANT_ARRAY, read_messages, 0},
    {"system", WANT_ANY, read_system, 0},
    {"max_tokens", WANT_NUMBER, NULL, offsetof(struct llm_request, max_tokens)},
    {"temperature", WANT_NUMBER, NULL, offsetof(struct llm_request, temperature)},
    {"top_p", WANT_NUMBER, NULL, offsetof(struct llm_request, top_p)},
    {"top_k", WANT_NUMBER, NULL, offsetof(struct llm_request, top_k)},
    {"stop_sequences", WANT_ARRAY, read_stop, 0},
    {"stream", WANT_BOOLEAN, read_stream, 0},
    {"tools", WANT_ARRAY, anthropic_read_tools, 0},
    {"tool_choice", WANT_OBJECT, anthropic_read_tool_choice, 0},
    {"thinking", WANT_OBJECT, read_thinking, 0},
    {"output_config", WANT_OBJECT, read_output_config, 0},
    {"output_format", WANT_OBJECT, read_output_format, 0},
    {"metadata", WANT_OBJECT, read_metadata, 0},
    {"service_tier", WANT_STRING, NULL, offsetof(struct llm_request, service_tier)},
};

static int place(struct anthropic_reader *r, size_t i, struct json_value value)
{
    const char *words = anthropic_refusal_of(top[i].wish, value.kind);
    if (words != NULL)
        return anthropic_refuse(r, top[i].name, words);
    if (top[i].read != NULL)
        return top[i].read(r, value);
    char *at = (char *)r->request + top[i].offset;
    if (top[i].wish == WANT_STRING)
        *(struct text *)(void *)at = text_of(value);
    else
        *(struct str *)(void *)at = value.text;
    return 0;
}

int anthropic_read_request(struct str body, struct arena *arena, struct llm_request *request)
{
    struct anthropic_reader r = {.arena = arena, .request = request};
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    bool has_messages = false;
    int error;
    *request = (struct llm_request){.source = DIALECT_ANTHROPIC};
    json_cursor_init(&cursor, body);
    while ((error = json_iter_object(&cursor, &key, &value)) == 1) {
        size_t i = 0;
        if (value.kind == JSON_NULL)
            continue;
        while (i < ARRAY_LEN(top) && !json_string_eq(key, str_c(top[i].name)))
            i++;
        has_messages = has_messages || (i < ARRAY_LEN(top) && top[i].read == read_messages);
        if (i < ARRAY_LEN(top))
            error = place(&r, i, value);
        else if (!llm_extra_add(arena, request, STR_EMPTY, key, value))
            error = anthropic_no_memory();
        if (error < 0)
            return error;
    }
    if (error < 0)
        return err_set(ERR_INVALID, FAULT_CLIENT, "the body is not a JSON object");
    return has_messages ? 0 : anthropic_refuse(&r, "messages", "is missing");
}
