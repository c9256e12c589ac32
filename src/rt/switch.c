#include "rt/switch.h"

#include <stdbool.h>

#include "base/defs.h"

#if defined(__SANITIZE_ADDRESS__)
#define SWITCH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SWITCH_ASAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define SWITCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SWITCH_TSAN 1
#endif
#endif
#ifdef SWITCH_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef SWITCH_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#define SWITCH_VALGRIND 1
#endif

/*
 * TSan keeps a call stack a fiber: a function that enters on one fiber and leaves on another must
 * not be counted, so the switch itself is not instrumented and has no frames of its own.
 */
#if defined(SWITCH_TSAN) && defined(__clang__)
#define SWITCH_BARE __attribute__((disable_sanitizer_instrumentation))
#elif defined(SWITCH_TSAN)
#define SWITCH_BARE __attribute__((no_sanitize_thread))
#else
#define SWITCH_BARE
#endif
#define SWITCH_INLINE SWITCH_BARE __attribute__((always_inline)) static inline

/* Boost.Context's C ABI; its header is C++. Both ABIs return the two pointers in registers. */
struct transfer {
    void *from;
    void *data;
};
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *stack_top, size_t bytes, void (*fn)(struct transfer));

/* Which context is being left, told to the one that is entered. */
static _Thread_local struct context *leaving;

SWITCH_INLINE void before_jump(struct context *from, struct context *to, bool is_last)
{
#ifdef SWITCH_ASAN
    __sanitizer_start_switch_fiber(is_last ? NULL : &from->asan, to->stack, to->stack_bytes);
#endif
#ifdef SWITCH_TSAN
    __tsan_switch_to_fiber(to->tsan, 0);
#endif
    (void)from;
    (void)to;
    (void)is_last;
}

/* Runs first in the context that was entered. */
SWITCH_INLINE void after_jump(struct context *self, struct transfer t)
{
#ifdef SWITCH_ASAN
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(self->asan, &bottom, &bytes);
    /* The thread's own stack is not known to us before the first switch away from it. */
    if (leaving->stack == NULL) {
        leaving->stack = (void *)(uintptr_t)bottom;
        leaving->stack_bytes = bytes;
    }
#endif
    (void)self;
    leaving->sp = t.from;
}

SWITCH_BARE static void first_frame(struct transfer t)
{
    struct context *self = t.data;
    after_jump(self, t);
    self->entry(self->arg);
    check_failed("a context's entry returned", __FILE__, __LINE__);
}

void switch_adopt(struct context *thread)
{
    *thread = (struct context){0};
#ifdef SWITCH_TSAN
    thread->tsan = __tsan_get_current_fiber();
#endif
}

void switch_prepare(struct context *context, void *stack, size_t bytes, void (*entry)(void *),
                    void *arg)
{
    *context = (struct context){.stack = stack, .stack_bytes = bytes, .entry = entry, .arg = arg};
#ifdef SWITCH_ASAN
    /* A slot is used again: poison of frames that were left for good must not stay. */
    __asan_unpoison_memory_region(stack, bytes);
#endif
#ifdef SWITCH_TSAN
    context->tsan = __tsan_create_fiber(0);
#endif
#ifdef SWITCH_VALGRIND
    context->valgrind_id = VALGRIND_STACK_REGISTER(stack, (char *)stack + bytes);
#endif
    context->sp = make_fcontext((char *)stack + bytes, bytes, first_frame);
}

SWITCH_BARE void switch_to(struct context *from, struct context *to)
{
    before_jump(from, to, false);
    leaving = from;
    struct transfer t = jump_fcontext(to->sp, to);
    after_jump(from, t);
}

SWITCH_BARE void switch_exit(struct context *to)
{
    static _Thread_local struct context gone;
    before_jump(&gone, to, true);
    gone.stack = to; /* any value but NULL: its stack is known and of no interest */
    leaving = &gone;
    jump_fcontext(to->sp, to);
    __builtin_unreachable();
}

void switch_discard(struct context *context)
{
#ifdef SWITCH_TSAN
    __tsan_destroy_fiber(context->tsan);
#endif
#ifdef SWITCH_VALGRIND
    VALGRIND_STACK_DEREGISTER(context->valgrind_id);
#endif
    (void)context;
}
