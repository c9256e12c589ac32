#include "control/path_probe.h"

#include <unistd.h>

#include "base/json.h"
#include "base/mem.h"
#include "control/config_value.h"
#include "control/path_write.h"
#include "http/client.h"
#include "http/content_encoding.h"
#include "http/sse.h"
#include "rt/dns.h"
#include "rt/loop.h"

enum {
    EVENTS = 50,
    PACE_MS = 50,
    EVENTS_MAX = 10000,
    EVENT_BYTES_MAX = 1024 * 1024,
    BODY_BYTES_MAX = 64 * 1024, /* of an answer that is no stream */
    CONNECT_S = 20,
    GRACE_S = 30, /* how much longer than it should take the stream may take */
    ARENA_BYTES = 16 * 1024,
};

/* One probe from its options to its story. */
struct probe {
    const struct path_probe_options *options;
    struct loop *loop;
    struct arena *arena;
    struct str url; /* what is asked, for people */
    struct http_origin origin;
    struct http_headers headers;
    struct str target, body;
    struct path_timeline timeline;
    struct buf events; /* struct path_event */
    /* While the stream is read. */
    struct http_call call;
    struct content_decoder *decoder; /* NULL = the stream is not compressed */
    struct sse_splitter splitter;
    struct buf plain; /* decoded bytes of one read */
    uint64_t plain_bytes;
    bool is_done; /* the stream's own last word has come */
    int result;
};

static int complain(const char *what, const char *about, const char *why)
{
    fprintf(stderr, "weir probe: %s%s%s%s%s%s\n", what, about[0] != '\0' ? " \"" : "", about,
            about[0] != '\0' ? "\"" : "", why[0] != '\0' ? ": " : "", why);
    return -ERR_INVALID;
}

static int complain_of_memory(void)
{
    return complain("out of memory", "", "");
}

/* --- what is asked -------------------------------------------------------------------------------
 */

/* Splits the address, and gives the path to ask there: the URL may lead to weir, to its /v1, or to
 * the very path. */
static int read_url(struct probe *p)
{
    struct str url = str_c(p->options->url);
    bool is_tls = str_istarts(url, STR("https://"));
    if (!is_tls && !str_istarts(url, STR("http://")))
        return complain("expected http://... or https://... instead of", p->options->url, "");
    struct str rest = str_skip(url, is_tls ? 8 : 7), host, port = STR_EMPTY;
    ptrdiff_t slash = str_index(rest, '/');
    struct str authority = slash < 0 ? rest : str_head(rest, (size_t)slash);
    struct str path = slash < 0 ? STR("") : str_skip(rest, (size_t)slash);
    if (str_index(authority, '@') >= 0)
        return complain("the URL holds a credential; write it as --key, or in WEIR_PROBE_KEY", "",
                        "");
    if (str_index(rest, '?') >= 0 || str_index(rest, '#') >= 0)
        return complain("expected a URL without ? and # instead of", p->options->url, "");
    ptrdiff_t end = str_starts(authority, STR("[")) ? str_index(authority, ']') : -1;
    if (end >= 0) {
        host = str_n(authority.ptr + 1, (size_t)end - 1);
        port = str_skip(authority, (size_t)end + 1);
        str_cut(&port, ':', &(struct str){NULL, 0});
    } else {
        port = authority;
        str_cut(&port, ':', &host);
    }
    uint64_t number = is_tls ? 443 : 80;
    if (host.len == 0 || (port.len > 0 && (!str_to_u64(port, &number) || number > 65535)))
        return complain("expected a host and perhaps a port in", p->options->url, "");
    while (str_ends(path, STR("/")))
        path = str_head(path, path.len - 1);
    struct str more = str_ends(path, STR("/chat/completions")) ? STR("")
                      : str_ends(path, STR("/v1"))             ? STR("/chat/completions")
                                                               : STR("/v1/chat/completions");
    p->target = arena_printf(p->arena, "%.*s%.*s", STR_ARG(path), STR_ARG(more));
    p->url = arena_printf(p->arena, "%s://%.*s%.*s", is_tls ? "https" : "http", STR_ARG(authority),
                          STR_ARG(p->target));
    /* The operator's own word: any address may be meant. */
    p->origin.target.policy = (struct dial_policy){.allow_private = true, .allow_link_local = true};
    p->origin.target.host = host;
    p->origin.target.port = (uint16_t)number;
    p->origin.host_header = authority;
    const struct tls_client_settings tls = {.ca_file = p->options->ca_file};
    if (is_tls && tls_client_settings_check(&tls) < 0)
        return complain("cannot read", p->options->ca_file, err_slot()->message);
    if (is_tls)
        p->origin.target.tls = tls_client_context_new(&tls);
    http_origin_seal(&p->origin);
    bool has_memory = p->target.ptr != NULL && p->url.ptr != NULL;
    return has_memory && (!is_tls || p->origin.target.tls != NULL) ? 0 : complain_of_memory();
}

