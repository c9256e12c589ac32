#include "rt/watchdog.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "rig.h"
#include "rt/crash.h"

/* Sanitizers report crashes in their own words, and hand signals on late. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER
#endif
#endif

/* --- a loop on a thread of its own, with a task that can hold it ----------------------------- */

struct other {
    struct loop *loop;
    pthread_t thread;
    pthread_barrier_t is_up;
    atomic_bool hold; /* the task spins while it is set */
    atomic_bool stop;
    atomic_bool is_held;
};

static void hold_loop(void *arg)
{
    struct other *other = arg;
    while (!atomic_load(&other->stop)) {
        while (atomic_load(&other->hold))
            atomic_store(&other->is_held, true);
        atomic_store(&other->is_held, false);
        task_sleep_until(clock_mono_ns() + NS_PER_MS);
    }
    loop_stop(loop_self());
}

static void *other_main(void *arg)
{
    struct other *other = arg;
    other->loop = loop_new(3);
    pthread_barrier_wait(&other->is_up);
    task_spawn(RUN_NORMAL, "spinner", hold_loop, other);
    loop_run(other->loop);
    while (task_count() > 0)
        loop_turn(other->loop, 0);
    loop_free(other->loop);
    return NULL;
}

static void other_start(struct other *other)
{
    pthread_barrier_init(&other->is_up, NULL, 2);
    sigset_t all, before;
    sigfillset(&all);
    /* As a server does: signals are the main thread's. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    assert_int_equal(pthread_create(&other->thread, NULL, other_main, other), 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_barrier_wait(&other->is_up);
}

static void other_stop(struct other *other)
{
    atomic_store(&other->hold, false);
    atomic_store(&other->stop, true);
    pthread_join(other->thread, NULL);
    pthread_barrier_destroy(&other->is_up);
}

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char logged[16384];
static size_t logged_len;

static void keep_line(struct str line)
{
    pthread_mutex_lock(&log_lock);
    size_t n = MIN(line.len, sizeof(logged) - 1 - logged_len);
    memcpy(logged + logged_len, line.ptr, n);
    logged_len += n;
    logged[logged_len] = '\0';
    pthread_mutex_unlock(&log_lock);
}

static bool has_logged(const char *text)
{
    pthread_mutex_lock(&log_lock);
    bool found = strstr(logged, text) != NULL;
    pthread_mutex_unlock(&log_lock);
    return found;
}

static void wait_for_warnings(uint64_t count)
{
    int64_t give_up_ns = rig_in_ms(20000);
    while (watchdog_warnings() < count) {
        usleep(1000);
        assert_true(clock_mono_ns() < give_up_ns);
    }
}

static void a_held_loop_is_reported_once(void **state)
{
    (void)state;
    log_set_sink(keep_line);
    struct other other = {0};
    other_start(&other);
    struct loop *loops[] = {other.loop};
    uint64_t before = watchdog_warnings();
    watchdog_start(loops, 1, 60, 0);
    atomic_store(&other.hold, true);
    wait_for_warnings(before + 1);
    assert_true(has_logged("thread 3 has been busy for"));
    assert_true(has_logged("spinner"));
    /* The same turn again is not news, however often the watchdog looks: about twenty times here.
     * (On a busy machine the turn before may have been reported as well.) */
    int64_t end_ns = rig_in_ms(600);
    while (clock_mono_ns() < end_ns)
        usleep(1000);
    assert_in_range(watchdog_warnings() - before, 1, 3);
#ifndef HAS_SANITIZER
    assert_true(has_logged("frame 0"));
#endif
    /* The next turn that is too long is. */
    atomic_store(&other.hold, false);
    int64_t give_up_ns = rig_in_ms(20000);
    while (atomic_load(&other.is_held))
        assert_true(clock_mono_ns() < give_up_ns);
    before = watchdog_warnings();
    atomic_store(&other.hold, true);
    wait_for_warnings(before + 1);
    watchdog_stop();
    other_stop(&other);
    log_set_sink(NULL);
}

static void an_idle_loop_is_left_alone(void **state)
{
    (void)state;
    struct other other = {0};
    other_start(&other);
    struct loop *loops[] = {other.loop};
    uint64_t before = watchdog_warnings();
    /* Far above what a busy machine can do to a loop that does nothing. */
    watchdog_start(loops, 1, 5000, 0);
    watchdog_stop();
    watchdog_stop();
    assert_int_equal(watchdog_warnings(), before);
    other_stop(&other);
}

