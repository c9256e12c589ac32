/* What a route's plan looks like: order, what is out and why, fallbacks, suffixes, nesting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "route/plan.h"

/* Health by model name: what the table says, else nothing known. */
struct known {
    const char *model;
    struct plan_health health;
};
#define UNKNOWN .p95_ttft_ms = -1, .p95_duration_ms = -1, .price_per_request = -1

static void look(void *ctx, unsigned provider, struct str model, struct plan_health *out)
{
    (void)provider;
    for (const struct known *k = ctx; k != NULL && k->model != NULL; k++) {
        if (str_eq(str_c(k->model), model))
            *out = k->health;
    }
}

static const struct plan_provider providers[] = {{.name = STR_INIT("p")}, {.name = STR_INIT("q")}};

#define TARGET(n)                          \
    {                                      \
        .target = STR_INIT(n), .weight = 1 \
    }

/* Plans and gives the plan back as text: "a b (c)" where what is limited is in brackets and what is
 * out stands behind a bang with its reason: "!d=condition". Parts are divided by " | ". */
static const char *const out_names[] = {
    [PLAN_OUT_CONDITION] = "condition",
    [PLAN_OUT_QUALITY] = "quality",
    [PLAN_OUT_BREAKER] = "breaker",
    [PLAN_OUT_REPEATED] = "repeated",
    [PLAN_OUT_OFF] = "off",
};

struct scene {
    struct arena *arena;
    struct plan_world world;
    struct route_facts facts;
    const struct known *known;
    uint64_t seed;
    struct plan plan;
    char text[400];
};

static const char *planned(struct scene *scene)
{
    if (scene->arena == NULL)
        scene->arena = arena_new(4096);
    scene->world.providers = providers;
    scene->world.provider_count = ARRAY_LEN(providers);
    struct plan_view view = {look, (void *)scene->known};
    assert_int_equal(plan_make(&scene->world, &scene->facts, &view, NS_PER_SEC, scene->seed,
                               scene->arena, &scene->plan),
                     0);
    struct buf out = BUF_INIT;
    enum plan_part part = PLAN_PRIMARY;
    for (unsigned i = 0; i < scene->plan.step_count; i++) {
        const struct plan_step *step = &scene->plan.steps[i];
        for (; part < step->part; part++)
            buf_printf(&out, "%s|", out.len > 0 ? " " : "");
        if (out.len > 0)
            buf_add_char(&out, ' ');
        if (step->is_out)
            buf_printf(&out, "!%.*s=%s", STR_ARG(step->model), out_names[step->out_why]);
        else
            buf_printf(&out, step->is_limited ? "(%.*s)" : "%.*s", STR_ARG(step->model));
    }
    snprintf(scene->text, sizeof(scene->text), "%.*s", STR_ARG(buf_str(&out)));
    buf_fini(&out);
    return scene->text;
}

static void scene_fini(struct scene *scene)
{
    if (scene->arena != NULL)
        arena_free(scene->arena);
}

static struct scene scene_of(struct route *routes, unsigned count)
{
    struct scene scene = {
        .world = {.routes = routes, .route_count = count},
        .facts = {
            .model = routes[0].name, .is_stream = true, .input_tokens = -1, .output_tokens = -1}};
    return scene;
}

#define ABC()                                       \
    {                                               \
        TARGET("p/a"), TARGET("p/b"), TARGET("p/c") \
    }

static void test_priority_is_as_written_and_limits_go_behind(void **state)
{
    (void)state;
    struct route_target targets[] = ABC();
    struct route route = {.name = STR_INIT("r"), .targets = targets, .target_count = 3};
    struct scene scene = scene_of(&route, 1);
    assert_string_equal(planned(&scene), "a b c");
    assert_int_equal(scene.plan.in_count, 3);
    assert_ptr_equal(scene.plan.policy, &route.policy);
    const struct known limited[] = {{"a", {.is_limited = true, UNKNOWN}}, {.model = NULL}};
    scene.known = limited;
    assert_string_equal(planned(&scene), "b c (a)");
    route.policy.when_limited = LIMITED_FAIL;
    assert_string_equal(planned(&scene), "b c (a)");
    route.policy.when_limited = LIMITED_WAIT;
    assert_string_equal(planned(&scene), "(a) b c");
    targets[1].weight = 0;
    assert_string_equal(planned(&scene), "(a) c b");
    scene_fini(&scene);
}

