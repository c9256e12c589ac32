#include "dialect/bedrock/request.h"

#include "base/err.h"
#include "dialect/bedrock/content.h"

/* --- messages --- */

static int read_role(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_message *message = into;
    bool is_user = json_string_eq(json_string_raw(value), STR("user"));
    if (!is_user && !json_string_eq(json_string_raw(value), STR("assistant")))
        return bedrock_wrong(reader, "\"user\" or \"assistant\"");
    message->role = is_user ? ROLE_USER : ROLE_ASSISTANT;
    return 0;
}

static int read_blocks(struct bedrock_reader *reader, struct json_value value, void *into)
{
    return bedrock_read_content(reader, value, &((struct llm_message *)into)->blocks);
}

static int read_message(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"role", JSON_STRING, read_role, 0},
        {"content", JSON_ARRAY, read_blocks, 0},
        {0},
    };
    (void)into;
    struct json_value role;
    struct llm_message *message = llm_message_add(reader->arena, reader->request, ROLE_USER);
    if (message == NULL)
        return bedrock_no_memory();
    if (!json_find(value.text, "role", &role))
        return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s.role' is missing", (int)reader->path_len,
                       reader->path);
    return bedrock_read_object(reader, value, members, message);
}

static int read_messages(struct bedrock_reader *reader, struct json_value value, void *into)
{
    return bedrock_read_array(reader, value, JSON_OBJECT, read_message, into);
}

static int read_system(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)into;
    return bedrock_read_content(reader, value, &reader->request->system);
}

/* --- inferenceConfig --- */

static int read_stop_sequence(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_name ***end = into;
    if (!llm_name_add(reader->arena, *end, text_of(value)))
        return bedrock_no_memory();
    *end = &(**end)->next;
    return 0;
}

static int read_stop(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_name **end = &((struct llm_request *)into)->stop;
    return bedrock_read_array(reader, value, JSON_STRING, read_stop_sequence, &end);
}

static int read_inference(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"maxTokens", JSON_NUMBER, NULL, offsetof(struct llm_request, max_tokens)},
        {"temperature", JSON_NUMBER, NULL, offsetof(struct llm_request, temperature)},
        {"topP", JSON_NUMBER, NULL, offsetof(struct llm_request, top_p)},
        {"stopSequences", JSON_ARRAY, read_stop, 0},
        {0},
    };
    return bedrock_read_object(reader, value, members, into);
}

/* --- toolConfig --- */

/* The end of the list, and the tool that a cachePoint belongs to. */
struct tools {
    struct llm_tool **end;
    struct llm_tool *last;
};

static struct llm_tool *add_tool(struct bedrock_reader *reader, struct tools *tools)
{
    struct llm_tool *tool = ARENA_NEW(reader->arena, struct llm_tool);
    if (tool == NULL)
        return NULL;
    *tools->end = tool;
    tools->end = &tool->next;
    tools->last = tool;
    tool->maker = DIALECT_BEDROCK;
    return tool;
}

static int read_schema(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"json", JSON_NONE, NULL, offsetof(struct llm_tool, schema)}, {0}};
    return bedrock_read_object(reader, value, members, into);
}

static int read_strict(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    ((struct llm_tool *)into)->strict = value.kind == JSON_TRUE ? TRI_YES : TRI_NO;
    return 0;
}

static int read_spec(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"name", JSON_STRING, NULL, offsetof(struct llm_tool, name)},
        {"description", JSON_STRING, NULL, offsetof(struct llm_tool, description)},
        {"inputSchema", JSON_OBJECT, read_schema, 0},
        {"strict", JSON_TRUE, read_strict, 0},
        {0},
    };
    const struct llm_extra *extra = reader->request->last_extra;
    struct llm_tool *tool = add_tool(reader, into);
    if (tool == NULL)
        return bedrock_no_memory();
    int r = bedrock_read_object(reader, value, members, tool);
    if (r == 0 && !text_is_some(tool->name))
        r = err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s.name' is missing", (int)reader->path_len,
                    reader->path);
    if (extra != reader->request->last_extra)
        tool->raw = value.text;
    return r;
}

static int read_tool_cache_point(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct tools *tools = into;
    (void)reader;
    if (tools->last != NULL)
        tools->last->cache = bedrock_cache_of(value);
    return 0;
}

static int read_tool(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"toolSpec", JSON_OBJECT, read_spec, 0},
        {"cachePoint", JSON_OBJECT, read_tool_cache_point, 0},
        {0},
    };
    struct tools *tools = into;
    struct str key;
    struct json_value member;
    if (!bedrock_first_member(value, &key, &member))
        return bedrock_wrong(reader, "an object with one of toolSpec, systemTool, cachePoint");
    bool is_cache = json_string_eq(key, STR("cachePoint")) && tools->last != NULL &&
                    tools->last->cache == CACHE_NONE;
    if (json_string_eq(key, STR("toolSpec")) || is_cache)
        return bedrock_read_object(reader, value, members, tools);
    struct llm_tool *tool = add_tool(reader, tools);
    if (tool == NULL)
        return bedrock_no_memory();
    tool->kind = TOOL_BUILTIN;
    tool->raw = value.text;
    if (json_find(value.text, "systemTool.name", &member))
        tool->name = text_of(member);
    return 0;
}

