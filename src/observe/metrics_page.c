#include "weir_version.h"

#include "base/clock.h"
#include "observe/access_log.h"
#include "observe/metrics_private.h"
#include "observe/process_stats.h"
#include "rt/watchdog.h"

/* --- lines
 * ----------------------------------------------------------------------------------------- */

/* Up to three kinds of label names for the labels of a series. */
enum { NAMES_MAX = SERIES_LABELS_MAX };
struct label_names {
    unsigned count;
    bool is_gen_ai; /* operations are called as the OpenTelemetry conventions call them */
    const char *names[NAMES_MAX];
};

static const struct label_names operation_names = {.count = 1, .names = {"operation"}};
static const struct label_names request_names = {
    .count = 6, .names = {"operation", "dialect", "provider", "model", "status", "outcome"}};
static const struct label_names error_names = {.count = 3,
                                               .names = {"operation", "provider", "error"}};
static const struct label_names target_names = {.count = 3,
                                                .names = {"operation", "provider", "model"}};
static const struct label_names gen_ai_names = {
    .count = 3,
    .is_gen_ai = true,
    .names = {"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model"}};

static void begin_family(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Label values are plain ASCII when they come from a series; those from elsewhere are literals. */
static void add_label(struct buf *out, bool is_first, const char *name, struct str value)
{
    buf_add_char(out, is_first ? '{' : ',');
    buf_add_str(out, str_c(name));
    BUF_LIT(out, "=\"");
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '"' || value.ptr[i] == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, value.ptr[i]);
    }
    buf_add_char(out, '"');
}

/* The value of gen_ai.operation.name for an operation of ours. */
static struct str gen_ai_operation(struct str operation)
{
    return str_eq(operation, STR("completions")) ? STR("text_completion") : operation;
}

/* Nanoseconds as seconds, without trailing zeros. */
static void add_seconds(struct buf *out, uint64_t ns)
{
    char digits[STR_BILLIONTHS_BYTES];
    buf_add(out, digits, str_put_billionths(digits, ns));
}

static void add_value(struct buf *out, uint64_t value, bool is_time)
{
    if (is_time)
        add_seconds(out, value);
    else
        buf_add_u64(out, value);
}

/* A family of one line without labels. */
static void add_single(struct buf *out, const char *name, const char *type, const char *help,
                       uint64_t value, bool is_time)
{
    begin_family(out, name, type, help);
    buf_printf(out, "%s ", name);
    add_value(out, value, is_time);
    buf_add_char(out, '\n');
}

/* --- series
 * ---------------------------------------------------------------------------------------- */

/* A label that the family has besides those of the series, as in token_type="input". */
struct extra_label {
    const char *name;
    struct str value;
};

/* What is being written while the series are visited. */
struct visit {
    struct buf *out;
    const char *name;
    const struct label_names *names;
    unsigned word;
    const struct histogram_bounds *bounds;
    struct extra_label extra;
};

/* All labels of a line with their braces; `le` (ptr NULL = none) is a bucket's boundary. */
static void add_labels(const struct visit *visit, const struct str values[], struct str le)
{
    const struct label_names *names = visit->names;
    for (unsigned i = 0; i < names->count; i++) {
        struct str value = names->is_gen_ai && i == 0 ? gen_ai_operation(values[i]) : values[i];
        add_label(visit->out, i == 0, names->names[i], value);
    }
    if (visit->extra.name != NULL)
        add_label(visit->out, false, visit->extra.name, visit->extra.value);
    if (le.ptr != NULL)
        add_label(visit->out, false, "le", le);
    BUF_LIT(visit->out, "} ");
}

static void add_sample(const struct visit *visit, const char *suffix, const struct str labels[],
                       struct str le, uint64_t value, bool is_time)
{
    buf_add_str(visit->out, str_c(visit->name));
    buf_add_str(visit->out, str_c(suffix));
    add_labels(visit, labels, le);
    add_value(visit->out, value, is_time);
    buf_add_char(visit->out, '\n');
}

