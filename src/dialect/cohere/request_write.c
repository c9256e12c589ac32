#include "base/err.h"
#include "dialect/cohere/codec.h"
#include "dialect/reasoning.h"

/* Writes a request of POST /v2/chat. What finds no place is noted under the source's own name. */

struct writing {
    struct llm_request *request;
    const struct llm_target *target;
    struct arena *arena;
    struct llm_notes *notes;
    struct buf *out;
    bool is_own; /* what is written was read from this dialect */
    unsigned message;
};

/* --- what the sources call it ---------------------------------------------------------------- */

enum source_name {
    NAME_TEMPERATURE,
    NAME_TOP_P,
    NAME_TOP_K,
    NAME_N,
    NAME_LOGPROBS,
    NAME_TOP_LOGPROBS,
    NAME_LOGIT_BIAS,
    NAME_USER,
    NAME_METADATA,
    NAME_SERVICE_TIER,
    NAME_MODALITIES,
    NAME_AUDIO,
    NAME_PARALLEL,
    NAME_REASONING,
    NAME_CACHE,
    NAME_COUNT
};

/* Column 0 is for those that have no name of their own. */
static const char *const source_names[NAME_COUNT][DIALECT_COUNT] = {
    [NAME_TEMPERATURE] = {"temperature", [DIALECT_GEMINI] = "generationConfig.temperature",
                          [DIALECT_BEDROCK] = "inferenceConfig.temperature"},
    [NAME_TOP_P] = {"top_p", [DIALECT_GEMINI] = "generationConfig.topP",
                    [DIALECT_BEDROCK] = "inferenceConfig.topP", [DIALECT_COHERE] = "p"},
    [NAME_TOP_K] =
        {"top_k", [DIALECT_GEMINI] = "generationConfig.topK",
         [DIALECT_BEDROCK] = "additionalModelRequestFields.top_k", [DIALECT_COHERE] = "k"},
    [NAME_N] = {"n", [DIALECT_GEMINI] = "generationConfig.candidateCount"},
    [NAME_LOGPROBS] = {"logprobs", [DIALECT_GEMINI] = "generationConfig.responseLogprobs"},
    [NAME_TOP_LOGPROBS] = {"top_logprobs", [DIALECT_GEMINI] = "generationConfig.logprobs"},
    [NAME_LOGIT_BIAS] = {"logit_bias"},
    [NAME_USER] = {"user", [DIALECT_ANTHROPIC] = "metadata.user_id"},
    [NAME_METADATA] =
        {"metadata", [DIALECT_BEDROCK] = "requestMetadata", [DIALECT_GEMINI] = "labels"},
    [NAME_SERVICE_TIER] = {"service_tier", [DIALECT_BEDROCK] = "serviceTier"},
    [NAME_MODALITIES] = {"modalities", [DIALECT_GEMINI] = "generationConfig.responseModalities"},
    [NAME_AUDIO] = {"audio", [DIALECT_GEMINI] = "generationConfig.speechConfig"},
    [NAME_PARALLEL] = {"parallel_tool_calls", [DIALECT_ANTHROPIC] =
                                                  "tool_choice.disable_parallel_tool_use"},
    [NAME_REASONING] = {"reasoning_effort", [DIALECT_ANTHROPIC] = "thinking",
                        [DIALECT_GEMINI] = "generationConfig.thinkingConfig",
                        [DIALECT_BEDROCK] = "additionalModelRequestFields.thinking",
                        [DIALECT_COHERE] = "thinking", [DIALECT_OPENAI_RESPONSES] = "reasoning"},
    [NAME_CACHE] = {"cache_control", [DIALECT_BEDROCK] = "cachePoint"},
};

static void drop(const struct writing *w, enum source_name name)
{
    const char *own = source_names[name][w->request->source];
    llm_note_dropped(w->notes, "%s", own != NULL ? own : source_names[name][0]);
}

