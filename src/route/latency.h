/*
 * Percentiles of durations over the last minute or two: a histogram with logarithmic buckets (four
 * to a doubling, so a value is right within an eighth) in two windows that take turns.
 * One thread at a time (health.h locks). Nothing yields; the time comes in.
 * A plain value of fixed size; zeroed is empty.
 * Cannot fail.
 * Recording costs a few ns; percentiles are counted anew only when there is something new.
 */
#ifndef WEIR_ROUTE_LATENCY_H
#define WEIR_ROUTE_LATENCY_H

#include <stdbool.h>

#include "base/defs.h"

#define LATENCY_WINDOW_NS (INT64_C(60) * 1000000000)
/* From 64 us to more than an hour. */
enum { LATENCY_BUCKETS = 104 };

struct latency {
    int64_t window; /* number of the window that runs */
    uint32_t totals[2];
    uint32_t counts[2][LATENCY_BUCKETS];
};

void latency_record(struct latency *latency, int64_t duration_ns, int64_t now_ns);
/* The duration that `percent` (1..100) of the recorded stay below or at; -1 = none was recorded. */
int64_t latency_percentile(const struct latency *latency, unsigned percent, int64_t now_ns);
/* How many count. */
uint32_t latency_samples(const struct latency *latency, int64_t now_ns);

#endif
