/* What is made of timelines: whose fault it is that a stream does not stream. */
#include "control/path_report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "control/path_write.h"

enum { N = 50, PACE_US = 50000, WAY_US = 7000, EVENT_BYTES = 330 };

static const struct http_header own_headers[] = {
    {STR_INIT("Content-Type"), STR_INIT("text/event-stream; charset=utf-8")},
    {STR_INIT("Cache-Control"), STR_INIT("no-cache, no-transform")},
    {STR_INIT("X-Accel-Buffering"), STR_INIT("no")},
};

static struct path_event events[N + 1];
static struct http_header items[16];
static struct http_headers headers;

/* A stream that came as it was sent, with weir's headers. */
static struct path_timeline smooth(void)
{
    for (unsigned i = 0; i < N; i++)
        events[i] = (struct path_event){i + 1, 100 + i * PACE_US, 100 + WAY_US + i * PACE_US,
                                        (i + 1) * EVENT_BYTES};
    memcpy(items, own_headers, sizeof(own_headers));
    headers = (struct http_headers){items, ARRAY_LEN(own_headers), ARRAY_LEN(items)};
    return (struct path_timeline){.asked_events = N,
                                  .pace_us = PACE_US,
                                  .status = 200,
                                  .version_minor = 1,
                                  .headers = &headers,
                                  .head_us = WAY_US,
                                  .last_byte_us = events[N - 1].came_us,
                                  .end_us = events[N - 1].came_us,
                                  .silence_us = PACE_US,
                                  .events = events,
                                  .count = N};
}

static void set_header(const char *name, const char *value)
{
    for (uint32_t i = 0; i < headers.count; i++) {
        if (!str_ieq(items[i].name, str_c(name)))
            continue;
        items[i].value = str_c(value);
        return;
    }
    items[headers.count++] = (struct http_header){str_c(name), str_c(value)};
}

static void drop_header(const char *name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < headers.count; i++) {
        if (!str_ieq(items[i].name, str_c(name)))
            items[kept++] = items[i];
    }
    headers.count = kept;
}

/* Events leave a hop when so many bytes are together, and all at the end. */
static void bunch(struct path_timeline *t, uint64_t bytes)
{
    unsigned from = 0;
    uint64_t sent = 0;
    for (unsigned i = 0; i < t->count; i++) {
        bool is_full = events[i].at_bytes - sent >= bytes || i + 1 == t->count;
        for (; is_full && from <= i; from++)
            events[from].came_us = events[i].sent_us + WAY_US + from;
        if (is_full)
            sent = events[i].at_bytes;
    }
}

static struct path_report report_of(const struct path_timeline *t)
{
    static struct path_report report;
    path_report_make(t, &report);
    return report;
}

static void expect(const struct path_report *report, enum path_trouble trouble, bool is_fault,
                   const char *says)
{
    for (unsigned i = 0; i < report->finding_count; i++) {
        const struct path_finding *finding = &report->findings[i];
        if (finding->trouble == trouble && finding->is_fault == is_fault &&
            strstr(finding->text, says) != NULL)
            return;
    }
    for (unsigned i = 0; i < report->finding_count; i++)
        print_message("found: %s\n", report->findings[i].text);
    fail_msg("nothing says \"%s\"", says);
}

/* --- when events came --- */

static void a_smooth_stream_has_no_findings(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_SMOOTH);
    assert_int_equal(report.finding_count, 0);
    assert_int_equal(report.lag_worst_us, 0);
    assert_int_equal(report.base_us, WAY_US);
    assert_int_equal(report.bunches, N);
    assert_int_equal(report.missing, 0);
}

static void a_shaky_network_is_no_fault(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    for (unsigned i = 0; i < N; i++)
        events[i].came_us += (i * 7919) % 20000;
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_SMOOTH);
    /* A lost packet: three come with the fourth. */
    for (unsigned i = 20; i < 24; i++)
        events[i].came_us = events[23].came_us;
    report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_UNEVEN);
    assert_false(path_report_has_fault(&report));
    expect(&report, PATH_BUFFERS, false, "lost packets");
}

static void all_at_the_end_is_buffering(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    bunch(&t, UINT64_MAX);
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_WHOLE);
    assert_true(path_report_has_fault(&report));
    expect(&report, PATH_BUFFERS, true,
           "until its end: the first of 50 events was on the way for "
           "2.45 s");
}

