/*
 * The loop threads: one worker is one thread with its loop and its side of the gateway.
 * Main thread, except that worker_fn runs on the worker's own loop.
 * Nothing yields; workers_run blocks the main thread for a turn of the loops.
 * The workers own their threads, loops and gateway threads.
 * -ERR_x with the error slot set when a thread or a loop cannot be had; nothing is left then.
 */
#ifndef WEIR_CONTROL_WORKER_H
#define WEIR_CONTROL_WORKER_H

#include <pthread.h>

#include "gateway/gateway.h"
#include "rt/loop.h"

struct worker {
    unsigned index;
    struct loop *loop;
    struct gateway_thread *gateway;
    pthread_t thread;
    struct workers *group;
    struct err failure; /* why it could not start */
};

struct workers {
    struct worker *items;
    struct loop **loops; /* of all, in the same order */
    unsigned count;
    struct snapshot *first; /* while starting */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned pending; /* workers that have not done what they were asked to */
};

int workers_start(struct workers *workers, unsigned count, struct snapshot *first);

/* Runs fn(worker, arg) on every worker's loop, between tasks, and waits until all have. */
typedef void worker_fn(struct worker *worker, void *arg);
void workers_run(struct workers *workers, worker_fn *fn, void *arg);

/* Connections of all workers, and those that are on their way from one to another. */
int64_t workers_load(const struct workers *workers);
int64_t workers_incoming(const struct workers *workers);

/* Ends the loops and joins the threads. A worker whose tasks do not end within a second is left
 * as it is, for the end of the process to clean up: false then. */
bool workers_stop(struct workers *workers);

#endif
