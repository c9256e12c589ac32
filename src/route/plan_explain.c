#include "base/clock.h"
#include "route/plan.h"

static const char *const verdict_names[PLAN_VERDICT_COUNT] = {
    [PLAN_OK] = "ok",
    [PLAN_NO_SUCH_MODEL] = "no_such_model",
    [PLAN_AMBIGUOUS] = "ambiguous",
    [PLAN_BAD_ALIAS] = "bad_alias",
    [PLAN_NO_TARGET] = "no_target",
    [PLAN_FORBIDDEN] = "forbidden",
};

static const char *const order_names[] = {
    [PLAN_BY_STRATEGY] = "strategy",
    [PLAN_FLOOR] = "floor",
    [PLAN_NITRO] = "nitro",
};

static const char *const key_phrases[ROUTE_KEY_COUNT] = {
    [ROUTE_KEY_SESSION] = "session",
    [ROUTE_KEY_USER] = "user",
    [ROUTE_KEY_PROMPT] = "prompt's beginning",
    [ROUTE_KEY_HEADER] = "header's value",
};

/* --- reasons --- */

static void add_speed(const struct plan *plan, double ms, struct buf *out)
{
    if (ms < 0)
        BUF_LIT(out, "not measured");
    else
        buf_printf(out, "p95 %s %.0f ms", plan->is_stream ? "TTFT" : "duration", ms);
}

static void add_faster(const struct plan *plan, const struct plan_via *via, struct buf *out)
{
    BUF_LIT(out, "preferred of the two drawn: ");
    add_speed(plan, via->value, out);
    if (via->other < 0)
        BUF_LIT(out, ", the other not measured");
    else
        buf_printf(out, ", the other %.0f ms", via->other);
}

static void add_why(const struct plan *plan, const struct plan_via *via, struct buf *out)
{
    const char *key = key_phrases[via->route->key];
    switch (via->why) {
    case PLAN_WHY_TURN:
        buf_printf(out, "its turn");
        return;
    case PLAN_WHY_NEXT:
        BUF_LIT(out, "next in the ring");
        return;
    case PLAN_WHY_DRAWN:
        buf_printf(out, "drawn by its weight of %.0f", via->value);
        return;
    case PLAN_WHY_FASTER:
        add_faster(plan, via, out);
        return;
    case PLAN_WHY_EXPLORED:
        BUF_LIT(out, "not measured yet and idle: tried so that it is known");
        return;
    case PLAN_WHY_SPEED:
        add_speed(plan, via->value, out);
        return;
    case PLAN_WHY_BUSY:
        buf_printf(out, "%.0f under way, weight %.0f", via->value, via->other);
        return;
    case PLAN_WHY_PRICE:
        if (via->value < 0)
            BUF_LIT(out, "unpriced: behind those with a price");
        else
            buf_printf(out, "about $%.3g", via->value);
        return;
    case PLAN_WHY_HOLDS:
        buf_printf(out, via->value > 0 ? "its condition holds" : "has no condition");
        return;
    case PLAN_WHY_HASHED:
        buf_printf(out, "where the %s belongs", key);
        return;
    case PLAN_WHY_HASHED_NEXT:
        buf_printf(out, "next for the %s", key);
        return;
    case PLAN_WHY_FULL:
        buf_printf(out, "passed over: %.0f under way, at most %.0f", via->value, via->other);
        return;
    case PLAN_WHY_NO_KEY:
        buf_printf(out, "drawn: the request has nothing for the %s", key);
        return;
    case PLAN_WHY_SPARE:
        BUF_LIT(out, "weight 0: only when others fail");
        return;
    default:
        BUF_LIT(out, "as written");
    }
}

static void add_remaining(const struct plan *plan, int64_t until_ns, struct buf *out)
{
    if (until_ns > plan->now_ns)
        buf_printf(out, " for another %.1f s",
                   (double)(until_ns - plan->now_ns) / (double)NS_PER_SEC);
}

static void add_out_why(const struct plan *plan, const struct plan_step *step, struct buf *out)
{
    if (step->is_forbidden) {
        BUF_LIT(out, "the key may not use it");
        return;
    }
    switch (step->out_why) {
    case PLAN_OUT_CONDITION:
        BUF_LIT(out, "its condition does not hold");
        return;
    case PLAN_OUT_QUALITY:
        buf_printf(out, "its quality of %.0f is below the %.0f wanted", step->out_value,
                   step->out_other);
        return;
    case PLAN_OUT_BREAKER:
        BUF_LIT(out, "its breaker is open");
        add_remaining(plan, step->health.open_until_ns, out);
        return;
    case PLAN_OUT_REPEATED:
        BUF_LIT(out, "it stands further up");
        return;
    default:
        BUF_LIT(out, "x-weir-fallback: off");
    }
}

