#include "control/path_report.h"

#include <stdarg.h>

#include "base/clock.h"

const char *const path_flow_names[] = {
    [PATH_FLOW_UNKNOWN] = "unknown", [PATH_FLOW_SMOOTH] = "smooth",   [PATH_FLOW_UNEVEN] = "uneven",
    [PATH_FLOW_HELD] = "held_start", [PATH_FLOW_BUNCHED] = "bunched", [PATH_FLOW_WHOLE] = "whole",
};

const char *const path_trouble_names[] = {
    [PATH_BUFFERS] = "buffers", [PATH_COMPRESSES] = "compresses", [PATH_CUTS] = "cuts",
    [PATH_CACHES] = "caches",   [PATH_REWRITES] = "rewrites",
};

enum {
    EVENTS_MIN = 4,  /* fewer say nothing */
    CLOSE_SHARE = 4, /* events that come within a quarter of the time between them came together */
    HELD_MIN = 4,    /* a first bunch of so many is no accident */
    NOTICED_MS = 45, /* less is what a delayed acknowledgement costs (40 ms), not a buffer */
    CORK_MS = 190,   /* what Linux lets a sender wait for a full packet: 200 ms */
    CORK_MAX_MS = 245,
    UNEVEN_MS = 100,        /* an event that is later than this was held up by something */
    CUT_SILENCE_MS = 500,   /* a connection that ends after so long without a byte was cut for it */
    HEARTBEAT_EXPECT_S = 20 /* weir's default is 15 s */
};

PRINTF_LIKE(4, 5)
static void find(struct path_report *report, enum path_trouble trouble, bool is_fault,
                 const char *format, ...)
{
    if (report->finding_count == PATH_FINDINGS_MAX)
        return;
    struct path_finding *finding = &report->findings[report->finding_count++];
    finding->trouble = trouble;
    finding->is_fault = is_fault;
    va_list args;
    va_start(args, format);
    vsnprintf(finding->text, sizeof(finding->text), format, args);
    va_end(args);
}

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

/* --- when the events came ------------------------------------------------------------------------
 */

static int64_t lag_of(const struct path_event *event, int64_t base_us)
{
    return event->came_us - event->sent_us - base_us;
}

static bool came_together(const struct path_event *a, const struct path_event *b)
{
    return b->came_us - a->came_us < (b->sent_us - a->sent_us) / CLOSE_SHARE;
}

