/* Kept responses: whose they are, how many, for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "gateway/response_store.h"

static void put(const char *id, const char *key)
{
    struct stored_response stored = {str_c(id), str_c(key), STR("{\"id\":1}"), STR("[1]")};
    response_store_put(&stored);
}

static bool has(const char *id, const char *key)
{
    return response_store_get(str_c(id), str_c(key), NULL, NULL);
}

static void test_it_is_off_until_it_is_configured(void **state)
{
    (void)state;
    response_store_configure(0, NS_PER_SEC);
    assert_false(response_store_is_on());
    put("a", "k");
    assert_false(has("a", "k"));
}

static void test_a_key_sees_its_own_only(void **state)
{
    (void)state;
    struct buf response = BUF_INIT, items = BUF_INIT;
    response_store_configure(1 << 20, 3600 * NS_PER_SEC);
    put("a", "k");
    assert_false(has("a", "other"));
    assert_false(response_store_delete(STR("a"), STR("other")));
    assert_true(response_store_get(STR("a"), STR("k"), &response, &items));
    assert_true(str_eq(buf_str(&response), STR("{\"id\":1}")));
    assert_true(str_eq(buf_str(&items), STR("[1]")));
    assert_true(response_store_delete(STR("a"), STR("k")));
    assert_false(has("a", "k"));
    buf_fini(&response);
    buf_fini(&items);
}

static void test_the_oldest_make_room(void **state)
{
    (void)state;
    char id[16];
    response_store_configure(4096, 3600 * NS_PER_SEC);
    for (int i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "r%d", i);
        put(id, "k");
    }
    assert_false(has("r0", "k"));
    assert_true(has("r99", "k"));
    response_store_configure(0, 0);
    assert_false(has("r99", "k"));
}

static void test_time_ends_them(void **state)
{
    (void)state;
    clock_fake(NS_PER_SEC, NS_PER_SEC);
    response_store_configure(4096, 10 * NS_PER_SEC);
    put("a", "k");
    clock_fake_advance(9 * NS_PER_SEC);
    assert_true(has("a", "k"));
    clock_fake_advance(2 * NS_PER_SEC);
    assert_false(has("a", "k"));
    response_store_configure(0, 0);
    clock_real();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_off_until_it_is_configured),
        cmocka_unit_test(test_a_key_sees_its_own_only),
        cmocka_unit_test(test_the_oldest_make_room),
        cmocka_unit_test(test_time_ends_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