static void test_open_breakers_are_out(void **state)
{
    (void)state;
    struct route_target targets[] = ABC();
    struct route route = {.name = STR_INIT("r"), .targets = targets, .target_count = 3};
    struct scene scene = scene_of(&route, 1);
    struct known known[] = {{"a", {.is_open = true, UNKNOWN}},
                            {"b", {.is_open = true, .is_probe_due = true, UNKNOWN}},
                            {.model = NULL}};
    scene.known = known;
    assert_string_equal(planned(&scene), "b c !a=breaker");
    assert_true(scene.plan.steps[0].is_probe);
    known[1] = (struct known){"b", {.is_open = true, UNKNOWN}};
    targets[2].target = STR("p/a");
    assert_string_equal(planned(&scene), "!a=breaker !b=breaker !a=breaker");
    assert_int_equal(scene.plan.verdict, PLAN_OK);
    assert_int_equal(scene.plan.in_count, 0);
    scene_fini(&scene);
}

static void test_conditions_pick_and_filter(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    struct route_target targets[] = ABC();
    targets[0].when = condition_parse(arena, STR("{\"user\": \"u\"}"));
    targets[1].when = condition_parse(arena, STR("{\"stream\": true}"));
    struct route route = {.name = STR_INIT("r"),
                          .strategy = ROUTE_CONDITIONAL,
                          .targets = targets,
                          .target_count = 3};
    struct scene scene = scene_of(&route, 1);
    assert_string_equal(planned(&scene), "b c !a=condition");
    scene.facts.user = STR("u");
    assert_string_equal(planned(&scene), "a b c");
    scene.facts = (struct route_facts){.model = route.name};
    for (unsigned i = 0; i < ROUTE_STRATEGY_COUNT; i++) {
        route.strategy = i;
        assert_string_equal(planned(&scene), "c !a=condition !b=condition");
    }
    route.target_count = 2;
    assert_string_equal(planned(&scene), "!a=condition !b=condition");
    assert_int_equal(scene.plan.verdict, PLAN_NO_TARGET);
    /* A general fallback is a target, too. */
    struct str fallbacks[] = {STR_INIT("q/x")};
    route.fallbacks[FALLBACK_GENERAL] = (struct route_names){fallbacks, 1};
    assert_string_equal(planned(&scene), "!a=condition !b=condition | x");
    assert_int_equal(scene.plan.verdict, PLAN_OK);
    scene_fini(&scene);
    arena_free(arena);
}

static void test_cost_takes_the_cheapest_that_is_good_enough(void **state)
{
    (void)state;
    struct route_target targets[] = {TARGET("p/a"), TARGET("p/b"), TARGET("p/c"), TARGET("p/d")};
    struct route route = {.name = STR_INIT("r"),
                          .strategy = ROUTE_COST,
                          .targets = targets,
                          .target_count = 4,
                          .least_quality = 50};
    targets[0].quality = 50;
    targets[1].quality = 90;
    targets[2].quality = 49;
    targets[3].quality = 60;
    const struct known known[] = {
        {"a", {.p95_ttft_ms = -1, .p95_duration_ms = -1, .price_per_request = 0.02}},
        {"c", {.p95_ttft_ms = -1, .p95_duration_ms = -1, .price_per_request = 0.0001}},
        {"d", {.p95_ttft_ms = -1, .p95_duration_ms = -1, .price_per_request = 0.01}},
        {.model = NULL}};
    struct scene scene = scene_of(&route, 1);
    scene.known = known;
    assert_string_equal(planned(&scene), "d a b !c=quality");
    struct buf reason = BUF_INIT;
    plan_reason(&scene.plan, &scene.plan.steps[2], &reason);
    assert_string_equal(arena_cstr(scene.arena, buf_str(&reason)),
                        "unpriced: behind those with a price");
    buf_fini(&reason);
    scene_fini(&scene);
}