static int read_time(struct probe *p, const char *option, const char *text, int64_t *us)
{
    int64_t ns;
    if (text == NULL)
        return 0;
    const char *wrong = config_parse_duration(p->arena, str_c(text), &ns);
    if (wrong != NULL || ns < 0)
        return complain(option, text, wrong != NULL ? wrong : "expected a time");
    *us = ns / NS_PER_US;
    return 0;
}

/* What is asked of the stream goes into the model's name, unless the operator has named one. */
static int write_body(struct probe *p)
{
    const struct path_probe_options *o = p->options;
    struct path_timeline *t = &p->timeline;
    *t = (struct path_timeline){.asked_events = EVENTS, .pace_us = PACE_MS * 1000};
    if (o->events > EVENTS_MAX)
        return complain("--events", "", "expected at most 10000");
    if (o->events > 0)
        t->asked_events = o->events;
    if (read_time(p, "--pace", o->pace, &t->pace_us) < 0 ||
        read_time(p, "--idle", o->idle, &t->idle_us) < 0)
        return -ERR_INVALID;
    bool is_told = o->events > 0 || o->pace != NULL || o->idle != NULL;
    struct buf body = BUF_INIT;
    struct str model = str_c(o->model != NULL ? o->model : "sim/probe");
    BUF_LIT(&body, "{\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"probe\"}],"
                   "\"model\":");
    if (o->model == NULL || (is_told && str_index(model, '?') < 0))
        model = arena_printf(p->arena, "%.*s?tokens=%u&pace=%.6fs&idle=%.6fs", STR_ARG(model),
                             t->asked_events, (double)t->pace_us / 1e6, (double)t->idle_us / 1e6);
    else
        t->asked_events = 0;
    buf_add_json(&body, model);
    buf_add_char(&body, '}');
    p->body = buf_ok(&body) && model.ptr != NULL ? arena_dup(p->arena, buf_str(&body)) : STR_EMPTY;
    buf_fini(&body);
    return p->body.ptr != NULL ? 0 : complain_of_memory();
}

static int write_headers(struct probe *p)
{
    const char *key = p->options->key != NULL ? p->options->key : getenv("WEIR_PROBE_KEY");
    /* As a browser asks: what is only done to browsers' streams must be seen, too. */
    const struct http_header usual[] = {
        {STR("Content-Type"), STR("application/json")},
        {STR("Accept"), STR("*/*")},
        {STR("Accept-Encoding"), STR("gzip, deflate, br, zstd")},
        {STR("User-Agent"), STR("weir-probe")},
    };
    for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
        if (!http_headers_add(&p->headers, p->arena, usual[i].name, usual[i].value))
            return complain_of_memory();
    }
    for (unsigned i = 0; i < p->options->header_count; i++) {
        struct str value = str_c(p->options->headers[i]), name;
        if (!str_cut(&value, ':', &name) || !http_name_is_safe(name) ||
            !http_value_is_safe(str_trim(value)))
            return complain("expected --header NAME:VALUE, and its value is none", "", "");
        if (!http_headers_add(&p->headers, p->arena, name, str_trim(value)))
            return complain_of_memory();
    }
    if (key == NULL || key[0] == '\0')
        return 0;
    struct str value = arena_printf(p->arena, "Bearer %s", key);
    if (!http_value_is_safe(value))
        return complain("the key holds characters that no header may hold", "", "");
    return http_headers_add(&p->headers, p->arena, STR("Authorization"), value)
               ? 0
               : complain_of_memory();
}

