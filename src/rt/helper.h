/*
 * Helper threads for work that blocks: files, large parses, key derivation.
 * helper_start/stop from the main thread; helper_run from tasks; helper_post from any thread.
 * helper_run yields.
 * The work's argument belongs to the caller; with helper_run it may live on the task's stack.
 * -ERR_BUSY when the bounded queue is full (nothing was run).
 */
#ifndef WEIR_RT_HELPER_H
#define WEIR_RT_HELPER_H

#include "rt/task.h"

/* Threads start when the first work comes. 0 or -ERR_x. */
int helper_start(unsigned threads, unsigned queue_max);
/* Finishes what is queued and joins. */
void helper_stop(void);

/* Runs fn(arg) on a helper thread while this task waits. It waits for the end also when it is
 * cancelled meanwhile (then it returns -ERR_CANCELED after the end). Where helper_start was not
 * called, fn runs here, on the loop's stack. */
YIELDS int helper_run(void (*fn)(void *arg), void *arg);
/* Fire and forget; where helper_start was not called, fn runs here. */
int helper_post(void (*fn)(void *arg), void *arg);

#endif
