#include "provider/price.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gateway/settings.h"
#include "unit/control/reading.h"

/* `prices` of a config, and the built-in ones. */

#define PROVIDERS "providers:\n  openai: {api_key: sk-aaaaaaaa}\n"

static void own_prices_come_before_those_built_in(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r,
                PROVIDERS "prices:\n"
                          "  - {provider: openai, model: \"my-*\", input: 2.5, output: \"10\",\n"
                          "     tiers: [{above: 900, output: 3}, {above: 100, input: 4}]}\n"
                          "  - {provider: openai, model: gpt-4o, input: 0, output: 7}\n");
    const struct provider *openai = provider_of(&r, "openai");
    const struct price *price = price_find(openai, STR("my-model"));
    assert_non_null(price);
    assert_int_equal(price->rates.nano_usd[PRICE_INPUT], INT64_C(2500000000));
    assert_int_equal(price->rates.nano_usd[PRICE_OUTPUT], INT64_C(10000000000));
    assert_int_equal(price->rates.nano_usd[PRICE_CACHE_READ], PRICE_NOT_TOLD);
    assert_int_equal(price->tier_count, 2);
    assert_int_equal(price->tiers[0].above, 100);
    assert_int_equal(price->tiers[0].rates.nano_usd[PRICE_OUTPUT], PRICE_NOT_TOLD);
    assert_int_equal(price->tiers[1].above, 900);
    assert_int_equal(price_find(openai, STR("gpt-4o"))->rates.nano_usd[PRICE_INPUT], 0);
    assert_int_equal(price_find(openai, STR("gpt-4o-mini"))->rates.nano_usd[PRICE_INPUT],
                     150000000);
    assert_null(price_find(openai, STR("no-such-model")));
    reading_end(&r);
}

static void another_name_of_a_known_provider_has_its_prices(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "providers:\n  mine: {catalogue: anthropic, api_key: sk-aaaaaaaa}\n"
                    "  unknown: {base_url: \"http://127.0.0.1:1\", auth: {kind: none}}\n");
    const struct price *price =
        price_find(provider_of(&r, "mine"), STR("claude-sonnet-4-5-20250929"));
    assert_non_null(price);
    assert_int_equal(price_estimate(price, 200000, 1000), INT64_C(615000000));
    assert_int_equal(price_estimate(price, 200001, 1000), INT64_C(1222506000));
    assert_null(price_find(provider_of(&r, "unknown"), STR("claude-sonnet-4-5")));
    reading_end(&r);
}

static void what_cannot_be_a_price_is_refused_with_its_place(void **state)
{
    (void)state;
    must_refuse(PROVIDERS "prices:\n  - {provider: openai, model: x, input: 1e3, output: 1}\n",
                "weir.yaml:4:41: input: found \"1e3\"; expected an amount in US dollars like "
                "\"2.5\", at most 1000000, without a sign and with at most nine decimals");
    must_refuse(PROVIDERS "prices:\n  - {provider: openai, model: x, input: 1}\n",
                "weir.yaml:4:5: found no \"output\" here; expected an amount in US dollars like "
                "\"2.5\": output, in US dollars a million tokens");
    must_refuse(PROVIDERS "prices:\n  - {provider: openai, model: x, input: 1, output: 2, tiers: "
                          "[{above: 5}, {above: 5}]}\n",
                "weir.yaml:4:62: prices: found two tiers above 5; expected one");
}

static void a_price_of_nobody_is_told(void **state)
{
    (void)state;
    struct reading r;
    read_config(&r, PROVIDERS "prices:\n  - {provider: openei, model: x, input: 1, output: 2}\n",
                NULL);
    assert_non_null(r.settings);
    assert_string_equal(r.said, "weir.yaml:4:16: warning: prices: found \"openei\", which is no "
                                "configured provider");
    reading_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_prices_come_before_those_built_in),
        cmocka_unit_test(another_name_of_a_known_provider_has_its_prices),
        cmocka_unit_test(what_cannot_be_a_price_is_refused_with_its_place),
        cmocka_unit_test(a_price_of_nobody_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
