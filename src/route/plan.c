#include "route/plan.h"

#include "base/err.h"
#include "route/strategy.h"

const char *const plan_part_names[PLAN_PART_COUNT] = {
    [PLAN_PRIMARY] = "primary",
    [PLAN_FALLBACK_GENERAL] = "general",
    [PLAN_FALLBACK_CONTEXT_WINDOW] = "context_window",
    [PLAN_FALLBACK_CONTENT_POLICY] = "content_policy",
};

/* A plan in the making. */
struct planner {
    const struct plan_world *world;
    const struct route_facts *facts;
    const struct plan_view *view;
    struct arena *arena;
    struct plan *plan;
    uint64_t random;
    unsigned step_cap;
    enum plan_part part;
    enum plan_order order;
    bool failed;
};

/* What leads to a target: the targets above it, and whether one of them is out. */
struct path {
    struct plan_via via[PLAN_DEPTH_MAX];
    unsigned count;
    bool is_out;
    enum plan_why out_why;
    float out_value, out_other;
};

/* --- steps --- */

/* NULL when there is no memory (failed is set) or there are too many. */
static struct plan_step *add_step(struct planner *planner)
{
    struct plan *plan = planner->plan;
    if (plan->step_count == PLAN_STEPS_MAX)
        return NULL;
    if (plan->step_count == planner->step_cap) {
        unsigned cap = planner->step_cap == 0 ? 4 : planner->step_cap * 2;
        struct plan_step *steps = arena_alloc(planner->arena, cap * sizeof(*steps));
        if (steps == NULL) {
            planner->failed = true;
            return NULL;
        }
        if (plan->step_count > 0)
            memcpy(steps, plan->steps, plan->step_count * sizeof(*steps));
        plan->steps = steps;
        planner->step_cap = cap;
    }
    return &plan->steps[plan->step_count++];
}

static void look(const struct planner *planner, struct plan_step *step)
{
    if (planner->view != NULL && planner->view->look != NULL)
        planner->view->look(planner->view->ctx, step->provider, step->model, &step->health);
}

static void put_out(struct plan_step *step, enum plan_why why)
{
    step->is_out = true;
    step->out_why = why;
}

static void add_target(struct planner *planner, const struct plan_target *target, struct str name,
                       const struct path *path)
{
    struct plan_step *step = add_step(planner);
    if (step == NULL)
        return;
    *step = (struct plan_step){
        .provider = target->provider,
        .model = target->model,
        .part = planner->part,
        .is_out = path->is_out,
        .out_why = path->out_why,
        .out_value = path->out_value,
        .out_other = path->out_other,
        .name = name,
        .via_count = path->count,
        .health = {.p95_ttft_ms = -1, .p95_duration_ms = -1, .price_per_request = -1},
    };
    if (path->count > 0) {
        memcpy(step->via, path->via, path->count * sizeof(path->via[0]));
        step->route = path->via[path->count - 1].route;
        step->target = path->via[path->count - 1].target;
    }
    if (!step->is_out)
        look(planner, step);
    step->is_limited = step->health.is_limited;
    step->is_probe = step->health.is_open && step->health.is_probe_due;
    if (!step->is_out && step->health.is_open && !step->health.is_probe_due)
        put_out(step, PLAN_OUT_BREAKER);
}

/* Only where the policy does not say to wait for it. */
static bool is_late(const struct planner *planner, const struct plan_step *step)
{
    return step->is_limited && planner->plan->policy->when_limited != LIMITED_WAIT;
}

/* --- routes --- */

static double speed_of(const struct planner *planner, const struct plan_health *health)
{
    return planner->facts->is_stream ? health->p95_ttft_ms : health->p95_duration_ms;
}

/* A unit is as the step of it that would be tried first. */
static void fill_unit(const struct planner *planner, struct strategy_unit *unit)
{
    const struct plan_step *steps, *first = NULL;
    unit->is_out = true;
    unit->is_late = true;
    unit->speed_ms = -1;
    unit->price = -1;
    if (unit->count == 0) /* no memory for them */
        return;
    steps = &planner->plan->steps[unit->first_step];
    for (unsigned i = 0; i < unit->count; i++) {
        if (steps[i].is_out)
            continue;
        unit->is_out = false;
        unit->in_flight += steps[i].health.in_flight;
        if (first == NULL || (unit->is_late && !is_late(planner, &steps[i])))
            first = &steps[i];
        unit->is_late &= is_late(planner, &steps[i]);
    }
    if (first == NULL)
        return;
    unit->speed_ms = speed_of(planner, &first->health);
    unit->price = first->health.price_per_request;
}