/* "messages[2].content[0]" and what comes after it, as the source calls it. */
static void drop_block(const struct writing *w, unsigned block, const char *member)
{
    const char *list = w->request->source == DIALECT_GEMINI             ? "contents"
                       : w->request->source == DIALECT_OPENAI_RESPONSES ? "input"
                                                                        : "messages";
    const char *parts = w->request->source == DIALECT_GEMINI ? "parts" : "content";
    llm_note_dropped(w->notes, "%s[%u].%s[%u]%s", list, w->message, parts, block, member);
}

/* --- ids ------------------------------------------------------------------------------------- */

struct call_id {
    struct call_id *next;
    struct text name, id;
    bool is_answered;
};

static struct text answer_id(struct call_id *calls, struct text name)
{
    struct call_id *found = NULL;
    for (struct call_id *c = calls; c != NULL && found == NULL; c = c->next) {
        if (!c->is_answered && c->name.is_escaped == name.is_escaped && str_eq(c->name.s, name.s))
            found = c;
    }
    for (struct call_id *c = calls; c != NULL && found == NULL; c = c->next)
        found = c->is_answered ? NULL : c;
    if (found == NULL)
        return TEXT_LIT("call_unknown");
    found->is_answered = true;
    return found->id;
}

/* Calls and results without ids (Gemini) get them: a result is that of the first call of its name
 * that has none yet. */
static int give_ids(struct writing *w)
{
    struct call_id *calls = NULL, **end = &calls;
    unsigned count = 0;
    for (struct llm_message *m = w->request->messages; m != NULL; m = m->next) {
        for (struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            if (text_is_some(b->id))
                continue;
            if (b->kind == BLOCK_TOOL_RESULT)
                b->id = answer_id(calls, b->name);
            if (b->kind != BLOCK_TOOL_CALL)
                continue;
            struct call_id *call = ARENA_NEW(w->arena, struct call_id);
            b->id = text_plain(arena_printf(w->arena, "call_%u", count++));
            if (call == NULL || !text_is_some(b->id))
                return cohere_no_memory();
            *call = (struct call_id){NULL, b->name, b->id, false};
            *end = call;
            end = &call->next;
        }
    }
    return 0;
}

/* --- blocks ---------------------------------------------------------------------------------- */

static void write_part(struct buf *out, const char *type, struct text text)
{
    cohere_element(out);
    buf_printf(out, "{\"type\":\"%s\",\"%s\":", type, type);
    text_write(out, text);
    buf_add_char(out, '}');
}

/* False when it cannot be said. */
static bool write_image(struct writing *w, const struct llm_media *media)
{
    struct buf *out = w->out;
    bool has_data = text_is_some(media->data) && !text_is_empty(media->type);
    if (w->target->traits->takes_images == TRI_NO || (!has_data && !text_is_some(media->url)))
        return false;
    cohere_element(out);
    BUF_LIT(out, "{\"type\":\"image_url\",\"image_url\":{\"url\":");
    if (has_data) {
        BUF_LIT(out, "\"data:");
        text_write_inside(out, media->type);
        BUF_LIT(out, ";base64,");
        text_write_inside(out, media->data);
        buf_add_char(out, '"');
    } else {
        text_write(out, media->url);
    }
    if (text_is_some(media->detail))
        cohere_member_text(out, "detail", media->detail);
    BUF_LIT(out, "}}");
    return true;
}

static void write_document_data(struct buf *out, const struct llm_block *block)
{
    BUF_LIT(out, "\"data\":{");
    if (text_is_some(block->media.name))
        cohere_member_text(out, "title", block->media.name);
    cohere_member_text(out, "text", block->text);
    buf_add_char(out, '}');
}

/* Those of `documents`, and those of dialects that have them among the parts. */
static bool is_top_document(const struct llm_block *block)
{
    if (block->kind != BLOCK_DOCUMENT)
        return false;
    bool is_own = block->maker == DIALECT_COHERE && block->raw.len > 0;
    return is_own ? cohere_is_marked(block->name, COHERE_DOCUMENTS) : text_is_some(block->text);
}

