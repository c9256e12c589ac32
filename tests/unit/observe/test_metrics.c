#include "observe/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/client.h"
#include "http/server.h"

static struct loop *loop;
static struct buf page = BUF_INIT;

static int set_up(void **state)
{
    (void)state;
    metrics_init(2, 200, INT64_C(1795233503500) * NS_PER_MS);
    loop = loop_new(0);
    if (loop == NULL)
        return -1;
    metrics_thread_init(loop);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    metrics_thread_fini();
    loop_free(loop);
    buf_fini(&page);
    return 0;
}

static const struct metrics_journal no_journal;

static void scrape(void)
{
    buf_clear(&page);
    metrics_write(&no_journal, &page);
    assert_true(buf_ok(&page));
}

/* The value of the line that begins with `series` and a space; NULL when there is none. */
static const char *line_of(const char *series)
{
    static char value[64];
    struct str rest = buf_str(&page), line;
    size_t len = strlen(series);
    while (str_cut(&rest, '\n', &line)) {
        if (str_starts(line, str_n(series, len)) && line.len > len && line.ptr[len] == ' ') {
            snprintf(value, sizeof(value), "%.*s", STR_ARG(str_skip(line, len + 1)));
            return value;
        }
    }
    return NULL;
}

static void expect(const char *series, const char *value)
{
    const char *found = line_of(series);
    if (found == NULL || strcmp(found, value) != 0)
        fail_msg("%s is %s, not %s", series, found != NULL ? found : "missing", value);
}

static struct request_record answered(void)
{
    struct request_record record = {
        .operation = STR("chat"),
        .dialect = STR("openai_chat"),
        .provider = STR("openai"),
        .model = STR("gpt-4o"),
        .status = 200,
        .upstream_status = 200,
        .outcome = STR("ok"),
        .is_stream = true,
        .total_ns = 2 * NS_PER_SEC,
        .overhead_ns = 40 * NS_PER_US,
        .upstream_ns = 1900 * NS_PER_MS,
        .connect_ns = -1,
        .ttft_ns = 500 * NS_PER_MS,
        .events = 12,
        .bytes_in = 100,
        .bytes_out = 1000,
        .usage = TOKEN_USAGE_NONE,
        .cost_nano_usd = 160000,
    };
    record.usage.input = 20;
    record.usage.output = 11;
    record.usage.reasoning = 4;
    return record;
}

static void finish(struct request_record record)
{
    metrics_request_begin(record.operation);
    metrics_request_end(&record);
}