static void test_suffixes(void **state)
{
    (void)state;
    struct route_target outer[] = {TARGET("inner"), TARGET("p/c"), TARGET("p/d")};
    struct route_target inner[] = {TARGET("p/a"), TARGET("p/b")};
    struct route routes[] = {
        {.name = STR_INIT("r"), .targets = outer, .target_count = 3},
        {.name = STR_INIT("inner"), .targets = inner, .target_count = 2},
        {.name = STR_INIT("odd:floor"), .targets = inner, .target_count = 1},
    };
    const struct known known[] = {
        {"a", {.p95_ttft_ms = 900, .p95_duration_ms = 2, .price_per_request = 3}},
        {"b", {.p95_ttft_ms = 500, .p95_duration_ms = 9, .price_per_request = 1}},
        {"c", {.p95_ttft_ms = 700, .p95_duration_ms = 1, .price_per_request = 2}},
        {.model = NULL}};
    struct scene scene = scene_of(routes, 3);
    scene.known = known;
    assert_string_equal(planned(&scene), "a b c d");
    scene.facts.model = STR("r:floor");
    assert_string_equal(planned(&scene), "b c a d");
    scene.facts.model = STR("r:nitro");
    assert_string_equal(planned(&scene), "b c a d");
    scene.facts.is_stream = false;
    assert_string_equal(planned(&scene), "c a b d");
    /* Only behind a route's name; an exact name comes first. */
    scene.facts.model = STR("p/llama:floor");
    assert_string_equal(planned(&scene), "llama:floor");
    scene.facts.model = STR("odd:floor");
    assert_string_equal(planned(&scene), "a");
    assert_int_equal(scene.plan.order, PLAN_BY_STRATEGY);
    /* A target may ask for it, too. */
    outer[0].target = STR("inner:floor");
    scene.facts.model = STR("r");
    assert_string_equal(planned(&scene), "b a c d");
    scene_fini(&scene);
}

static void test_nested_routes_lie_flat_in_their_place(void **state)
{
    (void)state;
    struct route_target outer[] = {TARGET("p/a"), TARGET("inner"), TARGET("p/d")};
    struct route_target inner[] = {TARGET("p/b"), TARGET("p/c")};
    struct route routes[] = {
        {.name = STR_INIT("r"), .targets = outer, .target_count = 3},
        {.name = STR_INIT("inner"), .targets = inner, .target_count = 2},
    };
    struct scene scene = scene_of(routes, 2);
    assert_string_equal(planned(&scene), "a b c d");
    const struct plan_step *step = &scene.plan.steps[1];
    assert_int_equal(step->via_count, 2);
    assert_ptr_equal(step->via[0].target, &outer[1]);
    assert_ptr_equal(step->target, &inner[0]);
    assert_ptr_equal(step->route, &routes[1]);
    const struct known limited[] = {{"b", {.is_limited = true, UNKNOWN}}, {.model = NULL}};
    scene.known = limited;
    assert_string_equal(planned(&scene), "a c d (b)");
    outer[1].when = condition_parse(scene.arena, STR("{\"user\": \"nobody\"}"));
    assert_string_equal(planned(&scene), "a d !b=condition !c=condition");
    scene_fini(&scene);
}

static void test_nested_turns_are_each_their_own(void **state)
{
    (void)state;
    struct route_target outer[] = {TARGET("left"), TARGET("right")};
    struct route_target left[] = {TARGET("p/a"), TARGET("p/b")};
    struct route_target right[] = {TARGET("p/c"), TARGET("p/d")};
    struct route routes[] = {
        {.name = STR_INIT("r"), .targets = outer, .target_count = 2},
        {.name = STR_INIT("left"), .targets = left, .target_count = 2},
        {.name = STR_INIT("right"), .targets = right, .target_count = 2},
    };
    struct scene scene = scene_of(routes, 3);
    scene.arena = arena_new(4096);
    for (unsigned i = 0; i < 3; i++) {
        routes[i].strategy = ROUTE_ROUND_ROBIN;
        assert_int_equal(route_prepare(&routes[i], scene.arena), 0);
    }
    static const char *const turns[] = {"a b c d", "c d b a", "b a d c", "d c a b", "a b c d"};
    for (unsigned i = 0; i < ARRAY_LEN(turns); i++) {
        scene.facts.turn = i;
        assert_string_equal(planned(&scene), turns[i]);
    }
    scene_fini(&scene);
}

