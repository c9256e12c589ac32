#include "base/err.h"
#include "dialect/openai_responses/codec.h"

/*
 * Tools and the choice among them, both ways. A tool that takes free text ("custom") is a function
 * with one string for the neutral form, so that models of any provider can call it; its own form is
 * kept in `raw`.
 */

/* --- custom tools --- */

const struct llm_tool *responses_custom_tool(const struct llm_request *request, struct text name)
{
    if (request == NULL || request->source != DIALECT_OPENAI_RESPONSES)
        return NULL;
    for (const struct llm_tool *tool = request->tools; tool != NULL; tool = tool->next) {
        bool is_custom = tool->kind == TOOL_FUNCTION && tool->raw.len > 0 &&
                         tool->maker == DIALECT_OPENAI_RESPONSES;
        bool is_same = tool->name.is_escaped == name.is_escaped ? str_eq(tool->name.s, name.s)
                       : name.is_escaped                        ? text_eq(name, tool->name.s)
                                                                : text_eq(tool->name, name.s);
        if (is_custom && is_same)
            return tool;
    }
    return NULL;
}

struct text responses_custom_input(struct arena *arena, struct text arguments)
{
    struct str object = text_or(arena, arguments, STR_EMPTY);
    struct json_value value;
    if (!json_find(object, "input", &value))
        return TEXT_NONE;
    return text_of(value);
}

struct text responses_custom_arguments(struct arena *arena, struct text input)
{
    struct buf out = BUF_INIT;
    BUF_LIT(&out, "{\"input\":");
    text_write(&out, input);
    buf_add_char(&out, '}');
    struct text arguments = buf_ok(&out) ? text_plain(arena_dup(arena, buf_str(&out))) : TEXT_NONE;
    buf_fini(&out);
    return arguments;
}

/* The grammar that the text is to follow is told in the description of the one parameter. */
static struct str custom_schema(struct arena *arena, struct json_value format)
{
    struct json_value definition;
    struct str schema;
    struct buf out = BUF_INIT;
    BUF_LIT(&out, "{\"type\":\"object\",\"properties\":{\"input\":{\"type\":\"string\"");
    if (format.kind == JSON_OBJECT &&
        (json_find(format.text, "definition", &definition) ||
         json_find(format.text, "grammar.definition", &definition)) &&
        definition.kind == JSON_STRING) {
        BUF_LIT(&out, ",\"description\":\"Text that follows this grammar:\\n");
        text_write_inside(&out, text_of(definition));
        buf_add_char(&out, '"');
    }
    BUF_LIT(&out, "}},\"required\":[\"input\"],\"additionalProperties\":false}");
    schema = buf_ok(&out) ? arena_dup(arena, buf_str(&out)) : STR_EMPTY;
    buf_fini(&out);
    return schema;
}

/* --- reading --- */

static int read_strict(const struct responses_reading *r, struct json_value value, enum tri *out)
{
    if (value.kind != JSON_NONE && value.kind != JSON_TRUE && value.kind != JSON_FALSE)
        return responses_refuse(r, "strict", "must be a boolean");
    *out = value.kind == JSON_TRUE ? TRI_YES : value.kind == JSON_FALSE ? TRI_NO : TRI_UNSET;
    return 0;
}