static void an_answered_request_shows_everywhere(void **state)
{
    (void)state;
    struct request_record record = answered();
    metrics_request_begin(STR("chat"));
    scrape();
    expect("weir_requests_in_flight{operation=\"chat\"}", "1");
    metrics_request_end(&record);
    struct metrics_gaps *gaps = metrics_gaps(STR("chat"), STR("openai"), STR("gpt-4o"));
    metrics_gap(gaps, 15 * NS_PER_MS);
    metrics_gap(gaps, 150 * NS_PER_SEC);
    scrape();
    expect("weir_requests_in_flight{operation=\"chat\"}", "0");
    expect("weir_requests_total{operation=\"chat\",dialect=\"openai_chat\",provider=\"openai\","
           "model=\"gpt-4o\",status=\"200\",outcome=\"ok\"}",
           "1");
    expect("weir_client_bytes_total{operation=\"chat\",direction=\"in\"}", "100");
    expect("weir_client_bytes_total{operation=\"chat\",direction=\"out\"}", "1000");
    expect("weir_stream_events_total{operation=\"chat\"}", "12");
    expect("weir_request_duration_seconds_bucket{operation=\"chat\",le=\"1.28\"}", "0");
    expect("weir_request_duration_seconds_bucket{operation=\"chat\",le=\"2.56\"}", "1");
    expect("weir_request_duration_seconds_bucket{operation=\"chat\",le=\"+Inf\"}", "1");
    expect("weir_request_duration_seconds_sum{operation=\"chat\"}", "2");
    expect("weir_request_duration_seconds_count{operation=\"chat\"}", "1");
    expect("weir_request_overhead_seconds_bucket{operation=\"chat\",le=\"0.00003\"}", "0");
    expect("weir_request_overhead_seconds_bucket{operation=\"chat\",le=\"0.00005\"}", "1");
    expect("weir_request_overhead_seconds_sum{operation=\"chat\"}", "0.00004");
#define TARGET                                                        \
    "gen_ai_operation_name=\"chat\",gen_ai_provider_name=\"openai\"," \
    "gen_ai_request_model=\"gpt-4o\""
    expect("gen_ai_server_request_duration_seconds_sum{" TARGET "}", "2");
    expect("gen_ai_client_operation_duration_seconds_sum{" TARGET "}", "1.9");
    expect("gen_ai_server_time_to_first_token_seconds_sum{" TARGET "}", "0.5");
    expect("gen_ai_server_time_per_output_token_seconds_sum{" TARGET "}", "0.15");
    expect("gen_ai_client_operation_time_per_output_chunk_seconds_sum{" TARGET "}", "150.015");
    expect("gen_ai_client_operation_time_per_output_chunk_seconds_bucket{" TARGET ",le=\"0.02\"}",
           "1");
    expect("gen_ai_client_operation_time_per_output_chunk_seconds_bucket{" TARGET ",le=\"+Inf\"}",
           "2");
    expect("gen_ai_client_token_usage_sum{" TARGET ",gen_ai_token_type=\"input\"}", "20");
    expect("gen_ai_client_token_usage_bucket{" TARGET ",gen_ai_token_type=\"output\",le=\"16\"}",
           "1");
    expect("weir_tokens_total{operation=\"chat\",provider=\"openai\",model=\"gpt-4o\","
           "type=\"reasoning\"}",
           "4");
    /* No new connection was made and nothing was cached: no lines that say 0. */
    assert_null(line_of("weir_upstream_connect_duration_seconds_count{operation=\"chat\","
                        "provider=\"openai\",model=\"gpt-4o\"}"));
    assert_null(line_of("weir_tokens_total{operation=\"chat\",provider=\"openai\","
                        "model=\"gpt-4o\",type=\"cache_read\"}"));
}

static void operations_have_their_names_of_the_conventions(void **state)
{
    (void)state;
    struct request_record record = answered();
    record.operation = STR("completions");
    finish(record);
    scrape();
    assert_non_null(line_of("gen_ai_server_request_duration_seconds_count{"
                            "gen_ai_operation_name=\"text_completion\","
                            "gen_ai_provider_name=\"openai\",gen_ai_request_model=\"gpt-4o\"}"));
    assert_non_null(line_of("weir_request_duration_seconds_count{operation=\"completions\"}"));
}

static void a_model_that_never_answered_is_other(void **state)
{
    (void)state;
    struct request_record record = answered();
    record.status = record.upstream_status = 404;
    record.outcome = STR("client_error");
    record.error = STR("model_not_found");
    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "made-up-%u", i);
        record.model = str_c(name);
        finish(record);
    }
    scrape();
    expect("weir_requests_total{operation=\"chat\",dialect=\"openai_chat\",provider=\"openai\","
           "model=\"other\",status=\"404\",outcome=\"client_error\"}",
           "1000");
    expect("weir_request_errors_total{operation=\"chat\",provider=\"openai\","
           "error=\"model_not_found\"}",
           "1000");
    assert_true(str_find(buf_str(&page), STR("made-up")) < 0);
    expect("weir_metrics_series_refused_total", "0");

    /* A model that has answered once keeps its name when it fails. */
    finish(answered());
    record = answered();
    record.status = record.upstream_status = 429;
    record.outcome = STR("upstream_error");
    finish(record);
    scrape();
    expect("weir_requests_total{operation=\"chat\",dialect=\"openai_chat\",provider=\"openai\","
           "model=\"gpt-4o\",status=\"429\",outcome=\"upstream_error\"}",
           "1");
}

static void many_models_stay_within_the_limit(void **state)
{
    (void)state;
    struct request_record record = answered();
    for (unsigned i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof(name), "model-%u", i);
        record.model = str_c(name);
        finish(record);
    }
    scrape();
    struct str rest = buf_str(&page), line;
    uint64_t requests = 0;
    unsigned lines = 0;
    while (str_cut(&rest, '\n', &line)) {
        uint64_t value;
        if (!str_starts(line, STR("weir_requests_total{")))
            continue;
        lines++;
        assert_true(str_to_u64(str_skip(line, (size_t)str_rindex(line, ' ') + 1), &value));
        requests += value;
    }
    assert_int_equal(requests, 1000);
    assert_true(lines < 200);
    expect("weir_metrics_series_limit", "200");
}

