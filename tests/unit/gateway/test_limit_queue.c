#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "gateway/limit_queue.h"
#include "rt/loop.h"

/* The queue of requests that wait for keys at their limit. */

static struct loop *loop;

struct waiter {
    struct limit_ticket ticket;
    struct task *task;
    const char *model;
    int64_t until_ns, deadline_ns;
    unsigned most;
    int entered, result;
    bool is_done;
    char letter;
};

/* Who had a turn, a letter each. */
static char turns[16];
static unsigned turn_count;

static int set_up(void **state)
{
    (void)state;
    clock_fake(1000 * NS_PER_SEC, 0);
    loop = loop_new(0);
    turn_count = 0;
    memset(turns, 0, sizeof(turns));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    loop_free(loop);
    clock_real();
    return 0;
}

static void advance_ms(int64_t ms)
{
    clock_fake_advance(ms * NS_PER_MS);
    for (int i = 0; i < 6; i++)
        loop_turn(loop, 0);
}

static int64_t in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * NS_PER_MS;
}

static void wait_main(void *arg)
{
    struct waiter *w = arg;
    w->entered = limit_queue_enter(&w->ticket, STR("p"), str_c(w->model), w->most);
    if (w->entered == 0) {
        w->result = limit_queue_turn(&w->ticket, w->until_ns, w->deadline_ns);
        if (w->result == 0)
            turns[turn_count++] = w->letter;
        limit_queue_leave(&w->ticket);
    }
    w->is_done = true;
}

static struct waiter waiter(char letter, const char *model, int64_t until_ms, int64_t deadline_ms)
{
    return (struct waiter){.letter = letter,
                           .model = model,
                           .most = 8,
                           .until_ns = in_ms(until_ms),
                           .deadline_ns = in_ms(deadline_ms)};
}

static void begin(struct waiter *w)
{
    w->task = task_spawn(RUN_NORMAL, "waiter", wait_main, w);
    assert_non_null(w->task);
    advance_ms(0);
}

/* The later one could go sooner, and does not. */
static void nobody_is_overtaken(void **state)
{
    (void)state;
    struct waiter a = waiter('a', "m", 50, 1000), b = waiter('b', "m", 10, 1000);
    struct waiter c = waiter('c', "m", 10, 1000);
    begin(&a);
    begin(&b);
    begin(&c);
    advance_ms(20);
    assert_string_equal(turns, "");
    assert_true(limit_queue_is_busy(STR("p"), STR("m")));
    advance_ms(40);
    assert_string_equal(turns, "abc");
    assert_false(limit_queue_is_busy(STR("p"), STR("m")));
}

static void targets_have_queues_of_their_own(void **state)
{
    (void)state;
    struct waiter a = waiter('a', "m", 50, 1000), b = waiter('b', "n", 10, 1000);
    begin(&a);
    begin(&b);
    advance_ms(20);
    assert_string_equal(turns, "b");
    assert_true(limit_queue_is_busy(STR("p"), STR("m")));
    assert_false(limit_queue_is_busy(STR("p"), STR("n")));
    assert_false(limit_queue_is_busy(STR("q"), STR("m")));
    advance_ms(40);
    assert_string_equal(turns, "ba");
}

static void a_full_queue_takes_nobody(void **state)
{
    (void)state;
    struct waiter a = waiter('a', "m", 50, 1000), b = waiter('b', "m", 10, 1000);
    struct waiter other = waiter('o', "n", 0, 1000);
    a.most = b.most = other.most = 1;
    begin(&a);
    begin(&b);
    begin(&other);
    assert_true(b.is_done);
    assert_int_equal(b.entered, -ERR_BUSY);
    assert_int_equal(other.entered, 0);
    advance_ms(60);
    assert_string_equal(turns, "oa");
}

static void the_deadline_ends_a_wait(void **state)
{
    (void)state;
    struct waiter a = waiter('a', "m", 500, 1000), b = waiter('b', "m", 0, 30);
    begin(&a);
    begin(&b);
    advance_ms(20);
    assert_false(b.is_done);
    advance_ms(20);
    assert_true(b.is_done);
    assert_int_equal(b.result, -ERR_TIMEOUT);
    advance_ms(500);
    assert_string_equal(turns, "a");
}

static void who_is_cancelled_makes_way(void **state)
{
    (void)state;
    struct waiter a = waiter('a', "m", 500, 1000), b = waiter('b', "m", 0, 1000);
    begin(&a);
    begin(&b);
    assert_false(b.is_done);
    task_cancel(a.task, ERR_RESET);
    advance_ms(1);
    assert_true(a.is_done);
    assert_int_equal(a.result, -ERR_CANCELED);
    assert_string_equal(turns, "b");
}

static void leaving_twice_is_leaving_once(void **state)
{
    (void)state;
    struct limit_ticket ticket = {0};
    limit_queue_leave(&ticket);
    struct waiter a = waiter('a', "m", 10, 1000);
    begin(&a);
    advance_ms(20);
    limit_queue_leave(&a.ticket);
    assert_false(limit_queue_is_busy(STR("p"), STR("m")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_is_overtaken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(targets_have_queues_of_their_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue_takes_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_deadline_ends_a_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_is_cancelled_makes_way, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaving_twice_is_leaving_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("gateway/limit-queue", tests, NULL, NULL);
}
