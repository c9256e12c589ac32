/*
 * Metrics: per-thread counters and histograms, summed when they are read.
 * metrics_init in the main thread; _write, _count, _set_generation anywhere; loop threads the rest.
 * Nothing yields. metrics_write reads /proc and may take milliseconds: call it by helper_run.
 * A series' words belong to its thread while that runs; what was counted stays when it ends.
 * Cannot fail: past the cap of label sets, and without memory, things count under "other".
 */
#ifndef WEIR_OBSERVE_METRICS_H
#define WEIR_OBSERVE_METRICS_H

#include "base/buf.h"
#include "observe/record.h"
#include "rt/loop.h"

/* The label sets of all threads together are at most `series_max`. */
void metrics_init(unsigned threads, unsigned series_max, int64_t start_wall_ns);
/* On a loop thread, before its first request / when it ends. */
void metrics_thread_init(struct loop *loop);
void metrics_thread_fini(void);

/* Requests being served, by operation. */
void metrics_request_begin(struct str operation);
/* Counts and times a settled request (of an extra one the tokens and the cost), and ends what
 * metrics_request_begin began. A model's name becomes a label when a provider has answered for it
 * with 2xx; until then it counts as "other". */
void metrics_request_end(const struct request_record *record);

/* The inter-token gaps of one (operation, provider, model): found once a stream, after the provider
 * has begun to answer, and used per event. */
struct metrics_gaps;
struct metrics_gaps *metrics_gaps(struct str operation, struct str provider, struct str model);
void metrics_gap(struct metrics_gaps *gaps, int64_t gap_ns);

/* The same for the answers of a realtime session: time to the first delta of each, to its first
 * sound, to its first text, and from an interruption to the last delta. */
enum metrics_session_time {
    METRICS_SESSION_FIRST,
    METRICS_SESSION_FIRST_AUDIO,
    METRICS_SESSION_FIRST_TEXT,
    METRICS_SESSION_BARGE_IN,
};
struct metrics_session;
struct metrics_session *metrics_session(struct str operation, struct str provider,
                                        struct str model);
void metrics_session_time(struct metrics_session *session, enum metrics_session_time time,
                          int64_t ns);

/* What else happens. */
enum metrics_counter {
    METRIC_CONFIG_RELOADS_OK,
    METRIC_CONFIG_RELOADS_FAILED,
    METRIC_OBSERVER_ERRORS,
    METRIC_HEARTBEATS,
    METRIC_ATTEMPTS_FAILED,
    METRIC_STREAMS_CONTINUED,
    METRIC_LIMIT_WAITS,
    METRIC_UPSTREAM_CANCELLED,
    METRIC_HEDGES,
    METRIC_HEDGES_WON,
    METRIC_MIRRORS,
    METRIC_MIRRORS_DROPPED,
    METRIC_PROBES_OK,
    METRIC_PROBES_FAILED,
    METRIC_GRPC_MESSAGES_IN,
    METRIC_GRPC_MESSAGES_OUT,
    METRIC_COUNTER_COUNT
};
void metrics_count(enum metrics_counter counter, uint64_t n);
void metrics_set_generation(uint64_t generation, int64_t loaded_wall_ns);

/* What the journals of resumable streams hold, and what became of those that are not held any more:
 * gone in time, to make room, because nobody read them. */
struct metrics_journal {
    uint64_t running, ended, bytes, bytes_max;
    uint64_t expired, made_room, unread, waits;
};

/*
 * The whole page in the Prometheus text format 0.0.4, clean under `promtool check metrics`.
 * OpenTelemetry GenAI names where they exist (gen_ai_client_token_usage,
 * gen_ai_server_time_to_first_token_seconds, gen_ai_server_time_per_output_token_seconds,
 * gen_ai_client_operation_duration_seconds with gen_ai_operation_name, gen_ai_provider_name,
 * gen_ai_request_model, gen_ai_token_type, ...), weir_* otherwise; includes the http server's and
 * pool's counters, loop lag, access-log drops, build info.
 */
void metrics_write(const struct metrics_journal *journal, struct buf *out);

#endif
