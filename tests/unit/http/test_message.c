#include "http/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"

static void header_lists(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    struct http_headers h = {0};
    assert_null(http_headers_get(&h, STR("a")).ptr);
    assert_int_equal(http_headers_count(&h, STR("a")), 0);
    /* More than the first block of the list holds. */
    for (unsigned i = 0; i < 100; i++) {
        struct str name = arena_printf(arena, "X-%u", i);
        assert_true(http_headers_add(&h, arena, name, arena_printf(arena, "v%u", i)));
    }
    assert_true(http_headers_add(&h, arena, STR("x-7"), STR("again")));
    assert_true(http_headers_add(&h, arena, STR("Empty"), STR_EMPTY));
    assert_int_equal(h.count, 102);
    assert_true(str_eq(http_headers_get(&h, STR("x-7")), STR("v7")));
    assert_int_equal(http_headers_count(&h, STR("X-7")), 2);
    assert_true(str_eq(http_headers_get(&h, STR("X-99")), STR("v99")));
    assert_null(http_headers_get(&h, STR("X-100")).ptr);
    /* An empty value is a value. */
    assert_non_null(http_headers_get(&h, STR("empty")).ptr);
    assert_int_equal(http_headers_get(&h, STR("empty")).len, 0);
    arena_free(arena);
}

static void a_list_survives_running_out_of_memory(void **state)
{
    (void)state;
    struct arena *arena = arena_new(512);
    struct http_headers h = {0};
    unsigned added = 0;
    while (http_headers_add(&h, arena, STR("a"), STR("b"))) {
        added++;
        mem_fail_at(1);
        assert_true(added < 1000);
    }
    mem_fail_at(0);
    assert_true(added > 0);
    assert_int_equal(http_headers_count(&h, STR("A")), added);
    assert_true(http_headers_add(&h, arena, STR("c"), STR("d")));
    assert_true(str_eq(http_headers_get(&h, STR("c")), STR("d")));
    arena_free(arena);
}

static void tokens(void **state)
{
    (void)state;
    struct http_header items[] = {{STR_INIT("Connection"), STR_INIT("Keep-Alive ,\tfoo")},
                                  {STR_INIT("Other"), STR_INIT("close")},
                                  {STR_INIT("connection"), STR_INIT(", Bar,,")}};
    struct http_headers h = {items, 3, 3};
    assert_true(http_headers_has_token(&h, STR("connection"), STR("keep-alive")));
    assert_true(http_headers_has_token(&h, STR("connection"), STR("foo")));
    assert_true(http_headers_has_token(&h, STR("connection"), STR("bar")));
    assert_false(http_headers_has_token(&h, STR("connection"), STR("close")));
    assert_false(http_headers_has_token(&h, STR("connection"), STR("fo")));
    assert_true(http_header_is_hop_by_hop(&h, STR("FOO")));
    assert_true(http_header_is_hop_by_hop(&h, STR("Transfer-Encoding")));
    assert_true(http_header_is_hop_by_hop(&h, STR("Proxy-Authorization")));
    assert_false(http_header_is_hop_by_hop(&h, STR("Content-Length")));
    assert_false(http_header_is_hop_by_hop(&h, STR("Other")));
}

/* Each byte in each place of a word: what may be written in a head, and what would end a line. */
static void safe_bytes(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        bool is_control = (c < 0x20 && c != '\t') || c == 0x7f;
        bool is_token = c > 0x20 && c < 0x7f && strchr("()<>@,;:\\\"/[]?={}", (int)c) == NULL;
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            memset(text, 'a', sizeof(text));
            text[at] = (char)c;
            assert_int_equal(http_value_is_safe(str_n(text, sizeof(text))), !is_control);
            assert_int_equal(http_name_is_safe(str_n(text, sizeof(text))), is_token);
        }
        char one = (char)c;
        assert_int_equal(http_value_is_safe(str_n(&one, 1)), !is_control);
        assert_int_equal(http_name_is_safe(str_n(&one, 1)), is_token);
    }
    assert_true(http_value_is_safe(STR_EMPTY));
    assert_false(http_name_is_safe(STR_EMPTY));
}

static void names_of_methods_and_statuses(void **state)
{
    (void)state;
    assert_true(str_eq(http_method_name(METHOD_GET), STR("GET")));
    assert_true(str_eq(http_method_name(METHOD_CONNECT), STR("CONNECT")));
    assert_int_equal(http_method_name(METHOD_OTHER).len, 0);
    assert_true(str_eq(http_reason(200), STR("OK")));
    assert_true(str_eq(http_reason(404), STR("Not Found")));
    assert_int_equal(http_reason(799).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_lists),
        cmocka_unit_test(a_list_survives_running_out_of_memory),
        cmocka_unit_test(tokens),
        cmocka_unit_test(safe_bytes),
        cmocka_unit_test(names_of_methods_and_statuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
