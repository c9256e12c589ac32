#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/client.h"
#include "rt/loop.h"
#include "token_server.h"

/* When a credential is fetched, how long it serves, and what happens when it cannot be had. */

static const struct provider google = {.name = STR_INIT("vertex"), .auth = AUTH_GOOGLE};

/* Tokens tok-1, tok-2, ... of an hour: refreshed from 3375 s on, a little before 225 s are left. */
static unsigned oauth(struct service *s, const struct http_request *r, struct str body,
                      struct buf *answer)
{
    (void)r;
    (void)body;
    buf_printf(answer, "{\"access_token\":\"tok-%u\",\"expires_in\":3600}", ++s->state);
    return 200;
}

/* The token that a refresh under way brings. */
YIELDS static void await_authorization(struct credential *c, const char *expected)
{
    struct arena *arena = arena_new(4096);
    struct http_headers out = {0};
    for (unsigned i = 0; i < 10000; i++) {
        const char *text = authorize(c, arena, &out);
        if (text != NULL && strcmp(text, expected) == 0)
            break;
        out.count = 0;
        let_run();
    }
    arena_free(arena);
    expect_authorization(c, expected);
}

/* --- together ----------------------------------------------------------------------------------
 */

enum { MANY = 20 };
static unsigned got;
static struct credential *shared;

YIELDS static void one_of_many(void *arg)
{
    (void)arg;
    expect_authorization(shared, "Bearer tok-1");
    got++;
}

YIELDS static void many(void *arg)
{
    (void)arg;
    got = 0;
    shared = credential_new(&google, NULL);
    service.is_held = true;
    for (unsigned i = 0; i < MANY; i++)
        assert_non_null(task_spawn(RUN_NORMAL, "one of many", one_of_many, NULL));
    service_wait(1);
    assert_int_equal(got, 0);
    service.is_held = false;
    while (got < MANY)
        let_run();
    assert_int_equal(service.asked, 1);
    credential_free(shared);
}

static void all_wait_for_the_first_one_together(void **state)
{
    (void)state;
    with_service(oauth, many);
}

/* --- in time -----------------------------------------------------------------------------------
 */

YIELDS static void refresh(void *arg)
{
    (void)arg;
    struct credential *c = credential_new(&google, NULL);
    expect_authorization(c, "Bearer tok-1");
    pass_s(3300);
    expect_authorization(c, "Bearer tok-1");
    assert_int_equal(service.asked, 1);
    service.is_held = true;
    pass_s(100); /* nobody asks: the timer does it */
    service_wait(2);
    for (unsigned i = 0; i < 5; i++) /* nobody waits for it either */
        expect_authorization(c, "Bearer tok-1");
    assert_int_equal(service.asked, 2);
    service.is_held = false;
    await_authorization(c, "Bearer tok-2");
    /* What nobody used is not refreshed until somebody comes. */
    struct credential *idle = credential_new(&google, NULL);
    expect_authorization(idle, "Bearer tok-3");
    credential_free(c);
    pass_s(3450);
    service_wait(4);
    pass_s(3450);
    assert_int_equal(service.asked, 4);
    pass_s(3600);
    expect_authorization(idle, "Bearer tok-5");
    credential_free(idle);
}

static void a_token_is_refreshed_before_it_expires(void **state)
{
    (void)state;
    with_service(oauth, refresh);
}

YIELDS static void failing(void *arg)
{
    (void)arg;
    struct credential *c = credential_new(&google, NULL);
    expect_authorization(c, "Bearer tok-1");
    service.fails = 1000;
    pass_s(3400);
    service_wait(2);
    expect_authorization(c, "Bearer tok-1");
    wait_logged("no new credential: ");
    wait_logged("answers 500; the old one holds for another 200 s");
    for (unsigned s = 0; s < 190; s++) {
        pass_s(1);
        expect_authorization(c, "Bearer tok-1");
    }
    /* After 1, 2, 4, ... 60 s and somewhat more: not once a second. */
    assert_in_range(service.asked, 7, 9);
    pass_s(61);
    expect_failure(c, "no credential: ");
    unsigned asked = service.asked;
    expect_failure(c, "answers 500"); /* at once: it is not time to ask again */
    assert_int_equal(service.asked, asked);
    pass_s(600); /* nobody asks, so weir does not either */
    assert_int_equal(service.asked, asked);
    service.fails = 0;
    expect_authorization(c, "Bearer tok-2");
    assert_true(str_find(logged(), STR("there is a credential again")) >= 0);
    assert_true(str_find(logged(), STR("tok-")) < 0);
    credential_free(c);
}