static void add_in_why(const struct plan *plan, const struct plan_step *step, struct buf *out)
{
    if (step->via_count == 0) {
        buf_printf(out, step->part == PLAN_PRIMARY ? "asked for by name" : "as written");
        return;
    }
    /* A suffix looks at the targets alone, however deep they lie. */
    bool is_flat = plan->order != PLAN_BY_STRATEGY && step->part == PLAN_PRIMARY;
    for (unsigned i = is_flat ? step->via_count - 1 : 0; i < step->via_count; i++) {
        if (i > 0 && !is_flat)
            buf_printf(out, "; in %.*s: ", STR_ARG(step->via[i].route->name));
        add_why(plan, &step->via[i], out);
    }
}

void plan_reason(const struct plan *plan, const struct plan_step *step, struct buf *out)
{
    if (step->is_out) {
        add_out_why(plan, step, out);
        return;
    }
    add_in_why(plan, step, out);
    if (step->is_probe)
        BUF_LIT(out, "; its breaker is open and lets one attempt through, to see");
    if (step->is_limited) {
        BUF_LIT(out, "; at its limit");
        add_remaining(plan, step->health.limited_until_ns, out);
    }
}

/* --- for people --- */

static size_t name_length(const struct plan_world *world, const struct plan_step *step)
{
    return world->providers[step->provider].name.len + 1 + step->model.len;
}

static void explain_steps(const struct plan *plan, const struct plan_world *world,
                          enum plan_part part, struct buf *out)
{
    size_t width = 0;
    unsigned number = 0;
    for (unsigned i = 0; i < plan->step_count; i++)
        width = MAX(width, name_length(world, &plan->steps[i]));
    width = MIN(width, (size_t)60);
    for (unsigned i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        if (step->part != part)
            continue;
        if (step->is_out)
            BUF_LIT(out, "  out  ");
        else
            buf_printf(out, "  %3u  ", ++number);
        buf_printf(out, "%.*s/%.*s", STR_ARG(world->providers[step->provider].name),
                   STR_ARG(step->model));
        for (size_t length = name_length(world, step); length < width; length++)
            buf_add_char(out, ' ');
        BUF_LIT(out, "  ");
        plan_reason(plan, step, out);
        buf_add_char(out, '\n');
    }
}

static bool has_part(const struct plan *plan, enum plan_part part)
{
    for (unsigned i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].part == part)
            return true;
    }
    return false;
}

static void explain_name(const struct plan *plan, const struct plan_world *world, struct buf *out)
{
    buf_printf(out, "%.*s: ", STR_ARG(plan->asked));
    if (plan->route != NULL) {
        buf_printf(out, "route %.*s, ", STR_ARG(plan->route->name));
        if (plan->order == PLAN_BY_STRATEGY)
            buf_add_str(out, str_c(route_strategy_names[plan->route->strategy]));
        else
            buf_add_str(out, plan->order == PLAN_FLOOR ? STR("cheapest first")
                                                       : STR("fastest first, as measured"));
    } else if (plan->alias.len > 0) {
        BUF_LIT(out, "an alias");
    } else {
        switch (plan->verdict) {
        case PLAN_NO_SUCH_MODEL:
            BUF_LIT(out, "no such model, alias or route");
            break;
        case PLAN_AMBIGUOUS:
            BUF_LIT(out, "several providers offer it; ask for one of");
            for (unsigned i = 0; i < plan->candidate_count; i++)
                buf_printf(out, "%s %.*s/%.*s", i > 0 ? "," : "",
                           STR_ARG(world->providers[plan->candidates[i]].name),
                           STR_ARG(plan->asked));
            break;
        case PLAN_BAD_ALIAS:
            BUF_LIT(out, "an alias of nothing");
            break;
        default:
            BUF_LIT(out, "a model of a provider");
        }
    }
    buf_add_char(out, '\n');
}

static void explain_policy(const struct plan *plan, struct buf *out)
{
    const struct route_policy *policy = plan->policy;
    buf_printf(out, "up to %u further attempts", policy->retries);
    if (policy->when_limited != LIMITED_NEXT)
        buf_printf(out, "; at a limit: %s", route_when_limited_names[policy->when_limited]);
    if (plan->is_stream)
        buf_printf(out, "; a stream that breaks: %s", route_mid_stream_names[policy->mid_stream]);
    buf_add_char(out, '\n');
}

