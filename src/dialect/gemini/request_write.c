#include "base/err.h"
#include "dialect/field.h"
#include "dialect/gemini/content.h"
#include "dialect/gemini/request.h"
#include "dialect/reasoning.h"

#define OWN (1u << DIALECT_GEMINI)
#define CONFIG "generationConfig."
#define CALLING "toolConfig.functionCallingConfig."

enum {
    STOP_MAX = 5, /* more are refused */
    BUDGET_MAX_PRO = 32768,
    BUDGET_MAX = 24576,
    BUDGET_MIN_PRO = 128, /* it cannot but think */
};

struct writing {
    struct gemini_writer w;
    bool is_own; /* the request was read from this dialect */
};

static void comma(struct buf *out)
{
    char last = out->len > 0 ? out->ptr[out->len - 1] : '{';
    if (last != '{' && last != '[')
        buf_add_char(out, ',');
}

static void add_key(struct writing *g, const char *key)
{
    comma(g->w.out);
    buf_printf(g->w.out, "\"%s\":", key);
}

static void add_raw(struct writing *g, const char *key, struct str raw)
{
    if (raw.len == 0)
        return;
    add_key(g, key);
    buf_add_str(g->w.out, raw);
}

static void add_text(struct writing *g, const char *key, struct text text)
{
    add_key(g, key);
    text_write(g->w.out, text);
}

/* Opens the object of that name; the result is for close_object. */
static size_t open_object(struct writing *g, const char *key)
{
    size_t start = g->w.out->len;
    add_key(g, key);
    BUF_LIT(g->w.out, "{");
    return start;
}

/* An object without members is taken back. */
static void close_object(struct writing *g, size_t start)
{
    struct buf *out = g->w.out;
    if (out->len > start && out->ptr[out->len - 1] == '{')
        out->len = start;
    else
        BUF_LIT(out, "}");
}

static void drop(struct writing *g, enum llm_field field)
{
    llm_note_dropped(g->w.notes, "%s", llm_field_name(g->w.request, field));
}

/* Extras of the own dialect named `prefix` and one more word, as members of the open object. */
static void write_extras(struct writing *g, const char *prefix)
{
    struct str start = str_c(prefix);
    if (!g->is_own)
        return;
    for (struct llm_extra *e = g->w.request->extras; e != NULL; e = e->next) {
        struct str word = str_skip(e->name, start.len);
        if (e->is_taken || !str_starts(e->name, start) || word.len == 0 ||
            str_index(word, '.') >= 0)
            continue;
        e->is_taken = true;
        comma(g->w.out);
        text_write(g->w.out, (struct text){word, true});
        BUF_LIT(g->w.out, ":");
        buf_add_str(g->w.out, e->raw);
    }
}

/* Those below `prefix` went with the object that they stood in. */
static void take_extras(struct writing *g, const char *prefix)
{
    for (struct llm_extra *e = g->w.request->extras; e != NULL; e = e->next)
        e->is_taken = e->is_taken || str_starts(e->name, str_c(prefix));
}

/* --- tools --- */

static bool is_named(struct writing *g, const struct llm_tool *tool)
{
    struct str name = text_or(g->w.arena, tool->name, STR_EMPTY);
    for (const struct llm_name *n = g->w.request->allowed_tools; n != NULL; n = n->next) {
        if (text_eq(n->text, name))
            return true;
    }
    return false;
}

/* Names beside AUTO are refused: then those that are not allowed are not told of. */
static bool is_told(struct writing *g, const struct llm_tool *tool)
{
    const struct llm_request *request = g->w.request;
    bool is_free =
        request->tool_choice == TOOL_CHOICE_UNSET || request->tool_choice == TOOL_CHOICE_AUTO;
    return g->is_own || !is_free || request->allowed_tools == NULL || is_named(g, tool);
}

