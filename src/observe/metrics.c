#include "observe/metrics.h"

#include "base/mem.h"
#include "observe/metrics_private.h"

struct metrics_state metrics_state = {.lock = PTHREAD_MUTEX_INITIALIZER};

static const struct series_kind kinds[KIND_COUNT] = {
    [KIND_OPERATION] = {.label_count = 1, .word_count = OPERATION_WORDS, .spare_label = -1},
    [KIND_REQUESTS] = {.label_count = 6, .word_count = 1, .spare_label = 3},
    [KIND_ERRORS] = {.label_count = 3, .word_count = 1, .spare_label = -1},
    [KIND_TARGET] = {.label_count = 3, .word_count = TARGET_WORDS, .spare_label = 2},
};

struct metrics_gaps {
    metric_word words[HISTOGRAM_WORDS];
};

/* --- set-up --------------------------------------------------------------------------------------
 */

void metrics_init(unsigned threads, unsigned series_max, int64_t start_wall_ns)
{
    series_init(kinds, KIND_COUNT, threads, series_max);
    pthread_mutex_lock(&metrics_state.lock);
    mem_free(metrics_state.threads);
    metrics_state.thread_count = MAX(threads, 1);
    metrics_state.threads =
        mem_calloc_or_die(metrics_state.thread_count, sizeof(*metrics_state.threads));
    pthread_mutex_unlock(&metrics_state.lock);
    metrics_state.start_wall_ns = start_wall_ns;
    for (unsigned i = 0; i < METRIC_COUNTER_COUNT; i++)
        atomic_store(&metrics_state.counters[i], 0);
    metrics_set_generation(0, 0);
}

static struct metrics_thread *my_thread(struct loop *loop)
{
    CHECK(loop_index(loop) < metrics_state.thread_count);
    return &metrics_state.threads[loop_index(loop)];
}

void metrics_thread_init(struct loop *loop)
{
    struct metrics_thread *thread = my_thread(loop);
    series_thread_init(loop_index(loop));
    pthread_mutex_lock(&metrics_state.lock);
    thread->loop = loop;
    thread->server = http_server_stats();
    thread->pool = http_pool_stats();
    pthread_mutex_unlock(&metrics_state.lock);
}

void metrics_thread_fini(void)
{
    struct metrics_thread *thread = my_thread(loop_self());
    pthread_mutex_lock(&metrics_state.lock);
    /* Counters must never fall: what this thread counted stays. */
    uint64_t sums[THREAD_COUNTER_COUNT] = {0};
    metrics_thread_sum(thread, sums);
    memcpy(thread->ended, sums, sizeof(sums));
    thread->loop = NULL;
    thread->server = NULL;
    thread->pool = NULL;
    pthread_mutex_unlock(&metrics_state.lock);
    series_thread_fini();
}

void metrics_thread_sum(const struct metrics_thread *thread, uint64_t sums[THREAD_COUNTER_COUNT])
{
    for (unsigned i = 0; i < THREAD_COUNTER_COUNT; i++)
        sums[i] += thread->ended[i];
    if (thread->loop == NULL)
        return;
    const struct http_server_stats *server = thread->server;
    const struct http_pool_stats *pool = thread->pool;
    const struct loop_stats *loop = loop_stats(thread->loop);
    const atomic_uint_fast64_t *const sources[THREAD_COUNTER_COUNT] = {
        [THREAD_HTTP_ACCEPTED] = &server->accepted,
        [THREAD_HTTP_CLOSED] = &server->closed,
        [THREAD_HTTP_REQUESTS] = &server->requests,
        [THREAD_HTTP_TLS_FAILURES] = &server->tls_failures,
        [THREAD_HTTP_BAD_REQUESTS] = &server->bad_requests,
        [THREAD_HTTP_TIMEOUTS] = &server->timeouts,
        [THREAD_HTTP_CLIENT_ABORTS] = &server->client_aborts,
        [THREAD_POOL_OPENED] = &pool->opened,
        [THREAD_POOL_REUSED] = &pool->reused,
        [THREAD_POOL_CLOSED] = &pool->closed,
        [THREAD_POOL_CONNECT_FAILURES] = &pool->connect_failures,
        [THREAD_POOL_FREE_RETRIES] = &pool->free_retries,
        [THREAD_LOOP_TURNS] = &loop->turns,
        [THREAD_LOOP_RESUMES] = &loop->resumes,
        [THREAD_LOOP_EVENTS] = &loop->events,
        [THREAD_LOOP_MAILS] = &loop->mails,
        [THREAD_LOOP_OVER_BUDGET] = &loop->over_budget,
    };
    for (unsigned i = 0; i < THREAD_COUNTER_COUNT; i++)
        sums[i] += atomic_load_explicit(sources[i], memory_order_relaxed);
}