static void labels_cannot_break_the_page(void **state)
{
    (void)state;
    struct request_record record = answered();
    record.model = STR("a\"b\\c");
    finish(record);
    record.model = STR("x\"} 1\nforged_total 7");
    finish(record);
    record.model = STR("lorem?tokens=50&delay=1");
    finish(record);
    scrape();
    expect("weir_tokens_total{operation=\"chat\",provider=\"openai\",model=\"a\\\"b\\\\c\","
           "type=\"output\"}",
           "11");
    expect("weir_tokens_total{operation=\"chat\",provider=\"openai\",model=\"other\","
           "type=\"output\"}",
           "11");
    expect("weir_tokens_total{operation=\"chat\",provider=\"openai\",model=\"lorem\","
           "type=\"output\"}",
           "11");
    assert_null(line_of("forged_total"));
}

static void costs_add_up_and_unpriced_requests_are_counted(void **state)
{
    (void)state;
#define COSTLY "{operation=\"chat\",provider=\"openai\",model=\"gpt-cost\"}"
    struct request_record record = answered();
    record.model = STR("gpt-cost");
    finish(record);
    record.cost_nano_usd = 1;
    finish(record);
    record.cost_nano_usd = -1;
    finish(record);
    scrape();
    expect("weir_cost_usd_total" COSTLY, "0.000160001");
    assert_null(line_of("weir_unpriced_requests_total" COSTLY));
    record.is_unpriced = true;
    finish(record);
    scrape();
    expect("weir_cost_usd_total" COSTLY, "0.000160001");
    expect("weir_unpriced_requests_total" COSTLY, "1");
}

static void a_request_without_provider_counts(void **state)
{
    (void)state;
    struct request_record record = {.operation = STR("health"),
                                    .status = 200,
                                    .outcome = STR("ok"),
                                    .upstream_ns = -1,
                                    .connect_ns = -1,
                                    .ttft_ns = -1,
                                    .usage = TOKEN_USAGE_NONE};
    finish(record);
    record.status = 0;
    record.outcome = STR("client_gone");
    finish(record);
    scrape();
    expect("weir_requests_total{operation=\"health\",dialect=\"\",provider=\"\",model=\"\","
           "status=\"200\",outcome=\"ok\"}",
           "1");
    expect("weir_requests_total{operation=\"health\",dialect=\"\",provider=\"\",model=\"\","
           "status=\"none\",outcome=\"client_gone\"}",
           "1");
    assert_true(str_find(buf_str(&page), STR("gen_ai_operation_name=\"health\"")) < 0);
}

static void counters_of_the_floors_below_are_there(void **state)
{
    (void)state;
    scrape();
    uint64_t accepted = strtoul(line_of("weir_http_connections_accepted_total"), NULL, 10);
    atomic_fetch_add(&http_server_stats()->accepted, 3);
    atomic_fetch_add(&http_server_stats()->closed, 1);
    atomic_fetch_add(&http_pool_stats()->idle, 2);
    atomic_store(&loop_stats(loop)->lag_max_ns, 7 * NS_PER_MS);
    metrics_count(METRIC_HEARTBEATS, 5);
    metrics_count(METRIC_CONFIG_RELOADS_FAILED, 1);
    metrics_set_generation(4, INT64_C(1795233600) * NS_PER_SEC);
    scrape();
    char expected[32];
    snprintf(expected, sizeof(expected), "%llu", (unsigned long long)accepted + 3);
    expect("weir_http_connections_accepted_total", expected);
    expect("weir_upstream_connections{state=\"idle\"}", "2");
    expect("weir_loop_lag_seconds{thread=\"0\"}", "0.007");
    expect("weir_stream_heartbeats_total", "5");
    expect("weir_config_reloads_total{result=\"failed\"}", "1");
    expect("weir_config_generation", "4");
    expect("weir_config_loaded_timestamp_seconds", "1795233600");
    expect("process_start_time_seconds", "1795233503.5");
    assert_true(strtoul(line_of("process_resident_memory_bytes"), NULL, 10) > 100000);
    assert_true(strtoul(line_of("process_open_fds"), NULL, 10) >= 3);
    assert_true(strtod(line_of("process_cpu_seconds_total"), NULL) > 0);
    assert_true(str_find(buf_str(&page), STR("weir_build_info{version=\"")) >= 0);
    scrape();
    expect("weir_loop_lag_seconds{thread=\"0\"}", "0"); /* since the last scrape */
    atomic_fetch_sub(&http_pool_stats()->idle, 2);

    /* What a thread has counted stays when it ends. */
    metrics_thread_fini();
    scrape();
    expect("weir_http_connections_accepted_total", expected);
    metrics_thread_init(loop);
}