static void write_function(struct writing *g, const struct llm_tool *tool)
{
    comma(g->w.out);
    if (tool->maker == DIALECT_GEMINI && tool->raw.len > 0) {
        buf_add_str(g->w.out, tool->raw);
        return;
    }
    BUF_LIT(g->w.out, "{");
    add_text(g, "name", tool->name);
    if (text_is_some(tool->description) && (g->is_own || !text_is_empty(tool->description)))
        add_text(g, "description", tool->description);
    add_raw(g, "parametersJsonSchema", tool->schema);
    BUF_LIT(g->w.out, "}");
    if (tool->strict == TRI_YES)
        llm_note_dropped(g->w.notes, "%s[].strict", llm_field_name(g->w.request, FIELD_TOOLS));
}

static void write_tools(struct writing *g)
{
    struct buf *out = g->w.out;
    size_t start = out->len, function;
    unsigned index = 0;
    add_key(g, "tools");
    BUF_LIT(out, "[");
    size_t inside = out->len;
    BUF_LIT(out, "{\"functionDeclarations\":[");
    function = out->len;
    for (const struct llm_tool *t = g->w.request->tools; t != NULL; t = t->next) {
        if (t->kind == TOOL_FUNCTION && is_told(g, t))
            write_function(g, t);
    }
    if (out->len == function)
        out->len = inside;
    else
        BUF_LIT(out, "]}");
    for (const struct llm_tool *t = g->w.request->tools; t != NULL; t = t->next, index++) {
        if (t->kind != TOOL_BUILTIN)
            continue;
        if (t->maker == DIALECT_GEMINI && t->raw.len > 0) {
            comma(out);
            buf_add_str(out, t->raw);
        } else {
            llm_note_dropped(g->w.notes, "%s[%u]", llm_field_name(g->w.request, FIELD_TOOLS),
                             index);
        }
    }
    if (out->len == inside)
        out->len = start;
    else
        BUF_LIT(out, "]");
}

static void write_allowed(struct writing *g)
{
    const struct llm_request *request = g->w.request;
    bool is_free =
        request->tool_choice == TOOL_CHOICE_UNSET || request->tool_choice == TOOL_CHOICE_AUTO;
    bool is_one =
        request->tool_choice == TOOL_CHOICE_NAMED && text_is_some(request->tool_choice_name);
    if (is_one) {
        add_key(g, "allowedFunctionNames");
        BUF_LIT(g->w.out, "[");
        text_write(g->w.out, request->tool_choice_name);
        BUF_LIT(g->w.out, "]");
        return;
    }
    if (request->allowed_tools == NULL ||
        (!g->is_own && (is_free || request->tool_choice == TOOL_CHOICE_NONE)))
        return;
    add_key(g, "allowedFunctionNames");
    BUF_LIT(g->w.out, "[");
    for (const struct llm_name *n = request->allowed_tools; n != NULL; n = n->next) {
        comma(g->w.out);
        text_write(g->w.out, n->text);
    }
    BUF_LIT(g->w.out, "]");
}

static void write_tool_config(struct writing *g)
{
    static const char *const modes[] = {
        [TOOL_CHOICE_UNSET] = NULL,     [TOOL_CHOICE_AUTO] = "AUTO", [TOOL_CHOICE_NONE] = "NONE",
        [TOOL_CHOICE_REQUIRED] = "ANY", [TOOL_CHOICE_NAMED] = "ANY",
    };
    struct llm_request *request = g->w.request;
    const struct llm_extra *mode = llm_extra_take(request, OWN, CALLING "mode");
    size_t start = open_object(g, "toolConfig");
    size_t calling = open_object(g, "functionCallingConfig");
    if (mode != NULL && request->tool_choice == TOOL_CHOICE_AUTO)
        add_raw(g, "mode", mode->raw);
    else if (modes[request->tool_choice] != NULL)
        add_text(g, "mode", text_plain(str_c(modes[request->tool_choice])));
    write_allowed(g);
    write_extras(g, CALLING);
    close_object(g, calling);
    write_extras(g, "toolConfig.");
    close_object(g, start);
    if (request->parallel_tools == TRI_NO)
        drop(g, FIELD_PARALLEL_TOOLS);
}

/* --- thinking --- */

