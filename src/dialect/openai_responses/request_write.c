#include "base/err.h"
#include "dialect/openai_responses/codec.h"
#include "dialect/reasoning.h"

/*
 * A request's body. Written for another dialect's client it is stateless: `store` is false unless
 * the client said otherwise, and reasoning comes back encrypted so that it can be sent again.
 */

struct body {
    struct responses_list members;
    struct llm_request *request;
    const struct llm_target *target;
    struct arena *arena;
    struct llm_notes *notes;
    bool is_own;
};

enum { FROM_CHAT = 1u << DIALECT_OPENAI_CHAT, FROM_OWN = 1u << DIALECT_OPENAI_RESPONSES };

static bool is_taken_by_target(struct body *b, const char *name)
{
    return !llm_target_refuses(b->target, b->notes, name);
}

/* --- what cannot be said --- */

/* By what name each dialect's clients know what this API has not. */
static const struct {
    size_t offset; /* of a str in the request */
    const char *names[DIALECT_COUNT];
} foreign_numbers[] = {
    {offsetof(struct llm_request, top_k),
     {[DIALECT_OPENAI_CHAT] = "top_k",
      [DIALECT_ANTHROPIC] = "top_k",
      [DIALECT_GEMINI] = "generationConfig.topK",
      [DIALECT_BEDROCK] = "additionalModelRequestFields.top_k",
      [DIALECT_COHERE] = "k"}},
    {offsetof(struct llm_request, frequency_penalty),
     {[DIALECT_GEMINI] = "generationConfig.frequencyPenalty"}},
    {offsetof(struct llm_request, presence_penalty),
     {[DIALECT_GEMINI] = "generationConfig.presencePenalty"}},
    {offsetof(struct llm_request, seed), {[DIALECT_GEMINI] = "generationConfig.seed"}},
    {offsetof(struct llm_request, logit_bias), {NULL}},
    {offsetof(struct llm_request, audio), {NULL}},
};
static const char *const foreign_defaults[ARRAY_LEN(foreign_numbers)] = {
    "top_k", "frequency_penalty", "presence_penalty", "seed", "logit_bias", "audio"};

static const char *const stop_names[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] = "stop",
    [DIALECT_ANTHROPIC] = "stop_sequences",
    [DIALECT_GEMINI] = "generationConfig.stopSequences",
    [DIALECT_BEDROCK] = "inferenceConfig.stopSequences",
    [DIALECT_COHERE] = "stop_sequences",
    [DIALECT_OPENAI_RESPONSES] = "stop",
};

static bool names_only_text(struct str modalities)
{
    struct json_cursor cursor;
    struct json_value value;
    json_cursor_init(&cursor, modalities);
    while (json_iter_array(&cursor, &value) == 1) {
        struct str name = json_string_raw(value);
        if (!str_ieq(name, STR("text")))
            return false;
    }
    return true;
}

static void note_foreign(struct body *b)
{
    const struct llm_request *request = b->request;
    enum dialect_id source = request->source;
    double n;
    for (size_t i = 0; i < ARRAY_LEN(foreign_numbers); i++) {
        const struct str *value =
            (const struct str *)(const void *)((const char *)request + foreign_numbers[i].offset);
        const char *name = foreign_numbers[i].names[source];
        if (value->len > 0)
            llm_note_dropped(b->notes, "%s", name != NULL ? name : foreign_defaults[i]);
    }
    if (request->stop != NULL)
        llm_note_dropped(b->notes, "%s", stop_names[source]);
    if (llm_number(request->n, &n) && n != 1)
        llm_note_dropped(b->notes, "%s",
                         source == DIALECT_GEMINI ? "generationConfig.candidateCount" : "n");
    if (request->modalities.len > 0 && !names_only_text(request->modalities))
        llm_note_dropped(b->notes, "%s",
                         source == DIALECT_GEMINI ? "generationConfig.responseModalities"
                                                  : "modalities");
}

/* --- members --- */

static void write_number(struct body *b, const char *name, struct str number)
{
    if (number.len > 0 && is_taken_by_target(b, name))
        responses_member_raw(&b->members, name, number);
}

