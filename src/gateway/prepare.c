#include "base/clock.h"
#include "dialect/anthropic/betas.h"
#include "dialect/signature.h"
#include "gateway/attempts.h"
#include "gateway/exchange.h"
#include "gateway/operation.h"
#include "gateway/params.h"
#include "gateway/realtime.h"
#include "gateway/responses.h"

/*
 * What goes upstream: in which of the provider's dialects, to which path, and the body. The
 * client's own bytes where the provider speaks its dialect, spliced where they must differ; else a
 * translation.
 */

static bool offers(const struct provider *p, enum provider_operation operation)
{
    return p->paths[operation].len > 0;
}

/* A provider may speak the client's dialect beside its own: then nothing has to be translated. */
static void choose_dialect(struct exchange *ex)
{
    const struct provider *p = ex->upstream->provider;
    enum dialect_id client = ex->operation->dialect;
    enum dialect_id spoken = p->dialect;
    enum provider_operation operation = ex->operation->upstream;
    if (operation == OPERATION_CHAT && client != p->dialect) {
        if (client == DIALECT_OPENAI_RESPONSES && offers(p, OPERATION_RESPONSES)) {
            spoken = client;
            operation = OPERATION_RESPONSES;
        } else if (client == DIALECT_ANTHROPIC && offers(p, OPERATION_MESSAGES)) {
            spoken = client;
            operation = OPERATION_MESSAGES;
        }
    }
    if (operation == OPERATION_CHAT && ex->is_stream && offers(p, OPERATION_CHAT_STREAM))
        operation = OPERATION_CHAT_STREAM;
    ex->provider = dialect_of(spoken);
    ex->upstream_operation = operation;
}

bool exchange_is_offered(const struct exchange *ex)
{
    return offers(ex->upstream->provider, ex->upstream_operation);
}

/* Legacy completions have no neutral form: they are not what chat is. */
YIELDS static int check_target(struct exchange *ex)
{
    const struct provider *p = ex->upstream->provider;
    bool is_foreign =
        ex->operation->upstream == OPERATION_COMPLETIONS && p->dialect != DIALECT_OPENAI_CHAT;
    if ((is_foreign || !exchange_is_offered(ex)) && attempts_unfit(ex))
        return -ERR_INVALID;
    if (is_foreign) {
        refuse(ex, REFUSE_DIALECT, STR("model"),
               "The provider '%.*s' speaks the %s dialect, which has no completions. Use "
               "/v1/chat/completions.",
               STR_ARG(p->name), dialect_names[p->dialect]);
        return -ERR_INVALID;
    }
    if (!exchange_is_offered(ex)) {
        refuse(ex, REFUSE_OPERATION, STR("model"),
               "The provider '%.*s' does not offer '%s'. Ask for another model, or set "
               "providers.%.*s.paths.%s.",
               STR_ARG(p->name), ex->operation->name, STR_ARG(p->name),
               provider_operation_names[ex->upstream_operation]);
        return -ERR_INVALID;
    }
    return 0;
}

void exchange_set_target(struct exchange *ex)
{
    if (ex->provider == NULL)
        choose_dialect(ex);
    const struct provider *p = ex->upstream->provider;
    ex->llm_target = (struct llm_target){
        .model = ex->target.model,
        .is_stream = ex->is_stream,
        .wants_usage = ex->is_stream && p->quirks.stream_usage != STREAM_USAGE_NO_OPTION,
        .variant = ex->provider->id == p->dialect ? p->variant : VARIANT_NATIVE,
        .quirks = &p->llm_quirks,
        .traits = provider_traits(p, ex->target.model),
    };
    ex->codec = (struct llm_codec_settings){
        .model = ex->asked,
        .request_id = ex->record.request_id,
        .now_s = ex->record.start_wall_ns / NS_PER_SEC,
        .includes_usage = ex->scan.includes_usage,
        .quirks = &p->llm_quirks,
    };
}

/* The strict word of the config, or of a client that wants to know. */
static bool rejects_unmappable(const struct exchange *ex)
{
    struct str wish = http_headers_get(&ex->http->headers, STR("x-weir-unmappable"));
    return ex->settings->unmappable == UNMAPPABLE_REJECT || str_ieq(str_trim(wish), STR("reject"));
}