/* A part of a user's message or of a tool's result. False when it cannot be said. */
static bool write_user_part(struct writing *w, const struct llm_block *block, bool is_result)
{
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        write_part(w->out, "text", block->text);
        return true;
    case BLOCK_IMAGE:
        return !is_result && write_image(w, &block->media);
    case BLOCK_DOCUMENT:
        if (block->maker == DIALECT_COHERE && block->raw.len > 0) {
            cohere_element(w->out);
            buf_add_str(w->out, block->raw);
            return true;
        }
        if (!is_result || !text_is_some(block->text))
            return false;
        cohere_element(w->out);
        BUF_LIT(w->out, "{\"type\":\"document\",\"document\":{");
        write_document_data(w->out, block);
        BUF_LIT(w->out, "}}");
        return true;
    case BLOCK_OPAQUE:
        if (block->maker != DIALECT_COHERE)
            return false;
        cohere_element(w->out);
        buf_add_str(w->out, block->raw);
        return true;
    default:
        return false;
    }
}

/* Text that alone is written as a string. */
static bool is_plain(const struct llm_block *block)
{
    return block->kind == BLOCK_TEXT && !cohere_is_marked(block->name, COHERE_PART);
}

/* --- messages -------------------------------------------------------------------------------- */

static void begin_message(struct writing *w, const char *role)
{
    cohere_element(w->out);
    buf_printf(w->out, "{\"role\":\"%s\"", role);
}

/* {"role":"tool"}: one for each result. */
static void write_result(struct writing *w, const struct llm_block *block, unsigned index)
{
    struct buf *out = w->out;
    char member[32];
    begin_message(w, "tool");
    cohere_member_text(out, "tool_call_id", block->id);
    if (block->is_error)
        drop_block(w, index, ".is_error");
    if (block->blocks != NULL && block->blocks->next == NULL && is_plain(block->blocks)) {
        cohere_member_text(out, "content", block->blocks->text);
        buf_add_char(out, '}');
        return;
    }
    cohere_member(out, "content");
    size_t start = out->len;
    buf_add_char(out, '[');
    unsigned inner = 0;
    for (const struct llm_block *b = block->blocks; b != NULL; b = b->next, inner++) {
        if (write_user_part(w, b, true))
            continue;
        snprintf(member, sizeof(member), ".content[%u]", inner);
        drop_block(w, index, member);
    }
    if (out->len == start + 1 && buf_ok(out)) {
        out->len = start;
        BUF_LIT(out, "\"\"}");
        return;
    }
    BUF_LIT(out, "]}");
}

static bool is_content(const struct llm_block *block)
{
    return block->kind != BLOCK_TOOL_RESULT && !is_top_document(block);
}

/* What a user or the system says, but for results and documents. */
static void write_said(struct writing *w, const char *role, const struct llm_block *blocks)
{
    const struct llm_block *only = NULL;
    struct buf *out = w->out;
    unsigned count = 0, index = 0;
    bool has_documents = false;
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        has_documents = has_documents || is_top_document(b);
        count += is_content(b);
        only = is_content(b) ? b : only;
    }
    if (count == 0 && !has_documents)
        return;
    size_t before = out->len;
    begin_message(w, role);
    if (count <= 1 && (only == NULL || is_plain(only))) {
        cohere_member_text(out, "content", only != NULL ? only->text : TEXT_LIT(""));
        buf_add_char(out, '}');
        return;
    }
    cohere_member(out, "content");
    size_t start = out->len;
    buf_add_char(out, '[');
    for (const struct llm_block *b = blocks; b != NULL; b = b->next, index++) {
        if (is_content(b) && !write_user_part(w, b, false))
            drop_block(w, index, "");
    }
    if (out->len == start + 1 && buf_ok(out))
        out->len = before; /* nothing of it can be said */
    else
        BUF_LIT(out, "]}");
}

/* Models that do not think have a plan in front of their calls, which those that think take, too.
 */
static bool is_plan(const struct writing *w, const struct llm_block *block, bool has_calls)
{
    enum llm_thinking thinking = w->target->traits->thinking;
    if (block->kind != BLOCK_THINKING || !text_is_some(block->text) || block->is_redacted)
        return false;
    if (cohere_is_marked(block->name, COHERE_TOOL_PLAN))
        return true;
    return !w->is_own && has_calls && (thinking == THINKING_UNKNOWN || thinking == THINKING_NONE);
}