static void write_sampling(struct body *b)
{
    const struct llm_request *request = b->request;
    bool is_refused = b->target->traits->takes_sampling == TRI_NO && !b->is_own;
    write_number(b, "max_output_tokens", request->max_tokens);
    if (is_refused && request->temperature.len > 0)
        llm_note_dropped(b->notes, "temperature");
    if (is_refused && request->top_p.len > 0)
        llm_note_dropped(b->notes, "top_p");
    if (!is_refused) {
        write_number(b, "temperature", request->temperature);
        write_number(b, "top_p", request->top_p);
    }
    if (b->target->traits->takes_logprobs == TRI_NO && request->top_logprobs.len > 0)
        llm_note_dropped(b->notes, "top_logprobs");
    else
        write_number(b, "top_logprobs", request->top_logprobs);
    if (b->is_own) {
        write_number(b, "frequency_penalty", request->frequency_penalty);
        write_number(b, "presence_penalty", request->presence_penalty);
    } else {
        note_foreign(b);
    }
}

static void write_system(struct body *b)
{
    const struct llm_block *system = b->request->system;
    unsigned i = 0;
    if (system == NULL)
        return;
    for (const struct llm_block *block = system; block != NULL; block = block->next, i++) {
        if (block->kind != BLOCK_TEXT)
            llm_note_dropped(b->notes, "system[%u]", i);
        if (block->cache != CACHE_NONE)
            llm_note_dropped(b->notes, "cache_control");
    }
    responses_member(&b->members, "instructions");
    llm_blocks_write_text(b->members.out, system, STR("\n\n"));
}

static void write_input(struct body *b)
{
    const struct llm_message *first = b->request->messages;
    struct responses_list items = {b->members.out, false};
    if (first == NULL && b->is_own)
        return; /* a stored prompt or conversation stands for it */
    responses_member(&b->members, "input");
    bool is_string = b->is_own && first != NULL && first->next == NULL &&
                     first->role == ROLE_USER && first->blocks != NULL &&
                     first->blocks->next == NULL && first->blocks->kind == BLOCK_TEXT &&
                     first->blocks->item == NULL;
    if (is_string) {
        text_write(b->members.out, first->blocks->text);
        return;
    }
    buf_add_char(b->members.out, '[');
    responses_write_items(&items, b->request, b->arena, b->notes);
    buf_add_char(b->members.out, ']');
}

/* Tools that only another provider could run: with none left, there is nothing to choose from. */
static bool has_lost_tools(const struct llm_request *request)
{
    for (const struct llm_tool *tool = request->tools; tool != NULL; tool = tool->next) {
        if (tool->kind == TOOL_FUNCTION || tool->maker == DIALECT_OPENAI_RESPONSES)
            return false;
    }
    return request->tools != NULL;
}

static void write_tools(struct body *b)
{
    const struct llm_request *request = b->request;
    if (has_lost_tools(request)) {
        unsigned i = 0;
        for (const struct llm_tool *tool = request->tools; tool != NULL; tool = tool->next)
            llm_note_dropped(b->notes, "tools[%u]", i++);
        if (responses_has_tool_choice(request))
            llm_note_dropped(b->notes, "tool_choice");
        return;
    }
    if (request->tools != NULL && is_taken_by_target(b, "tools")) {
        responses_member(&b->members, "tools");
        responses_write_tools(b->members.out, request, b->notes);
    }
    if (responses_has_tool_choice(request) && is_taken_by_target(b, "tool_choice")) {
        responses_member(&b->members, "tool_choice");
        responses_write_tool_choice(b->members.out, request);
    }
    if (request->parallel_tools != TRI_UNSET && is_taken_by_target(b, "parallel_tool_calls"))
        responses_member_raw(&b->members, "parallel_tool_calls",
                             request->parallel_tools == TRI_YES ? STR("true") : STR("false"));
}

/* Extras "PREFIX.name" of a request of this dialect, inside the object of that prefix. */
static void write_dotted(struct body *b, struct responses_list *members, struct str prefix)
{
    if (!b->is_own)
        return;
    for (struct llm_extra *e = b->request->extras; e != NULL; e = e->next) {
        if (e->is_taken || !str_starts(e->name, prefix))
            continue;
        responses_next(members);
        buf_add_char(members->out, '"');
        buf_add_str(members->out, str_skip(e->name, prefix.len));
        BUF_LIT(members->out, "\":");
        buf_add_str(members->out, e->raw);
        e->is_taken = true;
    }
}

/* An object that is only written when it has members. */
static void add_object(struct body *b, const char *name, struct buf *inside)
{
    if (inside->failed)
        b->members.out->failed = true;
    if (inside->len > 0) {
        responses_member(&b->members, name);
        buf_add_char(b->members.out, '{');
        buf_add_str(b->members.out, buf_str(inside));
        buf_add_char(b->members.out, '}');
    }
    buf_fini(inside);
}

