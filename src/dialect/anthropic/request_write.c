#include "base/err.h"
#include "dialect/anthropic/betas.h"
#include "dialect/anthropic/codec.h"
#include "dialect/anthropic/count.h"
#include "dialect/field.h"

#define OPENAI ((1u << DIALECT_OPENAI_CHAT) | (1u << DIALECT_OPENAI_RESPONSES))
#define OWN (1u << DIALECT_ANTHROPIC)

struct writing {
    struct buf *out;
    struct arena *arena;
    struct llm_request *request;
    const struct llm_target *target;
    struct llm_notes *notes;
    struct anthropic_plan plan;
    bool is_own;   /* the request was read from this dialect */
    bool is_count; /* for count_tokens */
};

static void drop(struct writing *w, enum llm_field field)
{
    llm_note_dropped(w->notes, "%s", llm_field_name(w->request, field));
}

/* Extras of the own dialect named `prefix` and one more word, as members of the open object. */
static void write_extras(struct writing *w, const char *prefix)
{
    struct str start = str_c(prefix);
    if (!w->is_own)
        return;
    for (struct llm_extra *e = w->request->extras; e != NULL; e = e->next) {
        struct str word = str_skip(e->name, start.len);
        if (e->is_taken || !str_starts(e->name, start) || word.len == 0 ||
            str_index(word, '.') >= 0 || str_index(word, '[') >= 0)
            continue;
        e->is_taken = true;
        anthropic_comma(w->out);
        text_write(w->out, (struct text){word, true});
        buf_add_char(w->out, ':');
        buf_add_str(w->out, e->raw);
    }
}

/* --- tools --- */

static bool is_allowed(const struct writing *w, const struct llm_tool *tool)
{
    if (w->request->allowed_tools == NULL || tool->kind != TOOL_FUNCTION)
        return true;
    struct str name = text_or(w->arena, tool->name, STR_EMPTY);
    for (const struct llm_name *n = w->request->allowed_tools; n != NULL; n = n->next) {
        if (text_eq(n->text, name))
            return true;
    }
    return false;
}

static void write_tool(struct writing *w, const struct llm_tool *tool)
{
    bool has_rest = tool->maker == DIALECT_ANTHROPIC && tool->rest.len > 0;
    BUF_LIT(w->out, "{\"name\":");
    text_write(w->out, tool->name);
    if (text_is_some(tool->description) && (w->is_own || !text_is_empty(tool->description)))
        anthropic_key_text(w->out, "description", tool->description);
    anthropic_key_raw(w->out, "input_schema",
                      tool->schema.len > 0 ? tool->schema
                                           : STR("{\"type\":\"object\",\"properties\":{}}"));
    if (tool->strict == TRI_YES || (tool->strict == TRI_NO && w->is_own))
        anthropic_key_raw(w->out, "strict", tool->strict == TRI_YES ? STR("true") : STR("false"));
    anthropic_write_cache(w->out, tool->cache, has_rest ? tool->rest : STR_EMPTY);
    if (has_rest) {
        anthropic_comma(w->out);
        buf_add_str(w->out, tool->rest);
    }
    buf_add_char(w->out, '}');
}

/* What a history without its tools tells of them; an object of names, for looking them up. */
struct called {
    struct called *next;
    struct str name;
};

/* A history with calls is refused without tools: then those that were called are named, and none
 * may be called again. */