static void test_fallbacks(void **state)
{
    (void)state;
    struct route_target targets[] = {TARGET("p/a"), TARGET("p/b")};
    struct route_target spare[] = {TARGET("q/x"), TARGET("q/y")};
    struct str general[] = {STR_INIT("spare"), STR_INIT("p/b"), STR_INIT("q/z")};
    struct str longer[] = {STR_INIT("q/long")};
    struct str policy[] = {STR_INIT("q/free"), STR_INIT("p/a")};
    struct route routes[] = {
        {.name = STR_INIT("r"),
         .targets = targets,
         .target_count = 2,
         .fallbacks = {{general, 3}, {longer, 1}, {policy, 2}}},
        {.name = STR_INIT("spare"),
         .targets = spare,
         .target_count = 2,
         .fallbacks = {{longer, 1}}},
    };
    struct scene scene = scene_of(routes, 2);
    assert_string_equal(planned(&scene), "a b | x y z !b=repeated | long | free !a=repeated");
    assert_int_equal(scene.plan.in_count, 5);
    /* What does not work further up is no reason to leave it out. */
    const struct known open[] = {
        {"b", {.is_limited = true, UNKNOWN}}, {"x", {.is_open = true, UNKNOWN}}, {.model = NULL}};
    scene.known = open;
    assert_string_equal(planned(&scene),
                        "a (b) | y z !x=breaker !b=repeated | long | free !a=repeated");
    scene.known = NULL;
    /* The client's own list stands in place of the general one. */
    struct str wanted[] = {STR_INIT("q/mine"), STR_INIT("nowhere"), STR_INIT("spare:floor")};
    scene.facts.fallbacks = wanted;
    scene.facts.fallback_count = 3;
    assert_string_equal(planned(&scene), "a b | mine x y | long | free !a=repeated");
    assert_true(str_eq(scene.plan.bad_fallback, STR("nowhere")));
    scene.facts.model = STR("p/plain");
    assert_string_equal(planned(&scene), "plain | mine x y");
    assert_ptr_equal(scene.plan.policy, &route_policy_default);
    scene.facts.is_fallback_off = true;
    assert_string_equal(planned(&scene), "plain");
    scene.facts.model = STR("r");
    assert_string_equal(planned(&scene), "a !b=off");
    scene_fini(&scene);
}

static void test_names_without_a_route(void **state)
{
    (void)state;
    struct plan_alias aliases[] = {{STR_INIT("fast"), STR_INIT("p/m")}};
    struct route_target targets[] = {TARGET("p/a")};
    struct route route = {.name = STR_INIT("r"), .targets = targets, .target_count = 1};
    struct route_policy policy = {.retries = 7};
    struct scene scene = scene_of(&route, 1);
    scene.world.aliases = aliases;
    scene.world.alias_count = 1;
    scene.world.policy = &policy;
    scene.facts.model = STR("fast");
    assert_string_equal(planned(&scene), "m");
    assert_true(str_eq(scene.plan.alias, STR("fast")));
    assert_ptr_equal(scene.plan.policy, &policy);
    assert_null(scene.plan.steps[0].target);
    scene.facts.model = STR("unheard-of");
    assert_string_equal(planned(&scene), "");
    assert_int_equal(scene.plan.verdict, PLAN_NO_SUCH_MODEL);
    scene_fini(&scene);
}