static void write_level(struct writing *g, const struct llm_reasoning *reasoning)
{
    static const char *const levels[] = {"minimal", "low", "medium", "high"};
    struct text effort = reasoning_as_effort(reasoning);
    if (!text_is_some(effort))
        return; /* the model decides */
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (text_eq(effort, str_c(levels[i]))) {
            add_text(g, "thinkingLevel", text_plain(str_c(levels[i])));
            return;
        }
    }
    /* It cannot but think, and no harder than high. */
    bool is_off = reasoning->mode == REASONING_OFF || text_eq(effort, STR("none"));
    bool is_more = text_eq(effort, STR("xhigh")) || text_eq(effort, STR("max"));
    drop(g, FIELD_REASONING);
    if (!is_off && !is_more)
        return;
    add_text(g, "thinkingLevel", is_off ? TEXT_LIT("low") : TEXT_LIT("high"));
    llm_note_supplied(g->w.notes, "thinkingLevel=%s", is_off ? "low" : "high");
}

static void write_budget(struct writing *g, const struct llm_reasoning *reasoning)
{
    bool is_pro = str_ifind(g->w.target->model, STR("pro")) >= 0;
    uint32_t most = is_pro ? BUDGET_MAX_PRO : BUDGET_MAX;
    uint32_t told = reasoning_as_budget(reasoning), tokens = told;
    bool is_off = reasoning->mode == REASONING_OFF || text_eq(reasoning->effort, STR("none"));
    if (is_off)
        told = tokens = 0;
    add_key(g, "thinkingBudget");
    if (told == 0 && !is_off) {
        BUF_LIT(g->w.out, "-1");
        return;
    }
    tokens = MIN(tokens, most);
    if (is_pro)
        tokens = MAX(tokens, (uint32_t)BUDGET_MIN_PRO);
    if (tokens != told) {
        drop(g, FIELD_REASONING);
        llm_note_supplied(g->w.notes, "thinkingBudget=%u", (unsigned)tokens);
    }
    buf_add_u64(g->w.out, tokens);
}

static void write_thinking(struct writing *g)
{
    const struct llm_reasoning *reasoning = &g->w.request->reasoning;
    const struct llm_traits *traits = g->w.target->traits;
    const struct llm_extra *own = llm_extra_take(g->w.request, OWN, CONFIG "thinkingConfig");
    bool is_off = reasoning->mode == REASONING_OFF || text_eq(reasoning->effort, STR("none"));
    if (own != NULL && traits->thinking != THINKING_NONE) {
        add_raw(g, "thinkingConfig", own->raw);
        take_extras(g, CONFIG "thinkingConfig.");
        return;
    }
    if (reasoning->mode == REASONING_UNSET)
        return;
    if (traits->thinking == THINKING_NONE) {
        if (!is_off)
            drop(g, FIELD_REASONING);
        return;
    }
    if (llm_target_refuses(g->w.target, g->w.notes, "thinkingConfig"))
        return;
    size_t start = open_object(g, "thinkingConfig");
    if (traits->thinking == THINKING_LEVEL)
        write_level(g, reasoning);
    else
        write_budget(g, reasoning);
    if (!is_off && reasoning->shows != TRI_NO)
        add_raw(g, "includeThoughts", STR("true"));
    close_object(g, start);
}

/* --- generationConfig --- */

static void write_stop(struct writing *g)
{
    unsigned count = 0;
    if (g->w.request->stop == NULL || llm_target_refuses(g->w.target, g->w.notes, "stopSequences"))
        return;
    add_key(g, "stopSequences");
    BUF_LIT(g->w.out, "[");
    for (const struct llm_name *n = g->w.request->stop; n != NULL; n = n->next, count++) {
        if (count >= STOP_MAX && !g->is_own) {
            llm_note_dropped(g->w.notes, "%s[%u]", llm_field_name(g->w.request, FIELD_STOP), count);
            continue;
        }
        comma(g->w.out);
        text_write(g->w.out, n->text);
    }
    BUF_LIT(g->w.out, "]");
}

