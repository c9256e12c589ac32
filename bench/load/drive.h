/*
 * Drives the load: opens connections, begins requests when they are due, feeds the checks.
 * One thread, the program's only one; nothing yields.
 * drive_run owns its connections and closes them all before it returns.
 * Results and faults go to the caller's tally.
 * It returns false if the machine refused something (descriptors, memory), told on stderr.
 */
#ifndef WEIR_BENCH_LOAD_DRIVE_H
#define WEIR_BENCH_LOAD_DRIVE_H

#include "ask.h"
#include "tally.h"

/* Runs the modes run, hold and hangup to their end; *seconds is how long the run took. */
bool drive_run(struct ask *ask, struct tally *tally, double *seconds);

/* CLOCK_MONOTONIC in nanoseconds: the mock stamps its tokens with the same clock. */
uint64_t drive_now_ns(void);

#endif
