#include "dialect/openai_chat/codec.h"
#include "dialect/reasoning.h"

/* A request's body. */

enum { FROM_OWN = 1u << DIALECT_OPENAI_CHAT, FROM_RESPONSES = 1u << DIALECT_OPENAI_RESPONSES };

static bool is_known(struct chat_writing *w, const char *name)
{
    return !llm_target_refuses(w->target, w->notes, name);
}

static void write_raw(struct chat_writing *w, const char *name, struct str raw)
{
    if (raw.len > 0 && is_known(w, name))
        chat_member_raw(&w->members, name, raw);
}

static void write_tri(struct chat_writing *w, const char *name, enum tri value)
{
    if (value != TRI_UNSET)
        write_raw(w, name, value == TRI_YES ? STR("true") : STR("false"));
}

/* What this dialect's reader has kept of a member whose meaning has a place of its own. */
static const struct llm_extra *settled(const struct chat_writing *w, const char *name)
{
    const struct llm_extra *e = w->is_own ? w->request->extras : NULL;
    while (e != NULL && !(e->is_taken && str_eq(e->name, str_c(name))))
        e = e->next;
    return e;
}

/* --- tools --- */

static bool is_legacy(const struct chat_writing *w, const struct llm_tool *tool)
{
    struct json_value type;
    return w->is_own && tool->kind == TOOL_FUNCTION && tool->raw.len > 0 &&
           tool->maker == DIALECT_OPENAI_CHAT && !json_find(tool->raw, "type", &type);
}

static void write_function(struct chat_writing *w, const struct llm_tool *tool)
{
    struct buf *out = w->members.out;
    struct chat_list members = {out, false};
    bool knows_cache = w->is_own || str_ifind(w->target->model, STR("claude")) >= 0;
    BUF_LIT(out, "{\"type\":\"function\",\"function\":{");
    chat_member_text(&members, "name", tool->name);
    if (text_is_some(tool->description))
        chat_member_text(&members, "description", tool->description);
    if (tool->schema.len > 0)
        chat_member_raw(&members, "parameters", tool->schema);
    else if (!w->is_own)
        chat_member_raw(&members, "parameters", STR("{\"type\":\"object\",\"properties\":{}}"));
    if (tool->strict != TRI_UNSET)
        chat_member_raw(&members, "strict", tool->strict == TRI_YES ? STR("true") : STR("false"));
    if (w->is_own && tool->rest.len > 0 && tool->maker == DIALECT_OPENAI_CHAT) {
        chat_next(&members);
        buf_add_str(out, tool->rest);
    }
    buf_add_char(out, '}');
    if (tool->cache != CACHE_NONE && knows_cache)
        buf_add_str(out, tool->cache == CACHE_1H
                             ? STR(",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}")
                             : STR(",\"cache_control\":{\"type\":\"ephemeral\"}"));
    else if (tool->cache != CACHE_NONE)
        llm_note_dropped(w->notes, "cache_control");
    buf_add_char(out, '}');
}

static const char *choice_word(enum llm_tool_choice choice)
{
    return choice == TOOL_CHOICE_NONE       ? "none"
           : choice == TOOL_CHOICE_REQUIRED ? "required"
                                            : "auto";
}

static bool is_custom(const struct chat_writing *w, struct text name)
{
    for (const struct llm_tool *t = w->request->tools; t != NULL; t = t->next) {
        if (w->is_own && t->raw.len > 0 && t->kind == TOOL_FUNCTION && str_eq(t->name.s, name.s))
            return true;
    }
    return false;
}

static void write_named(struct chat_writing *w, struct text name)
{
    const char *type = is_custom(w, name) ? "custom" : "function";
    buf_printf(w->members.out, "{\"type\":\"%s\",\"%s\":{\"name\":", type, type);
    text_write(w->members.out, name);
    BUF_LIT(w->members.out, "}}");
}