static bool write_called_tools(struct writing *w)
{
    enum { NAMES_MAX = 64 }; /* one would do */
    struct called *names = NULL;
    unsigned count = 0;
    bool has_results = false;
    for (const struct llm_message *m = w->request->messages; m != NULL; m = m->next) {
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next) {
            struct called *known = names;
            has_results = has_results || b->kind == BLOCK_TOOL_RESULT;
            if (b->kind != BLOCK_TOOL_CALL || count == NAMES_MAX)
                continue;
            struct str name = text_or(w->arena, b->name, STR_EMPTY);
            while (known != NULL && !str_eq(known->name, name))
                known = known->next;
            struct called *more = known == NULL ? ARENA_NEW(w->arena, struct called) : NULL;
            if (more == NULL)
                continue;
            *more = (struct called){names, name};
            names = more;
            count++;
        }
    }
    static struct called unknown = {NULL, STR_INIT("unknown_tool")};
    if (names == NULL && !has_results)
        return false;
    anthropic_key(w->out, "tools");
    buf_add_char(w->out, '[');
    for (const struct called *c = names != NULL ? names : &unknown; c != NULL; c = c->next) {
        struct llm_tool tool = {.name = text_plain(c->name)};
        anthropic_comma(w->out);
        write_tool(w, &tool);
    }
    BUF_LIT(w->out, "],\"tool_choice\":{\"type\":\"none\"}");
    llm_note_supplied(w->notes, "tools");
    return true;
}

static bool write_tools(struct writing *w)
{
    size_t start = w->out->len;
    unsigned count = 0, index = 0;
    anthropic_key(w->out, "tools");
    buf_add_char(w->out, '[');
    for (const struct llm_tool *t = w->request->tools; t != NULL; t = t->next, index++) {
        if (t->kind == TOOL_BUILTIN && t->maker != DIALECT_ANTHROPIC) {
            llm_note_dropped(w->notes, "%s[%u]", llm_field_name(w->request, FIELD_TOOLS), index);
            continue;
        }
        if (!is_allowed(w, t))
            continue;
        anthropic_comma(w->out);
        if (t->kind == TOOL_BUILTIN)
            buf_add_str(w->out, t->raw);
        else
            write_tool(w, t);
        count++;
    }
    if (count > 0) {
        buf_add_char(w->out, ']');
        return true;
    }
    w->out->len = start;
    return false;
}

static void write_tool_choice(struct writing *w)
{
    static const char *const types[] = {
        [TOOL_CHOICE_UNSET] = "auto",   [TOOL_CHOICE_AUTO] = "auto",  [TOOL_CHOICE_NONE] = "none",
        [TOOL_CHOICE_REQUIRED] = "any", [TOOL_CHOICE_NAMED] = "tool",
    };
    const struct llm_request *request = w->request;
    enum tri parallel = request->parallel_tools;
    bool says_parallel = parallel == TRI_NO || (parallel == TRI_YES && w->is_own);
    if (request->tool_choice == TOOL_CHOICE_UNSET && !says_parallel)
        return;
    anthropic_key(w->out, "tool_choice");
    buf_printf(w->out, "{\"type\":\"%s\"", types[request->tool_choice]);
    if (text_is_some(request->tool_choice_name))
        anthropic_key_text(w->out, "name", request->tool_choice_name);
    if (says_parallel && (request->tool_choice != TOOL_CHOICE_NONE || w->is_own))
        anthropic_key_raw(w->out, "disable_parallel_tool_use",
                          parallel == TRI_NO ? STR("true") : STR("false"));
    write_extras(w, "tool_choice.");
    buf_add_char(w->out, '}');
}

static void write_all_tools(struct writing *w)
{
    if (write_tools(w)) {
        write_tool_choice(w);
        return;
    }
    bool needs_tools = !w->is_own || w->target->variant == VARIANT_BEDROCK;
    if ((needs_tools && write_called_tools(w)) || w->request->tool_choice == TOOL_CHOICE_UNSET)
        return;
    if (w->is_own)
        write_tool_choice(w);
    else if (w->request->tool_choice != TOOL_CHOICE_NONE &&
             w->request->tool_choice != TOOL_CHOICE_AUTO)
        drop(w, FIELD_TOOL_CHOICE);
}

/* --- thinking and the form of the answer --- */

static void write_own_thinking(struct writing *w)
{
    const struct llm_reasoning *r = &w->request->reasoning;
    static const char *const types[] = {[REASONING_OFF] = "disabled",
                                        [REASONING_ON] = "enabled",
                                        [REASONING_ADAPTIVE] = "adaptive"};
    if (r->mode == REASONING_UNSET)
        return;
    anthropic_key(w->out, "thinking");
    buf_printf(w->out, "{\"type\":\"%s\"", types[r->mode]);
    anthropic_key_raw(w->out, "budget_tokens", r->budget);
    if (r->shows != TRI_UNSET)
        anthropic_key_raw(w->out, "display",
                          r->shows == TRI_YES ? STR("\"summarized\"") : STR("\"omitted\""));
    write_extras(w, "thinking.");
    buf_add_char(w->out, '}');
}

