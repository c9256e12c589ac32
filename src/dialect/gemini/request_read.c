#include "base/err.h"
#include "dialect/gemini/content.h"
#include "dialect/gemini/request.h"
#include "dialect/gemini/schema.h"

typedef int read_member_fn(struct gemini_reader *r, const char *path, struct json_value value);

#define CONFIG "generationConfig"

/* --- values --- */

static int add_extra(struct gemini_reader *r, const char *prefix, struct str key,
                     struct json_value value)
{
    return llm_extra_add(r->arena, r->request, str_c(prefix), key, value) ? 0 : gemini_no_memory();
}

/* An extra whose meaning has a place of its own: this dialect's writer puts it back as it was. */
static int add_settled(struct gemini_reader *r, const char *prefix, const char *key,
                       struct json_value value)
{
    const struct llm_extra *before = r->request->last_extra;
    if (add_extra(r, prefix, str_c(key), value) < 0)
        return -ERR_NOMEM;
    struct llm_extra *added = r->request->last_extra;
    if (added != NULL && added != before)
        added->is_taken = true;
    return 0;
}

static int read_bool(const struct gemini_reader *r, const char *path, struct json_value value,
                     enum tri *out)
{
    if (value.kind != JSON_TRUE && value.kind != JSON_FALSE)
        return gemini_wrong(r, path, "must be true or false");
    *out = value.kind == JSON_TRUE ? TRI_YES : TRI_NO;
    return 0;
}

static int read_text(const struct gemini_reader *r, const char *path, struct json_value value,
                     struct text *out)
{
    if (value.kind != JSON_STRING)
        return gemini_wrong(r, path, "must be a string");
    *out = text_of(value);
    return 0;
}

static int read_number(const struct gemini_reader *r, const char *path, struct json_value value,
                       struct str *out)
{
    struct str number = gemini_number(value);
    if (number.len == 0)
        return gemini_wrong(r, path, "must be a number");
    *out = number;
    return 0;
}

static int read_names(struct gemini_reader *r, const char *path, struct json_value value,
                      struct llm_name **list)
{
    struct gemini_list items;
    struct json_value item;
    gemini_list_init(&items, value);
    while (gemini_list_next(&items, &item)) {
        if (item.kind != JSON_STRING)
            return gemini_wrong(r, path, "must be an array of strings");
        if (!llm_name_add(r->arena, list, text_of(item)))
            return gemini_no_memory();
        list = &(*list)->next;
    }
    return 0;
}

/* The schema in its JSON Schema form. */
static int convert_schema(struct gemini_reader *r, const char *path, struct json_value value,
                          struct str *schema)
{
    struct buf out = BUF_INIT;
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, path, "must be an object");
    gemini_schema_to_json(&out, value.text);
    *schema = buf_ok(&out) ? arena_dup(r->arena, buf_str(&out)) : STR_EMPTY;
    buf_fini(&out);
    return schema->ptr != NULL ? 0 : gemini_no_memory();
}

/* --- generationConfig --- */

static int read_stop(struct gemini_reader *r, const char *path, struct json_value value)
{
    return read_names(r, path, value, &r->request->stop);
}

static int read_logprobs(struct gemini_reader *r, const char *path, struct json_value value)
{
    return read_bool(r, path, value, &r->request->logprobs);
}

static int read_modalities(struct gemini_reader *r, const char *path, struct json_value value)
{
    if (value.kind != JSON_ARRAY)
        return gemini_wrong(r, path, "must be an array of strings");
    r->request->modalities = value.text;
    return 0;
}

static void settle_thinking(struct llm_reasoning *reasoning)
{
    double budget;
    if (llm_number(reasoning->budget, &budget)) {
        reasoning->mode = budget < 0    ? REASONING_ADAPTIVE
                          : budget == 0 ? REASONING_OFF
                                        : REASONING_ON;
        if (budget <= 0)
            reasoning->budget = STR_EMPTY;
    } else if (text_is_some(reasoning->effort)) {
        reasoning->mode = REASONING_ON;
    } else if (reasoning->shows == TRI_YES) {
        reasoning->mode = REASONING_ADAPTIVE; /* it thinks as much as it likes */
    }
}

