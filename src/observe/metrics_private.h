/*
 * What the two halves of the metrics share: which series there are, what their words mean, and what
 * is known of each loop thread.
 * metrics.c writes on loop threads, metrics_page.c reads on any.
 * Nothing yields.
 * The state is static; a thread's pointers are valid while its `loop` is set.
 * No errors.
 */
#ifndef WEIR_OBSERVE_METRICS_PRIVATE_H
#define WEIR_OBSERVE_METRICS_PRIVATE_H

#include <pthread.h>

#include "http/client.h"
#include "http/server.h"
#include "observe/metrics.h"
#include "observe/series.h"

enum metrics_kind {
    KIND_OPERATION, /* operation */
    KIND_REQUESTS,  /* operation, dialect, provider, model, status, outcome */
    KIND_ERRORS,    /* operation, provider, error */
    KIND_TARGET,    /* operation, provider, model */
    KIND_COUNT
};

enum operation_word {
    OPERATION_BEGUN,
    OPERATION_ENDED,
    OPERATION_BYTES_IN,
    OPERATION_BYTES_OUT,
    OPERATION_EVENTS,
    OPERATION_DURATION,
    OPERATION_OVERHEAD = OPERATION_DURATION + HISTOGRAM_WORDS,
    OPERATION_WORDS = OPERATION_OVERHEAD + HISTOGRAM_WORDS,
};

enum token_class {
    TOKENS_INPUT,
    TOKENS_OUTPUT,
    TOKENS_REASONING,
    TOKENS_CACHE_READ,
    TOKENS_CACHE_WRITE_5M,
    TOKENS_CACHE_WRITE_1H,
    TOKENS_AUDIO_INPUT,
    TOKENS_AUDIO_OUTPUT,
    TOKENS_IMAGE_INPUT,
    TOKENS_CLASS_COUNT
};

enum target_word {
    TARGET_TOKENS,
    TARGET_REQUEST = TARGET_TOKENS + TOKENS_CLASS_COUNT,
    TARGET_UPSTREAM = TARGET_REQUEST + HISTOGRAM_WORDS,
    TARGET_CONNECT = TARGET_UPSTREAM + HISTOGRAM_WORDS,
    TARGET_FIRST_TOKEN = TARGET_CONNECT + HISTOGRAM_WORDS,
    TARGET_PER_TOKEN = TARGET_FIRST_TOKEN + HISTOGRAM_WORDS,
    TARGET_GAP = TARGET_PER_TOKEN + HISTOGRAM_WORDS,
    TARGET_BARGE_IN = TARGET_GAP + HISTOGRAM_WORDS,
    TARGET_FIRST_AUDIO = TARGET_BARGE_IN + HISTOGRAM_WORDS,
    TARGET_FIRST_TEXT = TARGET_FIRST_AUDIO + HISTOGRAM_WORDS,
    TARGET_INPUT = TARGET_FIRST_TEXT + HISTOGRAM_WORDS,
    TARGET_OUTPUT = TARGET_INPUT + HISTOGRAM_WORDS,
    TARGET_COST = TARGET_OUTPUT + HISTOGRAM_WORDS, /* nano-dollars */
    TARGET_UNPRICED,
    TARGET_WORDS,
};

/* The counters of the floors below, as one thread has them. */
enum thread_counter {
    THREAD_HTTP_ACCEPTED,
    THREAD_HTTP_CLOSED,
    THREAD_HTTP_REQUESTS,
    THREAD_HTTP_TLS_FAILURES,
    THREAD_HTTP_BAD_REQUESTS,
    THREAD_HTTP_TIMEOUTS,
    THREAD_HTTP_CLIENT_ABORTS,
    THREAD_POOL_OPENED,
    THREAD_POOL_REUSED,
    THREAD_POOL_CLOSED,
    THREAD_POOL_CONNECT_FAILURES,
    THREAD_POOL_FREE_RETRIES,
    THREAD_LOOP_TURNS,
    THREAD_LOOP_RESUMES,
    THREAD_LOOP_EVENTS,
    THREAD_LOOP_MAILS,
    THREAD_LOOP_OVER_BUDGET,
    THREAD_COUNTER_COUNT
};

struct metrics_thread {
    /* NULL while no thread of this number runs. */
    struct loop *loop;
    struct http_server_stats *server;
    struct http_pool_stats *pool;
    uint64_t ended[THREAD_COUNTER_COUNT]; /* what threads of this number left behind */
};

struct metrics_state {
    pthread_mutex_t lock; /* the threads' pointers */
    unsigned thread_count;
    struct metrics_thread *threads;
    int64_t start_wall_ns;
    atomic_uint_fast64_t counters[METRIC_COUNTER_COUNT];
    atomic_uint_fast64_t generation;
    atomic_int_fast64_t loaded_wall_ns;
};
extern struct metrics_state metrics_state;

/* Adds this thread's counters to *sums. With the lock held. */
void metrics_thread_sum(const struct metrics_thread *thread, uint64_t sums[THREAD_COUNTER_COUNT]);

#endif
