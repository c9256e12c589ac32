#include "gateway/planning.h"

#include "base/clock.h"
#include "base/err.h"
#include "gateway/exchange.h"
#include "gateway/fallbacks.h"
#include "gateway/request_facts.h"
#include "rt/random.h"

static int64_t input_tokens(const struct exchange *ex)
{
    return request_tokens(ex->body.len);
}

void planning_ask(const struct exchange *ex, unsigned provider, struct str model,
                  struct health_ask *ask)
{
    const struct upstream *upstream = &ex->ts->upstreams[provider];
    *ask = (struct health_ask){
        .provider = upstream->provider->name,
        .model = model,
        .key_count = upstream->key_count,
        .weights = upstream->key_weights,
        .tokens = MAX(input_tokens(ex), 0),
    };
}

int64_t planning_answer_ns(const struct exchange *ex, unsigned percent)
{
    const struct plan_step *step = &ex->plan->steps[ex->plan_first];
    struct str provider = ex->ts->upstreams[step->provider].provider->name;
    int64_t now_ns = clock_mono_ns();
    return ex->is_stream ? health_ttft_ns(provider, step->model, percent, now_ns)
                         : health_duration_ns(provider, step->model, percent, now_ns);
}

/* --- the view --- */

struct viewer {
    const struct exchange *ex;
    bool wants_prices;
};

static void look(void *ctx, unsigned provider, struct str model, struct plan_health *out)
{
    const struct viewer *viewer = ctx;
    const struct exchange *ex = viewer->ex;
    struct health_ask ask;
    struct health_view view;
    planning_ask(ex, provider, model, &ask);
    health_look(&ask, clock_mono_ns(), &view);
    out->is_open = view.verdict == HEALTH_OPEN || view.verdict == HEALTH_PROBING ||
                   view.verdict == HEALTH_PROBE;
    out->is_probe_due = view.verdict == HEALTH_PROBE;
    out->is_limited = view.verdict == HEALTH_LIMITED || view.verdict == HEALTH_BENCHED;
    out->in_flight = view.in_flight;
    if (out->is_open)
        out->open_until_ns = view.until_ns;
    if (out->is_limited)
        out->limited_until_ns = view.until_ns;
    if (view.ttft_p95_ns >= 0)
        out->p95_ttft_ms = (double)view.ttft_p95_ns / (double)NS_PER_MS;
    if (view.duration_p95_ns >= 0)
        out->p95_duration_ms = (double)view.duration_p95_ns / (double)NS_PER_MS;
    if (viewer->wants_prices)
        out->price_per_request =
            request_price(ex->ts->upstreams[provider].provider, model, input_tokens(ex));
}

/* --- the facts --- */

static int make_plan(struct exchange *ex, uint64_t (*turn)(struct health_route *),
                     struct plan *plan)
{
    struct route_facts facts = {
        .model = ex->asked,
        .is_stream = ex->is_stream,
        .headers = &ex->http->headers,
        .input_tokens = input_tokens(ex),
        .output_tokens = -1,
        .fallbacks = ex->fallbacks.names,
        .fallback_count = ex->fallbacks.count,
        .is_fallback_off = fallbacks_are_off(ex),
    };
    if (ex->key != NULL) {
        facts.key_name = ex->key->name;
        facts.key_team = ex->key->team;
    }
    const struct plan_world *world = &ex->ts->shared->world;
    struct viewer viewer = {.ex = ex};
    const struct route *route = plan_route(world, ex->asked, NULL);
    if (route != NULL) {
        /* What only routes ask for: a look into the body that names of models need not have. */
        facts.turn = turn(health_route(route->name));
        request_facts_read(buf_str(&ex->body), &ex->http->headers, ex->arena, &facts);
        /* Finding a price takes longer than the rest of a plan; a target may be a route by cost. */
        viewer.wants_prices = true;
    }
    struct plan_view view = {.look = look, .ctx = &viewer};
    return plan_make(world, &facts, &view, clock_mono_ns(), random_u64(), ex->arena, plan);
}

/* --- what a key may not use --- */

/* Who may ask for a route may have all that is behind it; a list of the request's own gives nobody
 * more than they have. */
static bool may_use(const struct plan *plan, const struct plan_step *step,
                    const struct plan_world *world, const struct virtual_key *key, bool has_own,
                    struct arena *arena)
{
    struct str parts[] = {world->providers[step->provider].name, STR("/"), step->model};
    struct str resolved = arena_concat(arena, parts, ARRAY_LEN(parts));
    bool is_own_list = step->part == PLAN_FALLBACK_GENERAL && has_own;
    return virtual_key_allows(key, is_own_list ? step->name : plan->asked, resolved) ||
           (!is_own_list && plan->route != NULL &&
            virtual_key_allows(key, plan->route->name, resolved));
}

