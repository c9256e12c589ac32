#include "control/config.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "route/condition.h"
#include "unit/control/reading.h"

static int set_up(void **state)
{
    (void)state;
    clear_environment();
    return 0;
}

static const struct route *route_of(const struct reading *r, const char *name)
{
    for (unsigned i = 0; i < r->settings->route_count; i++) {
        if (str_is(r->settings->routes[i].name, name))
            return &r->settings->routes[i];
    }
    fail_msg("no route %s", name);
    return NULL;
}

static void assert_same_policy(const struct route_policy *a, const struct route_policy *b)
{
    assert_int_equal(a->retries, b->retries);
    assert_int_equal(a->backoff_ns, b->backoff_ns);
    assert_int_equal(a->backoff_max_ns, b->backoff_max_ns);
    assert_int_equal(a->retry_budget_percent, b->retry_budget_percent);
    assert_int_equal(a->connect_ns, b->connect_ns);
    assert_int_equal(a->first_byte_ns, b->first_byte_ns);
    assert_int_equal(a->stall_ns, b->stall_ns);
    assert_int_equal(a->total_ns, b->total_ns);
    assert_int_equal(a->breaker_failures, b->breaker_failures);
    assert_int_equal(a->breaker_percent, b->breaker_percent);
    assert_int_equal(a->breaker_least, b->breaker_least);
    assert_int_equal(a->breaker_window_ns, b->breaker_window_ns);
    assert_int_equal(a->breaker_open_ns, b->breaker_open_ns);
    assert_int_equal(a->slow_ttft_ns, b->slow_ttft_ns);
    assert_int_equal(a->mid_stream, b->mid_stream);
    assert_int_equal(a->resume, b->resume);
    assert_int_equal(a->resume_grace_ns, b->resume_grace_ns);
    assert_int_equal(a->early_head_ns, b->early_head_ns);
    assert_int_equal(a->hedge_after_ns, b->hedge_after_ns);
    assert_int_equal(a->hedge_percentile, b->hedge_percentile);
    assert_true(str_eq(a->mirror_target, b->mirror_target));
    assert_int_equal(a->mirror_per_million, b->mirror_per_million);
    assert_int_equal(a->when_limited, b->when_limited);
    assert_int_equal(a->queue_length, b->queue_length);
    assert_int_equal(a->queue_wait_ns, b->queue_wait_ns);
    assert_int_equal(a->probe_interval_ns, b->probe_interval_ns);
}

/* --- what is read ------------------------------------------------------------------------------
 */

static void the_defaults_of_the_table_are_the_default_policy(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "routes: {a: [sim/x]}");
    assert_same_policy(&r.settings->routing, &route_policy_default);
    assert_same_policy(&route_of(&r, "a")->policy, &route_policy_default);
    assert_int_equal(r.settings->journal.stream_bytes, 1 << 20);
    assert_int_equal(r.settings->journal.total_bytes, 256 << 20);
    assert_int_equal(r.settings->journal.ttl_ns, 60 * NS_PER_SEC);
    reading_end(&r);
    read_environment(&r, NULL);
    assert_non_null(r.settings);
    assert_same_policy(&r.settings->routing, &route_policy_default);
    reading_end(&r);
}

static const char *const whole_policy = "retries: 1\n"
                                        "  backoff: 1ms\n"
                                        "  backoff_max: 2ms\n"
                                        "  retry_budget: 100\n"
                                        "  timeouts: {connect: 3ms, first_byte: 4ms, stall: 5ms, "
                                        "total: 6ms}\n"
                                        "  breaker: {failures: 7, failure_percent: 8, "
                                        "least_requests: 9, window: 10s, open: 11s, "
                                        "slow_first_token: 12s}\n"
                                        "  mid_stream: terminate\n"
                                        "  resume: always\n"
                                        "  resume_grace: 13s\n"
                                        "  early_head: 14s\n"
                                        "  hedge: {after: 15s, percentile: 95}\n"
                                        "  mirror: {target: sim/m, percent: 0.25}\n"
                                        "  when_limited: wait\n"
                                        "  queue: {length: 16, wait: 17s}\n"
                                        "  probe_interval: 18s\n";

