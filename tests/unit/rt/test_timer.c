#include "rt/timer.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "rt/random.h"

enum { TIMERS = 300 };

/* A timer, and beside it what the wheel should know of it. */
struct modelled {
    struct timer timer;
    int64_t deadline_ns; /* CLOCK_NEVER = not armed; it must not fire before */
    int64_t due_tick;    /* it must have fired when this tick has begun */
    unsigned fired;
};

static struct timer_wheel wheel;
static struct modelled timers[TIMERS];
static int64_t now_ns;

static void on_fire(struct timer *timer)
{
    struct modelled *m = CONTAINER_OF(timer, struct modelled, timer);
    assert_true(m->deadline_ns != CLOCK_NEVER);
    assert_true(m->deadline_ns <= now_ns);
    m->deadline_ns = CLOCK_NEVER;
    m->fired++;
}

static void set_up(int64_t start_ns)
{
    now_ns = start_ns;
    timer_wheel_init(&wheel, now_ns);
    for (size_t i = 0; i < TIMERS; i++) {
        timers[i] = (struct modelled){.deadline_ns = CLOCK_NEVER};
        timer_init(&timers[i].timer, on_fire);
    }
}

/* A span of any order of magnitude, from under a tick to beyond the wheel's horizon. */
static int64_t random_span(void)
{
    int64_t span = (int64_t)(random_u64() >> (1 + random_below(63)));
    return span % (INT64_C(1) << 52);
}

static void arm(struct modelled *m, int64_t deadline_ns)
{
    timer_arm(&wheel, &m->timer, deadline_ns);
    m->deadline_ns = deadline_ns;
    /* What is armed for the past waits for the next tick. */
    m->due_tick = MAX((deadline_ns + NS_PER_MS - 1) / NS_PER_MS, now_ns / NS_PER_MS + 1);
}

static void change_one(void)
{
    struct modelled *m = &timers[random_below(TIMERS)];
    switch (random_below(6)) {
    case 0:
        timer_disarm(&m->timer);
        m->deadline_ns = CLOCK_NEVER;
        break;
    case 1:
        timer_disarm_lazily(&m->timer);
        m->deadline_ns = CLOCK_NEVER;
        break;
    case 2: /* pushed out, as an idle timer is at each read */
        if (m->deadline_ns != CLOCK_NEVER)
            arm(m, m->deadline_ns + (int64_t)random_below(5000 * NS_PER_MS));
        break;
    case 3: /* in the past already */
        arm(m, now_ns - (int64_t)random_below(10 * NS_PER_MS));
        break;
    default:
        arm(m, now_ns + random_span());
    }
}

static int64_t earliest_tick(void)
{
    int64_t first = INT64_MAX;
    for (size_t i = 0; i < TIMERS; i++) {
        if (timers[i].deadline_ns != CLOCK_NEVER)
            first = MIN(first, timers[i].due_tick);
    }
    return first;
}

static void check_nothing_is_late(void)
{
    int64_t first = earliest_tick();
    assert_true(first > now_ns / NS_PER_MS);
    /* A loop that sleeps until then is late for nobody. */
    if (first != INT64_MAX)
        assert_true(timer_wheel_next_ns(&wheel) <= first * NS_PER_MS);
}

static unsigned run_to(int64_t to_ns)
{
    now_ns = to_ns;
    return timer_wheel_run(&wheel, now_ns);
}

static void random_timers_fire_as_a_plain_list_would(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        random_fake(seed);
        set_up((int64_t)random_below(1000000) * NS_PER_SEC);
        for (int step = 0; step < 3000; step++) {
            for (uint64_t changes = random_below(5); changes > 0; changes--)
                change_one();
            int64_t span = random_below(3) == 0 ? random_span() % (1000 * NS_PER_SEC)
                                                : (int64_t)random_below(3 * NS_PER_MS);
            unsigned before = 0, after = 0;
            for (size_t i = 0; i < TIMERS; i++)
                before += timers[i].fired;
            unsigned fired = run_to(now_ns + span);
            for (size_t i = 0; i < TIMERS; i++)
                after += timers[i].fired;
            assert_int_equal(after - before, fired);
            check_nothing_is_late();
        }
        for (size_t i = 0; i < TIMERS; i++)
            timer_disarm(&timers[i].timer);
    }
    random_fake(0);
}

static void sleeping_until_next_fires_all(void **state)
{
    (void)state;
    random_fake(5);
    set_up(12345 * NS_PER_MS + 6789);
    for (size_t i = 0; i < TIMERS; i++)
        arm(&timers[i], now_ns + random_span() % (INT64_C(1) << 50));
    unsigned fired = 0, wakes = 0;
    while (earliest_tick() != INT64_MAX) {
        int64_t next_ns = timer_wheel_next_ns(&wheel);
        assert_true(next_ns > now_ns && next_ns != CLOCK_NEVER);
        fired += run_to(next_ns);
        assert_true(++wakes < TIMERS * 20);
    }
    assert_int_equal(fired, TIMERS);
    assert_int_equal(timer_wheel_next_ns(&wheel), CLOCK_NEVER);
    random_fake(0);
}

static void re_arming_is_a_store(void **state)
{
    (void)state;
    set_up(0);
    struct modelled *m = &timers[0];
    arm(m, 10 * NS_PER_MS);
    const struct list *before = m->timer.node.next;
    /* Later deadlines leave the node where it is; it moves when its old time comes. */
    for (int64_t ms = 11; ms < 500; ms++) {
        arm(m, ms * NS_PER_MS);
        assert_ptr_equal(m->timer.node.next, before);
    }
    assert_int_equal(run_to(498 * NS_PER_MS), 0);
    assert_int_equal(run_to(499 * NS_PER_MS), 1);
    /* An earlier one must move it at once. */
    arm(m, 5000 * NS_PER_MS);
    arm(m, 600 * NS_PER_MS);
    assert_int_equal(run_to(600 * NS_PER_MS), 1);
    assert_int_equal(run_to(9000 * NS_PER_MS), 0);
    assert_int_equal(m->fired, 2);
}

static unsigned ticks;

static void tick_again(struct timer *timer)
{
    if (++ticks < 10)
        timer_arm(&wheel, timer, now_ns + NS_PER_MS);
}

static struct timer victim;

static void kill_victim(struct timer *timer)
{
    (void)timer;
    ticks++;
    timer_disarm(&victim);
}

static void callbacks_may_change_timers(void **state)
{
    (void)state;
    set_up(0);
    ticks = 0;
    struct timer again;
    timer_init(&again, tick_again);
    timer_arm(&wheel, &again, NS_PER_MS);
    for (int64_t ms = 1; ms <= 30; ms++)
        run_to(ms * NS_PER_MS);
    assert_int_equal(ticks, 10);

    /* Two are due at once, and the first one ends the other. */
    ticks = 0;
    struct timer killer;
    timer_init(&killer, kill_victim);
    timer_init(&victim, kill_victim);
    timer_arm(&wheel, &killer, 40 * NS_PER_MS);
    timer_arm(&wheel, &victim, 40 * NS_PER_MS);
    assert_int_equal(run_to(50 * NS_PER_MS), 1);
    assert_int_equal(ticks, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_timers_fire_as_a_plain_list_would),
        cmocka_unit_test(sleeping_until_next_fires_all),
        cmocka_unit_test(re_arming_is_a_store),
        cmocka_unit_test(callbacks_may_change_timers),
    };
    return cmocka_run_group_tests_name("rt/timer", tests, NULL, NULL);
}