static void write_plan(struct writing *w, const struct llm_message *message, bool has_calls)
{
    bool has_any = false;
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next) {
        if (!is_plan(w, b, has_calls))
            continue;
        if (has_any) {
            BUF_LIT(w->out, "\\n");
        } else {
            cohere_member(w->out, "tool_plan");
            buf_add_char(w->out, '"');
        }
        text_write_inside(w->out, b->text);
        has_any = true;
    }
    if (has_any)
        buf_add_char(w->out, '"');
}

/* False when the block has no place among an answer's parts. */
static bool write_answer_part(struct writing *w, const struct llm_block *block)
{
    switch (block->kind) {
    case BLOCK_TEXT:
    case BLOCK_REFUSAL:
        write_part(w->out, "text", block->text);
        return true;
    case BLOCK_THINKING:
        if (!text_is_some(block->text) || block->is_redacted ||
            (!w->is_own && w->target->traits->thinking == THINKING_NONE))
            return false;
        write_part(w->out, "thinking", block->text);
        return true;
    case BLOCK_OPAQUE:
        if (block->maker != DIALECT_COHERE)
            return false;
        cohere_element(w->out);
        buf_add_str(w->out, block->raw);
        return true;
    default:
        return false;
    }
}

static bool is_call(const struct llm_block *block)
{
    return block->kind == BLOCK_TOOL_CALL ||
           (block->kind == BLOCK_OPAQUE && cohere_is_marked(block->name, COHERE_TOOL_CALLS));
}

static void write_answer_content(struct writing *w, const struct llm_message *message,
                                 bool has_calls)
{
    struct buf *out = w->out;
    const struct llm_block *only = NULL;
    unsigned index = 0, count = 0;
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next) {
        if (!is_call(b) && !is_plan(w, b, has_calls)) {
            only = b;
            count++;
        }
    }
    if (count == 1 && is_plain(only)) {
        cohere_member_text(out, "content", only->text);
        return;
    }
    size_t before = out->len;
    cohere_member(out, "content");
    size_t start = out->len;
    buf_add_char(out, '[');
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next, index++) {
        if (!is_call(b) && !is_plan(w, b, has_calls) && !write_answer_part(w, b))
            drop_block(w, index, "");
    }
    if (out->len == start + 1 && buf_ok(out))
        out->len = before;
    else
        buf_add_char(out, ']');
}

static void write_calls(struct writing *w, const struct llm_message *message)
{
    struct buf *out = w->out;
    cohere_member(out, "tool_calls");
    buf_add_char(out, '[');
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next) {
        if (!is_call(b))
            continue;
        cohere_element(out);
        bool has_arguments = w->is_own || !text_is_empty(b->arguments);
        if (b->kind == BLOCK_OPAQUE)
            buf_add_str(out, b->raw);
        else
            cohere_write_call(out, b->id, b->name, has_arguments ? b->arguments : TEXT_LIT("{}"));
    }
    buf_add_char(out, ']');
}

static void write_citations(struct writing *w, const struct llm_message *message)
{
    struct buf *out = w->out;
    bool has_any = false;
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next) {
        for (const struct llm_citation *c = b->citations; c != NULL; c = c->next) {
            if (!has_any) {
                cohere_member(out, "citations");
                buf_add_char(out, '[');
            }
            has_any = true;
            cohere_element(out);
            cohere_write_citation(out, c, b->text, -1, w->request);
        }
    }
    if (has_any)
        buf_add_char(out, ']');
}

static void write_assistant(struct writing *w, const struct llm_message *message)
{
    struct buf *out = w->out;
    size_t before = out->len;
    bool has_calls = false;
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next)
        has_calls = has_calls || is_call(b);
    begin_message(w, "assistant");
    size_t empty = out->len;
    write_plan(w, message, has_calls);
    write_answer_content(w, message, has_calls);
    if (has_calls)
        write_calls(w, message);
    write_citations(w, message);
    if (out->len == empty && buf_ok(out))
        out->len = before; /* nothing of it can be said */
    else
        buf_add_char(out, '}');
}

