#include "gateway/capabilities.h"

#include "gateway/query.h"

static void add_member(struct buf *out, const char *name)
{
    if (out->len > 0 && out->ptr[out->len - 1] != '{' && out->ptr[out->len - 1] != '[')
        buf_add_char(out, ',');
    buf_add_json(out, str_c(name));
    buf_add_char(out, ':');
}

static void add_text(struct buf *out, const char *name, struct str value)
{
    add_member(out, name);
    buf_add_json(out, value);
}

/* true, false, or null where nothing is known. */
static void add_tri(struct buf *out, const char *name, enum tri value)
{
    add_member(out, name);
    buf_add_str(out, value == TRI_YES ? STR("true") : value == TRI_NO ? STR("false") : STR("null"));
}

static void add_known(struct buf *out, const char *name, const char *word, bool is_known)
{
    add_member(out, name);
    if (is_known)
        buf_add_json(out, str_c(word));
    else
        BUF_LIT(out, "null");
}

static void add_traits(struct buf *out, const struct llm_traits *traits)
{
    const struct {
        const char *name;
        enum tri value;
    } takes[] = {
        {"images", traits->takes_images},
        {"audio", traits->takes_audio},
        {"video", traits->takes_video},
        {"documents", traits->takes_documents},
        {"tools", traits->takes_tools},
        {"sampling", traits->takes_sampling},
        {"forced_tools", traits->takes_forced_tools},
        {"thinking_off", traits->takes_thinking_off},
        {"prefill", traits->takes_prefill},
        {"many_choices", traits->takes_many_choices},
        {"logprobs", traits->takes_logprobs},
    };
    add_member(out, "takes");
    buf_add_char(out, '{');
    for (size_t i = 0; i < ARRAY_LEN(takes); i++)
        add_tri(out, takes[i].name, takes[i].value);
    buf_add_char(out, '}');
    add_known(out, "thinking", llm_thinking_names[traits->thinking],
              traits->thinking != THINKING_UNKNOWN);
    add_known(out, "structured_output", llm_structured_names[traits->structured],
              traits->structured != STRUCTURED_UNKNOWN);
    add_member(out, "max_output_tokens");
    if (traits->max_output_tokens > 0)
        buf_add_u64(out, traits->max_output_tokens);
    else
        BUF_LIT(out, "null");
}

static void add_provider(struct buf *out, const struct provider *p)
{
    const struct llm_quirks *quirks = &p->llm_quirks;
    add_text(out, "provider", p->name);
    add_text(out, "dialect", str_c(dialect_names[p->dialect]));
    add_member(out, "operations");
    buf_add_char(out, '[');
    for (unsigned i = 0, n = 0; i < OPERATION_COUNT; i++) {
        if (p->paths[i].len == 0)
            continue;
        if (n++ > 0)
            buf_add_char(out, ',');
        buf_add_json(out, str_c(provider_operation_names[i]));
    }
    buf_add_char(out, ']');
    add_member(out, "refused_params");
    buf_add_char(out, '[');
    for (unsigned i = 0; i < quirks->refused_param_count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_json(out, quirks->refused_params[i]);
    }
    buf_add_char(out, ']');
}

YIELDS void capabilities_get(struct exchange *ex)
{
    ex->asked = query_value(ex->http->query, STR("model"), ex->arena);
    ex->record.model_asked = ex->asked;
    if (ex->asked.len == 0) {
        refuse(ex, REFUSE_BODY, STR("model"), "Say which model: ?model=provider/model.");
        return;
    }
    if (exchange_plan(ex) < 0)
        return;
    const struct provider *p = ex->upstream->provider;
    struct buf out = BUF_INIT;
    buf_add_char(&out, '{');
    add_text(&out, "model", ex->asked);
    add_text(&out, "target", ex->target.model);
    add_provider(&out, p);
    add_traits(&out, provider_traits(p, ex->target.model));
    BUF_LIT(&out, "}\n");
    if (buf_ok(&out)) {
        exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
        exchange_add_own_headers(ex);
        http_respond(ex->http, 200, &ex->answer, buf_str(&out));
    } else {
        refuse_no_memory(ex);
    }
    buf_fini(&out);
}
