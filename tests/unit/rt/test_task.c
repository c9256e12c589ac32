#include "rt/task.h"

#include <alloca.h>
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "rig.h"
#include "rt/sys.h"

static struct loop *loop;

static int rig_up(void **state)
{
    (void)state;
    clock_fake(1000 * NS_PER_SEC, 0);
    loop = loop_new(0);
    return 0;
}

static int rig_down(void **state)
{
    (void)state;
    rig_turn_until_idle();
    loop_free(loop);
    clock_real();
    return 0;
}

static void turns(int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(loop, 0);
}

static void advance_ms(int64_t ms)
{
    clock_fake_advance(ms * NS_PER_MS);
    turns(3);
}

static int64_t in_ms(int64_t ms)
{
    return clock_mono_ns() + ms * NS_PER_MS;
}

/* What happened, a letter each. */
static char story[256];

static void tell(char c)
{
    size_t n = strlen(story);
    assert_true(n < sizeof(story) - 1);
    story[n] = c;
    story[n + 1] = '\0';
}

/* --- waiting -------------------------------------------------------------------------------------
 */

struct parked {
    int64_t deadline_ns;
    int result;
    bool is_over;
};

static void park_once(void *arg)
{
    struct parked *p = arg;
    p->result = task_park(p->deadline_ns);
    p->is_over = true;
}

static struct task *spawn(task_fn *fn, void *arg)
{
    struct task *task = task_spawn(RUN_NORMAL, "test", fn, arg);
    assert_non_null(task);
    return task;
}

static void a_wake_ends_a_wait(void **state)
{
    (void)state;
    struct parked p = {.deadline_ns = CLOCK_NEVER};
    struct task *task = spawn(park_once, &p);
    turns(5);
    assert_false(p.is_over);
    task_wake(task);
    task_wake(task);
    turns(1);
    assert_true(p.is_over);
    assert_int_equal(p.result, 0);
}

static void a_wake_before_the_wait_counts(void **state)
{
    (void)state;
    struct parked p = {.deadline_ns = CLOCK_NEVER};
    struct task *task = spawn(park_once, &p);
    task_wake(task); /* it has not run yet; this is its first turn, not a wake */
    turns(3);
    assert_false(p.is_over);
    task_wake(task);
    turns(1);
    assert_true(p.is_over);
}

static void wake_self_then_park(void *arg)
{
    struct parked *p = arg;
    task_wake(task_self());
    p->result = task_park(CLOCK_NEVER);
    p->is_over = true;
    p->result = task_park(in_ms(5));
}

static void a_wake_while_running_is_taken_once(void **state)
{
    (void)state;
    struct parked p = {0};
    spawn(wake_self_then_park, &p);
    turns(1);
    assert_true(p.is_over);
    assert_int_equal(p.result, 0);
    advance_ms(6);
    assert_int_equal(p.result, -ERR_TIMEOUT);
}

static void a_deadline_ends_a_wait(void **state)
{
    (void)state;
    struct parked p = {.deadline_ns = in_ms(10)};
    spawn(park_once, &p);
    turns(2);
    advance_ms(9);
    assert_false(p.is_over);
    advance_ms(2);
    assert_true(p.is_over);
    assert_int_equal(p.result, -ERR_TIMEOUT);

    struct parked past = {.deadline_ns = in_ms(0)};
    spawn(park_once, &past);
    turns(1);
    assert_int_equal(past.result, -ERR_TIMEOUT);
}

static void park_thrice(void *arg)
{
    struct parked *p = arg;
    assert_int_equal(task_park(in_ms(50)), 0); /* woken long before */
    assert_int_equal(task_park(in_ms(5000)), 0);
    p->result = task_park(in_ms(7));
    p->is_over = true;
}

static void an_old_deadline_does_not_end_a_later_wait(void **state)
{
    (void)state;
    struct parked p = {0};
    struct task *task = spawn(park_thrice, &p);
    turns(1);
    task_wake(task);
    turns(1);
    advance_ms(200); /* past the first wait's deadline, which is still in the wheel */
    assert_false(p.is_over);
    task_wake(task);
    turns(1);
    advance_ms(8);
    assert_true(p.is_over);
    assert_int_equal(p.result, -ERR_TIMEOUT);
}

static void a_wake_wins_over_its_deadline(void **state)
{
    (void)state;
    struct parked p = {.deadline_ns = in_ms(10)};
    struct task *task = spawn(park_once, &p);
    turns(1);
    task_wake(task);
    clock_fake_advance(50 * NS_PER_MS);
    turns(2);
    assert_true(p.is_over);
    assert_int_equal(p.result, 0);
}

static void sleep_a_while(void *arg)
{
    struct parked *p = arg;
    p->result = task_sleep_until(in_ms(20));
    p->is_over = true;
}