static void write_message(struct writing *w, const struct llm_message *message)
{
    unsigned index = 0;
    if (text_is_some(message->name))
        llm_note_dropped(w->notes, "messages[%u].name", w->message);
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next, index++) {
        if (b->cache != CACHE_NONE)
            drop(w, NAME_CACHE);
        if (b->kind == BLOCK_TOOL_RESULT && message->role != ROLE_ASSISTANT)
            write_result(w, b, index);
    }
    if (message->role == ROLE_ASSISTANT)
        write_assistant(w, message);
    else
        write_said(w, message->role == ROLE_USER || message->role == ROLE_TOOL ? "user" : "system",
                   message->blocks);
}

static void write_messages(struct writing *w)
{
    struct buf *out = w->out;
    cohere_member(out, "messages");
    buf_add_char(out, '[');
    if (w->request->system != NULL) {
        const struct llm_message instructions = {.role = ROLE_SYSTEM, .blocks = w->request->system};
        write_message(w, &instructions);
    }
    for (const struct llm_message *m = w->request->messages; m != NULL; m = m->next, w->message++)
        write_message(w, m);
    buf_add_char(out, ']');
}

/* --- documents ------------------------------------------------------------------------------- */

static void write_documents(struct writing *w)
{
    struct buf *out = w->out;
    unsigned count = 0;
    bool is_cited = false;
    for (const struct llm_message *m = w->request->messages; m != NULL; m = m->next) {
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            if (!is_top_document(b))
                continue;
            if (count == 0) {
                cohere_member(out, "documents");
                buf_add_char(out, '[');
            }
            cohere_element(out);
            if (b->maker == DIALECT_COHERE && b->raw.len > 0) {
                buf_add_str(out, b->raw);
            } else {
                buf_printf(out, "{\"id\":\"doc:%u\",", count);
                write_document_data(out, b);
                buf_add_char(out, '}');
            }
            is_cited = is_cited || b->wants_citations;
            count++;
        }
    }
    if (count > 0)
        buf_add_char(out, ']');
    /* They are cited unless one says no. */
    if (count > 0 && !is_cited && !w->is_own)
        cohere_member_raw(out, "citation_options", STR("{\"mode\":\"OFF\"}"));
}

/* --- tools ----------------------------------------------------------------------------------- */

/* The tools that the choice leaves: here one cannot be named, but the others can be left out. */
static bool is_chosen(const struct writing *w, const struct llm_tool *tool)
{
    const struct llm_request *request = w->request;
    struct str name = text_or(w->arena, tool->name, STR_EMPTY);
    if (request->tool_choice == TOOL_CHOICE_NAMED)
        return text_eq(request->tool_choice_name, name);
    for (const struct llm_name *n = request->allowed_tools; n != NULL; n = n->next) {
        if (text_eq(n->text, name))
            return true;
    }
    return request->allowed_tools == NULL;
}

static void write_tool(struct writing *w, const struct llm_tool *tool)
{
    struct buf *out = w->out;
    BUF_LIT(out, "{\"type\":\"function\",\"function\":{\"name\":");
    text_write(out, tool->name);
    if (text_is_some(tool->description))
        cohere_member_text(out, "description", tool->description);
    if (tool->schema.len > 0 || !w->is_own)
        cohere_member_raw(out, "parameters",
                          tool->schema.len > 0 ? tool->schema
                                               : STR("{\"type\":\"object\",\"properties\":{}}"));
    BUF_LIT(out, "}}");
}

/* One flag for all: true when every tool wants it. */
static void write_strict_tools(struct writing *w, unsigned count, unsigned strict, unsigned loose)
{
    if (count > 0 && strict == count)
        cohere_member_raw(w->out, "strict_tools", STR("true"));
    else if (count > 0 && loose == count && w->is_own)
        cohere_member_raw(w->out, "strict_tools", STR("false"));
    unsigned index = 0;
    for (const struct llm_tool *t = w->request->tools; t != NULL; t = t->next, index++) {
        if (strict < count && t->strict == TRI_YES)
            llm_note_dropped(w->notes, "tools[%u].strict", index);
    }
}

