#include "rt/crash.h"

#include <execinfo.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "rt/loop.h"
#include "rt/stack.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HAS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HAS_SANITIZER 1
#endif
#endif
#ifndef HAS_SANITIZER
#define HAS_SANITIZER 0
#endif

enum { SIGNAL_STACK_BYTES = 64 * 1024 };

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

/* NULL when the thread came with a signal stack already (a sanitizer's). */
static _Thread_local char *signal_stack;
static atomic_bool can_trace;

/* --- fatal signals --------------------------------------------------------------------------- */

static void say(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text));
}

static const char *signal_name(int number)
{
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGILL:
        return "SIGILL";
    case SIGFPE:
        return "SIGFPE";
    default:
        return "SIGABRT";
    }
}

static const char *running_task(void)
{
    struct loop *loop = loop_self();
    const char *name = loop == NULL
                           ? NULL
                           : atomic_load_explicit(&loop_stats(loop)->running, memory_order_relaxed);
    return name;
}

/* The handler's slot is reset before it runs, so returning repeats the fault for good. */
static void on_fatal(int number, siginfo_t *info, void *context)
{
    (void)context;
    const char *task = running_task();
    bool is_overflow = number == SIGSEGV && stack_is_guard(info->si_addr);
    say("weir: ");
    say(is_overflow ? "task stack overflow" : signal_name(number));
    if (task != NULL) {
        say(is_overflow ? " in " : " in task ");
        say(task);
    }
    say("\n");
    if (atomic_load_explicit(&can_trace, memory_order_acquire)) {
        void *frames[CRASH_FRAMES_MAX];
        backtrace_symbols_fd(frames, backtrace(frames, CRASH_FRAMES_MAX), STDERR_FILENO);
    }
    if (info->si_code <= 0)
        raise(number); /* sent, not caused: it does not come again by itself */
}

void crash_install(void)
{
    struct sigaction action = {.sa_sigaction = on_fatal,
                               .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; !HAS_SANITIZER && i < ARRAY_LEN(fatal_signals); i++)
        sigaction(fatal_signals[i], &action, NULL);
}

void crash_preload(void)
{
    void *frame;
    backtrace(&frame, 1);
    atomic_store_explicit(&can_trace, true, memory_order_release);
}

/* --- where a thread is ----------------------------------------------------------------------- */

enum trace_state { TRACE_IDLE, TRACE_ASKED, TRACE_TAKEN };

static struct {
    atomic_int state;
    pthread_t thread;
    int count;
    void *frames[CRASH_FRAMES_MAX];
} trace;

/* SIGRTMIN is a call, so this cannot be a constant. */
static int trace_signal(void)
{
    return SIGRTMIN + 3;
}

static void on_trace(int number)
{
    (void)number;
    int asked = TRACE_ASKED;
    if (atomic_load_explicit(&trace.state, memory_order_acquire) != asked ||
        !pthread_equal(trace.thread, pthread_self()))
        return; /* too late: nobody waits for it any more */
    trace.count = backtrace(trace.frames, CRASH_FRAMES_MAX);
    atomic_compare_exchange_strong_explicit(&trace.state, &asked, TRACE_TAKEN, memory_order_release,
                                            memory_order_relaxed);
}

static void trace_install(void)
{
    struct sigaction action = {.sa_handler = on_trace, .sa_flags = SA_ONSTACK | SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(trace_signal(), &action, NULL);
}

int crash_trace(pthread_t thread, void **frames, int max)
{
    enum { LOOKS = 100 };
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const struct timespec pause = {.tv_nsec = NS_PER_MS};
    if (!atomic_load_explicit(&can_trace, memory_order_acquire))
        return 0;
    pthread_once(&once, trace_install);
    trace.thread = thread;
    atomic_store_explicit(&trace.state, TRACE_ASKED, memory_order_release);
    if (pthread_kill(thread, trace_signal()) != 0)
        return 0;
    int taken = TRACE_TAKEN;
    for (int i = 0; i < LOOKS; i++) {
        if (atomic_load_explicit(&trace.state, memory_order_acquire) == taken)
            break;
        nanosleep(&pause, NULL);
    }
    if (!atomic_compare_exchange_strong_explicit(&trace.state, &taken, TRACE_IDLE,
                                                 memory_order_acquire, memory_order_relaxed)) {
        atomic_store_explicit(&trace.state, TRACE_IDLE, memory_order_release);
        return 0;
    }
    int count = MIN(trace.count, max);
    memcpy(frames, trace.frames, (size_t)count * sizeof(*frames));
    return count;
}

/* --- a loop's thread ------------------------------------------------------------------------- */

void crash_thread_init(void)
{
    stack_t before;
    if (sigaltstack(NULL, &before) == 0 && (before.ss_flags & SS_DISABLE) != 0)
        signal_stack = mem_alloc(SIGNAL_STACK_BYTES);
    if (signal_stack != NULL) {
        stack_t own = {.ss_sp = signal_stack, .ss_size = SIGNAL_STACK_BYTES};
        sigaltstack(&own, NULL);
    }
    /* Whoever made this thread may have blocked all signals for it. */
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, trace_signal());
    for (size_t i = 0; i < ARRAY_LEN(fatal_signals); i++)
        sigaddset(&wanted, fatal_signals[i]);
    pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
}

void crash_thread_fini(void)
{
    if (signal_stack == NULL)
        return;
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    mem_free(signal_stack);
    signal_stack = NULL;
}