/* The lag that half of the events do not exceed, by halving the range: no memory is needed. */
static int64_t typical_lag(const struct path_timeline *t, const struct path_report *report)
{
    int64_t low = 0, high = report->lag_worst_us;
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        unsigned below = 0;
        for (unsigned i = 0; i < report->paced; i++)
            below += lag_of(&t->events[i], report->base_us) <= middle;
        if (below * 2 >= report->paced)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void measure_lags(const struct path_timeline *t, struct path_report *report)
{
    report->first_us = t->count > 0 ? t->events[0].came_us : -1;
    report->base_us = INT64_MAX;
    for (unsigned i = 0; i < t->count; i++)
        report->base_us = MIN(report->base_us, t->events[i].came_us - t->events[i].sent_us);
    if (t->count == 0)
        report->base_us = 0;
    for (unsigned i = 0; i < report->paced; i++)
        report->lag_worst_us = MAX(report->lag_worst_us, lag_of(&t->events[i], report->base_us));
    report->lag_us = typical_lag(t, report);
}

/* Goes through the groups; *first_bunch gets the size of the first one. */
static void measure_bunches(const struct path_timeline *t, struct path_report *report,
                            unsigned *first_bunch)
{
    unsigned size = 0, start = 0;
    for (unsigned i = 0; i < report->paced; i++) {
        bool begins = i == 0 || !came_together(&t->events[i - 1], &t->events[i]);
        if (begins) {
            report->bunches++;
            start = i;
        }
        size = i - start + 1;
        report->largest_bunch = MAX(report->largest_bunch, size);
        if (report->bunches == 1)
            *first_bunch = size;
    }
    /* From the end of the first group to that of the last but one: those in between are full. */
    if (report->bunches < 2)
        return;
    const struct path_event *last = &t->events[start - 1], *first = &t->events[*first_bunch - 1];
    unsigned steps = report->bunches - 2;
    report->bunch_bytes = steps > 0 ? (last->at_bytes - first->at_bytes) / steps : first->at_bytes;
    report->bunch_us = steps > 0 ? (last->came_us - first->came_us) / steps
                                 : t->events[start].came_us - first->came_us;
}

static void judge_flow(const struct path_timeline *t, struct path_report *report)
{
    unsigned n = report->paced, first = 0;
    if (n < EVENTS_MIN || t->events[n - 1].sent_us <= t->events[0].sent_us)
        return;
    measure_bunches(t, report, &first);
    int64_t span_us = t->events[n - 1].sent_us - t->events[0].sent_us;
    int64_t uneven_us = MAX(UNEVEN_MS * NS_PER_MS / NS_PER_US, 2 * span_us / (int64_t)(n - 1));
    unsigned after = n - first;
    bool is_noticed = report->lag_worst_us > NOTICED_MS * NS_PER_MS / NS_PER_US;
    if (!is_noticed)
        report->flow = PATH_FLOW_SMOOTH;
    else if (lag_of(&t->events[0], report->base_us) >= span_us * 8 / 10 || report->bunches == 1)
        report->flow = PATH_FLOW_WHOLE;
    else if (first >= HELD_MIN && after > 0 && after < 2 * (report->bunches - 1))
        report->flow = PATH_FLOW_HELD;
    else if (2 * n >= 3 * report->bunches)
        report->flow = PATH_FLOW_BUNCHED;
    else if (report->lag_worst_us > uneven_us)
        report->flow = PATH_FLOW_UNEVEN;
    else
        report->flow = PATH_FLOW_SMOOTH;
}

static void find_buffering(const struct path_timeline *t, struct path_report *report)
{
    const struct path_event *last = report->paced > 0 ? &t->events[report->paced - 1] : NULL;
    switch (report->flow) {
    case PATH_FLOW_WHOLE:
        find(report, PATH_BUFFERS, true,
             "The path holds the answer back until its end: the first of %u events was on the way "
             "for %.2f s, the last for %.2f s.",
             report->paced, seconds(report->lag_worst_us), seconds(lag_of(last, report->base_us)));
        break;
    case PATH_FLOW_BUNCHED:
        find(report, PATH_BUFFERS, true,
             "The path collects events: %u came in %u bunches, up to %u together, about every "
             "%.1f KB or %.2f s.",
             report->paced, report->bunches, report->largest_bunch,
             (double)report->bunch_bytes / 1000, seconds(report->bunch_us));
        if (report->lag_worst_us >= CORK_MS * NS_PER_MS / NS_PER_US &&
            report->lag_worst_us <= CORK_MAX_MS * NS_PER_MS / NS_PER_US)
            find(
                report, PATH_BUFFERS, false,
                "None was later than %.0f ms: a hop that waits 200 ms for full packets, as HAProxy "
                "does without option http-no-delay.",
                (double)report->lag_worst_us / 1000);
        break;
    case PATH_FLOW_HELD:
        find(report, PATH_BUFFERS, true,
             "The path holds the beginning back: the first %u events came together, %.2f s late; "
             "from then on they came one by one.",
             report->largest_bunch, seconds(report->lag_worst_us));
        break;
    case PATH_FLOW_UNEVEN:
        find(report, PATH_BUFFERS, false,
             "Events came one by one, but one was %.2f s late: lost packets, or a busy hop.",
             seconds(report->lag_worst_us));
        break;
    case PATH_FLOW_SMOOTH:
    case PATH_FLOW_UNKNOWN:
        break;
    }
    if (t->has_length && t->status == 200)
        find(report, PATH_BUFFERS, report->flow != PATH_FLOW_SMOOTH,
             "The answer carries Content-Length: a hop had all of it before it sent the first "
             "byte on.");
}

/* --- headers
 * ---------------------------------------------------------------------------------------
 */

static bool is_buffered(const struct path_report *report)
{
    return report->flow != PATH_FLOW_SMOOTH && report->flow != PATH_FLOW_UNEVEN;
}

static void find_compression(const struct path_timeline *t, struct path_report *report)
{
    struct str encoding = http_headers_get(t->headers, STR("Content-Encoding"));
    if (encoding.len == 0 || str_ieq(encoding, STR("identity")))
        return;
    find(report, PATH_COMPRESSES, is_buffered(report),
         "A hop compresses the stream (Content-Encoding: %.*s), which weir never does: %s",
         STR_ARG(str_head(encoding, 20)),
         is_buffered(report) ? "a compressor holds events back until it has a block."
                             : "it flushes after each event today; nothing promises that it will.");
}

static void find_caching(const struct path_timeline *t, struct path_report *report)
{
    struct str age = http_headers_get(t->headers, STR("Age"));
    struct str cache = http_headers_get(t->headers, STR("X-Cache"));
    uint64_t age_s;
    if (str_to_u64(str_trim(age), &age_s) && age_s > 0)
        find(report, PATH_CACHES, true,
             "The answer is %llu s old (Age): a cache has kept it, and gives it to others.",
             (unsigned long long)age_s);
    else if (str_istarts(cache, STR("hit")))
        find(report, PATH_CACHES, true, "The answer comes out of a cache (X-Cache: %.*s).",
             STR_ARG(str_head(cache, 60)));
}

static void find_rewritten_type(const struct path_timeline *t, struct path_report *report)
{
    struct str type = http_headers_get(t->headers, STR("Content-Type"));
    if (str_istarts(type, STR("text/event-stream")))
        return;
    find(report, PATH_REWRITES, true,
         "Content-Type is \"%.*s\" where weir sends text/event-stream: browsers refuse such a "
         "stream, and hops treat it as a document.",
         STR_ARG(str_head(type, 60)));
}

static void find_stripped(const struct path_timeline *t, struct path_report *report)
{
    struct str name = STR("Cache-Control");
    if (http_headers_count(t->headers, name) == 0)
        find(report, PATH_REWRITES, false,
             "Cache-Control is gone: nothing tells the hops after that not to store the answer.");
    else if (!http_headers_has_token(t->headers, name, STR("no-transform")))
        find(report, PATH_REWRITES, false,
             "Cache-Control is \"%.*s\", without weir's no-transform: hops may compress.",
             STR_ARG(str_head(http_headers_get(t->headers, name), 60)));
    if (http_headers_count(t->headers, STR("X-Accel-Buffering")) == 0)
        find(report, PATH_REWRITES, false, "X-Accel-Buffering is gone: %s",
             is_buffered(report)
                 ? "a hop took it out and may not obey it; hops after that one cannot."
                 : "nginx takes it out as it obeys it; hops after that one cannot see it.");
    if (t->version_minor == 0)
        find(
            report, PATH_REWRITES, false,
            "The answer is HTTP/1.0: the last hop has no chunks, so a stream that breaks off looks "
            "like one that ended.");
}

/* --- the end -------------------------------------------------------------------------------------
 */

static void find_cut(const struct path_timeline *t, struct path_report *report)
{
    int64_t silence_us = t->end_us - t->last_byte_us;
    bool was_silent = silence_us >= CUT_SILENCE_MS * NS_PER_MS / NS_PER_US;
    bool is_gateway_timeout =
        t->end == PATH_END_REFUSED &&
        (t->status == 408 || t->status == 502 || t->status == 504 || t->status == 524) &&
        t->head_us >= NS_PER_SEC / NS_PER_US;
    if (is_gateway_timeout)
        find(report, PATH_CUTS, true,
             "A hop answered %u in weir's place after %.1f s: it holds the answer back or waits no "
             "longer.",
             t->status, seconds(t->head_us));
    else if (t->end == PATH_END_CUT && was_silent)
        find(report, PATH_CUTS, true,
             "The connection was cut after %.1f s without a byte, %u events into the stream.",
             seconds(silence_us), t->count);
    else if (t->end == PATH_END_CUT)
        find(report, PATH_CUTS, true,
             "The stream broke off %.1f s after the request, %u events into it.",
             seconds(t->end_us), t->count);
    else if (t->end == PATH_END_QUIET)
        find(report, PATH_CUTS, true,
             "Nothing came any more: given up %.1f s after the last byte, %u events into the "
             "stream.",
             seconds(silence_us), t->count);
}

static void find_silence(const struct path_timeline *t, struct path_report *report)
{
    bool was_long = t->idle_us >= HEARTBEAT_EXPECT_S * NS_PER_SEC / NS_PER_US;
    if (t->end == PATH_END_WHOLE && was_long && t->heartbeats == 0 && !is_buffered(report))
        find(report, PATH_CUTS, false,
             "No heartbeat came in %.0f s of silence: a hop swallows comments, or weir's "
             "timeouts.heartbeat is longer than that.",
             seconds(t->idle_us));
}

void path_report_make(const struct path_timeline *t, struct path_report *report)
{
    *report = (struct path_report){0};
    report->paced = t->count;
    if (t->idle_us > 0 && t->asked_events > 0 && t->count == t->asked_events)
        report->paced--;
    if (t->asked_events > t->count)
        report->missing = t->asked_events - t->count;
    measure_lags(t, report);
    judge_flow(t, report);
    find_cut(t, report);
    if (t->status != 200 || t->end == PATH_END_STRANGE)
        return;
    find_buffering(t, report);
    find_compression(t, report);
    find_caching(t, report);
    find_rewritten_type(t, report);
    find_stripped(t, report);
    find_silence(t, report);
    if (t->end == PATH_END_WHOLE && report->missing > 0)
        find(report, PATH_CUTS, true, "%u of %u events are missing though the stream ended.",
             report->missing, t->asked_events);
}

bool path_report_has_fault(const struct path_report *report)
{
    for (unsigned i = 0; i < report->finding_count; i++) {
        if (report->findings[i].is_fault)
            return true;
    }
    return false;
}