static void write_numbers(struct writing *g)
{
    struct llm_request *r = g->w.request;
    double seed;
    const struct {
        const char *name;
        struct str value;
    } numbers[] = {
        {"maxOutputTokens", r->max_tokens},
        {"temperature", r->temperature},
        {"topP", r->top_p},
        {"topK", r->top_k},
        {"candidateCount", r->n},
        {"seed", r->seed},
        {"presencePenalty", r->presence_penalty},
        {"frequencyPenalty", r->frequency_penalty},
        {"logprobs", r->top_logprobs},
    };
    bool is_large = llm_number(r->seed, &seed) && (seed > INT32_MAX || seed < INT32_MIN);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        bool is_seed = numbers[i].value.ptr == r->seed.ptr;
        if (numbers[i].value.len == 0 ||
            llm_target_refuses(g->w.target, g->w.notes, numbers[i].name))
            continue;
        if (is_seed && is_large && !g->is_own)
            drop(g, FIELD_SEED); /* an int32 there */
        else
            add_raw(g, numbers[i].name, numbers[i].value);
    }
    if ((r->logprobs == TRI_YES || (r->logprobs == TRI_NO && g->is_own)) &&
        !llm_target_refuses(g->w.target, g->w.notes, "responseLogprobs"))
        add_raw(g, "responseLogprobs", r->logprobs == TRI_YES ? STR("true") : STR("false"));
}

static void write_format(struct writing *g)
{
    const struct llm_response_format *format = &g->w.request->format;
    const struct llm_extra *schema = llm_extra_take(g->w.request, OWN, CONFIG "responseSchema");
    const struct llm_extra *json = llm_extra_take(g->w.request, OWN, CONFIG "responseJsonSchema");
    const struct llm_extra *type = llm_extra_take(g->w.request, OWN, CONFIG "responseMimeType");
    if (type != NULL) {
        add_raw(g, "responseMimeType", type->raw);
        if (schema != NULL)
            add_raw(g, "responseSchema", schema->raw);
        if (json != NULL)
            add_raw(g, "responseJsonSchema", json->raw);
        return;
    }
    if (format->kind == FORMAT_TEXT && g->is_own)
        add_text(g, "responseMimeType", TEXT_LIT("text/plain"));
    if (format->kind != FORMAT_JSON_OBJECT && format->kind != FORMAT_JSON_SCHEMA)
        return;
    add_text(g, "responseMimeType", TEXT_LIT("application/json"));
    if (format->kind == FORMAT_JSON_OBJECT)
        return;
    if (schema != NULL)
        add_raw(g, "responseSchema", schema->raw);
    if (json != NULL)
        add_raw(g, "responseJsonSchema", json->raw);
    if (schema == NULL && json == NULL)
        add_raw(g, "responseJsonSchema", format->schema);
}

static void write_modalities(struct writing *g)
{
    struct str modalities = g->w.request->modalities;
    if (g->is_own)
        add_raw(g, "responseModalities", modalities);
    else if (str_ifind(modalities, STR("audio")) >= 0 || str_ifind(modalities, STR("image")) >= 0)
        drop(g, FIELD_MODALITIES);
}

static void write_config(struct writing *g)
{
    size_t start = open_object(g, "generationConfig");
    write_numbers(g);
    write_stop(g);
    write_format(g);
    write_modalities(g);
    write_thinking(g);
    write_extras(g, CONFIG);
    close_object(g, start);
    const struct llm_extra *empty = llm_extra_take(g->w.request, OWN, "generationConfig");
    if (g->w.out->len == start && empty != NULL)
        add_raw(g, "generationConfig", empty->raw);
}

/* What this dialect has no word for. */
static void note_missing(struct writing *g)
{
    struct llm_request *r = g->w.request;
    if (r->logit_bias.len > 0)
        drop(g, FIELD_LOGIT_BIAS);
    if (text_is_some(r->user))
        drop(g, FIELD_USER);
    if (r->metadata.len > 2)
        drop(g, FIELD_METADATA);
    if (text_is_some(r->service_tier) && !text_eq(r->service_tier, STR("auto")) &&
        !text_eq(r->service_tier, STR("default")))
        drop(g, FIELD_SERVICE_TIER);
    if (r->audio.len > 0)
        drop(g, FIELD_AUDIO);
}