void plan_explain(const struct plan *plan, const struct plan_world *world, struct buf *out)
{
    explain_name(plan, world, out);
    if (plan->verdict != PLAN_OK && plan->step_count == 0)
        return;
    for (unsigned part = 0; part < PLAN_PART_COUNT; part++) {
        if (!has_part(plan, part))
            continue;
        if (part != PLAN_PRIMARY)
            buf_printf(out, "fallbacks, %s:\n", plan_part_names[part]);
        explain_steps(plan, world, part, out);
    }
    if (plan->bad_fallback.len > 0)
        buf_printf(out, "the request's fallback %.*s leads nowhere\n", STR_ARG(plan->bad_fallback));
    if (plan->verdict == PLAN_NO_TARGET)
        BUF_LIT(out, "no target is for this request: it would be refused\n");
    else if (plan->verdict == PLAN_FORBIDDEN)
        BUF_LIT(out, "the key may use none of these: the request would be refused\n");
    else if (plan->in_count == 0)
        BUF_LIT(out, "no target is up: the request would be refused for now\n");
    else
        explain_policy(plan, out);
}

/* --- JSON --- */

static void add_member(struct buf *out, const char *name, struct str text)
{
    buf_printf(out, "\"%s\":", name);
    buf_add_json(out, text);
}

/* Nothing where it is not known. */
static void add_number(struct buf *out, const char *name, double number)
{
    if (number >= 0)
        buf_printf(out, ",\"%s\":%.9g", name, number);
}

static void add_flag(struct buf *out, const char *name, bool flag)
{
    buf_printf(out, ",\"%s\":%s", name, flag ? "true" : "false");
}

static void add_json_step(const struct plan *plan, const struct plan_world *world,
                          const struct plan_step *step, struct buf *out)
{
    struct buf text = BUF_INIT;
    buf_add_char(out, '{');
    add_member(out, "provider", world->providers[step->provider].name);
    buf_add_char(out, ',');
    add_member(out, "model", step->model);
    buf_printf(out, ",\"part\":\"%s\"", plan_part_names[step->part]);
    add_flag(out, "is_in", !step->is_out);
    add_flag(out, "is_forbidden", step->is_forbidden);
    add_flag(out, "is_limited", step->is_limited);
    add_flag(out, "is_probe", step->is_probe);
    BUF_LIT(out, ",\"routes\":[");
    for (unsigned i = 0; i < step->via_count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_json(out, step->via[i].route->name);
    }
    BUF_LIT(out, "],");
    plan_reason(plan, step, &text);
    add_member(out, "reason", buf_str(&text));
    out->failed |= text.failed;
    buf_fini(&text);
    add_number(out, "p95_ttft_ms", step->health.p95_ttft_ms);
    add_number(out, "p95_duration_ms", step->health.p95_duration_ms);
    add_number(out, "price_usd", step->health.price_per_request);
    buf_printf(out, ",\"in_flight\":%u}", step->health.in_flight);
}

void plan_explain_json(const struct plan *plan, const struct plan_world *world, struct buf *out)
{
    buf_add_char(out, '{');
    add_member(out, "asked", plan->asked);
    buf_printf(out, ",\"verdict\":\"%s\"", verdict_names[plan->verdict]);
    if (plan->route != NULL) {
        buf_add_char(out, ',');
        add_member(out, "route", plan->route->name);
        buf_printf(out, ",\"strategy\":\"%s\",\"order\":\"%s\"",
                   route_strategy_names[plan->route->strategy], order_names[plan->order]);
    }
    if (plan->alias.len > 0) {
        buf_add_char(out, ',');
        add_member(out, "alias", plan->alias);
    }
    if (plan->bad_fallback.len > 0) {
        buf_add_char(out, ',');
        add_member(out, "bad_fallback", plan->bad_fallback);
    }
    BUF_LIT(out, ",\"candidates\":[");
    for (unsigned i = 0; i < plan->candidate_count && plan->verdict == PLAN_AMBIGUOUS; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_json(out, world->providers[plan->candidates[i]].name);
    }
    BUF_LIT(out, "],\"targets\":[");
    for (unsigned i = 0; i < plan->step_count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        add_json_step(plan, world, &plan->steps[i], out);
    }
    BUF_LIT(out, "]}");
}