/* --- the stream ----------------------------------------------------------------------------------
 */

static int64_t since_sent(const struct probe *p, int64_t now_ns)
{
    int64_t from_ns = p->call.sent_ns > 0 ? p->call.sent_ns : p->call.start_ns;
    return (now_ns - from_ns) / NS_PER_US;
}

/* " 17@850123" */
static bool read_stamp(struct str text, struct path_event *event)
{
    struct str rest = str_trim(text), number;
    uint64_t value;
    int64_t sent_us;
    if (!str_cut(&rest, '@', &number) || !str_to_u64(number, &value) || value > UINT32_MAX ||
        !str_to_i64(rest, &sent_us))
        return false;
    event->number = (unsigned)value;
    event->sent_us = sent_us;
    return true;
}

static void take_error(struct probe *p, struct json_value message)
{
    struct str text = json_string_raw(message);
    p->timeline.end = PATH_END_ERROR;
    p->is_done = true;
    snprintf(p->timeline.message, sizeof(p->timeline.message),
             "the stream ended with an error: %.*s", STR_ARG(str_head(text, 200)));
}

static void take_event(struct probe *p, const struct sse_event *event, int64_t came_us)
{
    struct path_timeline *t = &p->timeline;
    struct json_value value;
    struct path_event e = {.came_us = came_us};
    p->plain_bytes += event->raw.len;
    e.at_bytes = p->plain_bytes;
    if (!event->has_data)
        t->heartbeats += event->has_comment;
    else if (str_eq(event->data, STR("[DONE]")))
        p->is_done = true;
    else if (json_find(event->data, "error.message", &value))
        take_error(p, value);
    else if (json_find(event->data, "choices[0].delta.content", &value) &&
             read_stamp(json_string_raw(value), &e))
        buf_add(&p->events, &e, sizeof(e));
}

static int take_plain(struct probe *p, struct str bytes, int64_t came_us)
{
    struct sse_event event;
    int r;
    while ((r = sse_next(&p->splitter, &bytes, &event)) == 1)
        take_event(p, &event, came_us);
    return r;
}

static int take_piece(struct probe *p, struct str bytes, int64_t came_us)
{
    if (p->decoder == NULL)
        return take_plain(p, bytes, came_us);
    int more = 1;
    while (more == 1) {
        buf_clear(&p->plain);
        more = content_decoder_feed(p->decoder, &bytes, BODY_BYTES_MAX, &p->plain);
        int r = more < 0 ? more : take_plain(p, buf_str(&p->plain), came_us);
        if (r < 0)
            return r;
    }
    return 0;
}

/* What came with one read; its time is that of the read. */
static int take_read(struct probe *p, const struct http_pieces *pieces)
{
    struct path_timeline *t = &p->timeline;
    int64_t came_us = since_sent(p, clock_mono_ns());
    if (pieces->bytes > 0) {
        t->silence_us = MAX(t->silence_us, came_us - t->last_byte_us);
        t->last_byte_us = came_us;
    }
    for (int i = 0; i < pieces->count; i++) {
        int r = take_piece(p, str_n(pieces->v[i].iov_base, pieces->v[i].iov_len), came_us);
        if (r < 0)
            return r;
    }
    return buf_ok(&p->events) ? 0 : -ERR_NOMEM;
}

YIELDS static int read_stream(struct probe *p)
{
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool hit;
    int r = 0;
    while (r == 0 && !pieces.is_last) {
        r = http_call_read(&p->call, &pieces, CLOCK_NEVER, &hit);
        if (r == 0)
            r = take_read(p, &pieces);
    }
    struct sse_event event;
    if (sse_finish(&p->splitter, &event) == 1)
        take_event(p, &event, p->timeline.last_byte_us);
    return r;
}

