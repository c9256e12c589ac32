/*
 * Last words: what a process that dies says of it, and where a thread is just now.
 * crash_install and crash_preload once; the thread functions by each loop thread itself;
 * crash_trace from a thread that is not a loop's.
 * Nothing yields. Handlers run on a stack of their own and touch only what is safe there.
 * A thread owns its signal stack until crash_thread_fini.
 * Cannot fail: without memory there is no signal stack, and an overflow dies without words.
 */
#ifndef WEIR_RT_CRASH_H
#define WEIR_RT_CRASH_H

#include <pthread.h>

/*
 * Called by watchdog_start. From now on a fatal signal (SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT)
 * is reported on stderr with the running task and, after crash_preload, a backtrace; a fault in a
 * guard page as "task stack overflow in NAME". Then the signal takes its default action. Under a
 * sanitizer nothing is changed: its own report says more.
 */
void crash_install(void);
/* Loads what a backtrace needs (a library, so not in a handler). Takes a millisecond. */
void crash_preload(void);

/* Called by loop_new and loop_free. */
void crash_thread_init(void);
void crash_thread_fini(void);

/* Asks another thread where it is: up to `max` return addresses, innermost first. 0 when it did not
 * answer within 100 ms. One caller at a time. */
enum { CRASH_FRAMES_MAX = 32 };
int crash_trace(pthread_t thread, void **frames, int max);

#endif
