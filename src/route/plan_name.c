#include "route/plan.h"

static bool offers(const struct plan_provider *provider, struct str model)
{
    for (unsigned i = 0; i < provider->model_count; i++) {
        if (str_glob(provider->models[i], model))
            return true;
    }
    return false;
}

/* "provider/model" with a provider of this world; the model may hold more slashes. */
static bool plan_by_prefix(const struct plan_world *world, struct str asked,
                           struct plan_resolution *plan)
{
    struct str model = asked;
    struct str name;
    if (!str_cut(&model, '/', &name) || model.len == 0)
        return false;
    for (unsigned i = 0; i < world->provider_count; i++) {
        if (str_eq(world->providers[i].name, name)) {
            plan->verdict = PLAN_OK;
            plan->target.provider = i;
            plan->target.model = model;
            return true;
        }
    }
    return false;
}

static bool plan_by_alias(const struct plan_world *world, struct str asked,
                          struct plan_resolution *plan)
{
    for (unsigned i = 0; i < world->alias_count; i++) {
        if (!str_eq(world->aliases[i].name, asked))
            continue;
        if (!plan_by_prefix(world, world->aliases[i].target, plan))
            plan->verdict = PLAN_BAD_ALIAS;
        plan->target.route = world->aliases[i].name;
        return true;
    }
    return false;
}

static void add_candidate(struct plan_resolution *plan, unsigned provider)
{
    if (plan->candidate_count < PLAN_CANDIDATES_MAX)
        plan->candidates[plan->candidate_count] = provider;
    plan->candidate_count++;
}

/*
 * A bare model belongs to the one provider that offers it. Where none says so and there is but one
 * provider, it is that one: a gateway in front of a single provider knows where to send what it
 * does not know by name.
 */
static void plan_by_model(const struct plan_world *world, struct str asked,
                          struct plan_resolution *plan)
{
    unsigned real = 0;
    unsigned last_real = 0;
    for (unsigned i = 0; i < world->provider_count; i++) {
        if (world->providers[i].is_simulated)
            continue;
        real++;
        last_real = i;
        if (offers(&world->providers[i], asked))
            add_candidate(plan, i);
    }
    if (plan->candidate_count == 0 && real == 1)
        add_candidate(plan, last_real);
    if (plan->candidate_count == 1) {
        plan->verdict = PLAN_OK;
        plan->target.provider = plan->candidates[0];
        plan->target.model = asked;
    } else {
        plan->verdict = plan->candidate_count == 0 ? PLAN_NO_SUCH_MODEL : PLAN_AMBIGUOUS;
        plan->candidate_count = MIN(plan->candidate_count, (unsigned)PLAN_CANDIDATES_MAX);
    }
}

void plan_name(const struct plan_world *world, struct str asked, struct plan_resolution *plan)
{
    *plan = (struct plan_resolution){.verdict = PLAN_NO_SUCH_MODEL};
    if (asked.len == 0)
        return;
    if (!plan_by_alias(world, asked, plan) && !plan_by_prefix(world, asked, plan))
        plan_by_model(world, asked, plan);
}

static const struct route *find_route(const struct plan_world *world, struct str name)
{
    for (unsigned i = 0; i < world->route_count; i++) {
        if (str_eq(world->routes[i].name, name))
            return &world->routes[i];
    }
    return NULL;
}

const struct route *plan_route(const struct plan_world *world, struct str asked,
                               enum plan_order *order)
{
    static const struct {
        struct str suffix;
        enum plan_order order;
    } suffixes[] = {
        {STR_INIT(""), PLAN_BY_STRATEGY},
        {STR_INIT(":floor"), PLAN_FLOOR},
        {STR_INIT(":nitro"), PLAN_NITRO},
    };
    for (size_t i = 0; world->route_count > 0 && i < ARRAY_LEN(suffixes); i++) {
        if (!str_ends(asked, suffixes[i].suffix))
            continue;
        const struct route *route =
            find_route(world, str_head(asked, asked.len - suffixes[i].suffix.len));
        if (route == NULL)
            continue;
        if (order != NULL)
            *order = suffixes[i].order;
        return route;
    }
    return NULL;
}