static int read_thinking(struct gemini_reader *r, const char *path, struct json_value value)
{
    static const char *const names[] = {"includeThoughts", "thinkingBudget", "thinkingLevel", NULL};
    struct llm_reasoning *reasoning = &r->request->reasoning;
    struct json_cursor cursor;
    struct json_value member;
    struct text level = TEXT_NONE;
    struct str key, plain;
    int error = 0;
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, path, "must be an object");
    json_cursor_init(&cursor, value.text);
    while (error == 0 && gemini_next(&cursor, &key, &member)) {
        int i = gemini_index(key, names);
        if (i == 0)
            error =
                read_bool(r, CONFIG ".thinkingConfig.includeThoughts", member, &reasoning->shows);
        else if (i == 1)
            error =
                read_number(r, CONFIG ".thinkingConfig.thinkingBudget", member, &reasoning->budget);
        else if (i == 2)
            error = read_text(r, CONFIG ".thinkingConfig.thinkingLevel", member, &level);
        else
            error = add_extra(r, CONFIG ".thinkingConfig", key, member);
    }
    if (error < 0)
        return error;
    plain = text_or(r->arena, level, STR_EMPTY);
    if (plain.len > 0 && !str_ieq(plain, STR("THINKING_LEVEL_UNSPECIFIED"))) {
        /* The words are the same as everyone's, but in capitals. */
        char *lower = arena_cstr(r->arena, plain);
        if (lower == NULL)
            return gemini_no_memory();
        for (size_t i = 0; i < plain.len; i++)
            lower[i] = (char)(lower[i] >= 'A' && lower[i] <= 'Z' ? lower[i] - 'A' + 'a' : lower[i]);
        reasoning->effort = text_plain(str_n(lower, plain.len));
    }
    settle_thinking(reasoning);
    return add_settled(r, CONFIG, "thinkingConfig", value);
}

static int read_schema(struct gemini_reader *r, const char *path, struct json_value value)
{
    if (r->request->format.schema.len == 0) {
        int error = convert_schema(r, path, value, &r->request->format.schema);
        if (error < 0)
            return error;
    }
    return add_settled(r, CONFIG, "responseSchema", value);
}

static int read_json_schema(struct gemini_reader *r, const char *path, struct json_value value)
{
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, path, "must be an object");
    r->request->format.schema = value.text;
    return add_settled(r, CONFIG, "responseJsonSchema", value);
}

static int read_mime_type(struct gemini_reader *r, const char *path, struct json_value value)
{
    struct llm_response_format *format = &r->request->format;
    if (value.kind != JSON_STRING)
        return gemini_wrong(r, path, "must be a string");
    struct str type = json_string_raw(value);
    if (json_string_eq(type, STR("application/json")))
        format->kind = FORMAT_JSON_OBJECT;
    else if (json_string_eq(type, STR("text/plain")))
        format->kind = FORMAT_TEXT;
    else if (type.len > 0) /* text/x.enum */
        return add_extra(r, CONFIG, STR("responseMimeType"), value);
    return 0;
}

/* With `read`, it reads the value; else a number goes to `offset`. */
static const struct {
    const char *path; /* the name is what follows CONFIG and the dot */
    read_member_fn *read;
    size_t offset;
} config_members[] = {
    {CONFIG ".maxOutputTokens", NULL, offsetof(struct llm_request, max_tokens)},
    {CONFIG ".temperature", NULL, offsetof(struct llm_request, temperature)},
    {CONFIG ".topP", NULL, offsetof(struct llm_request, top_p)},
    {CONFIG ".topK", NULL, offsetof(struct llm_request, top_k)},
    {CONFIG ".candidateCount", NULL, offsetof(struct llm_request, n)},
    {CONFIG ".seed", NULL, offsetof(struct llm_request, seed)},
    {CONFIG ".presencePenalty", NULL, offsetof(struct llm_request, presence_penalty)},
    {CONFIG ".frequencyPenalty", NULL, offsetof(struct llm_request, frequency_penalty)},
    {CONFIG ".logprobs", NULL, offsetof(struct llm_request, top_logprobs)},
    {CONFIG ".responseLogprobs", read_logprobs, 0},
    {CONFIG ".stopSequences", read_stop, 0},
    {CONFIG ".responseMimeType", read_mime_type, 0},
    {CONFIG ".responseSchema", read_schema, 0},
    {CONFIG ".responseJsonSchema", read_json_schema, 0},
    {CONFIG ".responseModalities", read_modalities, 0},
    {CONFIG ".thinkingConfig", read_thinking, 0},
};