static void sleep_ignores_wakes(void **state)
{
    (void)state;
    struct parked p = {.result = 77};
    struct task *task = spawn(sleep_a_while, &p);
    turns(1);
    for (int i = 0; i < 5; i++) {
        task_wake(task);
        turns(1);
    }
    assert_false(p.is_over);
    advance_ms(21);
    assert_int_equal(p.result, 0);
}

/* --- cancelling ------------------------------------------------------------------------------ */

static void cancelled_thrice(void *arg)
{
    struct parked *p = arg;
    assert_int_equal(task_park(CLOCK_NEVER), -ERR_CANCELED);
    assert_non_null(strstr(err_slot()->message, "reset"));
    assert_int_equal(task_yield(), -ERR_CANCELED);
    assert_int_equal(task_sleep_until(in_ms(1000)), -ERR_CANCELED);
    assert_int_equal(task_check_cancel(), -ERR_CANCELED);
    assert_int_equal(task_cancel_reason(task_self()), ERR_RESET);
    task_cancel_clear(task_self());
    assert_int_equal(task_check_cancel(), 0);
    assert_int_equal(task_yield(), 0);
    p->is_over = true;
}

static void a_cancelled_task_hears_it_from_every_wait(void **state)
{
    (void)state;
    struct parked p = {0};
    struct task *task = spawn(cancelled_thrice, &p);
    turns(1);
    task_cancel(task, ERR_RESET);
    task_cancel(task, ERR_TIMEOUT); /* the first reason stays */
    turns(2);
    assert_true(p.is_over);
}

static void cancel_before_the_first_turn(void **state)
{
    (void)state;
    struct parked p = {.deadline_ns = CLOCK_NEVER};
    struct task *task = spawn(park_once, &p);
    task_cancel(task, ERR_RESET);
    turns(1);
    assert_int_equal(p.result, -ERR_CANCELED);
}

static void last_words(void *arg)
{
    struct parked *p = arg;
    task_shield();
    task_shield();
    assert_int_equal(task_park(in_ms(10)), -ERR_TIMEOUT);
    task_unshield();
    assert_int_equal(task_sleep_until(in_ms(10)), 0);
    assert_int_equal(task_check_cancel(), 0);
    task_unshield();
    p->result = task_park(CLOCK_NEVER);
    p->is_over = true;
}

static void a_shield_keeps_cancellation_out(void **state)
{
    (void)state;
    struct parked p = {0};
    struct task *task = spawn(last_words, &p);
    turns(1);
    task_cancel(task, ERR_RESET);
    turns(3);
    advance_ms(11);
    assert_false(p.is_over);
    advance_ms(11);
    assert_true(p.is_over);
    assert_int_equal(p.result, -ERR_CANCELED);
}

/* --- order ----------------------------------------------------------------------------------- */

static void tell_twice(void *arg)
{
    const char *letters = arg;
    tell(letters[0]);
    task_yield();
    tell(letters[1]);
}