/* Writes down why the steps of a unit are where they are: in the via at `level`, or with `is_flat`
 * in the last one. */
static void write_why(struct plan_step *steps, const struct strategy_unit *unit, unsigned level,
                      bool is_flat)
{
    for (unsigned i = 0; i < unit->count; i++) {
        struct plan_via *via = &steps[i].via[is_flat ? steps[i].via_count - 1 : level];
        via->why = unit->why;
        via->value = (float)unit->value;
        via->other = (float)unit->other;
    }
}

/* Puts the steps from `first` on into the order of the units. */
static void reorder_steps(struct planner *planner, unsigned first,
                          const struct strategy_unit *units, unsigned n, unsigned level,
                          bool is_flat)
{
    struct plan_step *steps = planner->plan->steps;
    unsigned count = planner->plan->step_count - first;
    bool is_ordered = true;
    if (count == 0)
        return;
    for (unsigned i = 0; i < n; i++) {
        write_why(&steps[units[i].first_step], &units[i], level, is_flat);
        is_ordered &= i == 0 || units[i].first_step >= units[i - 1].first_step;
    }
    if (is_ordered)
        return;
    struct plan_step *copy = arena_alloc(planner->arena, count * sizeof(*copy));
    if (copy == NULL) {
        planner->failed = true;
        return;
    }
    memcpy(copy, &steps[first], count * sizeof(*copy));
    unsigned at = first;
    for (unsigned i = 0; i < n; i++) {
        memcpy(&steps[at], &copy[units[i].first_step - first], units[i].count * sizeof(*copy));
        at += units[i].count;
    }
}

/* How often a round-robin route has had that target as its turn before: so each nested route goes
 * through its own turns, one after the other. */
static uint64_t nested_turn(const struct route *route, uint64_t turn, unsigned index)
{
    if (route->strategy != ROUTE_ROUND_ROBIN || route->turn_count == 0)
        return turn;
    unsigned share = 0, before = 0;
    for (unsigned i = 0; i < route->turn_count; i++) {
        bool is_its = route->turns[i] == index;
        share += is_its;
        before += is_its && i < turn % route->turn_count;
    }
    return turn / route->turn_count * share + before;
}

static struct str hash_key(const struct route *route, const struct route_facts *facts)
{
    struct str user = facts->user.len > 0 ? facts->user : facts->key_name;
    switch (route->key) {
    case ROUTE_KEY_PROMPT:
        return facts->prompt_prefix;
    case ROUTE_KEY_HEADER:
        return facts->headers == NULL ? STR_EMPTY
                                      : http_headers_get(facts->headers, route->key_header);
    case ROUTE_KEY_SESSION:
        return facts->session.len > 0 ? facts->session : user;
    default:
        return user;
    }
}

static void check_target(const struct planner *planner, const struct route *route,
                         const struct route_target *target, struct path *path)
{
    if (path->is_out)
        return;
    if (!condition_holds(target->when, planner->facts, planner->arena)) {
        path->is_out = true;
        path->out_why = PLAN_OUT_CONDITION;
    } else if (route->strategy == ROUTE_COST && target->quality < route->least_quality) {
        path->is_out = true;
        path->out_why = PLAN_OUT_QUALITY;
        path->out_value = (float)target->quality;
        path->out_other = (float)route->least_quality;
    }
}

static void plan_ordered(struct planner *planner, const struct route *route, enum plan_order order,
                         uint64_t turn, const struct path *above);

/* Adds the steps of one target of a route: itself, or those of the route it is. */
static void expand_target(struct planner *planner, const struct route *route, unsigned index,
                          uint64_t turn, const struct path *above)
{
    const struct route_target *target = &route->targets[index];
    struct path path = *above;
    path.via[path.count++] =
        (struct plan_via){.route = route, .target = target, .why = PLAN_WHY_WRITTEN};
    check_target(planner, route, target, &path);
    enum plan_order order;
    const struct route *nested = plan_route(planner->world, target->target, &order);
    if (nested != NULL) {
        if (path.count < PLAN_DEPTH_MAX)
            plan_ordered(planner, nested, order, nested_turn(route, turn, index), &path);
        return;
    }
    struct plan_resolution resolution;
    plan_name(planner->world, target->target, &resolution);
    if (resolution.verdict == PLAN_OK)
        add_target(planner, &resolution.target, target->target, &path);
}