static void bunches_of_4_kb_are_measured(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    bunch(&t, 4096);
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_BUNCHED);
    assert_int_equal(report.bunches, 4);
    assert_int_equal(report.largest_bunch, 13);
    assert_int_equal(report.bunch_bytes, 13 * EVENT_BYTES);
    assert_in_range(report.bunch_us, 13 * PACE_US - 100, 13 * PACE_US + 100);
    expect(&report, PATH_BUFFERS, true,
           "4 bunches, up to 13 together, about every 4.3 KB or 0.65 "
           "s");
}

static void a_hop_that_waits_for_full_packets_is_known_by_its_200_ms(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    for (unsigned i = 0; i < N; i++)
        events[i].came_us = 100 + WAY_US + ((i + 4) / 5) * 5 * PACE_US;
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_BUNCHED);
    expect(&report, PATH_BUFFERS, false, "HAProxy");
}

static void pairs_are_bunches_as_well(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    bunch(&t, 2 * EVENT_BYTES);
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_BUNCHED);
    assert_int_equal(report.largest_bunch, 2);
}

static void what_nobody_notices_is_no_buffering(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    for (unsigned i = 0; i < N; i++) {
        events[i].sent_us = 100 + i * 10000;
        events[i].came_us = 100 + WAY_US + (i / 4) * 40000 + 30000;
    }
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_SMOOTH);
    assert_int_equal(report.largest_bunch, 4);
    assert_false(path_report_has_fault(&report));
}

static void a_beginning_that_is_held_back_is_seen(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    for (unsigned i = 0; i < 10; i++)
        events[i].came_us = events[9].came_us;
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_HELD);
    expect(&report, PATH_BUFFERS, true, "the first 10 events came together, 0.45 s late");
}

static void too_few_events_say_nothing(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    t.count = t.asked_events = 3;
    assert_int_equal(report_of(&t).flow, PATH_FLOW_UNKNOWN);
    t.count = t.asked_events = 0;
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_UNKNOWN);
    assert_int_equal(report.first_us, -1);
}

/* --- compression, caches, headers --- */

static void compression_is_a_fault_where_it_holds_back(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    set_header("Content-Encoding", "gzip");
    struct path_report report = report_of(&t);
    assert_false(path_report_has_fault(&report));
    expect(&report, PATH_COMPRESSES, false, "Content-Encoding: gzip");
    bunch(&t, 4096);
    report = report_of(&t);
    expect(&report, PATH_COMPRESSES, true, "until it has a block");
}

static void a_known_length_and_a_cache_are_told(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    t.has_length = true;
    bunch(&t, UINT64_MAX);
    set_header("Age", "12");
    struct path_report report = report_of(&t);
    expect(&report, PATH_BUFFERS, true, "Content-Length");
    expect(&report, PATH_CACHES, true, "12 s old");
    t = smooth();
    set_header("X-Cache", "HIT from somewhere");
    report = report_of(&t);
    expect(&report, PATH_CACHES, true, "out of a cache");
}

static void headers_that_are_gone_are_notes(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    drop_header("X-Accel-Buffering");
    set_header("Cache-Control", "no-cache");
    t.version_minor = 0;
    struct path_report report = report_of(&t);
    assert_false(path_report_has_fault(&report));
    expect(&report, PATH_REWRITES, false, "X-Accel-Buffering is gone: nginx takes it out");
    expect(&report, PATH_REWRITES, false, "without weir's no-transform");
    expect(&report, PATH_REWRITES, false, "HTTP/1.0");
    drop_header("Cache-Control");
    bunch(&t, 4096);
    report = report_of(&t);
    expect(&report, PATH_REWRITES, false, "Cache-Control is gone");
    expect(&report, PATH_REWRITES, false, "may not obey it");
}

static void another_content_type_is_a_fault(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    set_header("Content-Type", "text/plain");
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_SMOOTH);
    expect(&report, PATH_REWRITES, true, "\"text/plain\"");
}

/* --- ends --- */

/* The last event is asked for after 30 s of silence. */
static struct path_timeline with_silence(void)
{
    struct path_timeline t = smooth();
    t.idle_us = 30000000;
    t.asked_events = t.count = N;
    events[N - 1].sent_us += t.idle_us;
    events[N - 1].came_us += t.idle_us;
    t.end_us = t.last_byte_us = events[N - 1].came_us;
    t.silence_us = t.idle_us;
    t.heartbeats = 1;
    return t;
}

static void a_silence_that_is_survived_is_no_bunch(void **state)
{
    (void)state;
    struct path_timeline t = with_silence();
    struct path_report report = report_of(&t);
    assert_int_equal(report.paced, N - 1);
    assert_int_equal(report.flow, PATH_FLOW_SMOOTH);
    assert_int_equal(report.finding_count, 0);
    t.heartbeats = 0;
    report = report_of(&t);
    assert_false(path_report_has_fault(&report));
    expect(&report, PATH_CUTS, false, "No heartbeat came in 30 s");
}