static void write_tools(struct writing *w)
{
    unsigned index = 0, written = 0, count = 0, strict = 0, loose = 0;
    struct buf *out = w->out;
    size_t before = out->len;
    cohere_member(out, "tools");
    buf_add_char(out, '[');
    for (const struct llm_tool *t = w->request->tools; t != NULL; t = t->next, index++) {
        if (t->cache != CACHE_NONE)
            drop(w, NAME_CACHE);
        if (t->kind == TOOL_BUILTIN && t->maker != DIALECT_COHERE) {
            llm_note_dropped(w->notes, "tools[%u]", index);
            continue;
        }
        if (!is_chosen(w, t))
            continue;
        cohere_element(out);
        written++;
        if (t->kind == TOOL_BUILTIN) {
            buf_add_str(out, t->raw);
            continue;
        }
        write_tool(w, t);
        count++;
        strict += t->strict == TRI_YES;
        loose += t->strict == TRI_NO;
    }
    buf_add_char(out, ']');
    if (written == 0 && buf_ok(out))
        out->len = before;
    write_strict_tools(w, count, strict, loose);
    bool is_forced = w->request->tool_choice == TOOL_CHOICE_REQUIRED ||
                     w->request->tool_choice == TOOL_CHOICE_NAMED;
    if (is_forced && written == 0 && !w->is_own)
        llm_note_dropped(w->notes, "tool_choice");
    else if (is_forced)
        cohere_member_raw(out, "tool_choice", STR("\"REQUIRED\""));
    else if (w->request->tool_choice == TOOL_CHOICE_NONE && (written > 0 || w->is_own))
        cohere_member_raw(out, "tool_choice", STR("\"NONE\""));
    if (w->request->parallel_tools == TRI_NO)
        drop(w, NAME_PARALLEL);
}

/* --- the other members ----------------------------------------------------------------------- */

static void write_format(struct writing *w)
{
    static const char *const types[] = {[FORMAT_UNSET] = NULL,
                                        [FORMAT_TEXT] = "text",
                                        [FORMAT_JSON_OBJECT] = "json_object",
                                        [FORMAT_JSON_SCHEMA] = "json_object"};
    const struct llm_response_format *format = &w->request->format;
    if (types[format->kind] == NULL || llm_target_refuses(w->target, w->notes, "response_format"))
        return;
    cohere_member(w->out, "response_format");
    buf_printf(w->out, "{\"type\":\"%s\"", types[format->kind]);
    if (format->kind == FORMAT_JSON_SCHEMA)
        cohere_member_raw(w->out, "json_schema", format->schema);
    buf_add_char(w->out, '}');
}

static void write_thinking(struct writing *w)
{
    const struct llm_reasoning *reasoning = &w->request->reasoning;
    if (text_is_some(reasoning->summary))
        llm_note_dropped(w->notes, "reasoning.summary");
    if (reasoning->mode == REASONING_UNSET)
        return;
    if (!w->is_own && w->target->traits->thinking == THINKING_NONE) {
        if (reasoning->mode != REASONING_OFF)
            drop(w, NAME_REASONING);
        return;
    }
    if (llm_target_refuses(w->target, w->notes, "thinking"))
        return;
    cohere_member(w->out, "thinking");
    if (reasoning->mode == REASONING_OFF) {
        BUF_LIT(w->out, "{\"type\":\"disabled\"}");
        return;
    }
    BUF_LIT(w->out, "{\"type\":\"enabled\"");
    /* Without a word and without a number it is the model's own. */
    uint32_t budget = text_is_some(reasoning->effort) ? reasoning_as_budget(reasoning) : 0;
    if (reasoning->mode == REASONING_ON && reasoning->budget.len > 0)
        cohere_member_raw(w->out, "token_budget", reasoning->budget);
    else if (reasoning->mode == REASONING_ON && budget > 0)
        buf_printf(w->out, ",\"token_budget\":%u", budget);
    buf_add_char(w->out, '}');
}

