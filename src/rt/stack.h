/*
 * Stacks of tasks: 64 KiB slots cut from slabs, one set of slabs per thread.
 * Only the thread that took a slot may give it back; nothing yields.
 * The thread owns its slabs until stacks_release; a slot belongs to its task.
 * NULL means that no memory could be mapped.
 * The lowest page of a slot is a guard; huge pages are refused; a burst's memory goes back.
 */
#ifndef WEIR_RT_STACK_H
#define WEIR_RT_STACK_H

#include <stdbool.h>
#include <stddef.h>

/* The lowest address of a slot of TASK_STACK_BYTES, its guard page included; NULL when none. */
char *stack_take(void);
void stack_give(char *slot);
/* Gives back the pages of a slot below the one that `frame` lies in. */
void stack_trim(char *slot, const void *frame);
/* Gives back the memory of this thread's free slots. */
void stacks_trim(void);
/* Unmaps the slabs of this thread; every slot must have been given back. */
void stacks_release(void);

/* True when `addr` lies in a guard page of this thread: an overflow. */
bool stack_is_guard(const void *addr);

#endif
