/*
 * Tasks: coroutines with a stack of their own, pinned for life to the loop thread that made them.
 * Only the loop's own thread, except where a function says otherwise.
 * task_park, task_sleep and task_yield suspend; everything tagged YIELDS rests on them.
 * A task owns its stack and its deferred clean-ups; both go when its function returns.
 * A wait returns 0, -ERR_TIMEOUT or -ERR_CANCELED; a cancelled task gets -ERR_CANCELED from every
 * wait from then on, except between task_shield and task_unshield.
 */
#ifndef WEIR_RT_TASK_H
#define WEIR_RT_TASK_H

#include "base/clock.h"
#include "base/err.h"
#include "rt/timer.h"

struct loop;
struct task;

/* In which order the loop runs what is ready; HEAVY is one a turn (handshakes, large parses). */
enum run_class { RUN_RESUME, RUN_NORMAL, RUN_BULK, RUN_HEAVY, RUN_CLASS_COUNT };

typedef void task_fn(void *arg);

/* A task's slot: its frames, its struct and a guard page. Sanitizers put red zones between
 * variables, so frames are several times as large there. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TASK_STACK_FACTOR 4
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TASK_STACK_FACTOR 4
#endif
#endif
#ifndef TASK_STACK_FACTOR
#define TASK_STACK_FACTOR 1
#endif
enum { TASK_STACK_BYTES = TASK_STACK_FACTOR * 64 * 1024 };

/*
 * Starts fn(arg) as a task of this thread's loop; it runs in a later turn. `name` is kept as a
 * pointer (a literal) and shown by the watchdog. NULL when there is no memory for a stack.
 */
struct task *task_spawn(enum run_class run_class, const char *name, task_fn *fn, void *arg);

/* The running task, or NULL on the loop's own stack (also inside on_loop_stack). */
struct task *task_self(void);

/* True where a call may yield: inside a task, not on the loop's stack, not in a no-yield section.
 */
bool task_may_yield(void);

/*
 * Waits until task_wake, the deadline or cancellation. A wake may come for another reason than the
 * one waited for (and one that came before is taken): callers check their condition in a loop,
 * before the first park too.
 */
YIELDS int task_park(int64_t deadline_ns);
/* Waits until the time comes or the task is cancelled: 0 at the deadline. */
YIELDS int task_sleep_until(int64_t deadline_ns);
/* Lets others run; 0 or -ERR_CANCELED. */
YIELDS int task_yield(void);
/* The run class of the running task. */
enum run_class task_class(void);
/* Moves the task to another run class and goes through the queue once when the class changes. */
YIELDS int task_set_class(enum run_class run_class);

/* Makes a parked task ready; it resumes in this or the next turn. Never switches. */
void task_wake(struct task *task);

/*
 * Cancels: every wait of the task returns -ERR_CANCELED from now on. `reason` (positive enum
 * err_code, say ERR_RESET for a client that hung up) is kept; the first reason stays.
 */
void task_cancel(struct task *task, enum err_code reason);
/* 0 when not cancelled. */
enum err_code task_cancel_reason(const struct task *task);
/* What a wait would say now: 0, or -ERR_CANCELED with the error slot set. Does not wait. */
int task_check_cancel(void);
/* Between the two, waits ignore cancellation (last words to a peer, giving things back). Nests. */
void task_shield(void);
void task_unshield(void);
/* Forgets a cancellation: for a connection's task that outlives a request. */
void task_cancel_clear(struct task *task);

/* Runs fn(arg) when the running task ends, last registered first. The node lives in the caller's
 * memory until then; task_undefer takes it out again. */
struct deferred {
    struct list node;
    void (*fn)(void *arg);
    void *arg;
};
void task_defer(struct deferred *d, void (*fn)(void *arg), void *arg);
void task_undefer(struct deferred *d);

/*
 * Runs fn(arg) on the loop's own (large) stack and comes back: for calls into libraries that use
 * much stack. fn must not yield. Outside a task it is a plain call.
 */
void on_loop_stack(void (*fn)(void *arg), void *arg);

/* Between the two a wait is a bug and stops the process: for library callbacks. Nests. */
void no_yield_begin(void);
void no_yield_end(void);

/* Gives back the pages of the running task's stack below the one in use: for a task that went deep
 * once and will now wait for long. Costs a system call. */
void task_trim_stack(void);

/* Tasks of this thread that have not ended. */
size_t task_count(void);

#endif