static void write_text_options(struct body *b)
{
    const struct llm_response_format *format = &b->request->format;
    const struct llm_extra *verbosity = llm_extra_take(b->request, FROM_CHAT, "verbosity");
    struct buf inside = BUF_INIT;
    struct responses_list members = {&inside, false};
    if (format->kind != FORMAT_UNSET) {
        responses_member(&members, "format");
        responses_write_format(&inside, format);
        if (format->kind == FORMAT_JSON_SCHEMA && !text_is_some(format->name))
            llm_note_supplied(b->notes, "text.format.name=response");
    }
    if (verbosity != NULL)
        responses_member_raw(&members, "verbosity", verbosity->raw);
    write_dotted(b, &members, STR("text."));
    add_object(b, "text", &inside);
}

/* A wish that was told as tokens: words above "high" are not known to all models. One that was told
 * as neither is left to the provider. */
static struct text effort_of(const struct llm_reasoning *reasoning)
{
    if (text_is_some(reasoning->effort) || reasoning->budget.len == 0)
        return reasoning->effort;
    struct text effort = reasoning_as_effort(reasoning);
    bool is_above = text_eq(effort, STR("max")) || text_eq(effort, STR("xhigh"));
    return is_above ? text_plain(STR("high")) : effort;
}

/* Clients of these dialects see thoughts whenever they ask for thinking. */
static bool wants_summary(const struct llm_request *request)
{
    const struct llm_reasoning *r = &request->reasoning;
    bool shows_by_default = request->source == DIALECT_ANTHROPIC ||
                            request->source == DIALECT_BEDROCK || request->source == DIALECT_COHERE;
    if (r->mode != REASONING_ON && r->mode != REASONING_ADAPTIVE)
        return false;
    return r->shows == TRI_YES || (r->shows == TRI_UNSET && shows_by_default);
}

static void write_reasoning(struct body *b)
{
    const struct llm_reasoning *r = &b->request->reasoning;
    struct buf inside = BUF_INIT;
    struct responses_list members = {&inside, false};
    bool is_without = b->target->traits->thinking == THINKING_NONE && !b->is_own;
    if (is_without) {
        if (r->mode == REASONING_ON || r->mode == REASONING_ADAPTIVE)
            llm_note_dropped(b->notes, "%s",
                             b->request->source == DIALECT_OPENAI_CHAT ? "reasoning_effort"
                                                                       : "thinking");
        return;
    }
    struct text effort = r->mode == REASONING_OFF && !text_is_some(r->effort)
                             ? text_plain(STR("none"))
                             : effort_of(r);
    if (r->mode != REASONING_UNSET && !text_is_empty(effort))
        responses_member_text(&members, "effort", effort);
    if (text_is_some(r->summary))
        responses_member_text(&members, "summary", r->summary);
    else if (!b->is_own && wants_summary(b->request))
        responses_member_text(&members, "summary", text_plain(STR("auto")));
    write_dotted(b, &members, STR("reasoning."));
    if (!is_taken_by_target(b, "reasoning")) {
        buf_fini(&inside);
        return;
    }
    add_object(b, "reasoning", &inside);
}

/* Reasoning of this provider is in the history, or will be in the answer. */
static bool will_reason(const struct body *b)
{
    enum llm_reasoning_mode mode = b->request->reasoning.mode;
    if (b->target->traits->thinking == THINKING_NONE || mode == REASONING_OFF)
        return false;
    if (b->target->traits->thinking != THINKING_UNKNOWN || mode != REASONING_UNSET)
        return true;
    for (const struct llm_message *m = b->request->messages; m != NULL; m = m->next) {
        for (const struct llm_block *block = m->blocks; block != NULL; block = block->next) {
            if (block->kind == BLOCK_THINKING && text_is_some(block->signature.data) &&
                block->signature.maker == DIALECT_OPENAI_RESPONSES)
                return true;
        }
    }
    return false;
}

