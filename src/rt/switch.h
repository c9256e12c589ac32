/*
 * The switch between two stacks: Boost.Context's jump behind four functions, with the annotations
 * that ASan, TSan and Valgrind need.
 * Only the thread that owns both contexts; a switch suspends the caller until it is switched to.
 * A context owns nothing but the sanitizers' records, given back by switch_discard.
 * Nothing can fail.
 */
#ifndef WEIR_RT_SWITCH_H
#define WEIR_RT_SWITCH_H

#include <stddef.h>

enum { STACK_GUARD_BYTES = 4096 };

struct context {
    void *sp;    /* Boost's handle, valid while the context is suspended */
    void *asan;  /* fake stack saved across the switch */
    void *tsan;  /* fiber */
    void *stack; /* lowest address of its stack */
    size_t stack_bytes;
    unsigned valgrind_id;
    void (*entry)(void *arg);
    void *arg;
};

/* The context of the thread's own stack: call on that stack before the first switch_to. */
void switch_adopt(struct context *thread);
/* A context that begins with entry(arg) on [stack, stack + bytes). entry must never return. */
void switch_prepare(struct context *context, void *stack, size_t bytes, void (*entry)(void *),
                    void *arg);
/* Suspends `from` (the caller) and goes on with `to`. */
void switch_to(struct context *from, struct context *to);
/* Leaves the caller for good. */
__attribute__((noreturn)) void switch_exit(struct context *to);
/* After switch_exit, from another context: gives the records back. */
void switch_discard(struct context *context);

#endif