static const struct route_policy whole_policy_read = {
    .retries = 1,
    .backoff_ns = 1 * NS_PER_MS,
    .backoff_max_ns = 2 * NS_PER_MS,
    .retry_budget_percent = 100,
    .connect_ns = 3 * NS_PER_MS,
    .first_byte_ns = 4 * NS_PER_MS,
    .stall_ns = 5 * NS_PER_MS,
    .total_ns = 6 * NS_PER_MS,
    .breaker_failures = 7,
    .breaker_percent = 8,
    .breaker_least = 9,
    .breaker_window_ns = 10 * NS_PER_SEC,
    .breaker_open_ns = 11 * NS_PER_SEC,
    .slow_ttft_ns = 12 * NS_PER_SEC,
    .mid_stream = MID_STREAM_TERMINATE,
    .resume = RESUME_ALWAYS,
    .resume_grace_ns = 13 * NS_PER_SEC,
    .early_head_ns = 14 * NS_PER_SEC,
    .hedge_after_ns = 15 * NS_PER_SEC,
    .hedge_percentile = 95,
    .mirror_target = STR_INIT("sim/m"),
    .mirror_per_million = 2500,
    .when_limited = LIMITED_WAIT,
    .queue_length = 16,
    .queue_wait_ns = 17 * NS_PER_SEC,
    .probe_interval_ns = 18 * NS_PER_SEC,
};

static void every_part_of_a_policy_is_read(void **state)
{
    (void)state;
    struct reading r;
    char text[2048];
    snprintf(text, sizeof(text), "routing:\n  %s", whole_policy);
    must_accept(&r, text);
    assert_same_policy(&r.settings->routing, &whole_policy_read);
    reading_end(&r);
    snprintf(text, sizeof(text), "routes:\n a:\n  targets: [sim/x]\n  %s", whole_policy);
    must_accept(&r, text);
    assert_same_policy(&route_of(&r, "a")->policy, &whole_policy_read);
    assert_same_policy(&r.settings->routing, &route_policy_default);
    reading_end(&r);
}

static void a_route_starts_from_routing_wherever_that_stands(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "routing: {retries: 7, breaker: {failures: 8}, hedge: 3s}\n"
        "routes: {a: [sim/x], b: {targets: [sim/x], retries: 0, breaker: {open: 1s}}}\n",
        "routes: {a: [sim/x], b: {targets: [sim/x], retries: 0, breaker: {open: 1s}}}\n"
        "routing: {retries: 7, breaker: {failures: 8}, hedge: 3s}\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct reading r;
        must_accept(&r, texts[i]);
        const struct route_policy *a = &route_of(&r, "a")->policy, *b = &route_of(&r, "b")->policy;
        assert_same_policy(a, &r.settings->routing);
        assert_int_equal(a->retries, 7);
        assert_int_equal(b->retries, 0);
        assert_int_equal(b->breaker_failures, 8);
        assert_int_equal(b->breaker_open_ns, NS_PER_SEC);
        assert_int_equal(a->breaker_open_ns, route_policy_default.breaker_open_ns);
        assert_int_equal(b->hedge_after_ns, 3 * NS_PER_SEC);
        reading_end(&r);
    }
}