/* What a stream is worth that ended like this. */
static void judge_end(struct probe *p, int r)
{
    struct path_timeline *t = &p->timeline;
    bool is_told = p->events.len > 0;
    const char *why = "";
    t->end_us = since_sent(p, clock_mono_ns());
    if (t->end == PATH_END_ERROR)
        return;
    if (p->is_done && is_told) {
        t->end = PATH_END_WHOLE;
    } else if (p->is_done || (r == 0 && !is_told)) {
        t->end = PATH_END_STRANGE;
        why = "the answer is no self-test stream: is it a weir that answers, and sim/probe that is "
              "asked?";
    } else if (r == -ERR_TIMEOUT) {
        t->end = PATH_END_QUIET;
        why = "given up waiting";
    } else {
        t->end = PATH_END_CUT;
        why = r < 0 ? err_slot()->message : "the stream ended without its last event";
    }
    snprintf(t->message, sizeof(t->message), "%s", why);
}

/* --- the answer ----------------------------------------------------------------------------------
 */

/* Some of an answer that is an error. */
YIELDS static void tell_refusal(struct probe *p)
{
    struct path_timeline *t = &p->timeline;
    struct buf body = BUF_INIT;
    struct json_value value;
    t->end = PATH_END_REFUSED;
    http_call_collect(&p->call, BODY_BYTES_MAX, &body);
    struct str text = buf_str(&body), location;
    if (json_find(text, "error.message", &value))
        text = json_string_raw(value);
    location = http_headers_get(t->headers, STR("Location"));
    if (location.len > 0)
        snprintf(t->message, sizeof(t->message), "the answer leads to %.*s: probe that",
                 STR_ARG(str_head(location, 180)));
    else
        snprintf(t->message, sizeof(t->message), "HTTP %u: %.*s", t->status,
                 STR_ARG(str_head(str_trim(text), 180)));
    /* One line of text, whatever came. */
    for (char *c = t->message; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
    t->end_us = since_sent(p, clock_mono_ns());
    buf_fini(&body);
}

YIELDS static void read_answer(struct probe *p)
{
    struct path_timeline *t = &p->timeline;
    enum content_encoding encoding = ENCODING_IDENTITY;
    const struct h1_head *head = &p->call.head;
    t->head_us = since_sent(p, clock_mono_ns());
    t->last_byte_us = t->head_us;
    t->status = head->status;
    t->version_minor = head->version_minor;
    t->has_length = head->framing == H1_LENGTH;
    t->headers = &head->headers;
    if (t->status != 200) {
        tell_refusal(p);
        return;
    }
    struct str value = http_headers_get(t->headers, STR("Content-Encoding"));
    int r = content_encoding_parse(value, &encoding);
    if (r == 0 && encoding != ENCODING_IDENTITY) {
        p->decoder = content_decoder_new(encoding);
        r = p->decoder != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    }
    if (r < 0) {
        t->end = PATH_END_STRANGE;
        t->end_us = t->head_us;
        snprintf(t->message, sizeof(t->message), "%s", err_slot()->message);
        return;
    }
    judge_end(p, read_stream(p));
}

/* Never got an answer: what is known of the path is how long it kept silent. */
static void tell_no_answer(struct probe *p, int r)
{
    struct path_timeline *t = &p->timeline;
    static const struct http_headers none;
    p->result = r;
    t->headers = &none;
    t->end_us = since_sent(p, clock_mono_ns());
    snprintf(t->message, sizeof(t->message), "%s", err_slot()->message);
    t->end = r == -ERR_TIMEOUT ? PATH_END_QUIET : PATH_END_CUT;
}

static void ask(void *arg)
{
    struct probe *p = arg;
    struct path_timeline *t = &p->timeline;
    struct iovec iov = {(void *)(uintptr_t)p->body.ptr, p->body.len};
    const struct http_call_request request = {.method = METHOD_POST,
                                              .target = p->target,
                                              .headers = &p->headers,
                                              .body = &iov,
                                              .body_count = 1,
                                              .body_bytes = p->body.len};
    int64_t span_ns = (int64_t)t->asked_events * t->pace_us * NS_PER_US + t->idle_us * NS_PER_US;
    const struct http_timeouts timeouts = {
        .connect_ns = CONNECT_S * NS_PER_SEC,
        .tls_ns = CONNECT_S * NS_PER_SEC,
        .total_deadline_ns =
            clock_add_ns(clock_mono_ns(), span_ns + (CONNECT_S + GRACE_S) * NS_PER_SEC),
    };
    sse_splitter_init(&p->splitter, EVENT_BYTES_MAX);
    int r = http_call_start(&p->call, p->arena, &p->origin, &request, &timeouts);
    bool is_started = r == 0;
    if (r == 0)
        r = http_call_head(&p->call);
    if (r == 0)
        read_answer(p);
    else
        tell_no_answer(p, r);
    if (is_started)
        http_call_finish(&p->call);
    content_decoder_free(p->decoder);
    sse_splitter_fini(&p->splitter);
    buf_fini(&p->plain);
    t->events = (const struct path_event *)(void *)p->events.ptr;
    t->count = (unsigned)(p->events.len / sizeof(struct path_event));
    loop_stop(p->loop);
}

/* Runs a loop of this thread until the answer is there. */
static int run_loop(struct probe *p)
{
    static const struct http_pool_settings no_pool;
    p->loop = loop_new(0);
    if (p->loop == NULL)
        return complain("cannot start", "", err_slot()->message);
    http_pool_init(&no_pool);
    bool is_spawned = task_spawn(RUN_NORMAL, "path probe", ask, p) != NULL;
    if (is_spawned)
        loop_run(p->loop);
    while (task_count() > 0)
        loop_turn(p->loop, 10 * NS_PER_MS);
    http_pool_fini();
    dns_thread_fini();
    loop_free(p->loop);
    return is_spawned ? 0 : complain_of_memory();
}

/* --- the story -----------------------------------------------------------------------------------
 */

static int tell(const struct probe *p)
{
    const struct path_timeline *t = &p->timeline;
    struct path_report *report = ARENA_NEW(p->arena, struct path_report);
    struct path_hop hops[PATH_HOPS_MAX];
    if (report == NULL)
        return 1;
    path_report_make(t, report);
    const struct path_story story = {.url = p->url,
                                     .timeline = t,
                                     .report = report,
                                     .hops = hops,
                                     .hop_count = path_hops_find(t->headers, hops)};
    struct buf out = BUF_INIT;
    if (p->options->is_json)
        path_write_json(&story, &out);
    else
        path_write_text(&story, &out);
    bool is_told = buf_ok(&out) && fwrite(out.ptr, 1, out.len, stdout) == out.len;
    buf_fini(&out);
    if (!is_told)
        return 1;
    if (path_report_has_fault(report))
        return PATH_PROBE_FAULT;
    return t->end == PATH_END_WHOLE && report->flow != PATH_FLOW_UNKNOWN ? 0 : 1;
}

static void announce(const struct probe *p)
{
    const struct path_timeline *t = &p->timeline;
    int64_t us = (int64_t)t->asked_events * t->pace_us + t->idle_us;
    if (isatty(STDERR_FILENO) && us > 0)
        fprintf(stderr, "asking %.*s; this takes %.1f s\n", STR_ARG(p->url), (double)us / 1e6);
}

int path_probe(const struct path_probe_options *options)
{
    struct probe p = {.options = options, .arena = arena_new(ARENA_BYTES)};
    int status = 1;
    if (p.arena == NULL) {
        complain_of_memory();
        return 1;
    }
    int r = read_url(&p);
    if (r == 0)
        r = write_body(&p);
    if (r == 0)
        r = write_headers(&p);
    if (r == 0) {
        announce(&p);
        r = run_loop(&p);
    }
    if (r == 0 && p.timeline.status == 0 && p.call.sent_ns == 0)
        complain("cannot ask", options->url, p.timeline.message);
    else if (r == 0)
        status = tell(&p);
    buf_fini(&p.events);
    if (p.origin.target.tls != NULL)
        tls_context_unref(p.origin.target.tls);
    arena_free(p.arena);
    return status;
}
