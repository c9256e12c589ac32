#include <stdarg.h>

#include "route/plan.h"

/* Where a walk through a route's targets stands. */
struct walk {
    const struct plan_world *world;
    const struct route *path[PLAN_DEPTH_MAX];
    unsigned depth;
    unsigned leaves;
    struct buf *problems;
    unsigned count; /* of problems */
    bool is_over;   /* a problem of the whole route was told */
};

static void tell(struct walk *walk, const struct route *route, const char *format, ...)
    PRINTF_LIKE(3, 4);

static void tell(struct walk *walk, const struct route *route, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char text[400];
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    buf_printf(walk->problems, "route \"%.*s\": %s\n", STR_ARG(route->name), text);
    walk->count++;
}

/* What a name that is no route's leads to, in words; NULL = to a target. */
static const char *wrong_with(const struct plan_world *world, struct str name)
{
    struct plan_resolution resolution;
    plan_name(world, name, &resolution);
    switch (resolution.verdict) {
    case PLAN_OK:
        return NULL;
    case PLAN_AMBIGUOUS:
        return "is offered by several providers; write provider/model";
    case PLAN_BAD_ALIAS:
        return "is an alias of nothing";
    default:
        return "is no route, alias, provider/model or model that one provider lists";
    }
}

static void tell_circle(struct walk *walk, const struct route *again)
{
    struct buf path = BUF_INIT;
    for (unsigned i = 0; i < walk->depth; i++)
        buf_printf(&path, "%.*s -> ", STR_ARG(walk->path[i]->name));
    tell(walk, walk->path[0],
         "leads back to itself: %.*s%.*s; where a model has the route's name, "
         "write provider/model",
         STR_ARG(buf_str(&path)), STR_ARG(again->name));
    buf_fini(&path);
    walk->is_over = true;
}

/* Through all targets below a route. Recursion is bounded by PLAN_DEPTH_MAX, the number of leaves
 * by PLAN_STEPS_MAX. */
static void walk_targets(struct walk *walk, const struct route *route)
{
    walk->path[walk->depth++] = route;
    for (unsigned i = 0; i < route->target_count && !walk->is_over; i++) {
        const struct route *nested = plan_route(walk->world, route->targets[i].target, NULL);
        if (nested == NULL || nested->target_count == 0) {
            walk->leaves++;
        } else if (nested == walk->path[0]) {
            tell_circle(walk, nested);
        } else if (walk->depth == PLAN_DEPTH_MAX) {
            /* Also a circle that does not lead through this route: it is told where it does. */
            tell(walk, walk->path[0], "routes are nested more than %d deep", PLAN_DEPTH_MAX);
            walk->is_over = true;
        } else {
            walk_targets(walk, nested);
        }
        if (walk->leaves > PLAN_STEPS_MAX && !walk->is_over) {
            tell(walk, walk->path[0], "more than %d targets, those of nested routes counted",
                 PLAN_STEPS_MAX);
            walk->is_over = true;
        }
    }
    walk->depth--;
}

static void check_targets(struct walk *walk, const struct route *route)
{
    bool has_quality = route->strategy != ROUTE_COST;
    if (route->target_count == 0)
        tell(walk, route, "no targets");
    for (unsigned i = 0; i < route->target_count; i++) {
        const struct route_target *target = &route->targets[i];
        has_quality |= target->quality >= route->least_quality;
        if (plan_route(walk->world, target->target, NULL) != NULL)
            continue;
        const char *wrong = wrong_with(walk->world, target->target);
        if (wrong != NULL)
            tell(walk, route, "target \"%.*s\" %s", STR_ARG(target->target), wrong);
    }
    if (!has_quality && route->target_count > 0)
        tell(walk, route, "no target has the quality of %u that least_quality wants",
             route->least_quality);
}

static void check_names(struct walk *walk, const struct route *route)
{
    for (unsigned i = 0; i < FALLBACK_COUNT; i++) {
        for (unsigned j = 0; j < route->fallbacks[i].count; j++) {
            struct str name = route->fallbacks[i].names[j];
            const char *wrong =
                plan_route(walk->world, name, NULL) != NULL ? NULL : wrong_with(walk->world, name);
            if (wrong != NULL)
                tell(walk, route, "%s fallback \"%.*s\" %s", route_fallback_names[i], STR_ARG(name),
                     wrong);
        }
    }
    struct str mirror = route->policy.mirror_target;
    const char *wrong = mirror.len == 0 || plan_route(walk->world, mirror, NULL) != NULL
                            ? NULL
                            : wrong_with(walk->world, mirror);
    if (wrong != NULL)
        tell(walk, route, "mirror target \"%.*s\" %s", STR_ARG(mirror), wrong);
}

static void check_own_name(struct walk *walk, const struct route *route)
{
    const struct plan_world *world = walk->world;
    if (str_ends(route->name, STR(":floor")) || str_ends(route->name, STR(":nitro")))
        tell(walk, route, "the suffixes :floor and :nitro are for those who ask");
    for (const struct route *other = world->routes; other < route; other++) {
        if (str_eq(other->name, route->name))
            tell(walk, route, "there is another route of that name");
    }
    for (unsigned i = 0; i < world->alias_count; i++) {
        if (str_eq(world->aliases[i].name, route->name))
            tell(walk, route, "there is an alias of that name");
    }
}

unsigned route_check(const struct plan_world *world, struct buf *problems)
{
    unsigned count = 0;
    for (unsigned i = 0; i < world->route_count; i++) {
        const struct route *route = &world->routes[i];
        struct walk walk = {.world = world, .problems = problems};
        check_own_name(&walk, route);
        check_targets(&walk, route);
        check_names(&walk, route);
        walk_targets(&walk, route);
        count += walk.count;
    }
    return count;
}
