/*
 * Starts a program and measures the time to its first good answer.
 * One thread; blocks.
 * The started program is ended and waited for before start_run returns.
 * Faults go to the caller's tally.
 * It returns false if the program could not be started.
 */
#ifndef WEIR_BENCH_LOAD_START_H
#define WEIR_BENCH_LOAD_START_H

#include "ask.h"
#include "tally.h"

/* Starts options->command, asks until it answers; *seconds is how long that took. */
bool start_run(struct ask *ask, struct tally *tally, double *seconds);

#endif