/* --- counting ------------------------------------------------------------------------------------
 */

void metrics_request_begin(struct str operation)
{
    metric_add(&series_find(KIND_OPERATION, &operation, true)[OPERATION_BEGUN], 1);
}

/* The name without the options that the simulated provider takes behind a "?". */
static struct str model_label(struct str model)
{
    ptrdiff_t options = str_index(model, '?');
    return options < 0 ? model : str_head(model, (size_t)options);
}

/*
 * The words of (operation, provider, *model). Whoever asks for a model that does not exist must not
 * make a series of it, so one is made only when a provider has answered well for it; until then it
 * counts as "other".
 */
static metric_word *find_target(struct str operation, struct str provider, struct str *model,
                                bool is_proven)
{
    struct str labels[] = {operation, provider, *model};
    metric_word *words = series_find(KIND_TARGET, labels, is_proven);
    if (words != NULL)
        return words;
    *model = labels[2] = SERIES_OTHER;
    return series_find(KIND_TARGET, labels, true);
}

static struct str status_label(unsigned status, char out[20])
{
    if (status < 100 || status > 999)
        return STR("none");
    return str_n(out, str_put_u64(out, status));
}

static void count_tokens(metric_word *words, const struct token_usage *usage)
{
    const int64_t classes[TOKENS_CLASS_COUNT] = {
        [TOKENS_INPUT] = usage->input,
        [TOKENS_OUTPUT] = usage->output,
        [TOKENS_REASONING] = usage->reasoning,
        [TOKENS_CACHE_READ] = usage->cache_read,
        [TOKENS_CACHE_WRITE_5M] = usage->cache_write_5m,
        [TOKENS_CACHE_WRITE_1H] = usage->cache_write_1h,
        [TOKENS_AUDIO_INPUT] = usage->audio_input,
        [TOKENS_AUDIO_OUTPUT] = usage->audio_output,
        [TOKENS_IMAGE_INPUT] = usage->image_input,
    };
    for (unsigned i = 0; i < TOKENS_CLASS_COUNT; i++) {
        if (classes[i] > 0)
            metric_add(&words[TARGET_TOKENS + i], (uint64_t)classes[i]);
    }
    if (usage->input >= 0)
        histogram_observe(&words[TARGET_INPUT], &histogram_usage_bounds, usage->input);
    if (usage->output >= 0)
        histogram_observe(&words[TARGET_OUTPUT], &histogram_usage_bounds, usage->output);
}

static void count_cost(metric_word *words, const struct request_record *record)
{
    if (record->cost_nano_usd > 0)
        metric_add(&words[TARGET_COST], (uint64_t)record->cost_nano_usd);
    if (record->is_unpriced)
        metric_add(&words[TARGET_UNPRICED], 1);
}

static void time_target(metric_word *words, const struct request_record *record)
{
    histogram_observe(&words[TARGET_REQUEST], &histogram_call_bounds, record->total_ns);
    if (record->upstream_ns >= 0)
        histogram_observe(&words[TARGET_UPSTREAM], &histogram_call_bounds, record->upstream_ns);
    if (record->connect_ns >= 0)
        histogram_observe(&words[TARGET_CONNECT], &histogram_first_bounds, record->connect_ns);
    if (record->ttft_ns < 0 || !record->is_stream)
        return;
    histogram_observe(&words[TARGET_FIRST_TOKEN], &histogram_first_bounds, record->ttft_ns);
    if (record->usage.output > 1)
        histogram_observe(&words[TARGET_PER_TOKEN], &histogram_token_bounds,
                          (record->total_ns - record->ttft_ns) / (record->usage.output - 1));
}