static void write_include(struct body *b)
{
    const struct llm_extra *include = llm_extra_take(b->request, FROM_OWN, "include");
    struct responses_list names = {b->members.out, false};
    bool wants_reasoning = !b->is_own && will_reason(b);
    bool wants_logprobs = b->request->logprobs == TRI_YES;
    if (include != NULL) {
        responses_member_raw(&b->members, "include", include->raw);
        return;
    }
    if (wants_logprobs && b->target->traits->takes_logprobs == TRI_NO) {
        llm_note_dropped(b->notes, "logprobs");
        wants_logprobs = false;
    }
    if ((!wants_reasoning && !wants_logprobs) || !is_taken_by_target(b, "include"))
        return;
    responses_member(&b->members, "include");
    buf_add_char(names.out, '[');
    if (wants_reasoning) {
        responses_next(&names);
        BUF_LIT(names.out, "\"reasoning.encrypted_content\"");
        llm_note_supplied(b->notes, "include=reasoning.encrypted_content");
    }
    if (wants_logprobs) {
        responses_next(&names);
        BUF_LIT(names.out, "\"message.output_text.logprobs\"");
    }
    buf_add_char(names.out, ']');
}

/* Tiers of OpenAI are passed on; Anthropic's "standard_only" is its "default". */
static void write_service_tier(struct body *b)
{
    static const char *const known[] = {"auto", "default", "flex", "priority", "scale"};
    struct text tier = b->request->service_tier;
    bool is_openai = b->is_own || b->request->source == DIALECT_OPENAI_CHAT;
    if (!text_is_some(tier) || !is_taken_by_target(b, "service_tier"))
        return;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        is_openai = is_openai || text_eq(tier, str_c(known[i]));
    if (!is_openai && text_eq(tier, STR("standard_only")))
        responses_member_text(&b->members, "service_tier", text_plain(STR("default")));
    else if (is_openai)
        responses_member_text(&b->members, "service_tier", tier);
    else
        llm_note_dropped(b->notes, "service_tier");
}

static void write_store(struct body *b)
{
    const struct llm_extra *store = llm_extra_take(b->request, FROM_CHAT | FROM_OWN, "store");
    if (store != NULL) {
        responses_member_raw(&b->members, "store", store->raw);
    } else if (!b->is_own && is_taken_by_target(b, "store")) {
        responses_member_raw(&b->members, "store", STR("false"));
        llm_note_supplied(b->notes, "store=false");
    }
}

/* Members that mean the same to the two APIs of OpenAI. */
static const char *const kin_members[] = {"prompt_cache_key", "prompt_cache_retention",
                                          "safety_identifier", "moderation"};
/* Those that a reader takes as settled, yet which are written back as they came. */
static const char *const settled_members[] = {"background", "truncation"};

static void write_extras(struct body *b)
{
    for (size_t i = 0; i < ARRAY_LEN(kin_members); i++) {
        const struct llm_extra *extra = llm_extra_take(b->request, FROM_CHAT, kin_members[i]);
        if (extra != NULL && is_taken_by_target(b, kin_members[i]))
            responses_member_raw(&b->members, kin_members[i], extra->raw);
    }
    if (!b->is_own)
        return;
    for (size_t i = 0; i < ARRAY_LEN(settled_members); i++) {
        const struct llm_extra *extra = llm_extra_take(b->request, FROM_OWN, settled_members[i]);
        if (extra != NULL)
            responses_member_raw(&b->members, settled_members[i], extra->raw);
    }
    for (struct llm_extra *e = b->request->extras; e != NULL; e = e->next) {
        if (e->is_taken)
            continue;
        responses_next(&b->members);
        buf_add_char(b->members.out, '"');
        buf_add_str(b->members.out, e->name);
        BUF_LIT(b->members.out, "\":");
        buf_add_str(b->members.out, e->raw);
        e->is_taken = true;
    }
}

int responses_write_request(struct llm_request *request, const struct llm_target *target,
                            struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    struct body b = {.members = {out, false},
                     .request = request,
                     .target = target,
                     .arena = arena,
                     .notes = notes,
                     .is_own = request->source == DIALECT_OPENAI_RESPONSES};
    buf_add_char(out, '{');
    responses_member_text(&b.members, "model", text_plain(target->model));
    write_system(&b);
    write_input(&b);
    write_tools(&b);
    write_sampling(&b);
    write_text_options(&b);
    write_reasoning(&b);
    write_include(&b);
    write_store(&b);
    write_service_tier(&b);
    if (text_is_some(request->user) && is_taken_by_target(&b, "user"))
        responses_member_text(&b.members, "user", request->user);
    if (request->metadata.len > 0 && is_taken_by_target(&b, "metadata"))
        responses_member_raw(&b.members, "metadata", request->metadata);
    if (target->is_stream)
        responses_member_raw(&b.members, "stream", STR("true"));
    write_extras(&b);
    buf_add_char(out, '}');
    llm_note_extras(notes, request);
    return buf_ok(out) ? 0 : responses_no_memory();
}
