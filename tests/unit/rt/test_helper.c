#include "rt/helper.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "rig.h"

static pthread_t own_thread;

struct sum {
    uint64_t n;
    uint64_t result;
    bool was_elsewhere;
};

static void add_up(void *arg)
{
    struct sum *sum = arg;
    for (uint64_t i = 1; i <= sum->n; i++)
        sum->result += i;
    sum->was_elsewhere = !pthread_equal(pthread_self(), own_thread);
}

static unsigned finished;

static void ask_for_sum(void *arg)
{
    struct sum sum = {.n = (uint64_t)(uintptr_t)arg};
    assert_int_equal(helper_run(add_up, &sum), 0);
    assert_int_equal(sum.result, sum.n * (sum.n + 1) / 2);
    assert_true(sum.was_elsewhere);
    finished++;
}

static void spawn_many(void *arg)
{
    (void)arg;
    for (uintptr_t n = 1; n <= 200; n++)
        assert_non_null(task_spawn(RUN_NORMAL, "asks", ask_for_sum, (void *)n));
}

static void work_runs_on_another_thread(void **state)
{
    (void)state;
    finished = 0;
    own_thread = pthread_self();
    assert_int_equal(helper_start(3, 1000), 0);
    rig_run(spawn_many, NULL);
    helper_stop();
    assert_int_equal(finished, 200);
}

static void run_inline(void *arg)
{
    (void)arg;
    struct sum sum = {.n = 10};
    assert_int_equal(helper_run(add_up, &sum), 0);
    assert_int_equal(sum.result, 55);
    assert_false(sum.was_elsewhere);
    task_cancel(task_self(), ERR_RESET);
    sum.result = 0;
    assert_int_equal(helper_run(add_up, &sum), -ERR_CANCELED);
    assert_int_equal(sum.result, 55);
}

static void without_helpers_it_runs_here(void **state)
{
    (void)state;
    own_thread = pthread_self();
    rig_run(run_inline, NULL);
    struct sum sum = {.n = 10};
    assert_int_equal(helper_post(add_up, &sum), 0);
    assert_int_equal(sum.result, 55);
}

/* Work that ends only when the test lets it. */
struct gate {
    sem_t entered;
    sem_t leave;
    bool is_over;
};

static void gate_init(struct gate *gate)
{
    sem_init(&gate->entered, 0, 0);
    sem_init(&gate->leave, 0, 0);
    gate->is_over = false;
}

static void pass_gate(void *arg)
{
    struct gate *gate = arg;
    sem_post(&gate->entered);
    sem_wait(&gate->leave);
}

static int gate_result;

static void run_gate(void *arg)
{
    struct gate *gate = arg;
    gate_result = helper_run(pass_gate, gate);
    gate->is_over = true;
}

static void a_cancelled_task_waits_for_its_work(void **state)
{
    (void)state;
    assert_int_equal(helper_start(1, 4), 0);
    struct loop *loop = loop_new(0);
    struct gate gate;
    gate_init(&gate);
    struct task *task = task_spawn(RUN_NORMAL, "gate", run_gate, &gate);
    loop_turn(loop, 0);
    sem_wait(&gate.entered);
    task_cancel(task, ERR_TIMEOUT);
    for (int i = 0; i < 10; i++)
        loop_turn(loop, NS_PER_MS);
    assert_false(gate.is_over);
    sem_post(&gate.leave);
    rig_turn_until(&gate.is_over);
    assert_int_equal(gate_result, -ERR_CANCELED);
    rig_turn_until_idle();
    loop_free(loop);
    helper_stop();
}

static atomic_uint counted;

static void count_one(void *arg)
{
    (void)arg;
    atomic_fetch_add(&counted, 1);
}

static void run_when_full(void *arg)
{
    struct gate *gate = arg;
    assert_int_equal(helper_run(count_one, NULL), -ERR_BUSY);
    assert_int_equal(err_slot()->code, ERR_BUSY);
    gate->is_over = true;
}

static void a_full_queue_is_an_error(void **state)
{
    (void)state;
    atomic_store(&counted, 0);
    assert_int_equal(helper_start(1, 2), 0);
    struct gate gate;
    gate_init(&gate);
    assert_int_equal(helper_post(pass_gate, &gate), 0);
    sem_wait(&gate.entered);
    assert_int_equal(helper_post(count_one, NULL), 0);
    assert_int_equal(helper_post(count_one, NULL), 0);
    assert_int_equal(helper_post(count_one, NULL), -ERR_BUSY);
    rig_run(run_when_full, &gate);
    assert_true(gate.is_over);
    assert_int_equal(atomic_load(&counted), 0);
    /* Stopping finishes what is queued. */
    sem_post(&gate.leave);
    helper_stop();
    assert_int_equal(atomic_load(&counted), 2);
}

static void *post_from_thread(void *arg)
{
    (void)arg;
    for (int i = 0; i < 500; i++)
        assert_int_equal(helper_post(count_one, NULL), 0);
    return NULL;
}

static void any_thread_may_post(void **state)
{
    (void)state;
    atomic_store(&counted, 0);
    assert_int_equal(helper_start(2, 2000), 0);
    pthread_t threads[3];
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_from_thread, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    helper_stop();
    assert_int_equal(atomic_load(&counted), 1500);
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    mem_fail_at(1);
    assert_int_equal(helper_start(1, 1), -ERR_NOMEM);
    assert_int_equal(helper_start(1, 1), 0);
    mem_fail_at(1);
    assert_int_equal(helper_post(count_one, NULL), -ERR_NOMEM);
    mem_fail_at(0);
    helper_stop();
    helper_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(work_runs_on_another_thread),
        cmocka_unit_test(without_helpers_it_runs_here),
        cmocka_unit_test(a_cancelled_task_waits_for_its_work),
        cmocka_unit_test(a_full_queue_is_an_error),
        cmocka_unit_test(any_thread_may_post),
        cmocka_unit_test(no_memory_is_an_error),
    };
    return cmocka_run_group_tests_name("rt/helper", tests, NULL, NULL);
}