static void ready_tasks_take_turns_by_class(void **state)
{
    (void)state;
    static const struct {
        enum run_class run_class;
        const char *letters;
    } tasks[] = {{RUN_HEAVY, "hH"},  {RUN_BULK, "bB"},  {RUN_NORMAL, "nN"},
                 {RUN_NORMAL, "mM"}, {RUN_HEAVY, "iI"}, {RUN_RESUME, "rR"}};
    story[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
        task_spawn(tasks[i].run_class, "test", tell_twice, (void *)(uintptr_t)tasks[i].letters);
    turns(1);
    /* All but the heavy ones in the order of their classes; of those one a turn. */
    assert_string_equal(story, "rRnmNMbBh");
    turns(1);
    assert_string_equal(story, "rRnmNMbBhi");
    turns(2);
    assert_string_equal(story, "rRnmNMbBhiHI");
}

static bool may_stop;

static void never_idle(void *arg)
{
    (void)arg;
    while (!may_stop)
        task_yield();
}

static void tell_one(void *arg)
{
    tell(*(const char *)arg);
}

static void a_busy_loop_starves_no_class(void **state)
{
    (void)state;
    may_stop = false;
    story[0] = '\0';
    spawn(never_idle, NULL);
    turns(2);
    task_spawn(RUN_BULK, "bulk", tell_one, "b");
    task_spawn(RUN_HEAVY, "heavy", tell_one, "h");
    turns(1);
    assert_string_equal(story, "bh");
    may_stop = true;
    turns(1);
}

static void change_class(void *arg)
{
    (void)arg;
    assert_int_equal(task_class(), RUN_NORMAL);
    tell('a');
    assert_int_equal(task_set_class(RUN_HEAVY), 0);
    assert_int_equal(task_class(), RUN_HEAVY);
    tell('c');
    assert_int_equal(task_set_class(RUN_NORMAL), 0);
    tell('d');
    /* A wake that came before the change is not lost by it. */
    task_wake(task_self());
    assert_int_equal(task_set_class(RUN_BULK), 0);
    assert_int_equal(task_park(in_ms(100000)), 0);
    task_cancel(task_self(), ERR_RESET);
    assert_int_equal(task_set_class(RUN_HEAVY), -ERR_CANCELED);
    tell('e');
}

static void a_class_change_goes_through_the_queue(void **state)
{
    (void)state;
    story[0] = '\0';
    spawn(change_class, NULL);
    spawn(tell_one, "b");
    turns(4);
    assert_string_equal(story, "abcde");
}

/* --- ending ---------------------------------------------------------------------------------- */

struct three {
    struct deferred a, b, c;
};

static void defer_three(void *arg)
{
    struct three *three = arg;
    task_defer(&three->a, tell_one, "a");
    task_defer(&three->b, tell_one, "b");
    task_defer(&three->c, tell_one, "c");
    task_yield();
    task_undefer(&three->b);
    tell('.');
}

static void deferred_calls_run_last_first(void **state)
{
    (void)state;
    struct three three;
    story[0] = '\0';
    spawn(defer_three, &three);
    turns(2);
    assert_string_equal(story, ".ca");
}

static void clean_up_that_waits(void *arg)
{
    tell(*(const char *)arg);
    task_shield();
    assert_int_equal(task_sleep_until(in_ms(5)), 0);
    task_unshield();
    tell('!');
}

static void defer_a_wait(void *arg)
{
    task_defer(arg, clean_up_that_waits, "w");
    task_cancel(task_self(), ERR_RESET);
}

static void deferred_calls_may_wait(void **state)
{
    (void)state;
    struct deferred node;
    story[0] = '\0';
    spawn(defer_a_wait, &node);
    turns(2);
    assert_string_equal(story, "w");
    advance_ms(6);
    assert_string_equal(story, "w!");
}

/* --- many ------------------------------------------------------------------------------------ */

enum { MANY = 3000 };

static unsigned woken;

static void wait_with_marks(void *arg)
{
    /* Marks on the stack that must be there after each wait. */
    volatile uintptr_t marks[64];
    for (size_t i = 0; i < 64; i++)
        marks[i] = (uintptr_t)arg + i;
    for (int round = 0; round < 3; round++) {
        assert_int_equal(task_park(CLOCK_NEVER), 0);
        for (size_t i = 0; i < 64; i++)
            assert_int_equal(marks[i], (uintptr_t)arg + i);
    }
    woken++;
}

static void thousands_of_tasks_keep_their_stacks(void **state)
{
    (void)state;
    static struct task *tasks[MANY];
    for (int generation = 0; generation < 2; generation++) {
        woken = 0;
        for (uintptr_t i = 0; i < MANY; i++)
            tasks[i] = spawn(wait_with_marks, (void *)(i * 1000));
        turns(2 * MANY / 256 + 2);
        for (int round = 0; round < 3; round++) {
            for (size_t i = 0; i < MANY; i++)
                task_wake(tasks[(i * 7919) % MANY]);
            turns(2 * MANY / 256 + 2);
        }
        assert_int_equal(woken, MANY);
        assert_int_equal(task_count(), 0);
    }
}

/* A frame of every size, so that the one that trims begins anywhere in a page. */
static void trim_at_depth(void *arg)
{
    size_t depth = (size_t)(uintptr_t)arg;
    volatile unsigned char *pad = alloca(depth);
    for (size_t i = 0; i < depth; i++)
        pad[i] = (unsigned char)i;
    task_trim_stack();
    for (size_t i = 0; i < depth; i++)
        assert_int_equal(pad[i], (unsigned char)i);
    woken++;
}

static void trimming_spares_what_is_in_use(void **state)
{
    (void)state;
    woken = 0;
    for (uintptr_t depth = 16; depth <= 4096 + 16; depth += 16) {
        spawn(trim_at_depth, (void *)depth);
        turns(1);
    }
    assert_int_equal(woken, 257);
}

static bool fail_mmap(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    (void)ctx;
    (void)fd;
    (void)result;
    errno = ENOMEM;
    return call == SYS_MMAP;
}

static void no_memory_is_no_task(void **state)
{
    (void)state;
    sys_hook(fail_mmap, NULL);
    assert_null(task_spawn(RUN_NORMAL, "test", park_once, NULL));
    sys_hook(NULL, NULL);
    assert_int_equal(task_count(), 0);
    struct parked p = {.deadline_ns = in_ms(0)};
    spawn(park_once, &p);
    turns(1);
    assert_true(p.is_over);
}

/* --- errors, and the loop's stack ------------------------------------------------------------ */

static void set_and_keep_error(void *arg)
{
    err_set(ERR_IO, FAULT_CLIENT, "%s", (const char *)arg);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(task_yield(), 0);
        assert_string_equal(err_slot()->message, (const char *)arg);
    }
}