static void a_route_is_read_whole(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "routes:\n"
                    "  Support-v2:\n"
                    "    strategy: hash\n"
                    "    targets:\n"
                    "      - sim/a\n"
                    "      - {target: sim/b, weight: 3, quality: 70}\n"
                    "    key: {by: header, header: x-conversation}\n"
                    "    load_percent: 150\n"
                    "    least_quality: 60\n"
                    "    fallbacks:\n"
                    "      general: [sim/c, short]\n"
                    "      context_window: [sim/long]\n"
                    "      content_policy: [sim/mild]\n"
                    "  short: [sim/a, sim/b]\n"
                    "  sticky: {strategy: sticky, key: user, targets: [sim/a], "
                    "fallbacks: [sim/b]}\n");
    assert_int_equal(r.settings->route_count, 3);
    const struct route *route = route_of(&r, "Support-v2");
    assert_int_equal(route->strategy, ROUTE_HASH);
    assert_int_equal(route->target_count, 2);
    assert_true(str_is(route->targets[0].target, "sim/a"));
    assert_int_equal(route->targets[0].weight, 1);
    assert_null(route->targets[0].when);
    assert_true(str_is(route->targets[1].target, "sim/b"));
    assert_int_equal(route->targets[1].weight, 3);
    assert_int_equal(route->targets[1].quality, 70);
    assert_int_equal(route->key, ROUTE_KEY_HEADER);
    assert_true(str_is(route->key_header, "x-conversation"));
    assert_int_equal(route->load_percent, 150);
    assert_int_equal(route->least_quality, 60);
    assert_int_equal(route->fallbacks[FALLBACK_GENERAL].count, 2);
    assert_true(str_is(route->fallbacks[FALLBACK_GENERAL].names[1], "short"));
    assert_true(str_is(route->fallbacks[FALLBACK_CONTEXT_WINDOW].names[0], "sim/long"));
    assert_true(str_is(route->fallbacks[FALLBACK_CONTENT_POLICY].names[0], "sim/mild"));
    route = route_of(&r, "short");
    assert_int_equal(route->strategy, ROUTE_PRIORITY);
    assert_int_equal(route->target_count, 2);
    assert_int_equal(route->load_percent, 125);
    route = route_of(&r, "sticky");
    assert_int_equal(route->key, ROUTE_KEY_USER);
    assert_int_equal(route->fallbacks[FALLBACK_GENERAL].count, 1);
    assert_int_equal(route->fallbacks[FALLBACK_CONTEXT_WINDOW].count, 0);
    reading_end(&r);
}

static void values_become_json_by_the_core_schema(void **state)
{
    (void)state;
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"0", "0"},
        {"-12", "-12"},
        {"+12", "12"},
        {"007", "7"},
        {"000", "0"},
        {"0x1F", "31"},
        {"0o17", "15"},
        {".5", "0.5"},
        {"1.", "1"},
        {"-0.50", "-0.50"},
        {"1e3", "1e3"},
        {"1.5E-2", "1.5E-2"},
        {"true", "true"},
        {"FALSE", "false"},
        {"yes", "\"yes\""},
        {"~", "null"},
        {"null", "null"},
        {"", "null"},
        {"\"7\"", "\"7\""},
        {"'true'", "\"true\""},
        {"\"\"", "\"\""},
        {"1.2.3", "\"1.2.3\""},
        {"1e", "\"1e\""},
        {".", "\".\""},
        {"0x", "\"0x\""},
        {"0xZ", "\"0xZ\""},
        {"a \"b\" \\n", "\"a \\\"b\\\" \\\\n\""},
        {"\"line\\nbreak\"", "\"line\\nbreak\""},
        {"[1, a, [], {}]", "[1,\"a\",[],{}]"},
        {"{type: json_schema, depth: {n: [true]}}", "{\"type\":\"json_schema\",\"depth\":"
                                                    "{\"n\":[true]}}"},
        {"${WEIR_T_NUMBER}", "0.25"},
        {"\"${WEIR_T_NUMBER}\"", "\"0.25\""},
        {"^a$$", "\"^a$\""},
    };
    setenv("WEIR_T_NUMBER", "0.25", 1);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct reading r;
        char text[512];
        snprintf(text, sizeof(text),
                 "routes:\n  a:\n    targets:\n      - target: sim/x\n        override:\n"
                 "          a.b: %s\n        defaults: {c: 1}\n",
                 cases[i].yaml);
        must_accept(&r, text);
        const struct route_target *target = &route_of(&r, "a")->targets[0];
        assert_int_equal(target->override_count, 1);
        assert_true(str_is(target->overrides[0].name, "a.b"));
        char json[256];
        snprintf(json, sizeof(json), "%.*s", STR_ARG(target->overrides[0].json));
        assert_string_equal(json, cases[i].json);
        assert_int_equal(target->default_count, 1);
        assert_true(str_is(target->defaults[0].json, "1"));
        reading_end(&r);
    }
    unsetenv("WEIR_T_NUMBER");
}

