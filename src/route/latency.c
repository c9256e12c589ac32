#include "route/latency.h"

/* Buckets of 2^16 ns (66 us), evenly up to four of them, then four to each doubling. */
enum { UNIT_SHIFT = 16, PER_DOUBLING = 4, PER_DOUBLING_SHIFT = 2 };

static unsigned bucket_of(int64_t ns)
{
    uint64_t units = (uint64_t)MAX(ns, 0) >> UNIT_SHIFT;
    if (units < PER_DOUBLING)
        return (unsigned)units;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(units);
    unsigned within = (unsigned)(units >> (exponent - PER_DOUBLING_SHIFT)) & (PER_DOUBLING - 1);
    return MIN((exponent - 1) * PER_DOUBLING + within, LATENCY_BUCKETS - 1u);
}

/* Where a bucket begins. */
static int64_t lower_bound(unsigned bucket)
{
    if (bucket < PER_DOUBLING)
        return (int64_t)bucket << UNIT_SHIFT;
    unsigned exponent = bucket / PER_DOUBLING + 1, within = bucket % PER_DOUBLING;
    return (int64_t)(PER_DOUBLING + within) << (exponent - PER_DOUBLING_SHIFT + UNIT_SHIFT);
}

void latency_record(struct latency *latency, int64_t duration_ns, int64_t now_ns)
{
    /* Another thread's clock may be ahead by a bit. */
    int64_t window = MAX(now_ns / LATENCY_WINDOW_NS, latency->window);
    unsigned side = (unsigned)window & 1;
    if (latency->window != window) {
        /* The other side is the window before, unless a whole one has passed without any. */
        bool follows = latency->window + 1 == window;
        for (unsigned i = 0; i < 2; i++) {
            if (i == side || !follows) {
                latency->totals[i] = 0;
                __builtin_memset(latency->counts[i], 0, sizeof(latency->counts[i]));
            }
        }
        latency->window = window;
    }
    latency->counts[side][bucket_of(duration_ns)]++;
    latency->totals[side]++;
}

/* Which sides count now: both, the one that was written last, or none. */
static unsigned sides_of(const struct latency *latency, int64_t now_ns)
{
    int64_t age = now_ns / LATENCY_WINDOW_NS - latency->window;
    return age <= 0 ? 3u : age == 1 ? 1u << (latency->window & 1) : 0;
}

uint32_t latency_samples(const struct latency *latency, int64_t now_ns)
{
    unsigned sides = sides_of(latency, now_ns);
    return (sides & 1 ? latency->totals[0] : 0) + (sides & 2 ? latency->totals[1] : 0);
}

int64_t latency_percentile(const struct latency *latency, unsigned percent, int64_t now_ns)
{
    unsigned sides = sides_of(latency, now_ns);
    uint64_t total = latency_samples(latency, now_ns), seen = 0;
    /* The rank, rounded up: of one there is only one. */
    uint64_t rank = MAX((total * percent + 99) / 100, 1u);
    if (total == 0)
        return -1;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t here = (sides & 1 ? latency->counts[0][i] : 0) +
                        (uint64_t)(sides & 2 ? latency->counts[1][i] : 0);
        if (seen + here < rank) {
            seen += here;
            continue;
        }
        /* Evenly within the bucket: one alone is in its middle. */
        int64_t from = lower_bound(i), width = lower_bound(i + 1) - from;
        return from + width * (int64_t)(2 * (rank - seen) - 1) / (int64_t)(2 * here);
    }
    return lower_bound(LATENCY_BUCKETS);
}