static void write_thinking(struct writing *w)
{
    const struct anthropic_plan *plan = &w->plan;
    if (w->is_own) {
        write_own_thinking(w);
        return;
    }
    if (plan->thinking == NULL)
        return;
    anthropic_key(w->out, "thinking");
    buf_printf(w->out, "{\"type\":\"%s\"", plan->thinking);
    if (plan->budget > 0) {
        anthropic_key(w->out, "budget_tokens");
        buf_add_u64(w->out, plan->budget);
    }
    buf_add_char(w->out, '}');
}

static void write_format(struct writing *w)
{
    BUF_LIT(w->out, "{\"type\":\"json_schema\"");
    anthropic_key_raw(w->out, "schema", w->request->format.schema);
}

static void write_output(struct writing *w)
{
    const struct llm_response_format *format = &w->request->format;
    const struct llm_reasoning *reasoning = &w->request->reasoning;
    bool has_format = format->kind == FORMAT_JSON_SCHEMA && format->schema.len > 0;
    bool is_older = false;
    for (const struct llm_extra *e = w->request->extras; e != NULL && w->is_own; e = e->next)
        is_older = is_older || str_eq(e->name, STR("output_format"));
    if (format->kind == FORMAT_JSON_OBJECT || (format->kind == FORMAT_JSON_SCHEMA && !has_format))
        drop(w, FIELD_FORMAT);
    if (has_format && is_older) {
        anthropic_key(w->out, "output_format");
        write_format(w);
        write_extras(w, "output_format.");
        buf_add_char(w->out, '}');
        has_format = false;
    }
    size_t start = w->out->len;
    anthropic_key(w->out, "output_config");
    buf_add_char(w->out, '{');
    size_t inside = w->out->len;
    if (w->is_own && text_is_some(reasoning->effort))
        anthropic_key_text(w->out, "effort", reasoning->effort);
    else if (w->plan.effort != NULL)
        anthropic_key_text(w->out, "effort", text_plain(str_c(w->plan.effort)));
    if (has_format) {
        anthropic_key(w->out, "format");
        write_format(w);
        write_extras(w, "output_config.format.");
        buf_add_char(w->out, '}');
    }
    write_extras(w, "output_config.");
    if (w->out->len == inside)
        w->out->len = start;
    else
        buf_add_char(w->out, '}');
}

/* --- parameters --- */

static void write_stop(struct writing *w)
{
    size_t start = w->out->len;
    bool has_any = false;
    anthropic_key(w->out, "stop_sequences");
    buf_add_char(w->out, '[');
    for (const struct llm_name *n = w->request->stop; n != NULL; n = n->next) {
        struct str plain = text_or(w->arena, n->text, STR_EMPTY);
        while (plain.len > 0 && plain.ptr[0] != '\0' && strchr(" \t\r\n", plain.ptr[0]) != NULL)
            plain = str_skip(plain, 1);
        if (plain.len == 0 && !w->is_own) {
            drop(w, FIELD_STOP); /* one that is nothing but white space is refused */
            continue;
        }
        anthropic_comma(w->out);
        text_write(w->out, n->text);
        has_any = true;
    }
    if (has_any)
        buf_add_char(w->out, ']');
    else
        w->out->len = start;
}