static int read_function(struct responses_reading *r, struct str object, struct llm_tool *tool)
{
    static const char *const names[] = {"type",       "name",   "description",
                                        "parameters", "strict", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    int result = responses_collect(r, object, names, values, &tool->rest);
    if (result == 0)
        result = responses_read_text(r, "name", values[1], &tool->name);
    if (result == 0)
        result = responses_read_text(r, "description", values[2], &tool->description);
    if (result == 0)
        result = read_strict(r, values[4], &tool->strict);
    if (result < 0)
        return result;
    if (!text_is_some(tool->name))
        return responses_refuse(r, "name", "is missing: a function must have a name");
    if (values[3].kind != JSON_NONE && values[3].kind != JSON_OBJECT)
        return responses_refuse(r, "parameters", "must be an object (a JSON Schema)");
    tool->schema = values[3].text;
    return 0;
}

static int read_custom(struct responses_reading *r, struct str object, struct llm_tool *tool)
{
    static const char *const names[] = {"type", "name", "description", "format", NULL};
    struct json_value values[RESPONSES_MEMBERS_MAX];
    int result = responses_collect(r, object, names, values, &tool->rest);
    if (result == 0)
        result = responses_read_text(r, "name", values[1], &tool->name);
    if (result == 0)
        result = responses_read_text(r, "description", values[2], &tool->description);
    if (result < 0)
        return result;
    if (!text_is_some(tool->name))
        return responses_refuse(r, "name", "is missing: a custom tool must have a name");
    tool->raw = object;
    tool->schema = custom_schema(r->arena, values[3]);
    return tool->schema.ptr == NULL ? responses_no_memory() : 0;
}

static int read_tool(struct responses_reading *r, struct json_value value)
{
    struct json_value type;
    if (value.kind != JSON_OBJECT)
        return responses_refuse(r, "", "must be an object");
    if (!json_find(value.text, "type", &type) || type.kind != JSON_STRING)
        return responses_refuse(r, "type", "must be a string such as \"function\"");
    struct llm_tool *tool = llm_tool_add(r->arena, r->request);
    if (tool == NULL)
        return responses_no_memory();
    tool->maker = DIALECT_OPENAI_RESPONSES;
    if (json_string_eq(json_string_raw(type), STR("function")))
        return read_function(r, value.text, tool);
    if (json_string_eq(json_string_raw(type), STR("custom")))
        return read_custom(r, value.text, tool);
    tool->kind = TOOL_BUILTIN;
    tool->name = text_of(type);
    tool->raw = value.text;
    return 0;
}

int responses_read_tools(struct responses_reading *r, struct json_value tools)
{
    struct json_cursor cursor;
    struct json_value value;
    int result = 0;
    if (tools.kind != JSON_ARRAY)
        return responses_refuse(r, "tools", "must be an array");
    json_cursor_init(&cursor, tools.text);
    r->list = "tools";
    for (r->index = 0; result == 0 && json_iter_array(&cursor, &value) == 1; r->index++)
        result = read_tool(r, value);
    r->list = NULL;
    return result;
}

static const struct {
    const char *name;
    enum llm_tool_choice choice;
} choices[] = {
    {"auto", TOOL_CHOICE_AUTO}, {"none", TOOL_CHOICE_NONE}, {"required", TOOL_CHOICE_REQUIRED}};

static bool choice_of(struct json_value value, enum llm_tool_choice *choice)
{
    for (size_t i = 0; value.kind == JSON_STRING && i < ARRAY_LEN(choices); i++) {
        if (json_string_eq(json_string_raw(value), str_c(choices[i].name))) {
            *choice = choices[i].choice;
            return true;
        }
    }
    return false;
}

static const char *choice_name(enum llm_tool_choice choice)
{
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        if (choices[i].choice == choice)
            return choices[i].name;
    }
    return "auto";
}

/* False when a tool among them is no function: then the choice is this dialect's own affair. */
static bool read_allowed(struct responses_reading *r, struct str object, bool *no_memory)
{
    struct json_cursor cursor;
    struct json_value tools, value, mode, type, name;
    struct llm_name *names = NULL, **end = &names;
    enum llm_tool_choice choice = TOOL_CHOICE_AUTO;
    if (!json_find(object, "tools", &tools) || tools.kind != JSON_ARRAY)
        return false;
    if (json_find(object, "mode", &mode) && !choice_of(mode, &choice))
        return false;
    json_cursor_init(&cursor, tools.text);
    while (json_iter_array(&cursor, &value) == 1) {
        if (value.kind != JSON_OBJECT || !json_find(value.text, "type", &type) ||
            !json_string_eq(json_string_raw(type), STR("function")) ||
            !json_find(value.text, "name", &name) || name.kind != JSON_STRING)
            return false;
        if (!llm_name_add(r->arena, end, text_of(name))) {
            *no_memory = true;
            return false;
        }
        end = &(*end)->next;
    }
    r->request->tool_choice = choice;
    r->request->allowed_tools = names;
    return names != NULL;
}

int responses_read_tool_choice(struct responses_reading *r, struct json_value choice)
{
    struct json_value type, name;
    bool no_memory = false;
    if (choice_of(choice, &r->request->tool_choice))
        return 0;
    if (choice.kind == JSON_STRING)
        return responses_refuse(r, "tool_choice", "must be auto, none, required or an object");
    if (choice.kind != JSON_OBJECT || !json_find(choice.text, "type", &type) ||
        type.kind != JSON_STRING)
        return responses_refuse(r, "tool_choice", "must be a string or an object with a type");
    struct str kind = json_string_raw(type);
    if (str_eq(kind, STR("function")) || str_eq(kind, STR("custom"))) {
        if (!json_find(choice.text, "name", &name) || name.kind != JSON_STRING)
            return responses_refuse(r, "tool_choice.name", "must be a string");
        r->request->tool_choice = TOOL_CHOICE_NAMED;
        r->request->tool_choice_name = text_of(name);
        return 0;
    }
    if (str_eq(kind, STR("allowed_tools")) && read_allowed(r, choice.text, &no_memory))
        return no_memory ? responses_no_memory() : 0;
    return llm_extra_add(r->arena, r->request, STR_EMPTY, STR("tool_choice"), choice)
               ? 0
               : responses_no_memory();
}