/* --- what a dying process says --------------------------------------------------------------- */

/* Runs fn in a child and returns how it ended; what it wrote to stderr is in `text`. */
static int run_child(void (*fn)(void), char *text, size_t size)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        alarm(60);
        fn();
        _exit(0);
    }
    close(fds[1]);
    size_t len = 0;
    for (ssize_t n; len < size - 1 && (n = read(fds[0], text + len, size - 1 - len)) > 0;)
        len += (size_t)n;
    text[len] = '\0';
    close(fds[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

#ifndef HAS_SANITIZER
static unsigned __attribute__((noinline)) recurse(unsigned depth)
{
    volatile char page[1024];
    page[0] = (char)depth;
    page[1023] = page[0];
    /* The sum afterwards keeps this a real call. */
    return depth == 0 ? 0 : recurse(depth - 1) + (unsigned)page[1023];
}

static void overflow_task(void *arg)
{
    (void)arg;
    if (recurse(1000000) == 1)
        _exit(0);
}

static void null_task(void *arg)
{
    (void)arg;
    static volatile uintptr_t nowhere = 64;
    *(volatile int *)nowhere = 1;
}

static void abort_task(void *arg)
{
    (void)arg;
    CHECK(arg != NULL);
}

static void run_task(const char *name, task_fn *fn)
{
    crash_install();
    crash_preload();
    struct loop *loop = loop_new(0);
    task_spawn(RUN_NORMAL, name, fn, NULL);
    loop_turn(loop, 0);
}

static void child_overflows(void)
{
    run_task("deep-diver", overflow_task);
}

static void child_derefs(void)
{
    run_task("blunderer", null_task);
}

static void child_aborts(void)
{
    run_task("checker", abort_task);
}
#endif

static void child_hangs(void)
{
    static struct other other;
    other_start(&other);
    struct loop *loops[] = {other.loop};
    watchdog_start(loops, 1, 20, 200);
    atomic_store(&other.hold, true);
    for (;;)
        pause();
}

static void fatal_signals_name_the_task(void **state)
{
    (void)state;
    static const struct {
        void (*fn)(void);
        int number;
        const char *said;
    } cases[] = {
#ifndef HAS_SANITIZER
        {child_overflows, SIGSEGV, "task stack overflow in deep-diver"},
        {child_derefs, SIGSEGV, "SIGSEGV in task blunderer"},
        {child_aborts, SIGABRT, "SIGABRT in task checker"},
#endif
        {child_hangs, SIGABRT, "in spinner: giving up"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        static char text[65536];
        int status = run_child(cases[i].fn, text, sizeof(text));
        if (!WIFSIGNALED(status) || WTERMSIG(status) != cases[i].number ||
            strstr(text, cases[i].said) == NULL)
            fail_msg("case %zu ended with status %x and said: %s", i, (unsigned)status, text);
    }
}

/* Holds its loop most of the time, but never for long. */
static void hold_often(void *arg)
{
    (void)arg;
    int64_t end_ns = rig_in_ms(1500);
    while (clock_mono_ns() < end_ns) {
        int64_t release_ns = rig_in_ms(50);
        while (clock_mono_ns() < release_ns)
            ;
        task_sleep_until(rig_in_ms(1));
    }
}

static void child_is_busy(void)
{
    struct loop *loop = loop_new(0);
    log_set_sink(keep_line);
    watchdog_start(&loop, 1, 100, 600);
    task_spawn(RUN_NORMAL, "busy", hold_often, NULL);
    while (task_count() > 0)
        loop_turn(loop, NS_PER_MS);
    watchdog_stop();
}

/* "docker pause", a debugger, a sleeping laptop. */
static void a_stopped_process_is_not_taken_for_a_hang(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(60);
        child_is_busy();
        _exit(0);
    }
    int status = 0;
    pid_t ended = 0;
    for (int i = 0; i < 3 && ended == 0; i++) {
        usleep(70000);
        kill(pid, SIGSTOP);
        usleep(900000);
        kill(pid, SIGCONT);
        ended = waitpid(pid, &status, WNOHANG);
    }
    if (ended == 0)
        assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_held_loop_is_reported_once),
        cmocka_unit_test(an_idle_loop_is_left_alone),
        cmocka_unit_test(fatal_signals_name_the_task),
        cmocka_unit_test(a_stopped_process_is_not_taken_for_a_hang),
    };
    return cmocka_run_group_tests_name("rt/watchdog", tests, NULL, NULL);
}
