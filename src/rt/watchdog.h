/*
 * The watchdog: one thread that looks at every loop's heartbeat.
 * watchdog_start/stop from the main thread.
 * Nothing yields.
 * It owns only its thread; loops must outlive it.
 * No errors: a watchdog that cannot start is logged.
 */
#ifndef WEIR_RT_WATCHDOG_H
#define WEIR_RT_WATCHDOG_H

#include "rt/loop.h"

/* A turn longer than warn_ms is logged once with the running task's name and a backtrace of that
 * thread; longer than abort_ms ends the process (0 = never). Also installs the last words of a
 * process that crashes (rt/crash.h). */
void watchdog_start(struct loop *const *loops, unsigned count, unsigned warn_ms, unsigned abort_ms);
void watchdog_stop(void);
/* How often it warned since the start. */
uint64_t watchdog_warnings(void);

#endif
