#include "dialect/structured.h"

#include "base/err.h"

#define TOOL_NAME "json_answer"

static const struct str any_object =
    STR_INIT("{\"type\":\"object\",\"additionalProperties\":true}");

static bool is_taken(const struct llm_request *request, struct str name)
{
    for (const struct llm_tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (text_eq(tool->name, name))
            return true;
    }
    return false;
}

/* A name that none of the client's tools has. */
static struct str free_name(const struct llm_request *request, struct arena *arena)
{
    struct str name = STR(TOOL_NAME);
    for (unsigned i = 2; name.ptr != NULL && is_taken(request, name); i++)
        name = arena_printf(arena, TOOL_NAME "_%u", i);
    return name;
}

/* The arguments of a tool are an object. */
static bool is_object_schema(struct str schema)
{
    struct json_value type;
    return schema.len == 0 || !json_find(schema, "type", &type) || type.kind != JSON_STRING ||
           str_ieq(json_string_raw(type), STR("object"));
}

static void choose(struct llm_request *request, struct str tool, bool had_tools, bool may_force)
{
    bool may_call = had_tools && request->tool_choice != TOOL_CHOICE_NONE;
    if (!may_force) {
        request->tool_choice = TOOL_CHOICE_AUTO;
        request->tool_choice_name = TEXT_NONE;
    } else if (!may_call) {
        request->tool_choice = TOOL_CHOICE_NAMED;
        request->tool_choice_name = text_plain(tool);
    } else if (request->tool_choice != TOOL_CHOICE_NAMED) {
        request->tool_choice = TOOL_CHOICE_REQUIRED;
    }
}

int structured_settle(struct llm_request *request, enum dialect_id dialect,
                      const struct llm_target *target, struct arena *arena, struct str *tool)
{
    const struct llm_response_format *format = &request->format;
    enum llm_reasoning_mode mode = request->reasoning.mode;
    bool thinks = mode == REASONING_ON || mode == REASONING_ADAPTIVE;
    bool is_claude = dialect == DIALECT_ANTHROPIC || dialect == DIALECT_BEDROCK;
    *tool = STR_EMPTY;
    if (format->kind != FORMAT_JSON_OBJECT && format->kind != FORMAT_JSON_SCHEMA)
        return 0;
    if (target->traits->structured == STRUCTURED_NONE)
        return err_set(ERR_INVALID, FAULT_CLIENT,
                       "The model '%.*s' gives no structured answers; leave the response format "
                       "out or ask for another model.",
                       STR_ARG(target->model));
    if (target->traits->structured != STRUCTURED_BY_TOOL)
        return 0;
    if (!is_object_schema(format->schema))
        return err_set(ERR_INVALID, FAULT_CLIENT,
                       "The model '%.*s' gives structured answers by a tool, so the schema must be "
                       "an object's: put what is wanted into a member of one.",
                       STR_ARG(target->model));
    bool had_tools = request->tools != NULL;
    struct str name = free_name(request, arena);
    struct llm_tool *added = name.ptr != NULL ? llm_tool_add(arena, request) : NULL;
    if (added == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory for a structured answer");
    added->name = text_plain(name);
    added->description =
        text_is_some(format->description)
            ? format->description
            : TEXT_LIT("Gives the final answer to the user. Call it once, with the whole answer.");
    added->schema = format->schema.len > 0 ? format->schema : any_object;
    added->strict = format->kind == FORMAT_JSON_SCHEMA ? format->strict : TRI_UNSET;
    choose(request, name, had_tools, !(thinks && is_claude));
    if (request->allowed_tools != NULL &&
        !llm_name_add(arena, &request->allowed_tools, text_plain(name)))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "out of memory for a structured answer");
    request->format = (struct llm_response_format){.kind = FORMAT_UNSET};
    *tool = name;
    return 0;
}