static void visit_histogram(void *ctx, const struct str labels[], const uint64_t sums[])
{
    const struct visit *visit = ctx;
    const struct histogram_bounds *bounds = visit->bounds;
    const uint64_t *words = sums + visit->word;
    uint64_t total = 0;
    for (unsigned i = 0; i <= bounds->count; i++)
        total += words[i];
    if (total == 0)
        return;
    char bytes[40];
    uint64_t below = 0;
    for (unsigned i = 0; i < bounds->count; i++) {
        struct buf bound = {.ptr = bytes, .cap = sizeof(bytes), .limit = sizeof(bytes)};
        add_value(&bound, (uint64_t)bounds->upper[i], bounds->is_time);
        below += words[i];
        add_sample(visit, "_bucket", labels, buf_str(&bound), below, false);
    }
    add_sample(visit, "_bucket", labels, STR("+Inf"), total, false);
    add_sample(visit, "_sum", labels, STR_EMPTY, words[HISTOGRAM_SUM], bounds->is_time);
    add_sample(visit, "_count", labels, STR_EMPTY, total, false);
}

static void visit_counter(void *ctx, const struct str labels[], const uint64_t sums[])
{
    const struct visit *visit = ctx;
    if (sums[visit->word] > 0)
        add_sample(visit, "", labels, STR_EMPTY, sums[visit->word], false);
}

/* Billionths, as seconds and dollars are kept. */
static void visit_billionths(void *ctx, const struct str labels[], const uint64_t sums[])
{
    const struct visit *visit = ctx;
    if (sums[visit->word] > 0)
        add_sample(visit, "", labels, STR_EMPTY, sums[visit->word], true);
}

static void visit_in_flight(void *ctx, const struct str labels[], const uint64_t sums[])
{
    /* The two are not read at one moment, so the later one may be ahead. */
    int64_t now = (int64_t)(sums[OPERATION_BEGUN] - sums[OPERATION_ENDED]);
    add_sample(ctx, "", labels, STR_EMPTY, (uint64_t)MAX(now, 0), false);
}

struct histogram_family {
    const char *name;
    const char *help;
    enum metrics_kind kind;
    const struct label_names *names;
    unsigned word;
    const struct histogram_bounds *bounds;
};

static const struct histogram_family histograms[] = {
    {"weir_request_duration_seconds",
     "Time from a request's first byte to the last byte of its answer.", KIND_OPERATION,
     &operation_names, OPERATION_DURATION, &histogram_call_bounds},
    {"weir_request_overhead_seconds",
     "Time a request spent in the gateway itself, without the provider and the client.",
     KIND_OPERATION, &operation_names, OPERATION_OVERHEAD, &histogram_overhead_bounds},
    {"weir_upstream_connect_duration_seconds",
     "Time to resolve, connect and greet for a new connection to a provider.", KIND_TARGET,
     &target_names, TARGET_CONNECT, &histogram_first_bounds},
    {"gen_ai_server_request_duration_seconds",
     "Time from a request's first byte to the last byte of its answer.", KIND_TARGET, &gen_ai_names,
     TARGET_REQUEST, &histogram_call_bounds},
    {"gen_ai_client_operation_duration_seconds",
     "Time from the request sent to a provider to the last byte of its answer.", KIND_TARGET,
     &gen_ai_names, TARGET_UPSTREAM, &histogram_call_bounds},
    {"gen_ai_server_time_to_first_token_seconds",
     "Time from a streamed request's first byte to the first token of its answer.", KIND_TARGET,
     &gen_ai_names, TARGET_FIRST_TOKEN, &histogram_first_bounds},
    {"gen_ai_server_time_per_output_token_seconds",
     "Time a token after the first one, averaged over each stream.", KIND_TARGET, &gen_ai_names,
     TARGET_PER_TOKEN, &histogram_token_bounds},
    {"gen_ai_client_operation_time_per_output_chunk_seconds",
     "Time between two events of a stream that carry content.", KIND_TARGET, &gen_ai_names,
     TARGET_GAP, &histogram_gap_bounds},
    {"weir_realtime_barge_in_seconds",
     "Time from an interruption of a realtime answer to the last of it that still came.",
     KIND_TARGET, &target_names, TARGET_BARGE_IN, &histogram_first_bounds},
    {"weir_realtime_first_audio_seconds",
     "Time from the wish for a realtime answer to its first sound.", KIND_TARGET, &target_names,
     TARGET_FIRST_AUDIO, &histogram_first_bounds},
    {"weir_realtime_first_text_seconds",
     "Time from the wish for a realtime answer to its first text, or text of its speech.",
     KIND_TARGET, &target_names, TARGET_FIRST_TEXT, &histogram_first_bounds},
};

