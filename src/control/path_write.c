#include "control/path_write.h"

enum { COLUMNS_MAX = 64 };

static double ms(int64_t us)
{
    return (double)us / 1e3;
}

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

/* --- the picture ---------------------------------------------------------------------------------
 */

static char mark_of(unsigned events)
{
    if (events == 0)
        return ' ';
    return events == 1 ? '.' : events < 10 ? (char)('0' + events) : '#';
}

static void draw_row(struct buf *out, const char *name, const unsigned *counts, unsigned columns)
{
    buf_printf(out, "  %s |", name);
    for (unsigned i = 0; i < columns; i++)
        buf_add_char(out, mark_of(counts[i]));
    BUF_LIT(out, "|\n");
}

/* The column of a time, of which each covers what lies around it. */
static unsigned column_of(int64_t at_us, int64_t span_us, unsigned columns)
{
    int64_t column = (MAX(at_us, 0) * (columns - 1) + span_us / 2) / span_us;
    return (unsigned)MIN(column, (int64_t)columns - 1);
}

/* Both rows begin when the first event was sent, seen from here: as if the quickest event had taken
 * no time. The event after the silence is left out. */
static void draw(const struct path_story *story, struct buf *out)
{
    const struct path_timeline *t = story->timeline;
    const struct path_report *r = story->report;
    unsigned sent[COLUMNS_MAX] = {0}, came[COLUMNS_MAX] = {0};
    if (r->paced < 2)
        return;
    unsigned columns = MIN(MAX(r->paced, 20u), (unsigned)COLUMNS_MAX);
    int64_t from_us = t->events[0].sent_us, span_us = 1;
    for (unsigned i = 0; i < r->paced; i++) {
        span_us = MAX(span_us, t->events[i].came_us - r->base_us - from_us);
        span_us = MAX(span_us, t->events[i].sent_us - from_us);
    }
    for (unsigned i = 0; i < r->paced; i++) {
        sent[column_of(t->events[i].sent_us - from_us, span_us, columns)]++;
        came[column_of(t->events[i].came_us - r->base_us - from_us, span_us, columns)]++;
    }
    buf_add_char(out, '\n');
    draw_row(out, "sent", sent, columns);
    draw_row(out, "came", came, columns);
    char end[24];
    int n = snprintf(end, sizeof(end), "%.2f s", seconds(span_us));
    buf_printf(out, "        0%*s%s\n", (int)columns - n - 1, "", end);
    BUF_LIT(out, "        in a column: . one event, 2-9 so many, # more\n\n");
}

/* --- text ----------------------------------------------------------------------------------------
 */

static void write_answer(const struct path_story *story, struct buf *out)
{
    const struct path_timeline *t = story->timeline;
    const struct path_report *r = story->report;
    buf_printf(out, "%.*s\n\n", STR_ARG(story->url));
    if (t->status != 0)
        buf_printf(out, "answer   HTTP/1.%u %u after %.1f ms\n", t->version_minor, t->status,
                   ms(t->head_us));
    if (t->status == 200 && t->end != PATH_END_STRANGE) {
        buf_printf(out, "events   %u", t->count);
        if (t->asked_events > 0)
            buf_printf(out, " of %u", t->asked_events);
        if (t->count > 0)
            buf_printf(out,
                       ", the first after %.1f ms; later than the quickest: typically %.1f ms, at "
                       "worst %.1f ms",
                       ms(r->first_us), ms(r->lag_us), ms(r->lag_worst_us));
        buf_printf(out, "\nsilence  %.2f s at most, %u heartbeat%s\n", seconds(t->silence_us),
                   t->heartbeats, t->heartbeats == 1 ? "" : "s");
    }
    BUF_LIT(out, "path     weir");
    for (unsigned i = 0; i < story->hop_count; i++) {
        const struct path_hop *hop = &story->hops[i];
        buf_printf(out, " > %.*s (%.*s: %.*s)", STR_ARG(str_head(path_hop_name(hop), 60)),
                   STR_ARG(hop->header), STR_ARG(str_head(hop->value, 60)));
    }
    buf_printf(out, " > here%s\n", story->hop_count == 0 ? " (no header tells of a hop)" : "");
}

/* Calls fn for each setting that usually mends the trouble: those of the hops that are known. */
typedef void mend_fn(struct buf *out, struct str hop, const char *setting, bool is_first);
static void for_mends(const struct path_story *story, enum path_trouble trouble, struct buf *out,
                      mend_fn *fn)
{
    bool is_first = true;
    for (unsigned i = 0; i < story->hop_count; i++) {
        const char *setting = path_hop_mend(&story->hops[i], trouble);
        if (setting == NULL)
            continue;
        fn(out, path_hop_name(&story->hops[i]), setting, is_first);
        is_first = false;
    }
    if (is_first)
        fn(out, STR_EMPTY, path_mend_unknown(trouble), true);
}

static void write_mend(struct buf *out, struct str hop, const char *setting, bool is_first)
{
    (void)is_first;
    BUF_LIT(out, "         -> ");
    if (hop.len > 0)
        buf_printf(out, "%.*s: ", STR_ARG(hop));
    buf_printf(out, "%s\n", setting);
}

static const char *verdict_of(const struct path_story *story)
{
    switch (story->timeline->end) {
    case PATH_END_REFUSED:
    case PATH_END_STRANGE:
        return "There was no stream to judge.";
    case PATH_END_ERROR:
        return "weir ended the stream with an error.";
    default:
        break;
    }
    if (path_report_has_fault(story->report))
        return "This path spoils streams.";
    return story->report->flow == PATH_FLOW_UNKNOWN ? "There were too few events to judge by."
                                                    : "Streams come through, event by event.";
}