static void test_turns_are_evenly_spread(void **state)
{
    (void)state;
    struct arena *arena = arena_new(65536);
    struct route_target targets[] = {{.weight = 50}, {.weight = 10}, {.weight = 10}, {.weight = 0}};
    struct route route = {.strategy = ROUTE_ROUND_ROBIN, .targets = targets, .target_count = 4};
    assert_int_equal(route_prepare(&route, arena), 0);
    static const uint16_t expected[] = {0, 0, 1, 0, 2, 0, 0};
    assert_int_equal(route.turn_count, ARRAY_LEN(expected));
    assert_memory_equal(route.turns, expected, sizeof(expected));
    /* Too long a table is rounded; everybody keeps a turn. */
    struct route_target many[] = {{.weight = 1000}, {.weight = 1},   {.weight = 999},
                                  {.weight = 997},  {.weight = 991}, {.weight = 983}};
    route.targets = many;
    route.target_count = 6;
    assert_int_equal(route_prepare(&route, arena), 0);
    assert_in_range(route.turn_count, ROUTE_TURNS_MAX - 10, ROUTE_TURNS_MAX);
    unsigned counts[6] = {0};
    for (unsigned i = 0; i < route.turn_count; i++)
        counts[route.turns[i]]++;
    assert_in_range(counts[0], 820, 828);
    assert_int_equal(counts[1], 1);
    targets[0].weight = targets[1].weight = targets[2].weight = 0;
    route.targets = targets;
    route.target_count = 4;
    assert_int_equal(route_prepare(&route, arena), 0);
    assert_int_equal(route.turn_count, 0);
    arena_free(arena);
}

static void expect_problem(struct route *routes, unsigned count, const char *says)
{
    const struct plan_alias aliases[] = {{STR_INIT("taken"), STR_INIT("p/m")}};
    struct plan_world world = {.providers = providers,
                               .provider_count = ARRAY_LEN(providers),
                               .aliases = aliases,
                               .alias_count = 1,
                               .routes = routes,
                               .route_count = count};
    struct buf problems = BUF_INIT;
    unsigned n = route_check(&world, &problems);
    buf_add_char(&problems, '\0');
    if (says == NULL ? n != 0 : strstr(problems.ptr, says) == NULL || n == 0)
        fail_msg("%u problems: %s", n, problems.ptr);
    buf_fini(&problems);
}

static void test_what_is_wrong_with_routes(void **state)
{
    (void)state;
    struct route_target a[] = {TARGET("b"), TARGET("p/x")}, b[] = {TARGET("c")},
                        c[] = {TARGET("p/y")};
    struct route routes[] = {
        {.name = STR_INIT("a"), .targets = a, .target_count = 2},
        {.name = STR_INIT("b"), .targets = b, .target_count = 1},
        {.name = STR_INIT("c"), .targets = c, .target_count = 1},
    };
    expect_problem(routes, 3, NULL);
    c[0].target = STR("a");
    expect_problem(routes, 3, "route \"a\": leads back to itself: a -> b -> c -> a");
    c[0].target = STR("c");
    expect_problem(routes, 3, "route \"c\": leads back to itself: c -> c");
    c[0].target = STR("modle");
    expect_problem(routes, 3, "route \"c\": target \"modle\" is no route");
    c[0].target = STR("taken");
    expect_problem(routes, 3, NULL);
    struct str names[] = {STR_INIT("nobody")};
    routes[0].fallbacks[FALLBACK_CONTEXT_WINDOW] = (struct route_names){names, 1};
    expect_problem(routes, 3, "context_window fallback \"nobody\" is no route");
    names[0] = STR("c:nitro");
    routes[1].policy.mirror_target = STR("nowhere/x/y");
    expect_problem(routes, 3, "route \"b\": mirror target \"nowhere/x/y\"");
    routes[1].policy.mirror_target = STR("q/z");
    expect_problem(routes, 3, NULL);
    routes[2].name = STR("taken");
    expect_problem(&routes[2], 1, "there is an alias of that name");
    routes[2].name = STR("c:floor");
    expect_problem(&routes[2], 1, "suffixes");
    routes[2].name = STR("c");
    routes[2].strategy = ROUTE_COST;
    routes[2].least_quality = 10;
    expect_problem(routes, 3, "no target has the quality of 10");
    routes[2].target_count = 0;
    expect_problem(routes, 3, "route \"c\": no targets");
}

