/*
 * Histograms with fixed bucket boundaries, kept as words of a series' counters.
 * histogram_observe on the thread that owns the words; the sums may be made by any thread.
 * Nothing yields.
 * Owns nothing: words belong to the series.
 * Cannot fail; a negative value counts as zero.
 */
#ifndef WEIR_OBSERVE_HISTOGRAM_H
#define WEIR_OBSERVE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/defs.h"

/* A counter: written by one thread, read by any (relaxed). */
typedef atomic_uint_fast64_t metric_word;

enum {
    HISTOGRAM_BOUNDS_MAX = 17,
    /* A bucket for each boundary, one for what is above, and the sum of the values. */
    HISTOGRAM_SUM = HISTOGRAM_BOUNDS_MAX + 1,
    HISTOGRAM_WORDS = HISTOGRAM_SUM + 1,
};

/* Upper boundaries, inclusive and rising; nanoseconds where is_time, else plain numbers. */
struct histogram_bounds {
    bool is_time;
    unsigned count;
    int64_t upper[HISTOGRAM_BOUNDS_MAX];
};

extern const struct histogram_bounds histogram_call_bounds;     /* whole calls */
extern const struct histogram_bounds histogram_first_bounds;    /* time to first token */
extern const struct histogram_bounds histogram_token_bounds;    /* time per output token */
extern const struct histogram_bounds histogram_gap_bounds;      /* between two events */
extern const struct histogram_bounds histogram_overhead_bounds; /* in the gateway itself */
extern const struct histogram_bounds histogram_usage_bounds;    /* numbers of tokens */

void histogram_observe(metric_word words[HISTOGRAM_WORDS], const struct histogram_bounds *bounds,
                       int64_t value);

/* Adds to a counter that only this thread writes: no locked instruction is needed. */
static inline void metric_add(metric_word *word, uint64_t n)
{
    uint64_t before = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, before + n, memory_order_relaxed);
}

#endif