/* Adds the steps of a route in its order. Recursion is bounded by PLAN_DEPTH_MAX. */
static void plan_targets(struct planner *planner, const struct route *route, uint64_t turn,
                         const struct path *above)
{
    unsigned first = planner->plan->step_count;
    unsigned n = MIN(route->target_count, (unsigned)PLAN_STEPS_MAX);
    struct strategy_unit *units = arena_calloc(planner->arena, n * sizeof(*units));
    if (units == NULL) {
        planner->failed = true;
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        struct strategy_unit *unit = &units[i];
        unit->target = &route->targets[i];
        unit->index = (uint16_t)i;
        unit->first_step = (uint16_t)planner->plan->step_count;
        expand_target(planner, route, i, turn, above);
        unit->count = (uint16_t)(planner->plan->step_count - unit->first_step);
        fill_unit(planner, unit);
    }
    if (planner->order != PLAN_BY_STRATEGY || planner->failed)
        return; /* order_flat sorts them all */
    struct strategy_input input = {
        .route = route,
        .turn = turn,
        .key = hash_key(route, planner->facts),
        .random = &planner->random,
    };
    strategy_order(&input, units, n);
    reorder_steps(planner, first, units, n, above->count, false);
}

/* All targets from `first` on, those of nested routes too, by what the suffix asks for. */
static void order_flat(struct planner *planner, unsigned first, enum plan_order order)
{
    unsigned n = planner->plan->step_count - first;
    struct strategy_unit *units = arena_calloc(planner->arena, n * sizeof(*units));
    if (units == NULL) {
        planner->failed = true;
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        units[i].target = planner->plan->steps[first + i].target;
        units[i].index = (uint16_t)i;
        units[i].first_step = (uint16_t)(first + i);
        units[i].count = 1;
        fill_unit(planner, &units[i]);
    }
    strategy_order_by(order, units, n);
    reorder_steps(planner, first, units, n, 0, true);
}

/* ... by its strategy, or by what a suffix asks for, the outermost suffix that there is. */
static void plan_ordered(struct planner *planner, const struct route *route, enum plan_order order,
                         uint64_t turn, const struct path *above)
{
    unsigned first = planner->plan->step_count;
    enum plan_order outer = planner->order;
    if (outer == PLAN_BY_STRATEGY)
        planner->order = order;
    plan_targets(planner, route, turn, above);
    planner->order = outer;
    if (outer == PLAN_BY_STRATEGY && order != PLAN_BY_STRATEGY && !planner->failed)
        order_flat(planner, first, order);
}

static void plan_whole_route(struct planner *planner, const struct route *route,
                             enum plan_order order)
{
    struct path none = {.count = 0};
    plan_ordered(planner, route, order, planner->facts->turn, &none);
}

/* --- parts --- */

/* Those that are in, then the late ones, then those that are out; else as they are. */
static void settle_part(struct planner *planner, unsigned first)
{
    struct plan_step *steps = planner->plan->steps;
    unsigned count = planner->plan->step_count - first;
    bool is_settled = true;
    for (unsigned i = 1; i < count && is_settled; i++) {
        const struct plan_step *a = &steps[first + i - 1], *b = &steps[first + i];
        is_settled = !((a->is_out && !b->is_out) ||
                       (a->is_out == b->is_out && is_late(planner, a) && !is_late(planner, b)));
    }
    if (is_settled)
        return;
    struct plan_step *copy = arena_alloc(planner->arena, count * sizeof(*copy));
    if (copy == NULL) {
        planner->failed = true;
        return;
    }
    memcpy(copy, &steps[first], count * sizeof(*copy));
    unsigned at = first;
    for (int class = 0; class < 3; class ++) {
        for (unsigned i = 0; i < count; i++) {
            if (class == (copy[i].is_out ? 2 : is_late(planner, &copy[i])))
                steps[at++] = copy[i];
        }
    }
}

/* A fallback to what stands further up gains nothing, unless it is asked differently. */
static void drop_repeated(struct planner *planner, unsigned first)
{
    struct plan *plan = planner->plan;
    for (unsigned i = first; i < plan->step_count; i++) {
        struct plan_step *step = &plan->steps[i];
        const struct route_target *target = step->target;
        if (target != NULL && target->override_count + target->default_count > 0)
            continue;
        for (unsigned j = 0; j < i && !step->is_out; j++) {
            const struct plan_step *other = &plan->steps[j];
            bool is_before = other->part == PLAN_PRIMARY || other->part == step->part;
            if (is_before && !other->is_out && other->provider == step->provider &&
                str_eq(other->model, step->model))
                put_out(step, PLAN_OUT_REPEATED);
        }
    }
}

