/* Which target a name leads to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "route/plan.h"

static const struct str openai_models[] = {STR_INIT("gpt-*"), STR_INIT("o3")};
static const struct str azure_models[] = {STR_INIT("gpt-4o")};
static const struct plan_provider providers[] = {
    {.name = STR_INIT("openai"), .models = openai_models, .model_count = 2},
    {.name = STR_INIT("azure"), .models = azure_models, .model_count = 1},
    {.name = STR_INIT("openrouter")},
    {.name = STR_INIT("sim"), .is_simulated = true},
};
static const struct plan_alias aliases[] = {
    {STR_INIT("fast"), STR_INIT("openai/gpt-4o-mini")},
    {STR_INIT("team/fast"), STR_INIT("openrouter/meta/llama")},
    {STR_INIT("lost"), STR_INIT("nowhere/x")},
};
static const struct plan_world world = {
    .providers = providers, .provider_count = 4, .aliases = aliases, .alias_count = 3};

static void expect(const char *asked, enum plan_verdict verdict, unsigned provider,
                   const char *model, const char *route)
{
    struct plan_resolution plan;
    plan_name(&world, str_c(asked), &plan);
    assert_int_equal(plan.verdict, verdict);
    if (verdict != PLAN_OK)
        return;
    assert_int_equal(plan.target.provider, provider);
    assert_true(str_eq(plan.target.model, str_c(model)));
    assert_true(str_eq(plan.target.route, str_c(route)));
}

static void test_a_prefix_names_the_provider(void **state)
{
    (void)state;
    expect("openai/gpt-4o", PLAN_OK, 0, "gpt-4o", "");
    expect("azure/anything", PLAN_OK, 1, "anything", "");
    expect("sim/echo", PLAN_OK, 3, "echo", "");
}

static void test_a_model_may_hold_slashes(void **state)
{
    (void)state;
    expect("openrouter/openai/gpt-4o", PLAN_OK, 2, "openai/gpt-4o", "");
}

static void test_an_alias_wins_over_a_prefix(void **state)
{
    (void)state;
    expect("fast", PLAN_OK, 0, "gpt-4o-mini", "fast");
    expect("team/fast", PLAN_OK, 2, "meta/llama", "team/fast");
    expect("lost", PLAN_BAD_ALIAS, 0, "", "");
}

static void test_a_bare_model_goes_to_the_one_that_offers_it(void **state)
{
    (void)state;
    expect("o3", PLAN_OK, 0, "o3", "");
    expect("gpt-5", PLAN_OK, 0, "gpt-5", "");
    expect("claude", PLAN_NO_SUCH_MODEL, 0, "", "");
    expect("", PLAN_NO_SUCH_MODEL, 0, "", "");
    expect("openai/", PLAN_NO_SUCH_MODEL, 0, "", "");
    expect("/x", PLAN_NO_SUCH_MODEL, 0, "", "");
}

static void test_an_ambiguous_model_names_its_candidates(void **state)
{
    (void)state;
    struct plan_resolution plan;
    plan_name(&world, STR("gpt-4o"), &plan);
    assert_int_equal(plan.verdict, PLAN_AMBIGUOUS);
    assert_int_equal(plan.candidate_count, 2);
    assert_int_equal(plan.candidates[0], 0);
    assert_int_equal(plan.candidates[1], 1);
}

static void test_the_only_real_provider_gets_what_nobody_lists(void **state)
{
    (void)state;
    const struct plan_provider few[] = {providers[2], providers[3]};
    const struct plan_world small = {.providers = few, .provider_count = 2};
    struct plan_resolution plan;
    plan_name(&small, STR("some-model"), &plan);
    assert_int_equal(plan.verdict, PLAN_OK);
    assert_int_equal(plan.target.provider, 0);
    const struct plan_world only_sim = {.providers = &few[1], .provider_count = 1};
    plan_name(&only_sim, STR("some-model"), &plan);
    assert_int_equal(plan.verdict, PLAN_NO_SUCH_MODEL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_prefix_names_the_provider),
        cmocka_unit_test(test_a_model_may_hold_slashes),
        cmocka_unit_test(test_an_alias_wins_over_a_prefix),
        cmocka_unit_test(test_a_bare_model_goes_to_the_one_that_offers_it),
        cmocka_unit_test(test_an_ambiguous_model_names_its_candidates),
        cmocka_unit_test(test_the_only_real_provider_gets_what_nobody_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