static void write_histograms(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_LEN(histograms); i++) {
        const struct histogram_family *family = &histograms[i];
        begin_family(out, family->name, "histogram", family->help);
        struct visit visit = {.out = out,
                              .name = family->name,
                              .names = family->names,
                              .word = family->word,
                              .bounds = family->bounds};
        series_visit(family->kind, visit_histogram, &visit);
    }
}

static void write_tokens(struct buf *out)
{
    struct visit visit = {.out = out,
                          .name = "gen_ai_client_token_usage",
                          .names = &gen_ai_names,
                          .word = TARGET_INPUT,
                          .bounds = &histogram_usage_bounds,
                          .extra = {"gen_ai_token_type", STR("input")}};
    begin_family(out, visit.name, "histogram",
                 "Tokens of a request, as the provider counted them.");
    series_visit(KIND_TARGET, visit_histogram, &visit);
    visit.word = TARGET_OUTPUT;
    visit.extra.value = STR("output");
    series_visit(KIND_TARGET, visit_histogram, &visit);

    static const char *const classes[TOKENS_CLASS_COUNT] = {
        [TOKENS_INPUT] = "input",
        [TOKENS_OUTPUT] = "output",
        [TOKENS_REASONING] = "reasoning",
        [TOKENS_CACHE_READ] = "cache_read",
        [TOKENS_CACHE_WRITE_5M] = "cache_write_5m",
        [TOKENS_CACHE_WRITE_1H] = "cache_write_1h",
        [TOKENS_AUDIO_INPUT] = "audio_input",
        [TOKENS_AUDIO_OUTPUT] = "audio_output",
        [TOKENS_IMAGE_INPUT] = "image_input",
    };
    struct visit counter = {.out = out, .name = "weir_tokens_total", .names = &target_names};
    begin_family(out, counter.name, "counter",
                 "Tokens by class, as the provider counted them; some classes are part of others.");
    for (unsigned i = 0; i < TOKENS_CLASS_COUNT; i++) {
        counter.word = TARGET_TOKENS + i;
        counter.extra = (struct extra_label){"type", str_c(classes[i])};
        series_visit(KIND_TARGET, visit_counter, &counter);
    }
}

static void write_costs(struct buf *out)
{
    struct visit visit = {
        .out = out, .name = "weir_cost_usd_total", .names = &target_names, .word = TARGET_COST};
    begin_family(out, visit.name, "counter",
                 "US dollars that answers cost, by the prices that weir knows.");
    series_visit(KIND_TARGET, visit_billionths, &visit);
    visit.name = "weir_unpriced_requests_total";
    visit.word = TARGET_UNPRICED;
    begin_family(out, visit.name, "counter",
                 "Answered requests whose model has no price: what they cost is in no sum.");
    series_visit(KIND_TARGET, visit_counter, &visit);
}