static void test_depth_and_number_are_bounded(void **state)
{
    (void)state;
    static const char *const names[] = {"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"};
    struct route routes[9];
    struct route_target targets[9][2];
    for (unsigned i = 0; i < 9; i++) {
        for (unsigned j = 0; j < 2; j++)
            targets[i][j] = (struct route_target){
                .target = i < 8 ? str_c(names[i + 1]) : STR("p/x"), .weight = 1};
        routes[i] =
            (struct route){.name = str_c(names[i]), .targets = targets[i], .target_count = 1};
    }
    expect_problem(&routes[1], 8, NULL);
    expect_problem(routes, 9, "route \"r0\": routes are nested more than 8 deep");
    for (unsigned i = 0; i < 9; i++)
        routes[i].target_count = 2;
    expect_problem(&routes[1], 8, NULL); /* 256 */
    struct route_target three[] = {TARGET("p/x"), TARGET("p/x"), TARGET("p/x")};
    routes[8].targets = three;
    routes[8].target_count = 3;
    expect_problem(&routes[1], 8, "route \"r1\": more than 256 targets");
    /* A plan of it ends all the same. */
    struct scene scene = scene_of(&routes[1], 8);
    planned(&scene);
    assert_int_equal(scene.plan.step_count, PLAN_STEPS_MAX);
    scene_fini(&scene);
}

static void test_the_explanation(void **state)
{
    (void)state;
    struct route_target targets[] = {TARGET("p/fast-one"), TARGET("q/b"), TARGET("p/c")};
    struct str fallbacks[] = {STR_INIT("q/z")};
    struct route route = {.name = STR_INIT("r"),
                          .strategy = ROUTE_COST,
                          .targets = targets,
                          .target_count = 3,
                          .policy = {.retries = 2},
                          .fallbacks = {{fallbacks, 1}}};
    const struct known known[] = {
        {"fast-one", {.price_per_request = 0.0125, .p95_ttft_ms = -1, .p95_duration_ms = -1}},
        {"b", {.is_limited = true, .limited_until_ns = 3 * NS_PER_SEC, UNKNOWN}},
        {"c", {.is_open = true, .open_until_ns = 2500 * NS_PER_MS, UNKNOWN}},
        {.model = NULL}};
    struct scene scene = scene_of(&route, 1);
    scene.known = known;
    planned(&scene);
    struct buf text = BUF_INIT;
    plan_explain(&scene.plan, &scene.world, &text);
    buf_add_char(&text, '\0');
    assert_string_equal(
        text.ptr,
        "r: route r, cost\n"
        "    1  p/fast-one  about $0.0125\n"
        "    2  q/b         unpriced: behind those with a price; at its limit for another "
        "2.0 s\n"
        "  out  p/c         its breaker is open for another 1.5 s\n"
        "fallbacks, general:\n"
        "    1  q/z         as written\n"
        "up to 2 further attempts; a stream that breaks: continue\n");
    buf_clear(&text);
    plan_explain_json(&scene.plan, &scene.world, &text);
    buf_add_char(&text, '\0');
    assert_non_null(strstr(text.ptr, "\"reason\":\"about $0.0125\",\"price_usd\":0.0125"));
    assert_non_null(strstr(text.ptr, "\"strategy\":\"cost\",\"order\":\"strategy\""));
    buf_fini(&text);
    scene_fini(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_priority_is_as_written_and_limits_go_behind),
        cmocka_unit_test(test_open_breakers_are_out),
        cmocka_unit_test(test_conditions_pick_and_filter),
        cmocka_unit_test(test_cost_takes_the_cheapest_that_is_good_enough),
        cmocka_unit_test(test_suffixes),
        cmocka_unit_test(test_nested_routes_lie_flat_in_their_place),
        cmocka_unit_test(test_nested_turns_are_each_their_own),
        cmocka_unit_test(test_fallbacks),
        cmocka_unit_test(test_names_without_a_route),
        cmocka_unit_test(test_turns_are_evenly_spread),
        cmocka_unit_test(test_what_is_wrong_with_routes),
        cmocka_unit_test(test_depth_and_number_are_bounded),
        cmocka_unit_test(test_the_explanation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
