#include "dialect/bedrock/content.h"
#include "dialect/bedrock/request.h"
#include "dialect/bedrock/write.h"

static bool is_allowed(const struct llm_request *request, const struct llm_tool *tool)
{
    if (request->allowed_tools == NULL || tool->kind != TOOL_FUNCTION)
        return true;
    for (const struct llm_name *n = request->allowed_tools; n != NULL; n = n->next) {
        if (n->text.is_escaped == tool->name.is_escaped && str_eq(n->text.s, tool->name.s))
            return true;
    }
    return false;
}

static void write_spec(struct buf *out, const struct llm_tool *tool)
{
    BUF_LIT(out, "{\"toolSpec\":");
    if (tool->raw.len > 0 && tool->maker == DIALECT_BEDROCK) {
        buf_add_str(out, tool->raw);
        BUF_LIT(out, "}");
        return;
    }
    BUF_LIT(out, "{\"name\":");
    text_write(out, tool->name);
    if (!text_is_empty(tool->description)) {
        bedrock_key(out, "description");
        text_write(out, tool->description);
    }
    bedrock_key(out, "inputSchema");
    BUF_LIT(out, "{\"json\":");
    buf_add_str(out, tool->schema.len > 0 ? tool->schema
                                          : STR("{\"type\":\"object\",\"properties\":{}}"));
    BUF_LIT(out, "}");
    if (tool->strict != TRI_UNSET) {
        bedrock_key(out, "strict");
        buf_add_str(out, tool->strict == TRI_YES ? STR("true") : STR("false"));
    }
    BUF_LIT(out, "}}");
}

/* Those that can be written, with what is to be noted of the others. */
static unsigned write_list(struct buf *out, const struct llm_request *request,
                           struct llm_notes *notes)
{
    unsigned count = 0, index = 0;
    for (const struct llm_tool *tool = request->tools; tool != NULL; tool = tool->next, index++) {
        if (tool->kind == TOOL_BUILTIN && tool->maker != DIALECT_BEDROCK) {
            llm_note_dropped(notes, "%s[%u]", llm_field_name(request, FIELD_TOOLS), index);
            continue;
        }
        if (!is_allowed(request, tool))
            continue;
        bedrock_item(out);
        if (tool->kind == TOOL_BUILTIN)
            buf_add_str(out, tool->raw);
        else
            write_spec(out, tool);
        if (tool->cache != CACHE_NONE)
            bedrock_write_cache_point(out, tool->cache);
        count++;
    }
    return count;
}

/* --- tools that the history tells of --- */

static bool has_tool_blocks(const struct llm_request *request)
{
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next) {
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            if (b->kind == BLOCK_TOOL_CALL || b->kind == BLOCK_TOOL_RESULT)
                return true;
        }
    }
    return false;
}

/* Names of tools that were called; a history that calls more of them is not told of the others. */
struct called {
    struct text names[64];
    unsigned count;
};

static void add_called(struct called *called, struct text name)
{
    for (unsigned i = 0; i < called->count; i++) {
        if (called->names[i].is_escaped == name.is_escaped && str_eq(called->names[i].s, name.s))
            return;
    }
    if (called->count < ARRAY_LEN(called->names))
        called->names[called->count++] = name;
}

/* A history with calls is refused without tools: they are made up from it. */
static void write_called(struct buf *out, const struct llm_request *request,
                         struct llm_notes *notes)
{
    struct called called = {.count = 0};
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next) {
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            if (b->kind == BLOCK_TOOL_CALL)
                add_called(&called, b->name);
        }
    }
    if (called.count == 0)
        add_called(&called, TEXT_LIT("tool"));
    for (unsigned i = 0; i < called.count; i++) {
        struct llm_tool tool = {.name = called.names[i]};
        bedrock_item(out);
        write_spec(out, &tool);
    }
    llm_note_supplied(notes, "toolConfig.tools=%u", called.count);
}

/* --- toolConfig --- */

static void write_choice(struct buf *out, const struct llm_request *request,
                         struct llm_notes *notes)
{
    switch (request->tool_choice) {
    case TOOL_CHOICE_UNSET:
        break;
    case TOOL_CHOICE_AUTO:
        bedrock_key(out, "toolChoice");
        BUF_LIT(out, "{\"auto\":{}}");
        break;
    case TOOL_CHOICE_REQUIRED:
        bedrock_key(out, "toolChoice");
        BUF_LIT(out, "{\"any\":{}}");
        break;
    case TOOL_CHOICE_NAMED:
        bedrock_key(out, "toolChoice");
        BUF_LIT(out, "{\"tool\":{\"name\":");
        text_write(out, request->tool_choice_name);
        BUF_LIT(out, "}}");
        break;
    case TOOL_CHOICE_NONE:
        llm_note_dropped(notes, "%s", llm_field_name(request, FIELD_TOOL_CHOICE));
        break;
    }
}

void bedrock_write_tools(struct buf *out, struct llm_request *request, struct llm_notes *notes)
{
    bool has_history = has_tool_blocks(request);
    if (request->parallel_tools == TRI_NO)
        llm_note_dropped(notes, "%s", llm_field_name(request, FIELD_PARALLEL_TOOLS));
    /* No tools are the way to say that none is to be called. */
    if (request->tool_choice == TOOL_CHOICE_NONE && !has_history)
        return;
    if (request->source == DIALECT_BEDROCK && request->tools == NULL)
        has_history = false;
    size_t start = out->len;
    bedrock_key(out, "toolConfig");
    BUF_LIT(out, "{\"tools\":[");
    unsigned count = write_list(out, request, notes);
    bool is_made_up = count == 0 && has_history;
    if (is_made_up)
        write_called(out, request, notes);
    BUF_LIT(out, "]");
    size_t after_tools = out->len;
    if (count > 0)
        write_choice(out, request, notes);
    bedrock_write_extras(out, request, "toolConfig.");
    if (count == 0 && !is_made_up && out->len == after_tools)
        out->len = start;
    else
        BUF_LIT(out, "}");
}
