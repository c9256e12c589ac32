#include "base/err.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void the_last_error_is_kept(void **state)
{
    (void)state;
    assert_int_equal(err_set(ERR_TLS, FAULT_UPSTREAM, "certificate of %s", "x"), -ERR_TLS);
    assert_int_equal(err_slot()->code, ERR_TLS);
    assert_int_equal(err_slot()->fault, FAULT_UPSTREAM);
    assert_string_equal(err_slot()->message, "certificate of x");
    err_slot()->retry = RETRY_YES;
    errno = ECONNREFUSED;
    assert_int_equal(err_set_errno(ERR_CONNECT, FAULT_UPSTREAM, "connect"), -ERR_CONNECT);
    assert_int_equal(err_slot()->errno_value, ECONNREFUSED);
    assert_int_equal(err_slot()->retry, RETRY_NO);
    assert_string_equal(err_slot()->message, "connect: Connection refused");
    err_clear();
    assert_int_equal(err_slot()->code, 0);
    assert_string_equal(err_slot()->message, "");
}

static void wrapping_puts_words_before(void **state)
{
    (void)state;
    err_set(ERR_DNS, FAULT_UPSTREAM, "no such name");
    err_slot()->retry = RETRY_YES;
    assert_int_equal(err_wrap("provider %d", 7), -ERR_DNS);
    assert_string_equal(err_slot()->message, "provider 7: no such name");
    assert_int_equal(err_slot()->retry, RETRY_YES);
    /* Too much of it is cut, never overrun. */
    for (int i = 0; i < 50; i++)
        err_wrap("another layer");
    assert_int_equal(strlen(err_slot()->message), sizeof(err_slot()->message) - 1);
    char big[1000];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    err_wrap("%s", big);
    assert_int_equal(strlen(err_slot()->message), sizeof(err_slot()->message) - 1);
}

static void *other_thread(void *arg)
{
    (void)arg;
    assert_int_equal(err_slot()->code, 0);
    err_set(ERR_BUSY, FAULT_GATEWAY, "elsewhere");
    return NULL;
}

static void slots_are_apart(void **state)
{
    (void)state;
    err_set(ERR_IO, FAULT_GATEWAY, "mine");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, other_thread, NULL), 0);
    pthread_join(thread, NULL);
    assert_string_equal(err_slot()->message, "mine");
    struct err own = {0};
    err_slot_use(&own);
    err_set(ERR_LIMIT, FAULT_CLIENT, "in the task");
    err_slot_use(NULL);
    assert_string_equal(err_slot()->message, "mine");
    assert_string_equal(own.message, "in the task");
}

static void every_code_has_a_name(void **state)
{
    (void)state;
    for (int code = 0; code < ERR_CODE_COUNT; code++) {
        assert_non_null(err_name(code));
        assert_string_equal(err_name(code), err_name(-code));
        for (int other = 0; other < code; other++)
            assert_string_not_equal(err_name(code), err_name(other));
    }
    assert_string_equal(err_name(ERR_CODE_COUNT), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_error_is_kept),
        cmocka_unit_test(wrapping_puts_words_before),
        cmocka_unit_test(slots_are_apart),
        cmocka_unit_test(every_code_has_a_name),
    };
    return cmocka_run_group_tests_name("base/err", tests, NULL, NULL);
}
