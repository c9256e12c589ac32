#include "provider/price.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* What answers cost: exact amounts, both ways of counting cached tokens, tiers, and what is not
 * known. */

#define USD INT64_C(1000000000)
#define UNTOLD PRICE_NOT_TOLD

/* 2 in, 10 out, 0.2 read, 2.5 and 4 written; the classes behind them fall back. */
static const struct price plain = {
    .rates = {{2 * USD, 10 * USD, USD / 5, 5 * USD / 2, 4 * USD, UNTOLD, UNTOLD, UNTOLD, UNTOLD}}};

static int64_t cost(const struct price *price, struct token_usage usage)
{
    int64_t nano_usd = -7;
    return price_cost(price, &usage, &nano_usd) ? nano_usd : -1;
}

static struct token_usage used(int64_t input, int64_t output)
{
    struct token_usage usage = TOKEN_USAGE_NONE;
    usage.input = input;
    usage.output = output;
    return usage;
}

static void amounts_are_read_exactly_or_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t nano_usd; /* -1 = refused */
    } cases[] = {
        {"2.5", 5 * USD / 2},
        {"0", 0},
        {"0.0375", 37500000},
        {"0.000000001", 1},
        {"7", 7 * USD},
        {"0.10", USD / 10},
        {"1000000", PRICE_MAX_NANO_USD},
        {"1000001", -1},
        {"0.0000000001", -1},
        {"-1", -1},
        {"1e3", -1},
        {"", -1},
        {".", -1},
        {"1.", -1},
        {".5", -1},
        {"1.5.0", -1},
        {" 1", -1},
        {"$1", -1},
        {"1,5", -1},
        {"1000000.1", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t nano_usd = -1;
        bool is_read = price_parse_usd(str_c(cases[i].text), &nano_usd);
        if (is_read != (cases[i].nano_usd >= 0) || nano_usd != cases[i].nano_usd)
            fail_msg("\"%s\" is %lld", cases[i].text, (long long)nano_usd);
    }
}

static void tokens_cost_what_they_cost(void **state)
{
    (void)state;
    assert_int_equal(cost(&plain, used(1000, 100)), 2 * 1000000 + 1000000);
    assert_int_equal(cost(&plain, used(0, 0)), 0);
    struct price cheap = plain;
    cheap.rates.nano_usd[PRICE_INPUT] = 37500000; /* 37.5 nano-dollars a token */
    assert_int_equal(cost(&cheap, used(1, 0)), 38);
    assert_int_equal(cost(&cheap, used(2, 0)), 75);
    assert_int_equal(cost(&cheap, used(1000000, 0)), 37500000);
    /* No sum on the way is too large. */
    cheap.rates.nano_usd[PRICE_INPUT] = PRICE_MAX_NANO_USD;
    assert_int_equal(cost(&cheap, used(1000000, 0)), PRICE_MAX_NANO_USD);
    assert_int_equal(cost(&cheap, used(INT64_C(100000000000), 0)), -1);
}

static void cached_tokens_are_charged_once_however_they_are_counted(void **state)
{
    (void)state;
    struct token_usage within = used(1000, 0), beside = used(300, 0);
    within.input_includes_cached = true;
    within.cache_read = beside.cache_read = 500;
    within.cache_write_5m = beside.cache_write_5m = 200;
    /* 300 at 2, 500 at 0.2, 200 at 2.5 */
    assert_int_equal(cost(&plain, within), 600000 + 100000 + 500000);
    assert_int_equal(cost(&plain, beside), 600000 + 100000 + 500000);
    beside.cache_write_1h = 10;
    assert_int_equal(cost(&plain, beside), 1200000 + 40000);
    /* More cached than there is input: nothing is charged below zero. */
    within = used(100, 0);
    within.input_includes_cached = true;
    within.cache_read = 500;
    assert_int_equal(cost(&plain, within), 100000);
}

static void a_class_without_a_price_costs_what_it_is_part_of(void **state)
{
    (void)state;
    struct token_usage usage = used(1000, 100);
    usage.reasoning = 60;
    usage.audio_input = 400;
    usage.image_input = 100;
    usage.audio_output = 10;
    assert_int_equal(cost(&plain, usage), 3000000);
    struct price fine = plain;
    fine.rates.nano_usd[PRICE_REASONING] = 3 * USD;
    fine.rates.nano_usd[PRICE_AUDIO_INPUT] = 32 * USD;
    fine.rates.nano_usd[PRICE_AUDIO_OUTPUT] = 64 * USD;
    fine.rates.nano_usd[PRICE_IMAGE_INPUT] = USD;
    assert_int_equal(cost(&fine, usage),
                     500 * 2000 + 400 * 32000 + 100 * 1000 + 30 * 10000 + 60 * 3000 + 10 * 64000);
    usage.reasoning = 5000; /* told beside the output by mistake: never more than there was */
    assert_int_equal(cost(&fine, usage), 500 * 2000 + 400 * 32000 + 100 * 1000 + 100 * 3000);
    struct price bare = {
        .rates = {{2 * USD, 10 * USD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD}}};
    usage = used(10, 0);
    usage.cache_read = usage.cache_write_5m = usage.cache_write_1h = 10;
    assert_int_equal(cost(&bare, usage), 40 * 2000);
}