/* What could not be said, and what was said that nobody asked for: the client is told. */
YIELDS static int tell_notes(struct exchange *ex)
{
    const struct translation *t = ex->translation;
    if (t->dropped.len == 0 && t->supplied.len == 0)
        return 0;
    if (t->dropped.len > 0 && rejects_unmappable(ex)) {
        if (attempts_unfit(ex))
            return -ERR_INVALID;
        refuse(ex, REFUSE_UNMAPPABLE, buf_str(&t->dropped),
               "The %s dialect of '%.*s' has no place for: %.*s. Leave it out, ask for another "
               "model, or let it be dropped (unmappable: drop).",
               ex->provider->name, STR_ARG(ex->record.provider), STR_ARG(buf_str(&t->dropped)));
        return -ERR_INVALID;
    }
    if (t->dropped.len > 0)
        exchange_answer_header(ex, STR("x-weir-dropped"),
                               arena_dup(ex->head_arena, buf_str(&t->dropped)));
    if (t->supplied.len > 0)
        exchange_answer_header(ex, STR("x-weir-supplied"),
                               arena_dup(ex->head_arena, buf_str(&t->supplied)));
    return 0;
}

YIELDS static int refuse_untranslatable(struct exchange *ex, int code)
{
    if (code == -ERR_NOMEM)
        return refuse_no_memory(ex);
    refuse(ex, REFUSE_BODY, STR_EMPTY, "%s", err_slot()->message);
    return code;
}

/* The client's "anthropic-beta"; with what stands in its body, where that goes by header too. */
static struct str asked_betas(struct exchange *ex, enum llm_variant variant)
{
    struct str asked = http_headers_get(&ex->http->headers, STR("anthropic-beta"));
    struct str in_body = STR_EMPTY;
    if (variant != VARIANT_BEDROCK && ex->client->id == DIALECT_ANTHROPIC)
        in_body = anthropic_betas_of_body(ex->arena, buf_str(&ex->body));
    struct str parts[] = {asked, asked.len > 0 ? STR(",") : STR_EMPTY, in_body};
    return in_body.len > 0 ? arena_concat(ex->arena, parts, ARRAY_LEN(parts)) : asked;
}

/* Where a translation goes to a Claude, its features are asked for as they are without one. */
static bool translate_betas(struct exchange *ex, struct buf *dropped)
{
    bool is_converse = ex->provider->id == DIALECT_BEDROCK;
    bool is_claude = ex->provider->id == DIALECT_ANTHROPIC ||
                     (is_converse && str_ifind(ex->target.model, STR("claude")) >= 0);
    enum llm_variant variant = is_converse ? VARIANT_BEDROCK : ex->llm_target.variant;
    struct str asked = is_claude ? asked_betas(ex, variant) : STR_EMPTY;
    if (asked.len == 0)
        return true;
    struct str betas = anthropic_betas_for(ex->arena, asked, variant, dropped);
    ex->llm_target.betas = betas;
    if (variant != VARIANT_BEDROCK)
        ex->betas = betas;
    return betas.ptr != NULL && buf_ok(dropped);
}

YIELDS static int translate(struct exchange *ex)
{
    bool is_responses = ex->client->id == DIALECT_OPENAI_RESPONSES;
    int r = is_responses ? response_expand(ex) : 0;
    if (r < 0)
        return r;
    struct translation *t = ARENA_NEW(ex->arena, struct translation);
    if (t == NULL)
        return refuse_no_memory(ex);
    ex->translation = t;
    ex->is_rewritten = true;
    r = translation_init(t, ex->arena, ex->client, ex->provider, &ex->codec, buf_str(&ex->body),
                         ex->asked, ex->is_stream);
    struct buf refused = BUF_INIT;
    if (r == 0 && !translate_betas(ex, &refused))
        r = -ERR_NOMEM;
    if (r == 0)
        r = translation_write_request(t, ex->provider, &ex->llm_target, &ex->rewritten);
    if (r == 0 && refused.len > 0)
        buf_printf(&t->dropped, "%santhropic-beta: %.*s", t->dropped.len > 0 ? ", " : "",
                   STR_ARG(buf_str(&refused)));
    buf_fini(&refused);
    if (r == 0 && !buf_ok(&ex->rewritten))
        r = -ERR_NOMEM;
    if (r < 0)
        return refuse_untranslatable(ex, r);
    /* An answer of the Responses API repeats what was asked. */
    if (is_responses)
        t->settings.request = ex->codec.request = &t->request;
    ex->record.upstream_dialect = str_c(ex->provider->name);
    return tell_notes(ex);
}