static void write_user(struct writing *w)
{
    struct text user = w->request->user;
    size_t start = w->out->len;
    if (!w->is_own) {
        const struct llm_extra *id = llm_extra_take(w->request, OPENAI, "safety_identifier");
        if (!text_is_some(user) && id != NULL && id->raw.len > 1 && id->raw.ptr[0] == '"')
            user = text_of((struct json_value){JSON_STRING, id->raw});
        if (w->request->metadata.len > 2)
            drop(w, FIELD_METADATA);
    }
    anthropic_key(w->out, "metadata");
    buf_add_char(w->out, '{');
    size_t inside = w->out->len;
    if (text_is_some(user))
        anthropic_key_text(w->out, "user_id", user);
    write_extras(w, "metadata.");
    if (w->out->len == inside)
        w->out->len = start;
    else
        buf_add_char(w->out, '}');
}

static void write_service_tier(struct writing *w)
{
    struct text tier = w->request->service_tier;
    if (!text_is_some(tier))
        return;
    if (text_eq(tier, STR("default")) || text_eq(tier, STR("standard")))
        tier = TEXT_LIT("standard_only");
    if (w->is_own || text_eq(tier, STR("auto")) || text_eq(tier, STR("standard_only")))
        anthropic_key_text(w->out, "service_tier", tier);
    else
        drop(w, FIELD_SERVICE_TIER);
}

/* What this dialect has no word for. */
static void note_missing(struct writing *w)
{
    struct llm_request *r = w->request;
    const struct {
        struct str value;
        enum llm_field field;
    } fields[] = {
        {r->frequency_penalty, FIELD_FREQUENCY_PENALTY},
        {r->presence_penalty, FIELD_PRESENCE_PENALTY},
        {r->seed, FIELD_SEED},
        {r->top_logprobs, FIELD_TOP_LOGPROBS},
        {r->logit_bias, FIELD_LOGIT_BIAS},
        {r->audio, FIELD_AUDIO},
    };
    double n;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (fields[i].value.len > 0)
            drop(w, fields[i].field);
    }
    if (r->logprobs == TRI_YES)
        drop(w, FIELD_LOGPROBS);
    if (llm_number(r->n, &n) && n > 1)
        drop(w, FIELD_N);
    if (str_ifind(r->modalities, STR("audio")) >= 0 || str_ifind(r->modalities, STR("image")) >= 0)
        drop(w, FIELD_MODALITIES);
}

/* --- the body --- */

static void write_messages(struct writing *w)
{
    anthropic_key(w->out, "messages");
    buf_add_char(w->out, '[');
    for (const struct llm_message *m = w->request->messages; m != NULL; m = m->next) {
        const char *role = m->role == ROLE_ASSISTANT ? "assistant"
                           : m->role == ROLE_SYSTEM  ? "system"
                                                     : "user";
        anthropic_comma(w->out);
        buf_printf(w->out, "{\"role\":\"%s\",\"content\":", role);
        anthropic_write_content(w->out, w->arena, m->blocks);
        buf_add_char(w->out, '}');
    }
    buf_add_char(w->out, ']');
}

/* On Bedrock they stand in the body, with those that are there already; elsewhere in a header. */
static void write_betas(struct writing *w)
{
    bool in_body = w->target->variant == VARIANT_BEDROCK;
    struct str names = in_body ? w->target->betas : STR_EMPTY;
    for (struct llm_extra *e = w->request->extras; e != NULL && w->is_own; e = e->next) {
        if (!str_eq(e->name, STR("anthropic_beta")) || (in_body && names.len == 0))
            continue;
        e->is_taken = true;
        if (in_body) {
            struct str object[] = {STR("{\"anthropic_beta\":"), e->raw, STR("}")};
            struct str own = anthropic_betas_of_body(
                w->arena, arena_concat(w->arena, object, ARRAY_LEN(object)));
            struct str both[] = {own, own.len > 0 ? STR(",") : STR_EMPTY, names};
            names = arena_concat(w->arena, both, ARRAY_LEN(both));
        } else if (w->target->betas.len == 0) {
            llm_note_dropped(w->notes, "anthropic_beta");
        }
    }
    if (names.len == 0)
        return;
    anthropic_key(w->out, "anthropic_beta");
    anthropic_betas_write(w->out, anthropic_betas_for(w->arena, names, VARIANT_NATIVE, NULL));
}

