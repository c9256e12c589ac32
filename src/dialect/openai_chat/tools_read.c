#include "dialect/openai_chat/codec.h"

/* tools, functions (their older form), tool_choice, function_call. */

static int read_tri(struct chat_reading *r, const char *name, struct json_value value,
                    enum tri *out)
{
    if (value.kind == JSON_TRUE)
        *out = TRI_YES;
    else if (value.kind == JSON_FALSE)
        *out = TRI_NO;
    else if (value.kind != JSON_NONE)
        return chat_refuse(r, name, "must be a boolean");
    return 0;
}

static enum llm_cache cache_of(struct str object)
{
    struct json_value ttl;
    if (!json_find(object, "cache_control", &ttl) || ttl.kind != JSON_OBJECT)
        return CACHE_NONE;
    bool is_hour =
        json_find(object, "cache_control.ttl", &ttl) && str_eq(json_string_raw(ttl), STR("1h"));
    return is_hour ? CACHE_1H : CACHE_5M;
}

static int read_function(struct chat_reading *r, struct json_value value, struct llm_tool *tool)
{
    static const char *const names[] = {"name", "description", "parameters", "strict", NULL};
    struct json_value v[CHAT_MEMBERS_MAX];
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "function", "must be an object");
    int result = chat_collect(r, value.text, names, v, &tool->rest);
    if (result == 0 && v[0].kind != JSON_STRING)
        result = chat_refuse(r, "function.name", "must be a string");
    if (result == 0)
        result = chat_read_text(r, "function.description", v[1], &tool->description);
    if (result == 0 && v[2].kind != JSON_NONE && v[2].kind != JSON_OBJECT)
        result = chat_refuse(r, "function.parameters", "must be an object (a JSON Schema)");
    if (result == 0)
        result = read_tri(r, "function.strict", v[3], &tool->strict);
    tool->name = text_of(v[0]);
    tool->schema = v[2].text;
    tool->maker = DIALECT_OPENAI_CHAT;
    return result;
}

static int read_custom(struct chat_reading *r, struct json_value value, struct llm_tool *tool)
{
    struct json_value name, description;
    if (!json_find(value.text, "custom.name", &name) || name.kind != JSON_STRING)
        return chat_refuse(r, "custom.name", "must be a string");
    tool->name = text_of(name);
    if (json_find(value.text, "custom.description", &description))
        tool->description = text_of(description);
    tool->schema = STR("{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"}},"
                       "\"required\":[\"input\"],\"additionalProperties\":false}");
    tool->raw = value.text;
    tool->maker = DIALECT_OPENAI_CHAT;
    return 0;
}

static int read_tool(struct chat_reading *r, struct json_value value)
{
    struct json_value type = {JSON_NONE, STR_EMPTY}, function;
    if (value.kind != JSON_OBJECT)
        return chat_refuse(r, "", "must be an object");
    struct llm_tool *tool = llm_tool_add(r->arena, r->request);
    if (tool == NULL)
        return chat_no_memory();
    bool has_type = json_find(value.text, "type", &type);
    bool has_function = json_find(value.text, "function", &function);
    tool->cache = cache_of(value.text);
    if (has_function && (!has_type || str_eq(json_string_raw(type), STR("function"))))
        return read_function(r, function, tool);
    if (has_type && type.kind != JSON_STRING)
        return chat_refuse(r, "type", "must be a string");
    if (!has_type || str_eq(json_string_raw(type), STR("function")))
        return chat_refuse(r, "function", "is missing");
    if (str_eq(json_string_raw(type), STR("custom")))
        return read_custom(r, value, tool);
    tool->kind = TOOL_BUILTIN;
    tool->raw = value.text;
    tool->maker = DIALECT_OPENAI_CHAT;
    return 0;
}