static void write_choice(struct chat_writing *w, bool has_legacy)
{
    const struct llm_request *request = w->request;
    struct buf *out = w->members.out;
    const char *name = has_legacy ? "function_call" : "tool_choice";
    if ((request->tool_choice == TOOL_CHOICE_UNSET && request->allowed_tools == NULL) ||
        !is_known(w, name))
        return;
    chat_member(&w->members, name);
    if (request->allowed_tools != NULL) {
        struct chat_list list = {out, false};
        buf_printf(out,
                   "{\"type\":\"allowed_tools\",\"allowed_tools\":{\"mode\":\"%s\",\"tools\":[",
                   choice_word(request->tool_choice));
        for (const struct llm_name *n = request->allowed_tools; n != NULL; n = n->next) {
            chat_next(&list);
            write_named(w, n->text);
        }
        BUF_LIT(out, "]}}");
    } else if (request->tool_choice != TOOL_CHOICE_NAMED) {
        buf_printf(out, "\"%s\"", choice_word(request->tool_choice));
    } else if (has_legacy) {
        BUF_LIT(out, "{\"name\":");
        text_write(out, request->tool_choice_name);
        buf_add_char(out, '}');
    } else {
        write_named(w, request->tool_choice_name);
    }
}

/* The tools of one form; true when there was any. */
static bool write_tool_list(struct chat_writing *w, const char *name, bool wants_legacy)
{
    struct chat_list list = {w->members.out, false};
    unsigned i = 0;
    for (const struct llm_tool *t = w->request->tools; t != NULL; t = t->next, i++) {
        bool has_raw = w->is_own && t->raw.len > 0 && t->maker == DIALECT_OPENAI_CHAT;
        if (is_legacy(w, t) != wants_legacy)
            continue;
        if (t->kind == TOOL_BUILTIN && !has_raw) {
            llm_note_dropped(w->notes, "tools[%u]", i);
            continue;
        }
        if (!list.has_any) {
            chat_member(&w->members, name);
            buf_add_char(list.out, '[');
        }
        chat_next(&list);
        if (has_raw)
            buf_add_str(list.out, t->raw);
        else
            write_function(w, t);
    }
    if (list.has_any)
        buf_add_char(list.out, ']');
    return list.has_any;
}

void chat_write_tools(struct chat_writing *w)
{
    const struct llm_request *request = w->request;
    bool has_legacy = write_tool_list(w, "functions", true);
    bool has_tools = is_known(w, "tools") && write_tool_list(w, "tools", false);
    if (!has_tools && !has_legacy && !w->is_own) {
        if (request->tool_choice != TOOL_CHOICE_UNSET && request->tools != NULL)
            llm_note_dropped(w->notes, "tool_choice");
        return;
    }
    write_choice(w, has_legacy);
    write_tri(w, "parallel_tool_calls", request->parallel_tools);
}

/* --- the other members --- */

static void write_limit(struct chat_writing *w)
{
    const struct llm_request *request = w->request;
    struct str field = w->target->quirks->max_tokens_field;
    if (request->max_tokens.len == 0)
        return;
    if (field.len == 0 && w->is_own)
        field = settled(w, "max_completion_tokens") != NULL ? STR("max_completion_tokens")
                                                            : STR("max_tokens");
    else if (field.len == 0)
        field = w->target->traits->thinking == THINKING_EFFORT ? STR("max_completion_tokens")
                                                               : STR("max_tokens");
    chat_next(&w->members);
    buf_add_json(w->members.out, field);
    buf_add_char(w->members.out, ':');
    buf_add_str(w->members.out, request->max_tokens);
}