/* A page with a line of every family. */
static void fill(void)
{
    struct request_record record = answered();
    record.connect_ns = 3 * NS_PER_MS;
    record.error = STR("timeout");
    record.usage.cache_read = 5;
    finish(record);
    record.provider = STR("x-ai");
    finish(record);
    record.operation = STR("models");
    record.provider = STR_EMPTY;
    finish(record);
    metrics_gap(metrics_gaps(STR("chat"), STR("openai"), STR("gpt-4o")), 1);
    scrape();
}

static void no_series_is_there_twice(void **state)
{
    (void)state;
    fill();
    struct str rest = buf_str(&page), line;
    while (str_cut(&rest, '\n', &line)) {
        struct str series = str_head(line, (size_t)MAX(str_rindex(line, ' ') + 1, 0));
        char needle[600];
        snprintf(needle, sizeof(needle), "\n%.*s", STR_ARG(series));
        if (line.ptr[0] != '#')
            assert_true(str_find(rest, str_c(needle)) < 0);
    }
}

static void promtool_has_nothing_to_say(void **state)
{
    (void)state;
    if (system("command -v promtool >/dev/null 2>&1") != 0) {
        print_message("skipped: promtool (package prometheus) is not installed\n");
        skip();
    }
    fill();
    char path[] = "/tmp/weir-test-promtool-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    char command[128];
    snprintf(command, sizeof(command), "promtool check metrics >%s 2>&1", path);
    FILE *promtool = popen(command, "w");
    assert_non_null(promtool);
    assert_int_equal(fwrite(page.ptr, 1, page.len, promtool), page.len);
    int status = pclose(promtool);
    char said[4096];
    ssize_t n = read(fd, said, sizeof(said));
    close(fd);
    unlink(path);
    if (status != 0 || n != 0)
        fail_msg("promtool: status %d: %.*s", WEXITSTATUS(status), n > 0 ? (int)n : 0, said);
}

static atomic_bool is_done;

static void *scrape_again_and_again(void *arg)
{
    struct buf out = BUF_INIT;
    while (!atomic_load(&is_done)) {
        buf_clear(&out);
        metrics_write(&no_journal, &out);
    }
    buf_fini(&out);
    return arg;
}

static void a_scrape_on_another_thread_disturbs_nothing(void **state)
{
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, scrape_again_and_again, NULL), 0);
    for (unsigned i = 0; i < 3000; i++) {
        struct request_record record = answered();
        char name[32];
        snprintf(name, sizeof(name), "model-%u", i % 20);
        record.model = str_c(name);
        finish(record);
        metrics_gap(metrics_gaps(record.operation, record.provider, record.model), 5);
    }
    atomic_store(&is_done, true);
    pthread_join(thread, NULL);
    scrape();
    expect("weir_requests_total{operation=\"chat\",dialect=\"openai_chat\",provider=\"openai\","
           "model=\"model-7\",status=\"200\",outcome=\"ok\"}",
           "150");
    expect("weir_request_duration_seconds_count{operation=\"chat\"}", "3000");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(an_answered_request_shows_everywhere),
        CASE(operations_have_their_names_of_the_conventions),
        CASE(a_model_that_never_answered_is_other),
        CASE(many_models_stay_within_the_limit),
        CASE(labels_cannot_break_the_page),
        CASE(costs_add_up_and_unpriced_requests_are_counted),
        CASE(a_request_without_provider_counts),
        CASE(counters_of_the_floors_below_are_there),
        CASE(no_series_is_there_twice),
        CASE(promtool_has_nothing_to_say),
        CASE(a_scrape_on_another_thread_disturbs_nothing),
    };
    return cmocka_run_group_tests_name("observe/metrics", tests, NULL, NULL);
}