static int read_config_member(struct gemini_reader *r, struct str key, struct json_value value)
{
    for (size_t i = 0; i < ARRAY_LEN(config_members); i++) {
        const char *path = config_members[i].path;
        if (!gemini_is(key, path + sizeof(CONFIG)))
            continue;
        if (config_members[i].read != NULL)
            return config_members[i].read(r, path, value);
        char *at = (char *)r->request + config_members[i].offset;
        return read_number(r, path, value, (struct str *)(void *)at);
    }
    return add_extra(r, CONFIG, key, value);
}

static int read_config(struct gemini_reader *r, const char *path, struct json_value value)
{
    struct llm_response_format *format = &r->request->format;
    struct json_cursor cursor;
    struct json_value member;
    struct str key;
    int error = 0;
    bool is_empty = true;
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, path, "must be an object");
    json_cursor_init(&cursor, value.text);
    while (error == 0 && gemini_next(&cursor, &key, &member)) {
        is_empty = false;
        error = read_config_member(r, key, member);
    }
    if (is_empty)
        return add_settled(r, "", CONFIG, value);
    bool is_enum = gemini_find(value.text, "responseMimeType", &member) &&
                   json_string_eq(json_string_raw(member), STR("text/x.enum"));
    if (is_enum)
        *format = (struct llm_response_format){.kind = FORMAT_UNSET}; /* one word, no JSON */
    else if (format->schema.len > 0)
        format->kind = FORMAT_JSON_SCHEMA;
    return error;
}

/* --- tools --- */

enum function_member {
    FUNCTION_NAME,
    FUNCTION_DESCRIPTION,
    FUNCTION_PARAMETERS,
    FUNCTION_JSON_SCHEMA,
    FUNCTION_MEMBER_COUNT
};

static int read_function(struct gemini_reader *r, struct json_value value)
{
    static const char *const names[] = {"name", "description", "parameters", "parametersJsonSchema",
                                        NULL};
    struct json_value v[FUNCTION_MEMBER_COUNT] = {0}, member;
    struct json_cursor cursor;
    struct str key;
    bool has_more = false;
    int error = 0;
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, "tools.functionDeclarations", "must be an array of objects");
    json_cursor_init(&cursor, value.text);
    while (gemini_next(&cursor, &key, &member)) {
        int i = gemini_index(key, names);
        if (i >= 0)
            v[i] = member;
        else
            has_more = true;
    }
    struct llm_tool *tool = llm_tool_add(r->arena, r->request);
    if (tool == NULL)
        return gemini_no_memory();
    error = read_text(r, "tools.functionDeclarations.name", v[FUNCTION_NAME], &tool->name);
    if (error == 0 && v[FUNCTION_DESCRIPTION].kind != JSON_NONE)
        error = read_text(r, "tools.functionDeclarations.description", v[FUNCTION_DESCRIPTION],
                          &tool->description);
    if (error == 0 && v[FUNCTION_PARAMETERS].kind != JSON_NONE)
        error = convert_schema(r, "tools.functionDeclarations.parameters", v[FUNCTION_PARAMETERS],
                               &tool->schema);
    if (error == 0 && v[FUNCTION_JSON_SCHEMA].kind != JSON_NONE) {
        if (v[FUNCTION_JSON_SCHEMA].kind != JSON_OBJECT)
            return gemini_wrong(r, "tools.functionDeclarations.parametersJsonSchema",
                                "must be an object");
        tool->schema = v[FUNCTION_JSON_SCHEMA].text;
    }
    /* Its own dialect gets it as it was: with the schema that it had, and what nobody else knows.
     */
    if (has_more || v[FUNCTION_PARAMETERS].kind != JSON_NONE) {
        tool->raw = value.text;
        tool->maker = DIALECT_GEMINI;
    }
    return error;
}