static void a_condition_is_compiled(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "routes:\n"
                    "  a:\n"
                    "    strategy: conditional\n"
                    "    targets:\n"
                    "      - {target: sim/x, when: {user: {$in: [ann, bob]}}}\n"
                    "      - sim/y\n");
    const struct route_target *targets = route_of(&r, "a")->targets;
    assert_non_null(targets[0].when);
    assert_null(targets[1].when);
    struct route_facts facts = {.user = STR("bob")};
    assert_true(condition_holds(targets[0].when, &facts, r.arena));
    facts.user = STR("eve");
    assert_false(condition_holds(targets[0].when, &facts, r.arena));
    reading_end(&r);
}

static void several_keys_make_a_pool(void **state)
{
    (void)state;
    struct reading r;
    setenv("WEIR_T_KEY", "sk-second", 1);
    must_accept(&r, "providers:\n"
                    "  openai:\n"
                    "    keys:\n"
                    "      - {name: big, api_key: sk-first, weight: 3}\n"
                    "      - ${WEIR_T_KEY}\n"
                    "keys: [{name: t, value: longenough, admin: true, team: search},\n"
                    "       {name: u, value: longenough2}]\n");
    const struct provider *p = provider_of(&r, "openai");
    assert_int_equal(p->key_count, 2);
    assert_true(str_is(p->keys[0].name, "big"));
    assert_true(str_is(p->keys[0].api_key, "sk-first"));
    assert_int_equal(p->keys[0].weight, 3);
    assert_true(str_is(p->keys[1].name, "key-2"));
    assert_true(str_is(p->keys[1].api_key, "sk-second"));
    assert_int_equal(p->keys[1].weight, 1);
    assert_true(str_is(p->api_key, "sk-first"));
    assert_true(r.settings->keys[0].is_admin);
    assert_true(str_is(r.settings->keys[0].team, "search"));
    assert_false(r.settings->keys[1].is_admin);
    assert_int_equal(r.settings->keys[1].team.len, 0);
    reading_end(&r);
    unsetenv("WEIR_T_KEY");
}

static void the_journal_is_read(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "journal: {bytes: 64KiB, ttl: 5s, total: 8MiB}");
    assert_int_equal(r.settings->journal.stream_bytes, 64 << 10);
    assert_int_equal(r.settings->journal.total_bytes, 8 << 20);
    assert_int_equal(r.settings->journal.ttl_ns, 5 * NS_PER_SEC);
    reading_end(&r);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