/* Where it goes, and which version is spoken there. */
static void write_target(struct writing *w)
{
    const char *own = anthropic_version_of(w->target->variant);
    const struct llm_extra *told = llm_extra_take(w->request, OWN, "anthropic_version");
    if (own == NULL) {
        anthropic_key_text(w->out, "model", text_plain(w->target->model));
    } else {
        struct str kind = str_head(str_c(own), (size_t)str_index(str_c(own), '-') + 1);
        struct str version = str_c(own);
        if (told != NULL && str_starts(str_skip(told->raw, 1), kind))
            version = str_n(told->raw.ptr + 1, told->raw.len - 2);
        anthropic_key_text(w->out, "anthropic_version", (struct text){version, true});
    }
    write_betas(w);
    if (w->target->is_stream && w->target->variant != VARIANT_BEDROCK && !w->is_count)
        BUF_LIT(w->out, ",\"stream\":true");
}

static int write_body(struct writing *w)
{
    struct llm_request *request = w->request;
    if (request->format.kind == FORMAT_JSON_SCHEMA &&
        w->target->traits->structured == STRUCTURED_NONE)
        return err_set(ERR_INVALID, FAULT_CLIENT,
                       "'%s': this model cannot be held to a JSON schema; leave it out or ask "
                       "another model",
                       llm_field_name(request, FIELD_FORMAT));
    /* Nothing is answered: no limit is owed, and none rules out a budget. */
    if (w->is_count && request->max_tokens.len == 0)
        request->max_tokens = STR("4294967295");
    int r = w->is_own ? 0 : anthropic_prepare(request, w->arena, w->notes);
    if (r == 0)
        r = anthropic_plan(request, w->target, w->arena, w->notes, &w->plan);
    if (r < 0)
        return r;
    buf_add_char(w->out, '{');
    write_target(w);
    if (!w->is_count) {
        anthropic_key_raw(w->out, "max_tokens", w->plan.max_tokens);
        anthropic_key_raw(w->out, "temperature", w->plan.temperature);
        anthropic_key_raw(w->out, "top_p", w->plan.top_p);
        anthropic_key_raw(w->out, "top_k", w->plan.top_k);
        write_stop(w);
        write_user(w);
        write_service_tier(w);
    }
    write_thinking(w);
    write_output(w);
    write_all_tools(w);
    if (request->system != NULL) {
        anthropic_key(w->out, "system");
        anthropic_write_content(w->out, w->arena, request->system);
    }
    write_messages(w);
    note_missing(w);
    if (w->is_count) {
        /* Of what is new here, only what counts is taken there. */
        static const char *const counted[] = {"cache_control", "context_management", "mcp_servers",
                                              "speed"};
        for (size_t i = 0; i < ARRAY_LEN(counted); i++) {
            const struct llm_extra *e = llm_extra_take(request, OWN, counted[i]);
            if (e != NULL)
                anthropic_key_raw(w->out, counted[i], e->raw);
        }
    } else {
        write_extras(w, "");
        llm_note_extras(w->notes, request);
    }
    buf_add_char(w->out, '}');
    return buf_ok(w->out) ? 0 : anthropic_no_memory();
}

int anthropic_write_request(struct llm_request *request, const struct llm_target *target,
                            struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    struct writing w = {.out = out,
                        .arena = arena,
                        .request = request,
                        .target = target,
                        .notes = notes,
                        .is_own = request->source == DIALECT_ANTHROPIC};
    return write_body(&w);
}

int anthropic_write_count_request(struct llm_request *request, const struct llm_target *target,
                                  struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    struct writing w = {.out = out,
                        .arena = arena,
                        .request = request,
                        .target = target,
                        .notes = notes,
                        .is_own = request->source == DIALECT_ANTHROPIC,
                        .is_count = true};
    return write_body(&w);
}

int anthropic_read_count(struct str body, int64_t *tokens)
{
    struct json_value value;
    if (json_find(body, "input_tokens", &value) && json_number_i64(value, tokens) && *tokens >= 0)
        return 0;
    return err_set(ERR_INVALID, FAULT_UPSTREAM, "the answer has no count of input tokens");
}