static void a_cut_in_the_silence_says_after_how_long(void **state)
{
    (void)state;
    struct path_timeline t = with_silence();
    t.count = N - 1;
    t.end = PATH_END_CUT;
    t.last_byte_us = events[N - 2].came_us;
    t.end_us = t.last_byte_us + 10000000;
    struct path_report report = report_of(&t);
    assert_int_equal(report.flow, PATH_FLOW_SMOOTH);
    assert_int_equal(report.missing, 1);
    expect(&report, PATH_CUTS, true, "after 10.0 s without a byte, 49 events into the stream");
    t.end_us = t.last_byte_us + 1000;
    report = report_of(&t);
    expect(&report, PATH_CUTS, true, "broke off 2.4 s after the request");
    t.end = PATH_END_QUIET;
    t.end_us = t.last_byte_us + 60000000;
    report = report_of(&t);
    expect(&report, PATH_CUTS, true, "given up 60.0 s after the last byte");
}

static void a_gateway_timeout_is_a_cut(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    t.end = PATH_END_REFUSED;
    t.status = 504;
    t.count = 0;
    t.head_us = 30000000;
    struct path_report report = report_of(&t);
    expect(&report, PATH_CUTS, true, "answered 504 in weir's place after 30.0 s");
    t.status = 401;
    t.head_us = 3000;
    report = report_of(&t);
    assert_int_equal(report.finding_count, 0);
    t.end = PATH_END_WHOLE;
    t.status = 200;
    t.count = N - 2;
    report = report_of(&t);
    expect(&report, PATH_CUTS, true, "2 of 50 events are missing");
}

/* --- how it is told --- */

static void the_picture_shows_what_came_together(void **state)
{
    (void)state;
    struct path_timeline t = smooth();
    bunch(&t, 4096);
    struct path_report report = report_of(&t);
    set_header("Server", "nginx/1.22.1");
    struct path_hop hops[PATH_HOPS_MAX];
    const struct path_story story = {STR("https://x.test/v1/chat/completions"), &t, &report, hops,
                                     path_hops_find(&headers, hops)};
    struct buf out = BUF_INIT;
    path_write_text(&story, &out);
    buf_add_char(&out, '\0');
    assert_true(buf_ok(&out));
    assert_non_null(strstr(out.ptr, "sent |.................................................."));
    assert_non_null(strstr(out.ptr, "came |            #            #            #          #|"));
    assert_non_null(strstr(out.ptr, "nginx: proxy_buffering off;"));
    assert_non_null(strstr(out.ptr, "This path spoils streams."));
    buf_clear(&out);
    path_write_json(&story, &out);
    struct json_scan scan;
    assert_int_equal(json_scan_object(buf_str(&out), JSON_DEPTH_DEFAULT, NULL, 0, &scan), 0);
    struct json_value value;
    assert_true(json_find(buf_str(&out), "findings[0].mend[0].hop", &value));
    assert_true(str_eq(json_string_raw(value), STR("nginx")));
    assert_true(json_find(buf_str(&out), "flow", &value));
    assert_true(str_eq(json_string_raw(value), STR("bunched")));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_smooth_stream_has_no_findings),
        cmocka_unit_test(a_shaky_network_is_no_fault),
        cmocka_unit_test(all_at_the_end_is_buffering),
        cmocka_unit_test(bunches_of_4_kb_are_measured),
        cmocka_unit_test(a_hop_that_waits_for_full_packets_is_known_by_its_200_ms),
        cmocka_unit_test(pairs_are_bunches_as_well),
        cmocka_unit_test(what_nobody_notices_is_no_buffering),
        cmocka_unit_test(a_beginning_that_is_held_back_is_seen),
        cmocka_unit_test(too_few_events_say_nothing),
        cmocka_unit_test(compression_is_a_fault_where_it_holds_back),
        cmocka_unit_test(a_known_length_and_a_cache_are_told),
        cmocka_unit_test(headers_that_are_gone_are_notes),
        cmocka_unit_test(another_content_type_is_a_fault),
        cmocka_unit_test(a_silence_that_is_survived_is_no_bunch),
        cmocka_unit_test(a_cut_in_the_silence_says_after_how_long),
        cmocka_unit_test(a_gateway_timeout_is_a_cut),
        cmocka_unit_test(the_picture_shows_what_came_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