static void the_old_token_serves_while_no_new_one_comes(void **state)
{
    (void)state;
    with_service(oauth, failing);
}

YIELDS static void refused(void *arg)
{
    (void)arg;
    struct credential *c = credential_new(&google, NULL);
    expect_authorization(c, "Bearer tok-1");
    credential_refused(c);
    let_run();
    assert_int_equal(service.asked, 1); /* it is too new to be the cause */
    pass_s(61);
    credential_refused(c);
    credential_refused(c);
    await_authorization(c, "Bearer tok-2");
    assert_int_equal(service.asked, 2);
    credential_free(c);
    struct provider with_key = google;
    with_key.api_key = STR("key");
    c = credential_new(&with_key, NULL);
    pass_s(61);
    credential_refused(c);
    let_run();
    expect_authorization(c, "Bearer key");
    assert_int_equal(service.asked, 2);
    credential_free(c);
}

static void a_refused_token_is_fetched_anew(void **state)
{
    (void)state;
    with_service(oauth, refused);
}

/* --- ends --------------------------------------------------------------------------------------
 */

YIELDS static void gone(void *arg)
{
    (void)arg;
    struct arena *arena = arena_new(1024);
    struct http_headers out = {0};
    struct credential *c = credential_new(&google, NULL);
    service.is_held = true;
    /* The one who waits has a deadline; the fetch goes on. */
    int64_t now_ns = clock_mono_ns();
    assert_int_equal(credential_apply(c, a_request(), now_ns, arena, &out), -ERR_TIMEOUT);
    service_wait(1);
    credential_free(c); /* with the fetch under way */
    let_run();
    service.is_held = false;
    c = credential_new(&google, NULL);
    expect_authorization(c, "Bearer tok-2");
    assert_int_equal(service.asked, 2);
    credential_free(c);
    arena_free(arena);
}

static void a_credential_may_go_while_it_is_fetched(void **state)
{
    (void)state;
    with_service(oauth, gone);
}

YIELDS static void waiting(void *arg)
{
    expect_failure(shared, "no credential: ");
    *(bool *)arg = true;
}

YIELDS static void stopped(void *arg)
{
    (void)arg;
    bool is_over = false;
    shared = credential_new(&google, NULL);
    service.is_held = true;
    assert_non_null(task_spawn(RUN_NORMAL, "waiting", waiting, &is_over));
    service_wait(1);
    credential_stop_all();
    while (!is_over)
        let_run();
    service.is_held = false;
    credential_free(shared);
}

static void the_end_of_a_loop_ends_its_fetches(void **state)
{
    (void)state;
    with_service(oauth, stopped);
}

/* --- out of memory -----------------------------------------------------------------------------
 */

/* Each allocation on the way fails in turn, the service's among them: then there is an error and no
 * credential, or another attempt has brought one. */
YIELDS static void starved(void *arg)
{
    (void)arg;
    service.lacks_memory = true;
    bool has_failed = true;
    unsigned failures = 0;
    for (uint64_t n = 1; has_failed; n++) {
        struct arena *arena = arena_new(4096);
        struct http_headers out = {0};
        mem_fail_at(n);
        struct credential *c = credential_new(&google, NULL);
        const char *text = c != NULL ? authorize(c, arena, &out) : NULL;
        has_failed = mem_count() >= n;
        mem_fail_at(0);
        assert_true(text != NULL || has_failed);
        failures += text == NULL;
        credential_free(c);
        arena_free(arena);
        http_pool_purge(0);
        let_run();
        assert_true(n < 5000);
    }
    assert_true(failures > 5);
}

static void each_allocation_may_fail(void **state)
{
    (void)state;
    with_service(oauth, starved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_wait_for_the_first_one_together),
        cmocka_unit_test(a_token_is_refreshed_before_it_expires),
        cmocka_unit_test(the_old_token_serves_while_no_new_one_comes),
        cmocka_unit_test(a_refused_token_is_fetched_anew),
        cmocka_unit_test(a_credential_may_go_while_it_is_fetched),
        cmocka_unit_test(the_end_of_a_loop_ends_its_fetches),
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests_name("provider/credential_refresh", tests, NULL, NULL);
}
