/*
 * What the kernel says about this process: memory, descriptors, CPU time, threads.
 * Any thread; it reads /proc, a few system calls.
 * Nothing yields.
 * A plain value.
 * What cannot be read is -1.
 */
#ifndef WEIR_OBSERVE_PROCESS_STATS_H
#define WEIR_OBSERVE_PROCESS_STATS_H

#include <stdint.h>

struct process_stats {
    int64_t resident_bytes;
    int64_t virtual_bytes;
    int64_t cpu_ns; /* user and system */
    int64_t threads;
    int64_t open_fds;
    int64_t max_fds;
};

void process_stats_read(struct process_stats *stats);

#endif