static void write_requests(struct buf *out)
{
    struct visit visit = {.out = out, .name = "weir_requests_total", .names = &request_names};
    begin_family(out, visit.name, "counter", "Requests that have ended, by what became of them.");
    series_visit(KIND_REQUESTS, visit_counter, &visit);

    visit = (struct visit){.out = out, .name = "weir_request_errors_total", .names = &error_names};
    begin_family(out, visit.name, "counter", "Requests that failed, by class of error.");
    series_visit(KIND_ERRORS, visit_counter, &visit);

    visit =
        (struct visit){.out = out, .name = "weir_requests_in_flight", .names = &operation_names};
    begin_family(out, visit.name, "gauge", "Requests that are being served.");
    series_visit(KIND_OPERATION, visit_in_flight, &visit);

    static const struct {
        const char *name, *help;
        struct extra_label extra;
        unsigned word;
        bool continues; /* the family above */
    } counters[] = {
        {"weir_client_bytes_total",
         "Bytes of bodies to and from clients.",
         {"direction", STR_INIT("in")},
         OPERATION_BYTES_IN,
         false},
        {"weir_client_bytes_total",
         NULL,
         {"direction", STR_INIT("out")},
         OPERATION_BYTES_OUT,
         true},
        {"weir_stream_events_total",
         "Events of streams that were relayed.",
         {NULL, {NULL, 0}},
         OPERATION_EVENTS,
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(counters); i++) {
        if (!counters[i].continues)
            begin_family(out, counters[i].name, "counter", counters[i].help);
        visit = (struct visit){.out = out,
                               .name = counters[i].name,
                               .names = &operation_names,
                               .word = counters[i].word,
                               .extra = counters[i].extra};
        series_visit(KIND_OPERATION, visit_counter, &visit);
    }
}

/* --- threads
 * --------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *help;
    enum thread_counter counter;
} summed[] = {
    {"weir_http_connections_accepted_total", "Connections of clients that were taken in.",
     THREAD_HTTP_ACCEPTED},
    {"weir_http_connections_closed_total", "Connections of clients that have ended.",
     THREAD_HTTP_CLOSED},
    {"weir_http_requests_total", "HTTP requests whose head was read.", THREAD_HTTP_REQUESTS},
    {"weir_http_tls_failures_total", "TLS handshakes of clients that failed.",
     THREAD_HTTP_TLS_FAILURES},
    {"weir_http_bad_requests_total", "Requests that were refused because they break the protocol.",
     THREAD_HTTP_BAD_REQUESTS},
    {"weir_http_timeouts_total", "Connections of clients that were closed for their slowness.",
     THREAD_HTTP_TIMEOUTS},
    {"weir_http_client_aborts_total", "Clients that hung up before the end of their answer.",
     THREAD_HTTP_CLIENT_ABORTS},
    {"weir_upstream_connections_opened_total", "New connections to providers.", THREAD_POOL_OPENED},
    {"weir_upstream_connections_reused_total", "Calls that went over a connection of the pool.",
     THREAD_POOL_REUSED},
    {"weir_upstream_connections_closed_total", "Connections to providers that have ended.",
     THREAD_POOL_CLOSED},
    {"weir_upstream_connect_failures_total", "Connections to providers that did not come about.",
     THREAD_POOL_CONNECT_FAILURES},
    {"weir_upstream_free_retries_total",
     "Calls repeated because a connection of the pool died before the first byte.",
     THREAD_POOL_FREE_RETRIES},
};

static const struct {
    const char *name, *help;
    enum thread_counter counter;
} by_thread[] = {
    {"weir_loop_turns_total", "Turns of a thread's event loop.", THREAD_LOOP_TURNS},
    {"weir_loop_resumes_total", "Tasks that an event loop resumed.", THREAD_LOOP_RESUMES},
    {"weir_loop_events_total", "Socket events that an event loop took in.", THREAD_LOOP_EVENTS},
    {"weir_loop_mails_total", "Messages from other threads.", THREAD_LOOP_MAILS},
    {"weir_loop_over_budget_total", "Turns that ended with ready tasks left.",
     THREAD_LOOP_OVER_BUDGET},
};

static void add_thread_line(struct buf *out, const char *name, unsigned thread, uint64_t value,
                            bool is_time)
{
    buf_printf(out, "%s{thread=\"%u\"} ", name, thread);
    add_value(out, value, is_time);
    buf_add_char(out, '\n');
}

static int64_t read_gauge(atomic_int_fast64_t *gauge)
{
    return atomic_load_explicit(gauge, memory_order_relaxed);
}

static void write_loop_gauges(struct buf *out)
{
    const struct metrics_state *state = &metrics_state;
    begin_family(out, "weir_loop_lag_seconds", "gauge",
                 "Longest time that something ready waited for its turn since the last scrape.");
    for (unsigned t = 0; t < state->thread_count; t++) {
        struct loop *loop = state->threads[t].loop;
        if (loop == NULL)
            continue;
        int64_t lag_ns =
            atomic_exchange_explicit(&loop_stats(loop)->lag_max_ns, 0, memory_order_relaxed);
        add_thread_line(out, "weir_loop_lag_seconds", t, (uint64_t)MAX(lag_ns, 0), true);
    }
    begin_family(out, "weir_loop_connections", "gauge", "Connections of clients by thread.");
    for (unsigned t = 0; t < state->thread_count; t++) {
        struct loop *loop = state->threads[t].loop;
        if (loop != NULL)
            add_thread_line(out, "weir_loop_connections", t,
                            (uint64_t)MAX(read_gauge(&loop_stats(loop)->load), 0), false);
    }
}

static void write_pool_gauge(struct buf *out)
{
    int64_t idle = 0, busy = 0;
    for (unsigned t = 0; t < metrics_state.thread_count; t++) {
        struct http_pool_stats *pool = metrics_state.threads[t].pool;
        if (pool == NULL)
            continue;
        idle += read_gauge(&pool->idle);
        busy += read_gauge(&pool->busy);
    }
    begin_family(out, "weir_upstream_connections", "gauge", "Open connections to providers.");
    buf_printf(out, "weir_upstream_connections{state=\"busy\"} %llu\n",
               (unsigned long long)MAX(busy, 0));
    buf_printf(out, "weir_upstream_connections{state=\"idle\"} %llu\n",
               (unsigned long long)MAX(idle, 0));
}

static void write_threads(struct buf *out)
{
    struct metrics_state *state = &metrics_state;
    pthread_mutex_lock(&state->lock);
    uint64_t sums[THREAD_COUNTER_COUNT] = {0};
    for (unsigned t = 0; t < state->thread_count; t++)
        metrics_thread_sum(&state->threads[t], sums);
    for (size_t i = 0; i < ARRAY_LEN(summed); i++)
        add_single(out, summed[i].name, "counter", summed[i].help, sums[summed[i].counter], false);
    int64_t open = (int64_t)(sums[THREAD_HTTP_ACCEPTED] - sums[THREAD_HTTP_CLOSED]);
    add_single(out, "weir_http_connections", "gauge", "Open connections of clients.",
               (uint64_t)MAX(open, 0), false);
    write_pool_gauge(out);
    for (size_t i = 0; i < ARRAY_LEN(by_thread); i++) {
        begin_family(out, by_thread[i].name, "counter", by_thread[i].help);
        for (unsigned t = 0; t < state->thread_count; t++) {
            uint64_t of_thread[THREAD_COUNTER_COUNT] = {0};
            metrics_thread_sum(&state->threads[t], of_thread);
            add_thread_line(out, by_thread[i].name, t, of_thread[by_thread[i].counter], false);
        }
    }
    write_loop_gauges(out);
    pthread_mutex_unlock(&state->lock);
}

/* --- the process
 * ----------------------------------------------------------------------------------- */

static uint64_t counter(enum metrics_counter which)
{
    return atomic_load_explicit(&metrics_state.counters[which], memory_order_relaxed);
}

static void write_gateway(struct buf *out)
{
    begin_family(out, "weir_build_info", "gauge", "What is running; always 1.");
    BUF_LIT(out, "weir_build_info");
    add_label(out, true, "version", STR(WEIR_VERSION));
    add_label(out, false, "revision", STR(WEIR_VERSION_GIT));
    BUF_LIT(out, "} 1\n");

    add_single(out, "weir_config_generation", "gauge",
               "Number of the configuration in use, counted from 1.",
               atomic_load(&metrics_state.generation), false);
    add_single(out, "weir_config_loaded_timestamp_seconds", "gauge",
               "When the configuration in use was loaded.",
               (uint64_t)MAX(atomic_load(&metrics_state.loaded_wall_ns), 0), true);
    begin_family(out, "weir_config_reloads_total", "counter", "Attempts to load a configuration.");
    buf_printf(out, "weir_config_reloads_total{result=\"ok\"} %llu\n",
               (unsigned long long)counter(METRIC_CONFIG_RELOADS_OK));
    buf_printf(out, "weir_config_reloads_total{result=\"failed\"} %llu\n",
               (unsigned long long)counter(METRIC_CONFIG_RELOADS_FAILED));
    begin_family(out, "weir_probes_total", "counter", "Requests that only look how a target is.");
    buf_printf(out, "weir_probes_total{result=\"ok\"} %llu\n",
               (unsigned long long)counter(METRIC_PROBES_OK));
    buf_printf(out, "weir_probes_total{result=\"failed\"} %llu\n",
               (unsigned long long)counter(METRIC_PROBES_FAILED));
    begin_family(out, "weir_grpc_messages_total", "counter", "Messages of gRPC that passed.");
    buf_printf(out, "weir_grpc_messages_total{direction=\"in\"} %llu\n",
               (unsigned long long)counter(METRIC_GRPC_MESSAGES_IN));
    buf_printf(out, "weir_grpc_messages_total{direction=\"out\"} %llu\n",
               (unsigned long long)counter(METRIC_GRPC_MESSAGES_OUT));

    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } singles[] = {
        {"weir_observer_errors_total", "counter",
         "Answers that the gateway relayed but could not read usage from.",
         counter(METRIC_OBSERVER_ERRORS)},
        {"weir_stream_heartbeats_total", "counter", "Comments sent to keep silent streams open.",
         counter(METRIC_HEARTBEATS)},
        {"weir_attempts_failed_total", "counter",
         "Attempts at a provider that failed, whether or not another one answered.",
         counter(METRIC_ATTEMPTS_FAILED)},
        {"weir_streams_continued_total", "counter",
         "Times that a stream broke after its beginning and was gone on with.",
         counter(METRIC_STREAMS_CONTINUED)},
        {"weir_limit_waits_total", "counter",
         "Requests that waited for a provider's key to come out of its limit.",
         counter(METRIC_LIMIT_WAITS)},
        {"weir_hedges_total", "counter",
         "Second attempts that were begun while the first was under way.", counter(METRIC_HEDGES)},
        {"weir_hedges_won_total", "counter", "Second attempts that were faster than the first.",
         counter(METRIC_HEDGES_WON)},
        {"weir_mirrors_total", "counter", "Requests that were copied to a mirror target.",
         counter(METRIC_MIRRORS)},
        {"weir_mirrors_dropped_total", "counter",
         "Requests that were to be copied to a mirror target when too many copies were under way.",
         counter(METRIC_MIRRORS_DROPPED)},
        {"weir_upstream_cancelled_total", "counter",
         "Calls to providers that were cancelled: the client was gone, or another attempt faster.",
         counter(METRIC_UPSTREAM_CANCELLED)},
        {"weir_watchdog_warnings_total", "counter",
         "Times that an event loop was held up too long.", watchdog_warnings()},
        {"weir_access_log_lines_total", "counter", "Lines written to the access log.",
         access_log_written()},
        {"weir_access_log_dropped_lines_total", "counter",
         "Lines lost because the access log took them too slowly or failed.", access_log_dropped()},
        {"weir_metrics_series", "gauge", "Label sets in use.", series_count()},
        {"weir_metrics_series_limit", "gauge", "Label sets that may be in use.", series_limit()},
        {"weir_metrics_series_refused_total", "counter",
         "Times that something was counted as other because there were too many label sets.",
         series_refused()},
    };
    for (size_t i = 0; i < ARRAY_LEN(singles); i++)
        add_single(out, singles[i].name, singles[i].type, singles[i].help, singles[i].value, false);
}