static void what_was_not_told_is_not_free(void **state)
{
    (void)state;
    assert_int_equal(cost(&plain, TOKEN_USAGE_NONE), -1);
    assert_int_equal(cost(&plain, used(10, -1)), -1);
    assert_int_equal(cost(&plain, used(-1, 10)), -1);
    struct price input_only = plain;
    input_only.rates.nano_usd[PRICE_OUTPUT] = 0;
    assert_int_equal(cost(&input_only, used(10, -1)), 20000);
    struct price nothing = {0};
    assert_int_equal(cost(&nothing, TOKEN_USAGE_NONE), 0);
}

static void long_inputs_have_prices_of_their_own(void **state)
{
    (void)state;
    struct price_tier tiers[] = {
        {{{4 * USD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD}}, 200},
        {{{UNTOLD, 20 * USD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD, UNTOLD}}, 1000},
    };
    struct price price = plain;
    price.tiers = tiers;
    price.tier_count = 2;
    assert_int_equal(cost(&price, used(200, 1)), 400000 + 10000);
    assert_int_equal(cost(&price, used(201, 1)), 804000 + 10000);
    assert_int_equal(cost(&price, used(1001, 1)), 4004000 + 20000);
    struct token_usage usage = used(1, 0); /* cached ones make an input long, too */
    usage.cache_read = 200;
    assert_int_equal(cost(&price, usage), 4000 + 40000);
    assert_int_equal(price_estimate(&price, 200, 1), 410000);
    assert_int_equal(price_estimate(&price, 201, 0), 804000);
    assert_int_equal(price_estimate(&price, -1, -1), 0);
}

/* --- finding -----------------------------------------------------------------------------------
 */

static struct price row_of(const char *provider, const char *model, int64_t input)
{
    struct price row = plain;
    row.provider = str_c(provider);
    row.model = str_c(model);
    row.rates.nano_usd[PRICE_INPUT] = input;
    return row;
}

static int64_t found(const struct provider *provider, const char *model)
{
    const struct price *price = price_find(provider, str_c(model));
    return price != NULL ? price->rates.nano_usd[PRICE_INPUT] : -1;
}

static void a_model_is_found_by_each_of_its_spellings(void **state)
{
    (void)state;
    struct arena *arena = arena_new(1024);
    struct price rows[] = {
        row_of("cloud", "gpt-4o-2024-05-13", 1),
        row_of("cloud", "gpt-4o", 2),
        row_of("cloud", "*global.anthropic.claude-opus-5", 3),
        row_of("cloud", "claude-opus-5", 4),
        row_of("other", "*", 5),
        row_of("cloud", "My-*", 6),
        row_of("base", "nova-pro", 7),
        row_of("cloud", "later", 8),
        row_of("cloud", "later", 9),
        row_of("cloud", "placed", 10),
        row_of("cloud", "placed", 11),
    };
    rows[7].from_wall_ns = INT64_MAX;
    rows[9].location = STR("eu-*");
    rows[10].location = STR("us-*");
    struct provider provider = {.name = STR("cloud"), .catalogue = STR("base")};
    provider.places[PLACE_REGION] = STR("us-east-1");
    assert_int_equal(price_attach(&provider, rows, ARRAY_LEN(rows), arena), 0);
    static const struct {
        const char *model;
        int64_t row;
    } cases[] = {
        {"gpt-4o", 2},
        {"gpt-4o-2024-08-06", 2},
        {"gpt-4o-2024-05-13", 1},
        {"openai/GPT-4o", 2},
        {"gpt-4o-mini", -1},
        {"gpt-4", -1},
        {"claude-opus-5", 4},
        {"claude-opus-5@20260724", 4},
        {"us.anthropic.claude-opus-5-20260724-v1:0", 4},
        {"global.anthropic.claude-opus-5-v1:0", 3},
        {"arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-opus-5", 3},
        {"claude-opus-5-5", -1},
        {"amazon.nova-pro-v1:0", 7},
        {"amazon.nova-pro-v1:0:24k", 7},
        {"My-Model", 6},
        {"later", 9},
        {"placed", 11},
        {"", -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (found(&provider, cases[i].model) != cases[i].row)
            fail_msg("%s is priced by row %lld", cases[i].model,
                     (long long)found(&provider, cases[i].model));
    }
    /* Rows attached earlier come first. */
    struct price own = row_of("cloud", "*", 99);
    struct provider twice = {.name = STR("cloud")};
    assert_int_equal(price_attach(&twice, &own, 1, arena), 0);
    assert_int_equal(price_attach(&twice, rows, ARRAY_LEN(rows), arena), 0);
    assert_int_equal(found(&twice, "gpt-4o"), 99);
    struct provider nobody = {.name = STR("nobody")};
    assert_int_equal(found(&nobody, "gpt-4o"), -1);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amounts_are_read_exactly_or_not_at_all),
        cmocka_unit_test(tokens_cost_what_they_cost),
        cmocka_unit_test(cached_tokens_are_charged_once_however_they_are_counted),
        cmocka_unit_test(a_class_without_a_price_costs_what_it_is_part_of),
        cmocka_unit_test(what_was_not_told_is_not_free),
        cmocka_unit_test(long_inputs_have_prices_of_their_own),
        cmocka_unit_test(a_model_is_found_by_each_of_its_spellings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
