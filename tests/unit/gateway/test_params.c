#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/json.h"
#include "gateway/params.h"

/* The members that a route sets in a body. */

enum { DEPTH = 64 };

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(4096);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct route_target target_of(struct route_param *overrides, unsigned override_count,
                                     struct route_param *defaults, unsigned default_count)
{
    return (struct route_target){.overrides = overrides,
                                 .override_count = override_count,
                                 .defaults = defaults,
                                 .default_count = default_count};
}

static void expect(const struct plan_step *step, const char *body, const char *want)
{
    struct buf out = BUF_INIT;
    assert_int_equal(params_apply(step, str_c(body), DEPTH, arena, &out), 0);
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, want);
    buf_fini(&out);
}

static void expect_override(const char *name, const char *json, const char *body, const char *want)
{
    struct route_param param = {str_c(name), str_c(json)};
    struct route_target target = target_of(&param, 1, NULL, 0);
    struct plan_step step = {.via = {{.target = &target}}, .via_count = 1};
    expect(&step, body, want);
}

static void expect_default(const char *name, const char *json, const char *body, const char *want)
{
    struct route_param param = {str_c(name), str_c(json)};
    struct route_target target = target_of(NULL, 0, &param, 1);
    struct plan_step step = {.via = {{.target = &target}}, .via_count = 1};
    expect(&step, body, want);
}

static void an_override_replaces_what_the_client_says(void **state)
{
    (void)state;
    expect_override("temperature", "0", "{\"temperature\":1,\"a\":2}",
                    "{\"temperature\":0,\"a\":2}");
    expect_override("temperature", "0", "{\"temperature\":null}", "{\"temperature\":0}");
    expect_override("stop", "[\"x\"]", "{\"stop\" : \"y\" }", "{\"stop\" : [\"x\"] }");
}

static void what_is_missing_is_added(void **state)
{
    (void)state;
    struct route_param params[] = {{STR("b"), STR("1")}, {STR("c"), STR("{}")}};
    struct route_target target = target_of(params, 2, NULL, 0);
    struct plan_step step = {.via = {{.target = &target}}, .via_count = 1};
    struct buf out = BUF_INIT;
    struct json_want wants[] = {{{STR("a")}}, {{STR("b")}}, {{STR("c")}}};
    struct json_scan scan;
    assert_int_equal(params_apply(&step, STR("{\"a\":0}"), DEPTH, arena, &out), 0);
    assert_int_equal(json_scan_object(buf_str(&out), DEPTH, wants, 3, &scan), 0);
    assert_int_equal(scan.found[0].kind, JSON_NUMBER);
    assert_int_equal(scan.found[1].kind, JSON_NUMBER);
    assert_int_equal(scan.found[2].kind, JSON_OBJECT);
    buf_fini(&out);
    expect_override("b", "1", "{}", "{\"b\":1}");
    expect_override("b", "1", " { } ", " {\"b\":1 } ");
}

static void dots_lead_into_objects(void **state)
{
    (void)state;
    expect_override("a.b", "1", "{\"a\":{\"b\":0}}", "{\"a\":{\"b\":1}}");
    expect_override("a.b", "1", "{\"a\":{}}", "{\"a\":{\"b\":1}}");
    expect_override("a.b", "1", "{\"a\":null}", "{\"a\":{\"b\":1}}");
    expect_override("a.b.c", "1", "{}", "{\"a\":{\"b\":{\"c\":1}}}");
    expect_override("a.b.c", "1", "{\"a\":{\"b\":null}}", "{\"a\":{\"b\":{\"c\":1}}}");
}

static void what_is_no_object_is_not_gone_into(void **state)
{
    (void)state;
    struct route_param param = {STR("a.b"), STR("1")};
    struct route_target target = target_of(&param, 1, NULL, 0);
    struct plan_step step = {.via = {{.target = &target}}, .via_count = 1};
    static const char *const bodies[] = {"{\"a\":1}", "{\"a\":[]}", "{\"a\":\"b\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct buf out = BUF_INIT;
        assert_int_equal(params_apply(&step, str_c(bodies[i]), DEPTH, arena, &out), -ERR_INVALID);
        assert_non_null(strstr(err_slot()->message, "'a'"));
        buf_fini(&out);
    }
}

static void a_default_leaves_the_clients_word(void **state)
{
    (void)state;
    expect_default("t", "0", "{\"t\":1}", "{\"t\":1}");
    expect_default("t", "0", "{\"t\":false}", "{\"t\":false}");
    expect_default("t", "0", "{\"t\":null}", "{\"t\":0}");
    expect_default("t", "0", "{}", "{\"t\":0}");
    expect_default("a.t", "0", "{\"a\":{\"t\":1}}", "{\"a\":{\"t\":1}}");
}

static void an_override_stands_before_a_default(void **state)
{
    (void)state;
    struct route_param override = {STR("t"), STR("1")}, usual = {STR("t"), STR("2")};
    struct route_target target = target_of(&override, 1, &usual, 1);
    struct plan_step step = {.via = {{.target = &target}}, .via_count = 1};
    expect(&step, "{}", "{\"t\":1}");
}

/* A route within a route: the outer one's override wins, the inner one's default does. */
static void nested_routes_have_their_say(void **state)
{
    (void)state;
    struct route_param outer = {STR("t"), STR("1")}, inner = {STR("t"), STR("2")};
    struct route_target first = target_of(&outer, 1, NULL, 0);
    struct route_target second = target_of(&inner, 1, NULL, 0);
    struct plan_step step = {.via = {{.target = &first}, {.target = &second}}, .via_count = 2};
    expect(&step, "{\"t\":0}", "{\"t\":1}");
    first = target_of(NULL, 0, &outer, 1);
    second = target_of(NULL, 0, &inner, 1);
    expect(&step, "{}", "{\"t\":2}");
}

static void too_many_parts_are_refused(void **state)
{
    (void)state;
    struct route_param param = {STR("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q"), STR("1")};
    struct route_target target = target_of(&param, 1, NULL, 0);
    struct plan_step step = {.via = {{.target = &target}}, .via_count = 1};
    struct buf out = BUF_INIT;
    assert_int_equal(params_apply(&step, STR("{}"), DEPTH, arena, &out), -ERR_INVALID);
    buf_fini(&out);
}

static void a_step_without_parameters_is_told_apart(void **state)
{
    (void)state;
    struct route_param param = {STR("a"), STR("1")};
    struct route_target none = target_of(NULL, 0, NULL, 0), some = target_of(NULL, 0, &param, 1);
    struct plan_step step = {.via = {{.target = &none}, {.target = &some}}, .via_count = 1};
    assert_false(params_are_there(NULL));
    assert_false(params_are_there(&step));
    step.via_count = 2;
    assert_true(params_are_there(&step));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_override_replaces_what_the_client_says),
        cmocka_unit_test(what_is_missing_is_added),
        cmocka_unit_test(dots_lead_into_objects),
        cmocka_unit_test(what_is_no_object_is_not_gone_into),
        cmocka_unit_test(a_default_leaves_the_clients_word),
        cmocka_unit_test(an_override_stands_before_a_default),
        cmocka_unit_test(nested_routes_have_their_say),
        cmocka_unit_test(too_many_parts_are_refused),
        cmocka_unit_test(a_step_without_parameters_is_told_apart),
    };
    return cmocka_run_group_tests_name("gateway/params", tests, set_up, tear_down);
}