/* What the provider runs: {"googleSearch":{}}, each by itself. */
static int read_builtin(struct gemini_reader *r, struct str key, struct json_value value)
{
    struct str parts[] = {STR("{\""), key, STR("\":"), value.text, STR("}")};
    struct llm_tool *tool = llm_tool_add(r->arena, r->request);
    if (tool == NULL)
        return gemini_no_memory();
    tool->kind = TOOL_BUILTIN;
    tool->maker = DIALECT_GEMINI;
    tool->raw = arena_concat(r->arena, parts, ARRAY_LEN(parts));
    return tool->raw.ptr != NULL ? 0 : gemini_no_memory();
}

static int read_tool(struct gemini_reader *r, struct json_value tool)
{
    struct json_cursor cursor;
    struct json_value value, item;
    struct gemini_list list;
    struct str key;
    int error = 0;
    json_cursor_init(&cursor, tool.text);
    while (error == 0 && gemini_next(&cursor, &key, &value)) {
        if (!gemini_is(key, "functionDeclarations")) {
            error = read_builtin(r, key, value);
            continue;
        }
        gemini_list_init(&list, value);
        while (error == 0 && gemini_list_next(&list, &item))
            error = read_function(r, item);
    }
    return error;
}

static int read_tools(struct gemini_reader *r, const char *path, struct json_value value)
{
    struct gemini_list list;
    struct json_value item;
    int error = 0;
    gemini_list_init(&list, value);
    while (error == 0 && gemini_list_next(&list, &item))
        error = item.kind == JSON_OBJECT ? read_tool(r, item)
                                         : gemini_wrong(r, path, "must be an array of objects");
    return error;
}

/* --- toolConfig --- */

#define CALLING "toolConfig.functionCallingConfig"

static int read_mode(struct gemini_reader *r, struct json_value value)
{
    static const struct {
        const char *name;
        enum llm_tool_choice choice;
    } modes[] = {{"AUTO", TOOL_CHOICE_AUTO},
                 {"ANY", TOOL_CHOICE_REQUIRED},
                 {"NONE", TOOL_CHOICE_NONE},
                 {"VALIDATED", TOOL_CHOICE_AUTO},
                 {"MODE_UNSPECIFIED", TOOL_CHOICE_UNSET}};
    size_t i = 0;
    while (i < ARRAY_LEN(modes) &&
           (value.kind != JSON_STRING || !str_ieq(json_string_raw(value), str_c(modes[i].name))))
        i++;
    if (i == ARRAY_LEN(modes))
        return gemini_wrong(r, CALLING ".mode", "must be AUTO, ANY, NONE or VALIDATED");
    r->request->tool_choice = modes[i].choice;
    /* AUTO whose calls are held to their schemas: nobody else has it. */
    return str_eq(str_c(modes[i].name), STR("VALIDATED"))
               ? add_extra(r, CALLING, STR("mode"), value)
               : 0;
}

static int read_calling(struct gemini_reader *r, struct json_value value)
{
    struct llm_request *request = r->request;
    struct json_cursor cursor;
    struct json_value member;
    struct str key;
    int error = 0;
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, CALLING, "must be an object");
    json_cursor_init(&cursor, value.text);
    while (error == 0 && gemini_next(&cursor, &key, &member)) {
        if (gemini_is(key, "mode"))
            error = read_mode(r, member);
        else if (gemini_is(key, "allowedFunctionNames"))
            error = read_names(r, CALLING ".allowedFunctionNames", member, &request->allowed_tools);
        else
            error = add_extra(r, CALLING, key, member);
    }
    if (error == 0 && request->tool_choice == TOOL_CHOICE_REQUIRED &&
        request->allowed_tools != NULL && request->allowed_tools->next == NULL) {
        request->tool_choice = TOOL_CHOICE_NAMED;
        request->tool_choice_name = request->allowed_tools->text;
        request->allowed_tools = NULL;
    }
    return error;
}