int chat_read_tools(struct chat_reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    int result = 0;
    if (value.kind != JSON_ARRAY)
        return chat_refuse(r, "tools", "must be an array");
    r->list = "tools";
    r->index = 0;
    json_cursor_init(&cursor, value.text);
    while (result == 0 && json_iter_array(&cursor, &item) == 1) {
        result = read_tool(r, item);
        r->index++;
    }
    r->list = NULL;
    return result;
}

int chat_read_functions(struct chat_reading *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    int result = 0;
    if (value.kind != JSON_ARRAY)
        return chat_refuse(r, "functions", "must be an array");
    r->list = "functions";
    r->index = 0;
    json_cursor_init(&cursor, value.text);
    while (result == 0 && json_iter_array(&cursor, &item) == 1) {
        struct llm_tool *tool = llm_tool_add(r->arena, r->request);
        if (tool == NULL)
            return chat_no_memory();
        result = read_function(r, item, tool);
        tool->raw = item.text;
        r->index++;
    }
    r->list = NULL;
    return result;
}

static bool choice_of(struct json_value value, enum llm_tool_choice *choice)
{
    struct str word = json_string_raw(value);
    if (str_eq(word, STR("auto")))
        *choice = TOOL_CHOICE_AUTO;
    else if (str_eq(word, STR("none")))
        *choice = TOOL_CHOICE_NONE;
    else if (str_eq(word, STR("required")) || str_eq(word, STR("any")))
        *choice = TOOL_CHOICE_REQUIRED;
    else
        return false;
    return true;
}

static int read_allowed(struct chat_reading *r, struct str object)
{
    struct json_cursor cursor;
    struct json_value mode, tools, item, name;
    if (!json_find(object, "allowed_tools.mode", &mode) ||
        !choice_of(mode, &r->request->tool_choice))
        return chat_refuse(r, "tool_choice.allowed_tools.mode", "must be auto or required");
    if (!json_find(object, "allowed_tools.tools", &tools) || tools.kind != JSON_ARRAY)
        return chat_refuse(r, "tool_choice.allowed_tools.tools", "must be an array");
    struct llm_name **end = &r->request->allowed_tools;
    json_cursor_init(&cursor, tools.text);
    while (json_iter_array(&cursor, &item) == 1) {
        if (!json_find(item.text, "function.name", &name) &&
            !json_find(item.text, "custom.name", &name))
            return chat_refuse(r, "tool_choice.allowed_tools.tools", "must name functions");
        if (!llm_name_add(r->arena, end, text_of(name)))
            return chat_no_memory();
        end = &(*end)->next;
    }
    return 0;
}

int chat_read_tool_choice(struct chat_reading *r, struct json_value value)
{
    struct json_value type, name;
    if (choice_of(value, &r->request->tool_choice))
        return 0;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "type", &type))
        return chat_refuse(r, "tool_choice", "must be auto, none, required or an object");
    if (str_eq(json_string_raw(type), STR("allowed_tools")))
        return read_allowed(r, value.text);
    if (json_find(value.text, "function.name", &name) ||
        json_find(value.text, "custom.name", &name)) {
        if (name.kind != JSON_STRING)
            return chat_refuse(r, "tool_choice.function.name", "must be a string");
        r->request->tool_choice = TOOL_CHOICE_NAMED;
        r->request->tool_choice_name = text_of(name);
        return 0;
    }
    if (str_eq(json_string_raw(type), STR("function")))
        return chat_refuse(r, "tool_choice.function.name", "is missing");
    return llm_extra_add(r->arena, r->request, STR_EMPTY, STR("tool_choice"), value)
               ? 0
               : chat_no_memory();
}

int chat_read_function_call(struct chat_reading *r, struct json_value value)
{
    struct json_value name;
    if (choice_of(value, &r->request->tool_choice))
        return 0;
    if (value.kind != JSON_OBJECT || !json_find(value.text, "name", &name) ||
        name.kind != JSON_STRING)
        return chat_refuse(r, "function_call", "must be auto, none or {\"name\": \"...\"}");
    r->request->tool_choice = TOOL_CHOICE_NAMED;
    r->request->tool_choice_name = text_of(name);
    return 0;
}
