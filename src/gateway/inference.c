#include "gateway/inference.h"

#include "base/clock.h"
#include "dialect/openai_chat/request.h"
#include "gateway/exchange.h"
#include "gateway/operation.h"

YIELDS int exchange_read_body(struct exchange *ex)
{
    uint64_t limit = ex->settings->limits.body_bytes;
    exchange_wait_begins(ex);
    int r = http_request_collect(ex->http, limit, CLOCK_NEVER, &ex->body);
    exchange_wait_ended(ex);
    switch (-r) {
    case ERR_NONE:
        return 0;
    case ERR_LIMIT:
        refuse(ex, REFUSE_BODY_TOO_LARGE, STR_EMPTY,
               "The request body is larger than the limit of %llu bytes (limits.request_body).",
               (unsigned long long)limit);
        break;
    case ERR_INVALID:
        refuse(ex, REFUSE_BODY_ENCODING, STR_EMPTY, "%s", err_slot()->message);
        break;
    case ERR_TIMEOUT:
        refuse(ex, REFUSE_BODY_TIMEOUT, STR_EMPTY,
               "The request body did not arrive in time (timeouts.client_body).");
        break;
    case ERR_NOMEM:
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
        break;
    default:
        refuse(ex, REFUSE_BODY, STR_EMPTY, "The request body could not be read: %s",
               err_slot()->message);
    }
    return r;
}

static bool add_edit(struct exchange *ex, struct json_edit edit)
{
    CHECK(ex->edit_count < ARRAY_LEN(ex->edits));
    ex->edits[ex->edit_count++] = edit;
    return edit.insert.ptr != NULL;
}

YIELDS int exchange_scan(struct exchange *ex)
{
    struct openai_request request;
    int r = openai_request_scan(buf_str(&ex->body), ex->settings->json_depth, ex->arena, &request);
    if (r < 0) {
        refuse(ex, REFUSE_BODY, request.bad_param, "%s", err_slot()->message);
        return r;
    }
    ex->scanned = request;
    ex->asked = request.model;
    ex->record.model_asked = request.model;
    ex->record.is_stream = request.is_stream;
    return 0;
}

/* Names the providers that could have been meant, for the error. */
static struct str list_candidates(struct exchange *ex, const struct plan *plan)
{
    struct str list = STR_EMPTY;
    for (unsigned i = 0; i < plan->candidate_count; i++) {
        struct str parts[] = {list, i > 0 ? STR(", ") : STR_EMPTY,
                              ex->ts->shared->world.providers[plan->candidates[i]].name, STR("/"),
                              ex->asked};
        list = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    }
    return list;
}

YIELDS static int check_may_use(struct exchange *ex)
{
    if (ex->key == NULL)
        return 0;
    struct str parts[] = {ex->record.provider, STR("/"), ex->target.model};
    struct str resolved = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    if (virtual_key_allows(ex->key, ex->asked, resolved))
        return 0;
    refuse(ex, REFUSE_MODEL_FORBIDDEN, STR("model"),
           "The API key '%.*s' may not use the model `%.*s`.", STR_ARG(ex->key->name),
           STR_ARG(ex->asked));
    return -ERR_FORBIDDEN;
}

YIELDS static int check_target(struct exchange *ex)
{
    const struct provider *p = ex->upstream->provider;
    if (p->dialect != DIALECT_OPENAI_CHAT) {
        refuse(ex, REFUSE_DIALECT, STR("model"),
               "The provider '%.*s' speaks the %s dialect, which this endpoint cannot reach.",
               STR_ARG(p->name), dialect_names[p->dialect]);
        return -ERR_INVALID;
    }
    if (p->paths[ex->operation->upstream].len == 0) {
        refuse(ex, REFUSE_OPERATION, STR("model"),
               "The provider '%.*s' does not offer '%s'. Ask for another model, or set "
               "providers.%.*s.paths.%s.",
               STR_ARG(p->name), ex->operation->name, STR_ARG(p->name), ex->operation->name);
        return -ERR_INVALID;
    }
    return 0;
}

YIELDS int exchange_plan(struct exchange *ex)
{
    struct plan plan;
    plan_make(&ex->ts->shared->world, ex->asked, &plan);
    if (plan.verdict == PLAN_AMBIGUOUS) {
        refuse(ex, REFUSE_MODEL_AMBIGUOUS, STR("model"),
               "Several providers offer the model `%.*s`; ask for one of: %.*s.",
               STR_ARG(ex->asked), STR_ARG(list_candidates(ex, &plan)));
        return -ERR_INVALID;
    }
    if (plan.verdict != PLAN_OK) {
        refuse(ex, REFUSE_MODEL_UNKNOWN, STR("model"),
               "The model `%.*s` does not exist here. Ask for provider/model with a configured "
               "provider, an alias of the config, or a model that one provider lists "
               "(GET /v1/models).",
               STR_ARG(ex->asked));
        return -ERR_INVALID;
    }
    ex->target = plan.target;
    ex->upstream = &ex->ts->upstreams[plan.target.provider];
    ex->record.provider = ex->upstream->provider->name;
    ex->record.model = plan.target.model;
    ex->record.route = plan.target.route;
    ex->record.is_simulated = ex->upstream->provider->is_simulated;
    return check_may_use(ex);
}

/* What goes upstream: the path, and what must differ in the body (model name, wish for usage). */
YIELDS static int prepare(struct exchange *ex)
{
    const struct openai_request *request = &ex->scanned;
    bool is_ok = true;
    int r = check_target(ex);
    if (r < 0)
        return r;
    if (!str_eq(ex->asked, ex->target.model))
        is_ok = add_edit(ex, openai_edit_model(request, ex->arena, ex->target.model));
    enum provider_stream_usage wish = ex->upstream->provider->quirks.stream_usage;
    struct json_edit usage;
    if (is_ok && request->is_stream && !request->includes_usage &&
        wish == STREAM_USAGE_ON_REQUEST &&
        openai_edit_include_usage(request, ex->arena, buf_str(&ex->body), &usage)) {
        is_ok = add_edit(ex, usage);
        ex->strips_usage = true;
    }
    ex->upstream_path =
        upstream_target(ex->upstream, ex->head_arena, ex->operation->upstream, ex->target.model);
    if (is_ok && ex->upstream_path.ptr != NULL)
        return 0;
    refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
    return -ERR_NOMEM;
}

YIELDS void inference_run(struct exchange *ex)
{
    if (exchange_read_body(ex) < 0)
        return;
    if (exchange_scan(ex) < 0 || exchange_plan(ex) < 0 || prepare(ex) < 0)
        return;
    if (exchange_attempt(ex) < 0)
        return;
    exchange_relay(ex);
}