static void wrong_routes_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"routes: {\"a b\": [sim/x]}",
         "weir.yaml:1:10: found the route name \"a b\"; expected letters, digits, \".\", \"_\" and "
         "\"-\", at most 64"},
        {"routes: {a/b: [sim/x]}",
         "weir.yaml:1:10: found the route name \"a/b\"; expected letters, digits, \".\", \"_\" and "
         "\"-\", at most 64"},
        {"routes: {\"a:floor\": [sim/x]}",
         "weir.yaml:1:10: found the route name \"a:floor\"; expected letters, digits, \".\", "
         "\"_\" and \"-\", at most 64"},
        {"routes: {a: []}", "weir.yaml:1:13: route \"a\": found no targets; expected at least one"},
        {"routes: {a: }", "weir.yaml:1:10: route \"a\": found no targets; expected at least one"},
        {"routes: {a: sim/x}",
         "weir.yaml:1:13: routes: found text; expected a list, one \"- \" an entry"},
        {"routes: {a: {strategy: cost}}", "weir.yaml:1:13: found no \"targets\" here; expected a "
                                          "list, one \"- \" an entry: what can answer"},
        {"routes: {a: {targets: [sim/x], strategy: fastest}}",
         "weir.yaml:1:42: strategy: found \"fastest\"; expected one of priority, round_robin, "
         "weighted, least_latency, least_busy, cost, conditional, hash, sticky"},
        {"routes: {a: [{target: sim/x, weight: 0}]}",
         "weir.yaml:1:13: route \"a\": found no target with a \"weight\" above 0; expected at "
         "least one"},
        {"routes: {a: [{target: sim/x, weight: 1001}]}",
         "weir.yaml:1:38: weight: found \"1001\"; expected an integer from 0 to 1000"},
        {"routes: {a: [{weight: 1}]}",
         "weir.yaml:1:14: found no \"target\" here; expected text: `provider/model`, a model that "
         "one provider lists, or another route"},
        {"routes: {a: [sim/x, \"two words\"]}",
         "weir.yaml:1:21: route \"a\": found the target \"two words\"; expected provider/model, a "
         "model, or a route"},
        {"routes: {a: [sim/x, a]}",
         "weir.yaml:1:21: route \"a\": found the route among its own targets; where a model has "
         "the route's name, write provider/model"},
        {"models: {a: sim/x}\nroutes: {a: [sim/x]}",
         "weir.yaml:2:10: route \"a\": found the same name under \"models\"; expected another"},
        {"routes: {a: {targets: [sim/x], strategy: hash, key: header}}",
         "weir.yaml:1:53: route \"a\": found no \"header\" of \"key\"; expected the name of one"},
        {"routes: {a: {targets: [sim/x], strategy: hash, key: {header: x-a}}}",
         "weir.yaml:1:53: route \"a\": found a \"header\" of \"key\" that is not asked for; "
         "expected \"by: header\" beside it"},
        {"routes: {a: {targets: [sim/x], strategy: hash, key: {by: header, header: \"x a\"}}}",
         "weir.yaml:1:53: route \"a\": found \"x a\"; expected the name of a header"},
        {"routes: {a: {targets: [sim/x], fallbacks: [\"b c\"]}}",
         "weir.yaml:1:43: route \"a\": found the fallback \"b c\"; expected provider/model, a "
         "model, or a route"},
        {"routes: {a: {targets: [sim/x], fallbacks: sim/y}}",
         "weir.yaml:1:43: fallbacks: found text; expected a list of texts, as in [one, two]"},
        {"routes: {a: {targets: [sim/x], retrys: 1}}",
         "weir.yaml:1:32: unknown key \"retrys\"; did you mean \"retries\"?"},
        {"routes: {a: {targets: [{target: sim/x, override: [1]}]}}",
         "weir.yaml:1:50: override: found a list; expected a mapping of names to values"},
        {"routes: {a: {targets: [{target: sim/x, override: {a..b: 1}}]}}",
         "weir.yaml:1:51: override: found the name \"a..b\"; expected that of a member, with "
         "single dots between the parts of its path"},
        {"routes: {a: {targets: [{target: sim/x, defaults: {a: .inf}}]}}",
         "weir.yaml:1:54: found \".inf\", a number that JSON cannot say; expected one that is "
         "finite"},
        {"routes: {a: {targets: [{target: sim/x, when: gold}]}}",
         "weir.yaml:1:46: when: found text; expected a mapping of conditions"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        must_refuse(cases[i].text, cases[i].said);
}

static void names_that_lead_nowhere_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"routes: {a: [sim/x, opnai/y]}",
         "weir.yaml:1:21: route \"a\": target \"opnai/y\" is no route, alias, provider/model or "
         "model that one provider lists"},
        {"routes: {a: {targets: [b], fallbacks: {context_window: [nothing]}}, b: [sim/x]}",
         "weir.yaml:1:57: route \"a\": context_window fallback \"nothing\" is no route, alias, "
         "provider/model or model that one provider lists"},
        {"routes: {a: [b], b: [a]}",
         "weir.yaml:1:10: route \"a\": leads back to itself: a -> b -> a; where a model has the "
         "route's name, write provider/model\n"
         "weir.yaml:1:18: route \"b\": leads back to itself: b -> a -> b; where a model has the "
         "route's name, write provider/model"},
        {"routes: {a: {targets: [sim/x], mirror: {target: gone/m, percent: 1}}}",
         "weir.yaml:1:49: route \"a\": mirror target \"gone/m\" is no route, alias, "
         "provider/model or model that one provider lists"},
        {"routes: {a: [sim/x]}\nrouting: {mirror: {target: gone/m, percent: 1}}",
         "weir.yaml:2:1: routing: the mirror target \"gone/m\" leads nowhere; expected a route, an "
         "alias, provider/model or a model that one provider lists"},
        {"routes: {a: {strategy: cost, least_quality: 50, targets: [sim/x]}}",
         "weir.yaml:1:10: route \"a\": no target has the quality of 50 that least_quality wants"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        must_refuse(cases[i].text, cases[i].said);
}