/* "anthropic-beta", as the place takes it where Claude is served: all of it at Anthropic, what is
 * known on Vertex AI, in the body on Bedrock. What is left out is told. */
static bool fit_betas(struct exchange *ex)
{
    enum llm_variant variant = ex->llm_target.variant;
    struct str asked = asked_betas(ex, variant);
    struct buf dropped = BUF_INIT;
    if (asked.len == 0)
        return true;
    struct str betas = anthropic_betas_for(ex->arena, asked, variant, &dropped);
    if (dropped.len > 0)
        exchange_answer_header(
            ex, STR("x-weir-dropped"),
            arena_printf(ex->head_arena, "anthropic-beta: %.*s", STR_ARG(buf_str(&dropped))));
    buf_fini(&dropped);
    if (betas.len == 0 || variant != VARIANT_BEDROCK) {
        ex->betas = betas;
        return true;
    }
    if (ex->fit.count == ARRAY_LEN(ex->fit.edits))
        return false;
    struct json_edit edit = anthropic_betas_edit(ex->arena, &ex->scan, buf_str(&ex->body), betas);
    ex->fit.edits[ex->fit.count++] = edit;
    return edit.insert.ptr != NULL;
}

YIELDS static int fit_body(struct exchange *ex)
{
    const struct provider *p = ex->upstream->provider;
    bool wants_usage = ex->is_stream && !ex->scan.includes_usage &&
                       p->quirks.stream_usage == STREAM_USAGE_ON_REQUEST;
    ex->client->fit(&ex->scan, buf_str(&ex->body), &ex->llm_target, wants_usage, ex->arena,
                    &ex->fit);
    bool is_ok = !ex->fit.no_memory;
    if (is_ok && ex->client->id == DIALECT_ANTHROPIC)
        is_ok = fit_betas(ex);
    return is_ok ? 0 : refuse_no_memory(ex);
}

/* The route's word on parameters, in the body as it is sent. */
YIELDS static int apply_params(struct exchange *ex)
{
    if (!params_are_there(ex->step))
        return 0;
    struct iovec pieces[2 * ARRAY_LEN(ex->fit.edits) + 1];
    struct buf plain = BUF_INIT, changed = BUF_INIT;
    int count = exchange_body_pieces(ex, pieces, ARRAY_LEN(pieces));
    for (int i = 0; i < count; i++)
        buf_add(&plain, pieces[i].iov_base, pieces[i].iov_len);
    int r = count < 0 ? count : -ERR_NOMEM;
    if (count >= 0 && buf_ok(&plain))
        r = params_apply(ex->step, buf_str(&plain), ex->settings->json_depth, ex->arena, &changed);
    buf_fini(&plain);
    if (r == 0) {
        buf_fini(&ex->rewritten);
        ex->rewritten = changed;
        return 0;
    }
    buf_fini(&changed);
    if (r == -ERR_NOMEM)
        return refuse_no_memory(ex);
    refuse(ex, REFUSE_INTERNAL, STR_EMPTY, "The route's parameters do not fit the request: %s.",
           err_slot()->message);
    return r;
}

YIELDS int exchange_prepare(struct exchange *ex)
{
    if (ex->realtime != NULL)
        return realtime_prepare(ex);
    choose_dialect(ex);
    int r = check_target(ex);
    if (r < 0)
        return r;
    exchange_set_target(ex);
    /* What another vendor's model signed must not reach this one. */
    bool is_same = ex->client == ex->provider && !signature_is_marked(buf_str(&ex->body));
    r = is_same ? fit_body(ex) : translate(ex);
    return r < 0 ? r : exchange_prepare_rest(ex);
}

YIELDS int exchange_prepare_rest(struct exchange *ex)
{
    int r = apply_params(ex);
    if (r < 0)
        return r;
    struct str path = ex->special_path.len > 0
                          ? ex->special_path
                          : ex->upstream->provider->paths[ex->upstream_operation];
    ex->upstream_path = upstream_target_at(ex->upstream, ex->key_index, ex->head_arena, path, false,
                                           ex->target.model);
    return ex->upstream_path.ptr != NULL ? 0 : refuse_no_memory(ex);
}