static void each_task_has_its_error(void **state)
{
    (void)state;
    err_set(ERR_BUSY, FAULT_GATEWAY, "the thread's");
    spawn(set_and_keep_error, "first");
    spawn(set_and_keep_error, "second");
    turns(5);
    assert_int_equal(task_count(), 0);
    assert_string_equal(err_slot()->message, "the thread's");
}

static unsigned depth_sum;

static void use_much_stack(void *arg)
{
    assert_null(task_self());
    assert_false(task_may_yield());
    /* More than a task has. */
    size_t bytes = 300 * 1024;
    volatile char *big = alloca(bytes);
    for (size_t i = 0; i < bytes; i += 1024)
        big[i] = 1;
    for (size_t i = 0; i < bytes; i += 1024)
        depth_sum += (unsigned)big[i];
    *(int *)arg = 42;
    err_set(ERR_TLS, FAULT_UPSTREAM, "from the loop's stack");
}

static void nested(void *arg)
{
    on_loop_stack(use_much_stack, arg); /* already there: a plain call */
}

static void hop(void *arg)
{
    int *out = arg;
    int got = 0;
    for (int i = 0; i < 100; i++)
        on_loop_stack(i % 2 == 0 ? use_much_stack : nested, &got);
    assert_int_equal(got, 42);
    assert_string_equal(err_slot()->message, "from the loop's stack");
    assert_non_null(task_self());
    assert_true(task_may_yield());
    assert_int_equal(task_yield(), 0);
    no_yield_begin();
    assert_false(task_may_yield());
    no_yield_begin();
    no_yield_end();
    assert_false(task_may_yield());
    no_yield_end();
    assert_true(task_may_yield());
    *out = 1;
}

static void deep_calls_run_on_the_loops_stack(void **state)
{
    (void)state;
    int done = 0;
    assert_false(task_may_yield());
    spawn(hop, &done);
    turns(2);
    assert_int_equal(done, 1);
    int plain = 0;
    on_loop_stack(use_much_stack, &plain);
    assert_int_equal(plain, 42);
    err_clear();
}

/* --- what must not be done ------------------------------------------------------------------- */

static void yield_in_section(void *arg)
{
    (void)arg;
    no_yield_begin();
    task_yield();
}

static void park_inside(void *arg)
{
    (void)arg;
    task_park(CLOCK_NEVER);
}

static void park_on_loop_stack(void *arg)
{
    (void)arg;
    on_loop_stack(park_inside, NULL);
}

static void unshield_too_often(void *arg)
{
    (void)arg;
    task_unshield();
}

static void child_task(task_fn *fn)
{
    clock_real();
    struct loop *own = loop_self();
    if (own == NULL)
        own = loop_new(0);
    task_spawn(RUN_NORMAL, "test", fn, NULL);
    loop_turn(own, 0);
}

static void mistakes_stop_the_process(void **state)
{
    (void)state;
    static task_fn *const mistakes[] = {yield_in_section, park_on_loop_stack, unshield_too_often};
    for (size_t i = 0; i < ARRAY_LEN(mistakes); i++) {
        pid_t pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
            close(STDERR_FILENO);
            alarm(30);
            child_task(mistakes[i]);
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, rig_up, rig_down)
    const struct CMUnitTest tests[] = {
        TEST(a_wake_ends_a_wait),
        TEST(a_wake_before_the_wait_counts),
        TEST(a_wake_while_running_is_taken_once),
        TEST(a_deadline_ends_a_wait),
        TEST(an_old_deadline_does_not_end_a_later_wait),
        TEST(a_wake_wins_over_its_deadline),
        TEST(sleep_ignores_wakes),
        TEST(a_cancelled_task_hears_it_from_every_wait),
        TEST(cancel_before_the_first_turn),
        TEST(a_shield_keeps_cancellation_out),
        TEST(ready_tasks_take_turns_by_class),
        TEST(a_busy_loop_starves_no_class),
        TEST(a_class_change_goes_through_the_queue),
        TEST(deferred_calls_run_last_first),
        TEST(deferred_calls_may_wait),
        TEST(thousands_of_tasks_keep_their_stacks),
        TEST(trimming_spares_what_is_in_use),
        TEST(no_memory_is_no_task),
        TEST(each_task_has_its_error),
        TEST(deep_calls_run_on_the_loops_stack),
        TEST(mistakes_stop_the_process),
    };
#undef TEST
    return cmocka_run_group_tests_name("rt/task", tests, NULL, NULL);
}