static void round_robin_is_made_ready(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "routes: {a: {strategy: round_robin, targets: [sim/x, {target: sim/y, "
                    "weight: 2}]}}");
    assert_int_equal(route_of(&r, "a")->turn_count, 3);
    reading_end(&r);
}

static void a_wrong_condition_is_told_with_its_place(void **state)
{
    (void)state;
    struct reading r;
    read_config(&r, "routes: {a: {targets: [{target: sim/x, when: {user: {$near: 3}}}]}}", NULL);
    assert_null(r.settings);
    assert_true(str_starts(str_c(r.said), STR("weir.yaml:1:46: when: ")));
    assert_true(str_find(str_c(r.said), STR("$near")) > 0);
    reading_end(&r);
}

static void wrong_policies_are_told_with_their_place(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"routing: {backoff: 10s}",
         "weir.yaml:1:20: routing: found a \"backoff\" that is longer than \"backoff_max\"; "
         "expected at most that"},
        /* What is inherited is told once. */
        {"routing: {backoff_max: 1ms}\nroutes: {a: [sim/x]}",
         "weir.yaml:1:24: routing: found a \"backoff\" that is longer than \"backoff_max\"; "
         "expected at most that"},
        {"routes: {a: {targets: [sim/x], backoff: 6s}}",
         "weir.yaml:1:41: route \"a\": found a \"backoff\" that is longer than \"backoff_max\"; "
         "expected at most that"},
        {"routing: {mirror: {percent: 5}}",
         "weir.yaml:1:19: routing: found no \"target\" of \"mirror\"; expected one, as \"percent\" "
         "is above 0"},
        {"routing: {mirror: {target: sim/x}}",
         "weir.yaml:1:19: routing: found no \"percent\" of \"mirror\"; expected one, as without it "
         "nothing is copied"},
        {"routing: {mirror: {target: \"a b\", percent: 1}}",
         "weir.yaml:1:19: routing: found the mirror target \"a b\"; expected provider/model or a "
         "route"},
        {"routing: {mirror: {target: sim/x, percent: 101}}",
         "weir.yaml:1:44: percent: found \"101\"; expected a percentage from 0 to 100"},
        {"routing: {mirror: {target: sim/x, percent: 0.00001}}",
         "weir.yaml:1:44: percent: found \"0.00001\"; expected a percentage with at most four "
         "decimals"},
        {"routing: {mirror: {target: sim/x, percent: some}}",
         "weir.yaml:1:44: percent: found \"some\"; expected a percentage like \"10\", \"0.5\" or "
         "\"2.5%\""},
        {"routing: {hedge: soon}", "weir.yaml:1:18: hedge: found \"soon\"; expected a duration "
                                   "like \"250ms\", \"30s\", \"5m\" or \"1h\""},
        {"routing: {breaker: {failure_percent: 0}}",
         "weir.yaml:1:38: failure_percent: found \"0\"; expected an integer from 1 to 100"},
        {"routing: {retries: 21}",
         "weir.yaml:1:20: retries: found \"21\"; expected an integer from 0 to 20"},
        {"journal: {bytes: 1B}", "weir.yaml:1:18: bytes: found \"1B\"; expected a size from 1KiB "
                                 "to 1GiB"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        must_refuse(cases[i].text, cases[i].said);
}

