/*
 * A histogram of times from nanoseconds to minutes with an error below one percent.
 * One thread; nothing yields; cannot fail.
 * The caller owns the struct, which is plain memory and starts as zeros.
 * Values beyond the range count as the largest.
 * The buckets of one power of two are equally wide, as in HdrHistogram.
 */
#ifndef WEIR_BENCH_LOAD_HIST_H
#define WEIR_BENCH_LOAD_HIST_H

#include <stdint.h>

enum {
    HIST_SUB_BITS = 7,
    HIST_SUBS = 1 << HIST_SUB_BITS,
    HIST_POWERS = 34, /* up to 2^40 ns, eighteen minutes */
};

struct hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint32_t buckets[HIST_POWERS * HIST_SUBS];
};

void hist_add(struct hist *hist, uint64_t value_ns);
/* The value that `share` (0.99) of all do not exceed, in nanoseconds; 0 if there is none. */
uint64_t hist_quantile(const struct hist *hist, double share);

#endif
