#include "base/err.h"
#include "dialect/anthropic/codec.h"

static int read_tool(struct anthropic_reader *r, struct json_value value, struct llm_tool *tool)
{
    static const struct anthropic_member members[] = {{"name", WANT_STRING},
                                                      {"description", WANT_STRING},
                                                      {"input_schema", WANT_OBJECT},
                                                      {"cache_control", WANT_OBJECT},
                                                      {"strict", WANT_BOOLEAN},
                                                      {"type", WANT_STRING},
                                                      {NULL, WANT_ANY}};
    struct json_value v[6];
    if (value.kind != JSON_OBJECT)
        return anthropic_refuse(r, "", "must be an object");
    int error = anthropic_collect(r, value.text, members, v, &tool->rest);
    if (error == 0)
        error = anthropic_read_cache(r, v[3], &tool->cache, &tool->rest);
    if (error < 0)
        return error;
    tool->name = text_of(v[0]);
    tool->maker = DIALECT_ANTHROPIC;
    if (v[5].kind == JSON_STRING && !json_string_eq(json_string_raw(v[5]), STR("custom"))) {
        tool->kind = TOOL_BUILTIN;
        tool->raw = value.text;
        return 0;
    }
    if (v[0].kind == JSON_NONE)
        return anthropic_refuse(r, "name", "is missing");
    if (v[2].kind == JSON_NONE)
        return anthropic_refuse(r, "input_schema", "is missing: give a JSON Schema of an object");
    tool->description = text_of(v[1]);
    tool->schema = v[2].text;
    if (v[4].kind != JSON_NONE)
        tool->strict = v[4].kind == JSON_TRUE ? TRI_YES : TRI_NO;
    return v[5].kind == JSON_NONE ? 0 : anthropic_keep(r->arena, "type", v[5].text, &tool->rest);
}

int anthropic_read_tools(struct anthropic_reader *r, struct json_value value)
{
    struct json_cursor cursor;
    struct json_value item;
    struct llm_tool **end = &r->request->tools;
    ptrdiff_t index = 0;
    int error;
    json_cursor_init(&cursor, value.text);
    while ((error = json_iter_array(&cursor, &item)) == 1) {
        struct llm_tool *tool = ARENA_NEW(r->arena, struct llm_tool);
        if (tool == NULL)
            return anthropic_no_memory();
        size_t back = anthropic_enter(r, "tools", index++);
        error = read_tool(r, item, tool);
        if (error < 0)
            return error;
        anthropic_leave(r, back);
        *end = tool;
        end = &tool->next;
    }
    return error < 0 ? anthropic_refuse(r, "tools", "is no JSON, or nested too deeply") : 0;
}

int anthropic_read_tool_choice(struct anthropic_reader *r, struct json_value value)
{
    static const struct anthropic_member members[] = {{"type", WANT_STRING},
                                                      {"name", WANT_STRING},
                                                      {"disable_parallel_tool_use", WANT_BOOLEAN},
                                                      {NULL, WANT_ANY}};
    static const struct {
        const char *type;
        enum llm_tool_choice choice;
    } types[] = {{"auto", TOOL_CHOICE_AUTO},
                 {"any", TOOL_CHOICE_REQUIRED},
                 {"tool", TOOL_CHOICE_NAMED},
                 {"none", TOOL_CHOICE_NONE}};
    struct json_value v[3];
    struct llm_request *request = r->request;
    size_t back = anthropic_enter(r, "tool_choice", -1);
    int error = anthropic_collect(r, value.text, members, v, NULL);
    if (error < 0)
        return error;
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        if (json_string_eq(json_string_raw(v[0]), str_c(types[i].type)) && v[0].kind == JSON_STRING)
            request->tool_choice = types[i].choice;
    }
    if (request->tool_choice == TOOL_CHOICE_UNSET)
        return anthropic_refuse(r, "type", "must be auto, any, tool or none");
    if (request->tool_choice == TOOL_CHOICE_NAMED && v[1].kind == JSON_NONE)
        return anthropic_refuse(r, "name", "is missing: name the tool that is to be called");
    request->tool_choice_name = text_of(v[1]);
    if (v[2].kind != JSON_NONE)
        request->parallel_tools = v[2].kind == JSON_TRUE ? TRI_NO : TRI_YES;
    anthropic_leave(r, back);
    return 0;
}