/* False when the name leads nowhere. */
static bool add_fallback(struct planner *planner, struct str name)
{
    enum plan_order order;
    const struct route *route = plan_route(planner->world, name, &order);
    if (route != NULL) {
        plan_whole_route(planner, route, order);
        return true;
    }
    struct plan_resolution resolution;
    plan_name(planner->world, name, &resolution);
    struct path none = {.count = 0};
    if (resolution.verdict == PLAN_OK)
        add_target(planner, &resolution.target, name, &none);
    return resolution.verdict == PLAN_OK;
}

static void add_part(struct planner *planner, enum plan_part part, const struct str *names,
                     unsigned count)
{
    unsigned first = planner->plan->step_count;
    planner->part = part;
    for (unsigned i = 0; i < count; i++) {
        if (!add_fallback(planner, names[i]) && planner->plan->bad_fallback.len == 0)
            planner->plan->bad_fallback = names[i];
    }
    if (planner->failed || planner->plan->step_count == first)
        return;
    drop_repeated(planner, first);
    settle_part(planner, first);
}

static void add_fallbacks(struct planner *planner)
{
    static const struct {
        enum plan_part part;
        enum route_fallback fallback;
    } parts[] = {
        {PLAN_FALLBACK_GENERAL, FALLBACK_GENERAL},
        {PLAN_FALLBACK_CONTEXT_WINDOW, FALLBACK_CONTEXT_WINDOW},
        {PLAN_FALLBACK_CONTENT_POLICY, FALLBACK_CONTENT_POLICY},
    };
    const struct route_facts *facts = planner->facts;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i].fallback == FALLBACK_GENERAL && facts->fallback_count > 0) {
            add_part(planner, parts[i].part, facts->fallbacks, facts->fallback_count);
        } else if (planner->plan->route != NULL) {
            const struct route_names *names = &planner->plan->route->fallbacks[parts[i].fallback];
            add_part(planner, parts[i].part, names->names, names->count);
        }
    }
}

/* Only the first target that is in stays in. */
static void keep_first(struct plan *plan)
{
    bool is_seen = false;
    for (unsigned i = 0; i < plan->step_count; i++) {
        if (plan->steps[i].is_out)
            continue;
        if (is_seen)
            put_out(&plan->steps[i], PLAN_OUT_OFF);
        is_seen = true;
    }
}

/* Counts what is in; a route with nothing that could ever be for this request has no target. */
static void conclude(struct plan *plan)
{
    bool has_target = false;
    for (unsigned i = 0; i < plan->step_count; i++) {
        const struct plan_step *step = &plan->steps[i];
        if (step->part > PLAN_FALLBACK_GENERAL)
            continue;
        plan->in_count += !step->is_out;
        has_target |= !step->is_out ||
                      (step->out_why != PLAN_OUT_CONDITION && step->out_why != PLAN_OUT_QUALITY);
    }
    if (!has_target)
        plan->verdict = PLAN_NO_TARGET;
}

static void plan_bare_name(struct planner *planner)
{
    struct plan *plan = planner->plan;
    struct plan_resolution resolution;
    plan_name(planner->world, plan->asked, &resolution);
    plan->verdict = resolution.verdict;
    plan->candidate_count = resolution.candidate_count;
    memcpy(plan->candidates, resolution.candidates, sizeof(plan->candidates));
    if (resolution.verdict != PLAN_OK)
        return;
    plan->alias = resolution.target.route;
    struct path none = {.count = 0};
    add_target(planner, &resolution.target, plan->asked, &none);
}

int plan_make(const struct plan_world *world, const struct route_facts *facts,
              const struct plan_view *view, int64_t now_ns, uint64_t seed, struct arena *arena,
              struct plan *plan)
{
    *plan = (struct plan){
        .verdict = PLAN_OK,
        .asked = facts->model,
        .policy = world->policy != NULL ? world->policy : &route_policy_default,
        .is_stream = facts->is_stream,
        .now_ns = now_ns,
    };
    struct planner planner = {
        .world = world,
        .facts = facts,
        .view = view,
        .arena = arena,
        .plan = plan,
        .random = seed,
    };
    plan->route = plan_route(world, facts->model, &plan->order);
    if (plan->route != NULL) {
        plan->policy = &plan->route->policy;
        plan_whole_route(&planner, plan->route, plan->order);
        if (!planner.failed)
            settle_part(&planner, 0);
    } else {
        plan_bare_name(&planner);
    }
    if (plan->verdict == PLAN_OK && !planner.failed) {
        if (facts->is_fallback_off)
            keep_first(plan);
        else
            add_fallbacks(&planner);
        conclude(plan);
    }
    return planner.failed ? -ERR_NOMEM : 0;
}