/* --- the body --- */

static bool says_nothing(const struct llm_message *message)
{
    for (const struct llm_block *b = message->blocks; b != NULL; b = b->next) {
        bool is_text = b->kind == BLOCK_TEXT || b->kind == BLOCK_REFUSAL;
        bool is_signed = text_is_some(b->signature.data) && b->signature.maker == DIALECT_GEMINI;
        if (is_signed || (b->kind != BLOCK_THINKING && !(is_text && text_is_empty(b->text))))
            return false;
    }
    return true;
}

/* What would be contents without parts, so that turns on both sides of it are joined. */
static void prune_messages(struct writing *g)
{
    struct llm_message **link = &g->w.request->messages;
    g->w.request->last_message = NULL;
    while (*link != NULL) {
        if (says_nothing(*link)) {
            *link = (*link)->next;
            continue;
        }
        g->w.request->last_message = *link;
        link = &(*link)->next;
    }
}

/* Where instructions stood between messages, their place is lost. */
static void hoist_system(struct writing *g)
{
    const char *messages = llm_field_name(g->w.request, FIELD_MESSAGES);
    bool has_others = false;
    unsigned i = 0;
    for (const struct llm_message *m = g->w.request->messages; m != NULL; m = m->next, i++) {
        bool is_system = m->role == ROLE_SYSTEM || m->role == ROLE_DEVELOPER;
        if (is_system && has_others)
            llm_note_dropped(g->w.notes, "%s[%u].role", messages, i);
        has_others = has_others || !is_system;
    }
    (void)llm_request_hoist_system(g->w.request);
}

/* Contents are demanded: instructions alone are what the user says. */
static int supply_contents(struct writing *g)
{
    struct llm_request *request = g->w.request;
    if (g->is_own || request->messages != NULL || request->system == NULL)
        return 0;
    struct llm_message *message = llm_message_add(g->w.arena, request, ROLE_USER);
    if (message == NULL)
        return gemini_no_memory();
    message->blocks = request->system;
    request->system = NULL;
    return 0;
}

static void write_system(struct writing *g)
{
    size_t start = open_object(g, "systemInstruction");
    const struct llm_extra *role = llm_extra_take(g->w.request, OWN, "systemInstruction.role");
    if (role != NULL)
        add_raw(g, "role", role->raw);
    gemini_write_system(&g->w);
    write_extras(g, "systemInstruction.");
    close_object(g, start);
}

int gemini_write_members(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, bool only_prompt,
                         struct buf *out)
{
    struct writing g = {.w = {out, arena, request, target, notes, {.arena = arena}},
                        .is_own = request->source == DIALECT_GEMINI};
    gemini_note_blocks(&g.w);
    if (!g.is_own) {
        hoist_system(&g);
        prune_messages(&g);
        llm_request_join_turns(request, true);
    }
    int error = supply_contents(&g);
    if (error < 0)
        return error;
    comma(out);
    gemini_write_contents(&g.w);
    write_system(&g);
    write_tools(&g);
    write_tool_config(&g);
    if (only_prompt) {
        const struct llm_extra *cached = llm_extra_take(request, OWN, "cachedContent");
        if (cached != NULL)
            add_raw(&g, "cachedContent", cached->raw);
    } else {
        write_config(&g);
        note_missing(&g);
        write_extras(&g, "");
        llm_note_extras(notes, request);
    }
    return buf_ok(out) ? 0 : gemini_no_memory();
}

int gemini_write_request(struct llm_request *request, const struct llm_target *target,
                         struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    if (request->format.kind == FORMAT_JSON_SCHEMA && target->traits->structured == STRUCTURED_NONE)
        return err_set(ERR_INVALID, FAULT_CLIENT,
                       "'%s': this model cannot be held to a JSON schema; leave it out or ask "
                       "another model",
                       llm_field_name(request, FIELD_FORMAT));
    BUF_LIT(out, "{");
    int error = gemini_write_members(request, target, arena, notes, false, out);
    BUF_LIT(out, "}");
    return error < 0 || buf_ok(out) ? error : gemini_no_memory();
}