static void write_sampling(struct chat_writing *w)
{
    const struct llm_request *request = w->request;
    const struct llm_traits *traits = w->target->traits;
    /* Those that take no max_tokens have no top_k either; their likes do. */
    bool is_openai = str_eq(w->target->quirks->max_tokens_field, STR("max_completion_tokens"));
    const struct {
        const char *name;
        struct str value;
        bool is_refused;
    } numbers[] = {
        {"temperature", request->temperature, traits->takes_sampling == TRI_NO},
        {"top_p", request->top_p, traits->takes_sampling == TRI_NO},
        {"top_k", request->top_k, traits->takes_sampling == TRI_NO || is_openai},
        {"frequency_penalty", request->frequency_penalty, false},
        {"presence_penalty", request->presence_penalty, false},
        {"seed", request->seed, false},
        {"n", request->n, false},
        {"top_logprobs", request->top_logprobs, traits->takes_logprobs == TRI_NO},
        {"logit_bias", request->logit_bias, false},
        {"modalities", request->modalities, false},
        {"audio", request->audio, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (numbers[i].is_refused && !w->is_own && numbers[i].value.len > 0)
            llm_note_dropped(w->notes, "%s", numbers[i].name);
        else
            write_raw(w, numbers[i].name, numbers[i].value);
    }
    if (traits->takes_logprobs == TRI_NO && !w->is_own && request->logprobs == TRI_YES)
        llm_note_dropped(w->notes, "logprobs");
    else
        write_tri(w, "logprobs", request->logprobs);
}

static void write_stop(struct chat_writing *w)
{
    struct chat_list list = {w->members.out, false};
    if (w->request->stop == NULL || !is_known(w, "stop"))
        return;
    chat_member(&w->members, "stop");
    if (settled(w, "stop") != NULL) {
        text_write(list.out, w->request->stop->text);
        return;
    }
    buf_add_char(list.out, '[');
    for (const struct llm_name *n = w->request->stop; n != NULL; n = n->next) {
        chat_next(&list);
        text_write(list.out, n->text);
    }
    buf_add_char(list.out, ']');
}

static void write_schema(struct chat_writing *w, const struct llm_response_format *format)
{
    struct chat_list members = {w->members.out, false};
    BUF_LIT(members.out, "{\"type\":\"json_schema\",\"json_schema\":{");
    if (!text_is_some(format->name) && !w->is_own)
        llm_note_supplied(w->notes, "response_format.json_schema.name=response");
    if (text_is_some(format->name) || !w->is_own)
        chat_member_text(&members, "name",
                         text_is_some(format->name) ? format->name : TEXT_LIT("response"));
    if (text_is_some(format->description))
        chat_member_text(&members, "description", format->description);
    chat_member_raw(&members, "schema", format->schema);
    if (format->strict != TRI_UNSET)
        chat_member_raw(&members, "strict", format->strict == TRI_YES ? STR("true") : STR("false"));
    BUF_LIT(members.out, "}}");
}

static void write_format(struct chat_writing *w)
{
    const struct llm_response_format *format = &w->request->format;
    const struct llm_extra *whole = settled(w, "response_format");
    if (format->kind == FORMAT_UNSET || !is_known(w, "response_format"))
        return;
    chat_member(&w->members, "response_format");
    if (whole != NULL)
        buf_add_str(w->members.out, whole->raw);
    else if (format->kind == FORMAT_JSON_SCHEMA)
        write_schema(w, format);
    else
        buf_printf(w->members.out, "{\"type\":\"%s\"}",
                   format->kind == FORMAT_TEXT ? "text" : "json_object");
}

/* Words above "high" are not known to all models; one that was told by the client is passed on. */
static void write_reasoning(struct chat_writing *w)
{
    static const char *const own[] = {"reasoning_effort", "reasoning", "thinking"};
    const struct llm_reasoning *reasoning = &w->request->reasoning;
    enum llm_thinking thinking = w->target->traits->thinking;
    for (size_t i = 0; i < ARRAY_LEN(own) && w->is_own; i++) {
        const struct llm_extra *extra = settled(w, own[i]);
        if (extra != NULL)
            write_raw(w, own[i], extra->raw);
    }
    if (w->is_own || reasoning->mode == REASONING_UNSET)
        return;
    struct text effort = reasoning_as_effort(reasoning);
    bool is_off = reasoning->mode == REASONING_OFF;
    bool is_told = text_is_some(reasoning->effort);
    if (thinking == THINKING_NONE || (is_off && !is_told && thinking != THINKING_EFFORT)) {
        if (!is_off)
            llm_note_dropped(w->notes, "thinking");
        return; /* what is not asked to think, and cannot be told not to */
    }
    if (text_is_empty(effort))
        return; /* the model is to decide, as it does anyway */
    if (!is_told && (text_eq(effort, STR("max")) || text_eq(effort, STR("xhigh"))))
        effort = TEXT_LIT("high");
    if (is_known(w, "reasoning_effort"))
        chat_member_text(&w->members, "reasoning_effort", effort);
}

static void write_stream(struct chat_writing *w)
{
    struct chat_list members = {w->members.out, false};
    bool wants_usage = w->target->wants_usage || (w->is_own && w->request->includes_usage);
    if (!w->target->is_stream)
        return;
    chat_member_raw(&w->members, "stream", STR("true"));
    for (struct llm_extra *e = w->request->extras; e != NULL || wants_usage;
         e = e != NULL ? e->next : NULL) {
        bool is_option =
            e != NULL && w->is_own && !e->is_taken && str_starts(e->name, STR("stream_options."));
        if (!wants_usage && !is_option)
            continue;
        if (!members.has_any) {
            chat_member(&w->members, "stream_options");
            buf_add_char(members.out, '{');
        }
        if (wants_usage)
            chat_member_raw(&members, "include_usage", STR("true"));
        wants_usage = false;
        if (is_option) {
            chat_next(&members);
            buf_add_char(members.out, '"');
            buf_add_str(members.out, str_skip(e->name, 15));
            BUF_LIT(members.out, "\":");
            buf_add_str(members.out, e->raw);
            e->is_taken = true;
        }
        if (e == NULL)
            break;
    }
    if (members.has_any)
        buf_add_char(members.out, '}');
}

static void write_service_tier(struct chat_writing *w)
{
    static const char *const known[] = {"auto", "default", "flex", "priority", "scale"};
    struct text tier = w->request->service_tier;
    bool is_openai = w->is_own || w->request->source == DIALECT_OPENAI_RESPONSES;
    if (!text_is_some(tier))
        return;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        is_openai = is_openai || text_eq(tier, str_c(known[i]));
    if (!is_openai && text_eq(tier, STR("standard_only"))) {
        tier = TEXT_LIT("default");
        is_openai = true;
    }
    if (!is_openai)
        llm_note_dropped(w->notes, "service_tier");
    else if (is_known(w, "service_tier"))
        chat_member_text(&w->members, "service_tier", tier);
}

/* Members that mean the same to the two APIs of OpenAI. */
static const char *const kin[][2] = {
    {"text.verbosity", "verbosity"},
    {"store", "store"},
    {"prompt_cache_key", "prompt_cache_key"},
    {"prompt_cache_retention", "prompt_cache_retention"},
    {"safety_identifier", "safety_identifier"},
    {"moderation", "moderation"},
};

static void write_extras(struct chat_writing *w)
{
    for (size_t i = 0; i < ARRAY_LEN(kin); i++) {
        const struct llm_extra *extra = llm_extra_take(w->request, FROM_RESPONSES, kin[i][0]);
        if (extra != NULL)
            write_raw(w, kin[i][1], extra->raw);
    }
    for (struct llm_extra *e = w->request->extras; e != NULL && w->is_own; e = e->next) {
        if (e->is_taken || str_starts(e->name, STR("stream_options.")))
            continue;
        chat_next(&w->members);
        buf_add_char(w->members.out, '"');
        buf_add_str(w->members.out, e->name);
        BUF_LIT(w->members.out, "\":");
        buf_add_str(w->members.out, e->raw);
        e->is_taken = true;
    }
}

int chat_write_request(struct llm_request *request, const struct llm_target *target,
                       struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    struct chat_writing w = {.members = {out, false},
                             .request = request,
                             .target = target,
                             .arena = arena,
                             .notes = notes,
                             .is_own = request->source == DIALECT_OPENAI_CHAT};
    if (target->quirks->needs_alternating_roles && !w.is_own)
        llm_request_join_turns(request, false);
    buf_add_char(out, '{');
    chat_member_text(&w.members, "model", text_plain(target->model));
    chat_write_messages(&w);
    chat_write_tools(&w);
    write_limit(&w);
    write_sampling(&w);
    write_stop(&w);
    write_format(&w);
    write_reasoning(&w);
    write_stream(&w);
    write_service_tier(&w);
    if (text_is_some(request->user) && is_known(&w, "user"))
        chat_member_text(&w.members, "user", request->user);
    if (request->metadata.len > 0 && (w.is_own || request->source == DIALECT_OPENAI_RESPONSES))
        write_raw(&w, "metadata", request->metadata);
    else if (request->metadata.len > 0)
        llm_note_dropped(notes, "metadata");
    write_extras(&w);
    if (request->continues_last && target->quirks->prefill == PREFILL_CONTINUE) {
        write_raw(&w, "add_generation_prompt", STR("false"));
        write_raw(&w, "continue_final_message", STR("true"));
    }
    buf_add_char(out, '}');
    llm_note_extras(notes, request);
    return buf_ok(out) ? 0 : chat_no_memory();
}
