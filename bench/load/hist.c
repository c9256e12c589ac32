#include "hist.h"

static unsigned bucket_of(uint64_t value)
{
    if (value < HIST_SUBS)
        return (unsigned)value;
    unsigned power = 63 - (unsigned)__builtin_clzll(value); /* at least HIST_SUB_BITS */
    unsigned shift = power - HIST_SUB_BITS;
    if (shift + 1 >= HIST_POWERS)
        return HIST_POWERS * HIST_SUBS - 1;
    return (shift + 1) * HIST_SUBS + (unsigned)(value >> shift & (HIST_SUBS - 1));
}

/* The middle of what falls into a bucket. */
static uint64_t value_of(unsigned bucket)
{
    unsigned power = bucket / HIST_SUBS;
    uint64_t sub = bucket % HIST_SUBS;
    if (power == 0)
        return sub;
    return ((sub + HIST_SUBS) << (power - 1)) + ((uint64_t)1 << (power - 1)) / 2;
}

void hist_add(struct hist *hist, uint64_t value_ns)
{
    hist->count++;
    hist->sum_ns += value_ns;
    if (value_ns > hist->max_ns)
        hist->max_ns = value_ns;
    hist->buckets[bucket_of(value_ns)]++;
}

uint64_t hist_quantile(const struct hist *hist, double share)
{
    if (hist->count == 0)
        return 0;
    uint64_t rank = (uint64_t)(share * (double)hist->count + 0.5);
    if (rank == 0)
        rank = 1;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_POWERS * HIST_SUBS; i++) {
        seen += hist->buckets[i];
        if (seen >= rank)
            return value_of(i) < hist->max_ns ? value_of(i) : hist->max_ns;
    }
    return hist->max_ns;
}