void planning_forbid(struct plan *plan, const struct plan_world *world,
                     const struct virtual_key *key, bool has_own, struct arena *arena)
{
    bool has_any = false;
    for (unsigned i = 0; i < plan->step_count; i++) {
        struct plan_step *step = &plan->steps[i];
        if (!may_use(plan, step, world, key, has_own, arena)) {
            plan->in_count -= !step->is_out && step->part <= PLAN_FALLBACK_GENERAL;
            step->is_forbidden = step->is_out = true;
        }
        has_any = has_any || (step->part == PLAN_PRIMARY && !step->is_forbidden);
    }
    if (plan->verdict == PLAN_OK && !has_any)
        plan->verdict = PLAN_FORBIDDEN;
}

static void forbid(const struct exchange *ex, struct plan *plan)
{
    /* Where copies go is the operator's word, not the key's. */
    if (ex->key != NULL && !ex->record.is_mirror)
        planning_forbid(plan, &ex->ts->shared->world, ex->key, ex->fallbacks.count > 0, ex->arena);
}

int planning_foresee(struct exchange *ex, struct plan *plan)
{
    int r = make_plan(ex, health_next_turn, plan);
    if (r == 0)
        forbid(ex, plan);
    return r;
}

/* --- the phase --- */

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

YIELDS static int refuse_plan(struct exchange *ex, const struct plan *plan)
{
    switch (plan->verdict) {
    case PLAN_AMBIGUOUS:
        refuse(ex, REFUSE_MODEL_AMBIGUOUS, STR("model"),
               "Several providers offer the model `%.*s`; ask for one of: %.*s.",
               STR_ARG(ex->asked), STR_ARG(list_candidates(ex, plan)));
        break;
    case PLAN_NO_TARGET:
        refuse(ex, REFUSE_NO_MATCH, STR("model"),
               "No target of the route `%.*s` is for a request like this one (its conditions).",
               STR_ARG(ex->asked));
        break;
    case PLAN_FORBIDDEN:
        refuse(ex, REFUSE_MODEL_FORBIDDEN, STR("model"),
               "The API key '%.*s' may not use the model `%.*s`.", STR_ARG(ex->key->name),
               STR_ARG(ex->asked));
        break;
    default:
        refuse(ex, REFUSE_MODEL_UNKNOWN, STR("model"),
               "The model `%.*s` does not exist here. Ask for provider/model with a configured "
               "provider, a route or an alias of the config, or a model that one provider lists "
               "(GET /v1/models).",
               STR_ARG(ex->asked));
    }
    return -ERR_INVALID;
}

/* The first step that is in; where none is, the first that may be told of. */
static unsigned first_step(const struct plan *plan)
{
    for (unsigned i = 0; i < plan->step_count; i++) {
        if (!plan->steps[i].is_out)
            return i;
    }
    for (unsigned i = 0; i < plan->step_count; i++) {
        if (!plan->steps[i].is_forbidden)
            return i;
    }
    return 0;
}

void planning_take_step(struct exchange *ex, const struct plan_step *step)
{
    ex->step = step;
    ex->target = (struct plan_target){.provider = step->provider, .model = step->model};
    ex->upstream = &ex->ts->upstreams[step->provider];
    ex->record.provider = ex->upstream->provider->name;
    ex->record.model = step->model;
    ex->record.is_simulated = ex->upstream->provider->is_simulated;
}

YIELDS int exchange_plan(struct exchange *ex)
{
    struct plan *plan = ARENA_NEW(ex->arena, struct plan);
    if (plan == NULL || make_plan(ex, health_turn, plan) < 0)
        return refuse_no_memory(ex);
    if (plan->verdict != PLAN_OK)
        return refuse_plan(ex, plan);
    if (plan->bad_fallback.len > 0) {
        refuse(ex, REFUSE_BODY, STR("fallbacks"),
               "The model `%.*s` of 'fallbacks' does not exist "
               "here.",
               STR_ARG(plan->bad_fallback));
        return -ERR_INVALID;
    }
    forbid(ex, plan);
    if (plan->verdict != PLAN_OK)
        return refuse_plan(ex, plan);
    ex->plan = plan;
    ex->plan_first = first_step(plan);
    ex->policy = plan->policy;
    ex->record.route = plan->route != NULL ? plan->route->name : plan->alias;
    planning_take_step(ex, &plan->steps[ex->plan_first]);
    return 0;
}