static void a_route_may_switch_off_what_it_inherits(void **state)
{
    (void)state;
    struct reading r;
    must_accept(&r, "routing: {mirror: {target: sim/m, percent: 10%}, hedge: 1s}\n"
                    "routes: {a: {targets: [sim/x], mirror: {percent: 0}, hedge: {after: 0s}}}\n");
    assert_int_equal(r.settings->routing.mirror_per_million, 100000);
    assert_int_equal(route_of(&r, "a")->policy.mirror_per_million, 0);
    assert_int_equal(route_of(&r, "a")->policy.hedge_after_ns, 0);
    reading_end(&r);
}

static void a_key_without_use_is_warned_of(void **state)
{
    (void)state;
    struct reading r;
    read_config(&r, "routes: {a: {targets: [sim/x], strategy: cost, key: user}}", NULL);
    assert_non_null(r.settings);
    assert_string_equal(r.said, "weir.yaml:1:48: warning: route \"a\": \"key\" means nothing to "
                                "the strategy cost, only to hash and sticky");
    reading_end(&r);
}

static void wrong_pools_are_told_and_show_no_key(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *said;
    } cases[] = {
        {"providers: {openai: {api_key: sk-one, keys: [sk-two]}}",
         "weir.yaml:1:45: provider \"openai\": found \"api_key\" and \"keys\"; expected one of "
         "the two"},
        {"providers: {openai: {keys: []}}",
         "weir.yaml:1:28: provider \"openai\": found no key with a \"weight\" above 0; expected at "
         "least one"},
        {"providers: {openai: {keys: [{api_key: sk-one, weight: 0}]}}",
         "weir.yaml:1:28: provider \"openai\": found no key with a \"weight\" above 0; expected at "
         "least one"},
        {"providers: {openai: {keys: [{name: a, api_key: sk-one}, {name: a, api_key: sk-two}]}}",
         "weir.yaml:1:57: provider \"openai\": found the key name \"a\" twice"},
        {"providers: {openai: {keys: [{name: a, api_key: sk-one}, {name: b, api_key: sk-one}]}}",
         "weir.yaml:1:57: provider \"openai\": the keys \"a\" and \"b\" are the same"},
        {"providers: {openai: {keys: [{name: a, api_key: \"sk-\\n-one\"}]}}",
         "weir.yaml:1:28: provider \"openai\": the key \"a\" holds a line break or another control "
         "character"},
        {"providers: {openai: {keys: [{name: \"a b\", api_key: sk-one}]}}",
         "weir.yaml:1:36: name: found \"a b\"; expected a name of letters, digits, \".\", \"_\" "
         "and \"-\", at most 64 long"},
        {"keys: [{name: a, value: longenough, team: \"x y\"}]",
         "weir.yaml:1:43: team: found \"x y\"; expected a name of letters, digits, \".\", \"_\" "
         "and \"-\", at most 64 long"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        must_refuse(cases[i].text, cases[i].said);
        assert_null(strstr(cases[i].said, "sk-"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_of_the_table_are_the_default_policy),
        cmocka_unit_test(every_part_of_a_policy_is_read),
        cmocka_unit_test(a_route_starts_from_routing_wherever_that_stands),
        cmocka_unit_test(a_route_is_read_whole),
        cmocka_unit_test(values_become_json_by_the_core_schema),
        cmocka_unit_test(a_condition_is_compiled),
        cmocka_unit_test(several_keys_make_a_pool),
        cmocka_unit_test(the_journal_is_read),
        cmocka_unit_test(wrong_routes_are_told_with_their_place),
        cmocka_unit_test(names_that_lead_nowhere_are_told_with_their_place),
        cmocka_unit_test(round_robin_is_made_ready),
        cmocka_unit_test(a_wrong_condition_is_told_with_its_place),
        cmocka_unit_test(wrong_policies_are_told_with_their_place),
        cmocka_unit_test(a_route_may_switch_off_what_it_inherits),
        cmocka_unit_test(a_key_without_use_is_warned_of),
        cmocka_unit_test(wrong_pools_are_told_and_show_no_key),
    };
    return cmocka_run_group_tests_name("control/config_routes", tests, set_up, NULL);
}