/* --- writing --- */

static void write_function(struct buf *out, const struct llm_tool *tool, bool is_own)
{
    struct responses_list members = {out, false};
    buf_add_char(out, '{');
    responses_member_text(&members, "type", text_plain(STR("function")));
    responses_member_text(&members, "name", tool->name);
    if (text_is_some(tool->description))
        responses_member_text(&members, "description", tool->description);
    if (tool->schema.len > 0)
        responses_member_raw(&members, "parameters", tool->schema);
    else if (!is_own)
        responses_member_raw(&members, "parameters",
                             STR("{\"type\":\"object\",\"properties\":{}}"));
    /* Not told means yes to this API and no to all others. */
    if (tool->strict != TRI_UNSET || !is_own)
        responses_member_raw(&members, "strict",
                             tool->strict == TRI_YES ? STR("true") : STR("false"));
    if (is_own && tool->rest.len > 0) {
        responses_next(&members);
        buf_add_str(out, tool->rest);
    }
    buf_add_char(out, '}');
}

void responses_write_tools(struct buf *out, const struct llm_request *request,
                           struct llm_notes *notes)
{
    struct responses_list list = {out, false};
    bool is_own = request->source == DIALECT_OPENAI_RESPONSES;
    unsigned i = 0;
    buf_add_char(out, '[');
    for (const struct llm_tool *tool = request->tools; tool != NULL; tool = tool->next, i++) {
        bool has_own_raw = tool->raw.len > 0 && tool->maker == DIALECT_OPENAI_RESPONSES;
        if (tool->kind == TOOL_BUILTIN && !has_own_raw) {
            if (notes != NULL)
                llm_note_dropped(notes, "tools[%u]", i);
            continue;
        }
        if (tool->cache != CACHE_NONE && notes != NULL)
            llm_note_dropped(notes, "cache_control");
        responses_next(&list);
        if (has_own_raw)
            buf_add_str(out, tool->raw);
        else
            write_function(out, tool, is_own);
    }
    buf_add_char(out, ']');
}

bool responses_has_tool_choice(const struct llm_request *request)
{
    return request->tool_choice != TOOL_CHOICE_UNSET || request->allowed_tools != NULL;
}

void responses_write_tool_choice(struct buf *out, const struct llm_request *request)
{
    if (request->tool_choice == TOOL_CHOICE_NAMED) {
        bool is_custom = responses_custom_tool(request, request->tool_choice_name) != NULL;
        buf_printf(out, "{\"type\":\"%s\",\"name\":", is_custom ? "custom" : "function");
        text_write(out, request->tool_choice_name);
        buf_add_char(out, '}');
    } else if (request->allowed_tools != NULL) {
        struct responses_list list = {out, false};
        buf_printf(out, "{\"type\":\"allowed_tools\",\"mode\":\"%s\",\"tools\":[",
                   choice_name(request->tool_choice));
        for (const struct llm_name *n = request->allowed_tools; n != NULL; n = n->next) {
            responses_next(&list);
            BUF_LIT(out, "{\"type\":\"function\",\"name\":");
            text_write(out, n->text);
            buf_add_char(out, '}');
        }
        BUF_LIT(out, "]}");
    } else {
        buf_printf(out, "\"%s\"", choice_name(request->tool_choice));
    }
}

void responses_write_format(struct buf *out, const struct llm_response_format *format)
{
    struct responses_list members = {out, false};
    if (format->kind == FORMAT_TEXT) {
        BUF_LIT(out, "{\"type\":\"text\"}");
    } else if (format->kind == FORMAT_JSON_OBJECT) {
        BUF_LIT(out, "{\"type\":\"json_object\"}");
    } else if (format->kind == FORMAT_JSON_SCHEMA) {
        buf_add_char(out, '{');
        responses_member_text(&members, "type", text_plain(STR("json_schema")));
        responses_member_text(&members, "name",
                              text_is_some(format->name) ? format->name
                                                         : text_plain(STR("response")));
        if (text_is_some(format->description))
            responses_member_text(&members, "description", format->description);
        responses_member_raw(&members, "schema",
                             format->schema.len > 0 ? format->schema : STR("{}"));
        if (format->strict != TRI_UNSET)
            responses_member_raw(&members, "strict",
                                 format->strict == TRI_YES ? STR("true") : STR("false"));
        buf_add_char(out, '}');
    }
}