static void write_numbers(struct writing *w)
{
    const struct llm_request *q = w->request;
    bool takes_sampling = w->is_own || w->target->traits->takes_sampling != TRI_NO;
    const struct {
        const char *member;
        struct str value;
        bool is_taken;
        enum source_name name;
    } numbers[] = {
        {"max_tokens", q->max_tokens, true, NAME_COUNT},
        {"temperature", q->temperature, takes_sampling, NAME_TEMPERATURE},
        {"p", q->top_p, takes_sampling, NAME_TOP_P},
        {"k", q->top_k, takes_sampling, NAME_TOP_K},
        {"seed", q->seed, true, NAME_COUNT},
        {"frequency_penalty", q->frequency_penalty, true, NAME_COUNT},
        {"presence_penalty", q->presence_penalty, true, NAME_COUNT},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (numbers[i].value.len == 0)
            continue;
        if (!numbers[i].is_taken)
            drop(w, numbers[i].name);
        else if (!llm_target_refuses(w->target, w->notes, numbers[i].member))
            cohere_member_raw(w->out, numbers[i].member, numbers[i].value);
    }
}

static void write_stop(struct writing *w)
{
    if (w->request->stop == NULL || llm_target_refuses(w->target, w->notes, "stop_sequences"))
        return;
    cohere_member(w->out, "stop_sequences");
    buf_add_char(w->out, '[');
    for (const struct llm_name *n = w->request->stop; n != NULL; n = n->next) {
        cohere_element(w->out);
        text_write(w->out, n->text);
    }
    buf_add_char(w->out, ']');
}

static void write_logprobs(struct writing *w)
{
    if (w->request->top_logprobs.len > 0)
        drop(w, NAME_TOP_LOGPROBS);
    if (w->request->logprobs == TRI_UNSET || (w->request->logprobs == TRI_NO && !w->is_own))
        return;
    if (!w->is_own && w->target->traits->takes_logprobs == TRI_NO)
        drop(w, NAME_LOGPROBS);
    else if (!llm_target_refuses(w->target, w->notes, "logprobs"))
        cohere_member_raw(w->out, "logprobs",
                          w->request->logprobs == TRI_YES ? STR("true") : STR("false"));
}

/* What has no place here at all. */
static void drop_others(struct writing *w)
{
    const struct llm_request *q = w->request;
    double n;
    if (llm_number(q->n, &n) && n > 1)
        drop(w, NAME_N);
    const struct {
        bool is_told;
        enum source_name name;
    } others[] = {{q->logit_bias.len > 0, NAME_LOGIT_BIAS},
                  {text_is_some(q->user), NAME_USER},
                  {q->metadata.len > 0, NAME_METADATA},
                  {text_is_some(q->service_tier), NAME_SERVICE_TIER},
                  {q->modalities.len > 0, NAME_MODALITIES},
                  {q->audio.len > 0, NAME_AUDIO}};
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        if (others[i].is_told)
            drop(w, others[i].name);
    }
}

static void write_extras(struct writing *w)
{
    if (!w->is_own) {
        llm_note_extras(w->notes, w->request);
        return;
    }
    for (struct llm_extra *extra = w->request->extras; extra != NULL; extra = extra->next) {
        cohere_element(w->out);
        buf_add_char(w->out, '"');
        text_write_inside(w->out, (struct text){extra->name, true});
        BUF_LIT(w->out, "\":");
        buf_add_str(w->out, extra->raw);
        extra->is_taken = true;
    }
}

int cohere_write_request(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    struct writing w = {.request = request,
                        .target = target,
                        .arena = arena,
                        .notes = notes,
                        .out = out,
                        .is_own = request->source == DIALECT_COHERE};
    if (give_ids(&w) < 0)
        return -ERR_NOMEM;
    BUF_LIT(out, "{\"model\":");
    buf_add_json(out, target->model);
    write_messages(&w);
    write_documents(&w);
    write_tools(&w);
    write_format(&w);
    write_numbers(&w);
    write_stop(&w);
    write_logprobs(&w);
    write_thinking(&w);
    drop_others(&w);
    write_extras(&w);
    if (target->is_stream)
        cohere_member_raw(out, "stream", STR("true"));
    buf_add_char(out, '}');
    return buf_ok(out) ? 0 : cohere_no_memory();
}