static int read_tools(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct tools tools = {.end = &((struct llm_request *)into)->tools};
    return bedrock_read_array(reader, value, JSON_OBJECT, read_tool, &tools);
}

static int read_auto(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    (void)value;
    ((struct llm_request *)into)->tool_choice = TOOL_CHOICE_AUTO;
    return 0;
}

static int read_any(struct bedrock_reader *reader, struct json_value value, void *into)
{
    (void)reader;
    (void)value;
    ((struct llm_request *)into)->tool_choice = TOOL_CHOICE_REQUIRED;
    return 0;
}

static int read_named(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"name", JSON_STRING, NULL, offsetof(struct llm_request, tool_choice_name)}, {0}};
    struct llm_request *request = into;
    request->tool_choice = TOOL_CHOICE_NAMED;
    int r = bedrock_read_object(reader, value, members, request);
    if (r == 0 && !text_is_some(request->tool_choice_name))
        return err_set(ERR_INVALID, FAULT_CLIENT, "'%.*s.name' is missing", (int)reader->path_len,
                       reader->path);
    return r;
}

static int read_tool_choice(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"auto", JSON_OBJECT, read_auto, 0},
        {"any", JSON_OBJECT, read_any, 0},
        {"tool", JSON_OBJECT, read_named, 0},
        {0},
    };
    struct str key;
    struct json_value choice;
    if (bedrock_first_member(value, &key, &choice)) {
        for (const struct bedrock_member *m = members; m->name != NULL; m++) {
            if (json_string_eq(key, str_c(m->name)))
                return bedrock_read_object(reader, value, members, into);
        }
    }
    return bedrock_keep_extra(reader, STR_EMPTY, value, false);
}

static int read_tool_config(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"tools", JSON_ARRAY, read_tools, 0},
        {"toolChoice", JSON_OBJECT, read_tool_choice, 0},
        {0},
    };
    return bedrock_read_object(reader, value, members, into);
}

/* --- outputConfig --- */

static int read_format_type(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_response_format *format = into;
    if (!json_string_eq(json_string_raw(value), STR("json_schema")))
        return bedrock_wrong(reader, "\"json_schema\"");
    format->kind = FORMAT_JSON_SCHEMA;
    return 0;
}

/* The schema is the text of a JSON document. */
static int read_format_schema(struct bedrock_reader *reader, struct json_value value, void *into)
{
    struct llm_response_format *format = into;
    struct json_scan scan;
    struct str plain;
    int r = json_unescape(reader->arena, json_string_raw(value), &plain);
    if (r == -ERR_NOMEM)
        return bedrock_no_memory();
    if (r < 0 || json_scan_object(plain, JSON_DEPTH_DEFAULT, NULL, 0, &scan) < 0)
        return bedrock_wrong(reader, "the text of a JSON object: a JSON Schema");
    format->schema = plain;
    return 0;
}

static int read_json_schema(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"name", JSON_STRING, NULL, offsetof(struct llm_response_format, name)},
        {"description", JSON_STRING, NULL, offsetof(struct llm_response_format, description)},
        {"schema", JSON_STRING, read_format_schema, 0},
        {0},
    };
    return bedrock_read_object(reader, value, members, into);
}

static int read_structure(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"jsonSchema", JSON_OBJECT, read_json_schema, 0}, {0}};
    return bedrock_read_object(reader, value, members, into);
}

static int read_text_format(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"type", JSON_STRING, read_format_type, 0},
        {"structure", JSON_OBJECT, read_structure, 0},
        {0},
    };
    return bedrock_read_object(reader, value, members, into);
}

static int read_output_config(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"textFormat", JSON_OBJECT, read_text_format, 0}, {0}};
    struct llm_request *request = into;
    return bedrock_read_object(reader, value, members, &request->format);
}

/* --- the request --- */

static int read_service_tier(struct bedrock_reader *reader, struct json_value value, void *into)
{
    static const struct bedrock_member members[] = {
        {"type", JSON_STRING, NULL, offsetof(struct llm_request, service_tier)}, {0}};
    return bedrock_read_object(reader, value, members, into);
}

int bedrock_request_read(struct str body, struct arena *arena, struct llm_request *request)
{
    static const struct bedrock_member members[] = {
        {"messages", JSON_ARRAY, read_messages, 0},
        {"system", JSON_ARRAY, read_system, 0},
        {"inferenceConfig", JSON_OBJECT, read_inference, 0},
        {"toolConfig", JSON_OBJECT, read_tool_config, 0},
        {"additionalModelRequestFields", JSON_NONE, bedrock_read_fields, 0},
        {"outputConfig", JSON_OBJECT, read_output_config, 0},
        {"serviceTier", JSON_OBJECT, read_service_tier, 0},
        {"requestMetadata", JSON_OBJECT, NULL, offsetof(struct llm_request, metadata)},
        {0},
    };
    *request = (struct llm_request){.source = DIALECT_BEDROCK};
    struct bedrock_reader reader = {.arena = arena, .request = request};
    struct json_value value = {JSON_OBJECT, body};
    return bedrock_read_object(&reader, value, members, request);
}
