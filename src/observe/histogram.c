#include "observe/histogram.h"

#define US INT64_C(1000)
#define MS INT64_C(1000000)
#define SEC INT64_C(1000000000)

/* The boundaries of the first three and of the last are those that the OpenTelemetry semantic
 * conventions for generative AI metrics advise. */
const struct histogram_bounds histogram_call_bounds = {
    .is_time = true,
    .count = 14,
    .upper = {10 * MS, 20 * MS, 40 * MS, 80 * MS, 160 * MS, 320 * MS, 640 * MS, 1280 * MS,
              2560 * MS, 5120 * MS, 10240 * MS, 20480 * MS, 40960 * MS, 81920 * MS},
};

const struct histogram_bounds histogram_first_bounds = {
    .is_time = true,
    .count = 16,
    .upper = {1 * MS, 5 * MS, 10 * MS, 20 * MS, 40 * MS, 60 * MS, 80 * MS, 100 * MS, 250 * MS,
              500 * MS, 750 * MS, 1 * SEC, 2500 * MS, 5 * SEC, 7500 * MS, 10 * SEC},
};

const struct histogram_bounds histogram_token_bounds = {
    .is_time = true,
    .count = 13,
    .upper = {10 * MS, 25 * MS, 50 * MS, 75 * MS, 100 * MS, 150 * MS, 200 * MS, 300 * MS, 400 * MS,
              500 * MS, 750 * MS, 1 * SEC, 2500 * MS},
};

/* As for calls, and three finer ones: fast models send an event every few milliseconds. */
const struct histogram_bounds histogram_gap_bounds = {
    .is_time = true,
    .count = 17,
    .upper = {1 * MS, 2500 * US, 5 * MS, 10 * MS, 20 * MS, 40 * MS, 80 * MS, 160 * MS, 320 * MS,
              640 * MS, 1280 * MS, 2560 * MS, 5120 * MS, 10240 * MS, 20480 * MS, 40960 * MS,
              81920 * MS},
};

const struct histogram_bounds histogram_overhead_bounds = {
    .is_time = true,
    .count = 17,
    .upper = {5 * US, 10 * US, 20 * US, 30 * US, 50 * US, 75 * US, 100 * US, 150 * US, 250 * US,
              500 * US, 1 * MS, 2500 * US, 5 * MS, 10 * MS, 25 * MS, 100 * MS, 1 * SEC},
};

const struct histogram_bounds histogram_usage_bounds = {
    .is_time = false,
    .count = 14,
    .upper = {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216,
              67108864},
};

void histogram_observe(metric_word words[HISTOGRAM_WORDS], const struct histogram_bounds *bounds,
                       int64_t value)
{
    value = MAX(value, 0);
    unsigned low = 0, high = bounds->count;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (value <= bounds->upper[middle])
            high = middle;
        else
            low = middle + 1;
    }
    metric_add(&words[low], 1);
    metric_add(&words[HISTOGRAM_SUM], (uint64_t)value);
}