void path_write_text(const struct path_story *story, struct buf *out)
{
    const struct path_report *r = story->report;
    write_answer(story, out);
    draw(story, out);
    for (unsigned i = 0; i < r->finding_count; i++) {
        const struct path_finding *finding = &r->findings[i];
        buf_printf(out, "%s %s\n", finding->is_fault ? "FAULT   " : "note    ", finding->text);
        if (finding->is_fault)
            for_mends(story, finding->trouble, out, write_mend);
    }
    if (story->timeline->message[0] != '\0')
        buf_printf(out, "end      %s\n", story->timeline->message);
    buf_printf(out, "%s\n", verdict_of(story));
}

/* --- JSON ----------------------------------------------------------------------------------------
 */

static void write_mend_json(struct buf *out, struct str hop, const char *setting, bool is_first)
{
    buf_printf(out, "%s{\"hop\":", is_first ? "" : ",");
    if (hop.len > 0)
        buf_add_json(out, hop);
    else
        BUF_LIT(out, "null");
    BUF_LIT(out, ",\"setting\":");
    buf_add_json(out, str_c(setting));
    buf_add_char(out, '}');
}

static void write_findings(const struct path_story *story, struct buf *out)
{
    BUF_LIT(out, ",\"findings\":[");
    for (unsigned i = 0; i < story->report->finding_count; i++) {
        const struct path_finding *finding = &story->report->findings[i];
        buf_printf(out, "%s{\"trouble\":\"%s\",\"is_fault\":%s,\"text\":", i > 0 ? "," : "",
                   path_trouble_names[finding->trouble], finding->is_fault ? "true" : "false");
        buf_add_json(out, str_c(finding->text));
        BUF_LIT(out, ",\"mend\":[");
        for_mends(story, finding->trouble, out, write_mend_json);
        BUF_LIT(out, "]}");
    }
    buf_add_char(out, ']');
}

static void write_hops(const struct path_story *story, struct buf *out)
{
    BUF_LIT(out, ",\"hops\":[");
    for (unsigned i = 0; i < story->hop_count; i++) {
        const struct path_hop *hop = &story->hops[i];
        buf_printf(out, "%s{\"name\":", i > 0 ? "," : "");
        buf_add_json(out, path_hop_name(hop));
        buf_printf(out, ",\"is_known\":%s,\"header\":", hop->kind != NULL ? "true" : "false");
        buf_add_json(out, hop->header);
        BUF_LIT(out, ",\"value\":");
        buf_add_json(out, hop->value);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void write_figures(const struct path_story *story, struct buf *out)
{
    const struct path_timeline *t = story->timeline;
    const struct path_report *r = story->report;
    buf_printf(out, ",\"events\":{\"asked\":%u,\"came\":%u,\"missing\":%u}", t->asked_events,
               t->count, r->missing);
    buf_printf(out, ",\"head_ms\":%.3f,\"first_event_ms\":", ms(t->head_us));
    if (r->first_us < 0)
        BUF_LIT(out, "null");
    else
        buf_printf(out, "%.3f", ms(r->first_us));
    buf_printf(out, ",\"late_ms\":{\"typical\":%.3f,\"worst\":%.3f}", ms(r->lag_us),
               ms(r->lag_worst_us));
    buf_printf(out, ",\"bunches\":{\"count\":%u,\"largest\":%u,\"bytes\":%llu,\"every_ms\":%.3f}",
               r->bunches, r->largest_bunch, (unsigned long long)r->bunch_bytes, ms(r->bunch_us));
    buf_printf(out, ",\"silence\":{\"longest_ms\":%.3f,\"asked_ms\":%.3f,\"heartbeats\":%u}",
               ms(t->silence_us), ms(t->idle_us), t->heartbeats);
    buf_printf(out, ",\"end_ms\":%.3f", ms(t->end_us));
}

void path_write_json(const struct path_story *story, struct buf *out)
{
    static const char *const ends[] = {
        [PATH_END_WHOLE] = "whole", [PATH_END_CUT] = "cut",         [PATH_END_QUIET] = "quiet",
        [PATH_END_ERROR] = "error", [PATH_END_REFUSED] = "refused", [PATH_END_STRANGE] = "strange",
    };
    const struct path_timeline *t = story->timeline;
    BUF_LIT(out, "{\"url\":");
    buf_add_json(out, story->url);
    buf_printf(out, ",\"status\":%u,\"end\":\"%s\",\"message\":", t->status, ends[t->end]);
    if (t->message[0] != '\0')
        buf_add_json(out, str_c(t->message));
    else
        BUF_LIT(out, "null");
    bool is_good = t->end == PATH_END_WHOLE && story->report->flow != PATH_FLOW_UNKNOWN &&
                   !path_report_has_fault(story->report);
    buf_printf(out, ",\"flow\":\"%s\",\"streams\":%s", path_flow_names[story->report->flow],
               is_good ? "true" : "false");
    write_figures(story, out);
    write_hops(story, out);
    write_findings(story, out);
    BUF_LIT(out, ",\"timeline\":[");
    for (unsigned i = 0; i < t->count; i++)
        buf_printf(out, "%s[%u,%.3f,%.3f,%llu]", i > 0 ? "," : "", t->events[i].number,
                   ms(t->events[i].sent_us), ms(t->events[i].came_us),
                   (unsigned long long)t->events[i].at_bytes);
    BUF_LIT(out, "]}\n");
}