static int read_tool_config(struct gemini_reader *r, const char *path, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value member;
    struct str key;
    int error = 0;
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, path, "must be an object");
    json_cursor_init(&cursor, value.text);
    while (error == 0 && gemini_next(&cursor, &key, &member)) {
        if (gemini_is(key, "functionCallingConfig"))
            error = read_calling(r, member);
        else
            error = add_extra(r, path, key, member);
    }
    return error;
}

/* --- the whole --- */

/* What is beside the parts of the instructions; a role there means nothing to anybody else. */
static int read_beside_parts(struct gemini_reader *r, const char *path, struct str object)
{
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    int error = 0;
    json_cursor_init(&cursor, object);
    while (error == 0 && gemini_next(&cursor, &key, &value)) {
        if (gemini_is(key, "role"))
            error = add_settled(r, path, "role", value);
        else if (!gemini_is(key, "parts"))
            error = add_extra(r, path, key, value);
    }
    return error;
}

/* A content, or a string. */
static int read_system(struct gemini_reader *r, const char *path, struct json_value value)
{
    int error = 0;
    if (value.kind == JSON_STRING) {
        struct llm_block *block = llm_block_add(r->arena, &r->request->system, BLOCK_TEXT);
        if (block == NULL)
            return gemini_no_memory();
        block->text = text_of(value);
        return 0;
    }
    if (value.kind != JSON_OBJECT)
        return gemini_wrong(r, path, "must be an object with parts");
    r->list = path;
    r->content = r->part = -1;
    error = gemini_read_parts(r, value, &r->request->system);
    if (error < 0)
        return error;
    r->list = NULL;
    return read_beside_parts(r, path, value.text);
}

static int read_contents(struct gemini_reader *r, const char *path, struct json_value value)
{
    (void)path;
    int error = gemini_read_contents(r, value);
    if (error == 0)
        r->list = NULL;
    return error;
}

/* Where it stands in the body (countTokens, batches) it may be the name of a resource. */
static int read_model(struct gemini_reader *r, const char *path, struct json_value value)
{
    struct text model;
    int error = read_text(r, path, value, &model);
    if (error < 0)
        return error;
    if (str_starts(model.s, STR("models/")))
        model.s = str_skip(model.s, STR("models/").len);
    r->request->model = model;
    return 0;
}

static const struct {
    const char *name;
    read_member_fn *read;
} top[] = {
    {"contents", read_contents}, {"systemInstruction", read_system},
    {"tools", read_tools},       {"toolConfig", read_tool_config},
    {CONFIG, read_config},       {"model", read_model},
};

int gemini_read_request(struct str body, struct arena *arena, struct llm_request *request)
{
    struct gemini_reader r = {.arena = arena, .request = request, .content = -1, .part = -1};
    struct json_cursor cursor;
    struct json_value value;
    struct str key;
    bool has_contents = false;
    int error = 0;
    *request = (struct llm_request){.source = DIALECT_GEMINI};
    json_cursor_init(&cursor, body);
    while (error == 0 && gemini_next(&cursor, &key, &value)) {
        size_t i = 0;
        while (i < ARRAY_LEN(top) && !gemini_is(key, top[i].name))
            i++;
        has_contents = has_contents || i == 0;
        if (i < ARRAY_LEN(top))
            error = top[i].read(&r, top[i].name, value);
        else
            error = add_extra(&r, "", key, value);
    }
    if (error < 0)
        return error;
    if (cursor.error < 0)
        return err_set(ERR_INVALID, FAULT_CLIENT, "the body is not a JSON object");
    return has_contents ? 0 : gemini_wrong(&r, "contents", "is missing");
}