/* A provider has answered for the model: 2xx, or a session was opened (101). */
static bool is_accepted(unsigned status)
{
    return status == 101 || (status >= 200 && status < 300);
}

/* It was no request of a client's, but it was paid for. */
static void count_extra(const struct request_record *record)
{
    struct str model = model_label(record->model);
    bool is_proven = is_accepted(record->upstream_status);
    if (record->provider.len == 0)
        return;
    metric_word *target = find_target(record->operation, record->provider, &model, is_proven);
    count_tokens(target, &record->usage);
    count_cost(target, record);
}

void metrics_request_end(const struct request_record *record)
{
    if (record->is_extra) {
        count_extra(record);
        return;
    }
    metric_word *operation = series_find(KIND_OPERATION, &record->operation, true);
    metric_add(&operation[OPERATION_ENDED], 1);
    metric_add(&operation[OPERATION_BYTES_IN], record->bytes_in);
    metric_add(&operation[OPERATION_BYTES_OUT], record->bytes_out);
    metric_add(&operation[OPERATION_EVENTS], record->events);
    histogram_observe(&operation[OPERATION_DURATION], &histogram_call_bounds, record->total_ns);
    histogram_observe(&operation[OPERATION_OVERHEAD], &histogram_overhead_bounds,
                      record->overhead_ns);

    struct str model = STR_EMPTY;
    if (record->provider.len > 0) {
        bool is_proven = is_accepted(record->upstream_status);
        model = model_label(record->model);
        metric_word *target = find_target(record->operation, record->provider, &model, is_proven);
        time_target(target, record);
        count_tokens(target, &record->usage);
        count_cost(target, record);
    }
    char digits[20];
    struct str labels[] = {record->operation,
                           record->dialect,
                           record->provider,
                           model,
                           status_label(record->status, digits),
                           record->outcome};
    metric_add(series_find(KIND_REQUESTS, labels, true), 1);
    if (record->error.len > 0) {
        struct str error_labels[] = {record->operation, record->provider, record->error};
        metric_add(series_find(KIND_ERRORS, error_labels, true), 1);
    }
}

struct metrics_gaps *metrics_gaps(struct str operation, struct str provider, struct str model)
{
    model = model_label(model);
    metric_word *words = find_target(operation, provider, &model, true);
    return (struct metrics_gaps *)(void *)&words[TARGET_GAP];
}

void metrics_gap(struct metrics_gaps *gaps, int64_t gap_ns)
{
    histogram_observe(gaps->words, &histogram_gap_bounds, gap_ns);
}

void metrics_count(enum metrics_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&metrics_state.counters[counter], n, memory_order_relaxed);
}

void metrics_set_generation(uint64_t generation, int64_t loaded_wall_ns)
{
    atomic_store(&metrics_state.generation, generation);
    atomic_store(&metrics_state.loaded_wall_ns, loaded_wall_ns);
}

/* All words of the target: several of its histograms are a session's. */
struct metrics_session {
    metric_word words[TARGET_WORDS];
};

struct metrics_session *metrics_session(struct str operation, struct str provider, struct str model)
{
    model = model_label(model);
    return (struct metrics_session *)(void *)find_target(operation, provider, &model, true);
}

void metrics_session_time(struct metrics_session *session, enum metrics_session_time time,
                          int64_t ns)
{
    static const enum target_word words[] = {
        [METRICS_SESSION_FIRST] = TARGET_FIRST_TOKEN,
        [METRICS_SESSION_FIRST_AUDIO] = TARGET_FIRST_AUDIO,
        [METRICS_SESSION_FIRST_TEXT] = TARGET_FIRST_TEXT,
        [METRICS_SESSION_BARGE_IN] = TARGET_BARGE_IN,
    };
    histogram_observe(&session->words[words[time]], &histogram_first_bounds, ns);
}