static void add_labelled(struct buf *out, const char *name, const char *label, const char *value,
                         uint64_t n)
{
    buf_printf(out, "%s{%s=\"%s\"} %llu\n", name, label, value, (unsigned long long)n);
}

static void write_journal(const struct metrics_journal *j, struct buf *out)
{
    const char *streams = "weir_journal_streams", *gone = "weir_journal_gone_total";
    begin_family(out, streams, "gauge", "Resumable streams that are held.");
    add_labelled(out, streams, "state", "running", j->running);
    add_labelled(out, streams, "state", "ended", j->ended);
    add_single(out, "weir_journal_bytes", "gauge", "Memory that resumable streams take.", j->bytes,
               false);
    add_single(out, "weir_journal_bytes_max", "gauge",
               "Memory that resumable streams may take; 0 before the first.", j->bytes_max, false);
    begin_family(out, gone, "counter", "Resumable streams that are not held any more.");
    add_labelled(out, gone, "reason", "expired", j->expired);
    add_labelled(out, gone, "reason", "room", j->made_room);
    add_labelled(out, gone, "reason", "unread", j->unread);
    add_single(out, "weir_journal_waits_total", "counter",
               "Times that a provider's stream was held back for lack of room.", j->waits, false);
}

/* The names that every Prometheus client library gives these. */
static void write_process(struct buf *out)
{
    struct process_stats stats;
    process_stats_read(&stats);
    const struct {
        const char *name, *type, *help;
        int64_t value; /* -1 = not known: left out */
        bool is_time;
    } lines[] = {
        {"process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
         stats.resident_bytes, false},
        {"process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
         stats.virtual_bytes, false},
        {"process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.",
         stats.cpu_ns, true},
        {"process_open_fds", "gauge", "Number of open file descriptors.", stats.open_fds, false},
        {"process_max_fds", "gauge", "Maximum number of open file descriptors.", stats.max_fds,
         false},
        {"process_threads", "gauge", "Number of operating system threads.", stats.threads, false},
        {"process_start_time_seconds", "gauge",
         "Start time of the process since unix epoch in seconds.", metrics_state.start_wall_ns,
         true},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        if (lines[i].value >= 0)
            add_single(out, lines[i].name, lines[i].type, lines[i].help, (uint64_t)lines[i].value,
                       lines[i].is_time);
    }
}

void metrics_write(const struct metrics_journal *journal, struct buf *out)
{
    write_requests(out);
    write_histograms(out);
    write_tokens(out);
    write_costs(out);
    write_threads(out);
    write_gateway(out);
    write_journal(journal, out);
    write_process(out);
}
