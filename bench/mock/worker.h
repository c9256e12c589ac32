/*
 * One thread of the mock upstream: its listener, its connections, its timers, its counters.
 * worker_run belongs to the worker's thread; the counters may be read by any.
 * Nothing here yields.
 * A worker owns its descriptors and connections for as long as the program lives.
 * worker_open tells on stderr what failed and returns false.
 */
#ifndef WEIR_BENCH_MOCK_WORKER_H
#define WEIR_BENCH_MOCK_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "heap.h"

/* What GET /stats shows. Written by one thread, read by whichever one is asked. */
struct worker_stats {
    _Atomic uint64_t connections; /* open now */
    _Atomic uint64_t in_progress; /* calls whose answer is not complete */
    _Atomic uint64_t calls;       /* begun in all */
    _Atomic uint64_t completed;
    _Atomic uint64_t aborted; /* the caller went away before the end */
    _Atomic uint64_t refused; /* requests that were wrong */
    _Atomic uint64_t tokens;
};

struct conn;

struct worker {
    int listener;
    int epoll;
    int wake; /* an eventfd: POST /release was asked of some worker */
    struct heap heap;
    struct conn *held; /* a doubly linked list */
    uint64_t random;
    char *scratch;
    size_t scratch_room;
    struct worker_stats stats;
    /* All workers of the program, for /stats and /release. */
    struct worker *all;
    unsigned all_count;
};

/* Opens the worker's descriptors and listens on 127.0.0.1:*port; 0 picks one and stores it. */
bool worker_open(struct worker *worker, uint16_t *port);

/* Serves until the program is ended. */
void *worker_run(void *worker);

#endif
