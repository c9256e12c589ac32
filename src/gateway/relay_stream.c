#include "gateway/relay_stream.h"

#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/exchange.h"
#include "gateway/headers.h"
#include "gateway/heartbeat.h"
#include "gateway/operation.h"
#include "gateway/relay_stream_private.h"
#include "gateway/response_store.h"
#include "gateway/responses.h"

/*
 * Whole events go to the client as the bytes they came in, or in its own framing, or in its own
 * dialect; what is incomplete waits in the observer. So the client never holds half an event when
 * the upstream breaks, and an error event can follow at any time. All events of one read leave in
 * one write.
 *
 * The head waits for the first event that is more than an opening (role, created, ping): a provider
 * that fails right after these fails before anything was sent. It does not wait for longer than a
 * heartbeat, or where the route wants it early leaves without them and says of no provider.
 */

/* After the last finish reason: how long [DONE] may take before we say it ourselves. */
#define DONE_GRACE_NS (5 * NS_PER_SEC)
/* After [DONE]: how long the upstream may take to end its body. The client's next request on this
 * connection waits for it, so it is short. */
#define UPSTREAM_END_NS (100 * NS_PER_MS)

/* Openings that are held back before the head leaves anyway. */
enum { OPENING_EVENTS_MAX = 64, OPENING_BYTES_MAX = 256 * 1024 };

/* One list for the whole thread, not a kilobyte on the stack of each waiting stream: pieces last
 * until the next wait anyway. */
static _Thread_local struct iovec pieces_v[HTTP_PIECES_MAX];

static void send_later(struct relay *relay, struct str bytes, bool is_in_place)
{
    if (is_in_place && relay->run.len > 0 && relay->run.ptr + relay->run.len == bytes.ptr) {
        relay->run.len += bytes.len;
        return;
    }
    buf_add_str(&relay->copied, relay->run);
    relay->run = STR_EMPTY;
    if (is_in_place)
        relay->run = bytes;
    else
        buf_add_str(&relay->copied, bytes);
}

static bool lies_in(struct str part, struct str whole)
{
    return part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len;
}

YIELDS static int start_answer(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    relay->has_begun = true;
    if (ex->is_head_early) {
        ex->is_head_early = false;
        return 0;
    }
    struct headers_way way = exchange_way(ex);
    if (!headers_for_client(&ex->answer, ex->head_arena, &ex->call.head.headers, &way)) {
        relay->is_over = true;
        return refuse_no_memory(ex);
    }
    /* So that no hop on the way holds tokens back or compresses them. */
    static const struct http_header kept[] = {
        {STR_INIT("Cache-Control"), STR_INIT("no-cache, no-transform")},
        {STR_INIT("X-Accel-Buffering"), STR_INIT("no")},
    };
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        headers_replace(&ex->answer, ex->head_arena, kept[i].name, kept[i].value);
    if (relay->way != RELAY_AS_IS)
        headers_replace(&ex->answer, ex->head_arena, STR("Content-Type"),
                        stream_framing_type(relay->writer.framing));
    exchange_add_own_headers(ex);
    return http_response_start(ex->http, ex->call.head.status, &ex->answer, -1);
}

/* The stream runs now, perhaps for minutes: what was only needed to begin it is given back. */
static void settle_down(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    exchange_forget_head(ex);
    if (!relay->keeps_journal)
        exchange_forget_body(ex);
    task_trim_stack();
}

/* What was sent is kept while it is not too much. */
static void keep_journal(struct relay *relay, const struct iovec *iov, int count)
{
    uint64_t limit = relay->ex->settings->journal.stream_bytes;
    for (int i = 0; relay->keeps_journal && i < count; i++) {
        buf_add(&relay->journal, iov[i].iov_base, iov[i].iov_len);
        relay->keeps_journal =
            (relay->journal.len <= limit || relay->is_breaking) && buf_ok(&relay->journal);
    }
    if (relay->keeps_journal || relay->journal.cap == 0)
        return;
    buf_fini(&relay->journal);
    exchange_forget_body(relay->ex);
}

YIELDS int relay_send_now(struct relay *relay, bool is_last)
{
    struct iovec iov[2];
    int count = 0;
    if (!buf_ok(&relay->copied))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the stream");
    if (relay->copied.len > 0)
        iov[count++] = (struct iovec){relay->copied.ptr, relay->copied.len};
    if (relay->run.len > 0)
        iov[count++] = (struct iovec){(void *)(uintptr_t)relay->run.ptr, relay->run.len};
    int r = 0;
    if (relay->keeps_journal && !is_last)
        keep_journal(relay, iov, count);
    if (count > 0 || is_last)
        r = http_response_write(relay->ex->http, iov, count, is_last, CLOCK_NEVER);
    buf_fini(&relay->copied);
    relay->run = STR_EMPTY;
    relay->is_over = relay->is_over || is_last;
    relay->client_failed = relay->client_failed || r < 0;
    if (relay->ex->head_arena != NULL && r == 0 && relay->ex->http->head_sent)
        settle_down(relay);
    return r;
}

static void note_content(struct relay *relay, int64_t now_ns)
{
    struct exchange *ex = relay->ex;
    if (relay->content_ns == 0) {
        ex->record.ttft_ns = now_ns - ex->start_ns;
        attempts_first_token(ex, now_ns);
    } else
        metrics_gap(relay->gaps, now_ns - relay->content_ns);
    relay->content_ns = now_ns;
}

/* An error as the very first event: the client gets an error answer, not a stream with 200. */
YIELDS static int refuse_first_event(struct relay *relay, const struct stream_event *event)
{
    struct exchange *ex = relay->ex;
    unsigned status = event->error.status >= 400 ? event->error.status : 502;
    struct str name = relay_error_class(ex, &event->error);
    relay->is_over = true;
    if (attempts_error(ex, &event->error))
        return -ERR_PROTOCOL;
    /* OpenAI's and Anthropic's error events are what their error bodies are. */
    bool is_body =
        !ex->is_head_early && relay->way == RELAY_AS_IS && ex->error_dialect == ex->provider->id &&
        (ex->provider->id == DIALECT_OPENAI_CHAT || ex->provider->id == DIALECT_ANTHROPIC);
    if (is_body)
        refuse_with_status(ex, status, REFUSE_UPSTREAM_ERROR,
                           arena_dup(ex->arena, event->frame.data));
    else
        refuse_with_error(ex, status, &event->error);
    ex->record.error_message = name;
    return -ERR_PROTOCOL;
}

/* What is to be written follows what is to be copied. */
static void gather(struct relay *relay)
{
    buf_add_str(&relay->copied, relay->run);
    relay->run = STR_EMPTY;
}

/* Words of our own follow: they are no part of an event that nothing terminated. */
static void gather_for_own(struct relay *relay)
{
    gather(relay);
    if (relay->is_unterminated)
        BUF_LIT(&relay->copied, "\n\n");
    relay->is_unterminated = false;
}

/* Hands the event on; a translation has written it already. */
static int forward(struct relay *relay, const struct stream_event *event, struct str source)
{
    const struct frame *frame = &event->frame;
    if (relay->way == RELAY_AS_IS) {
        relay->owes_lf = str_ends(frame->raw, STR("\r\n\r"));
        send_later(relay, frame->raw, lies_in(frame->raw, source));
    } else if (relay->way == RELAY_REFRAMED && frame->has_data) {
        frame_write(&relay->writer, frame->type, frame->data);
    }
    bool is_noted = relay->way != RELAY_TRANSLATED && frame->has_data;
    return is_noted ? stream_ending_pass(&relay->ending, event) : 0;
}

/* True when the head is to leave now. */
static bool is_time_to_begin(struct relay *relay, const struct stream_event *event)
{
    if (relay->has_begun || event->kind == STREAM_COMMENT)
        return false;
    if (event->kind != STREAM_OPENING)
        return true;
    return ++relay->openings >= OPENING_EVENTS_MAX ||
           relay->copied.len + relay->run.len >= OPENING_BYTES_MAX;
}

YIELDS static int take_event(struct relay *relay, const struct stream_event *event,
                             struct str source, int64_t now_ns)
{
    struct exchange *ex = relay->ex;
    if (event->kind == STREAM_ERROR && !relay->has_begun)
        return refuse_first_event(relay, event);
    if (event->kind == STREAM_ERROR) {
        attempts_error(ex, &event->error);
        if (relay->keeps_journal)
            return err_set(ERR_RESET, FAULT_UPSTREAM, "the provider sent an error");
    }
    /* Before the beginning another may do better. Later its own client gets it as it came, unless
     * somebody has to read it again; what was to be made of it for another is missing. */
    bool has_other = !relay->has_begun && ex->attempts != NULL && attempts_has_more(ex);
    bool is_read = relay->keeps_journal || relay->way != RELAY_AS_IS;
    if (event->is_garbled && (is_read || has_other))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "an event of the stream is no JSON");
    if (event->kind == STREAM_CONTENT)
        note_content(relay, now_ns);
    if (event->kind == STREAM_USAGE_ONLY && ex->fit.strips_usage)
        return 0;
    int r = forward(relay, event, source);
    return r == 0 && is_time_to_begin(relay, event) ? start_answer(relay) : r;
}

YIELDS static int take_bytes(struct relay *relay, struct str bytes, int64_t now_ns)
{
    struct str rest = bytes;
    struct stream_event event;
    for (;;) {
        size_t before = relay->copied.len;
        int r = stream_observer_next(&relay->observer, &rest, &event);
        if (r <= 0)
            return r;
        r = take_event(relay, &event, bytes, now_ns);
        if (r < 0) {
            /* A translation has written the error already: the client is not to see it yet. */
            if (relay->way == RELAY_TRANSLATED && relay->keeps_journal)
                relay->copied.len = before;
            return r;
        }
    }
}

/* The dialect's error event. Where nobody went on, it is said by who read what was delivered: the
 * translation may have said it in words that were held back. */
static void write_error_event(struct relay *relay, const struct llm_error *error)
{
    struct exchange *ex = relay->ex;
    if (relay->continuation != NULL && continuation_is_waiting(relay->continuation)) {
        continuation_fail(relay->continuation, error, &relay->writer.frames);
        return;
    }
    if (relay->way == RELAY_TRANSLATED && ex->translation != NULL) {
        translation_fail(ex->translation, error, &relay->writer.frames);
        return;
    }
    stream_ending_fail(&relay->ending, error, &relay->writer.frames);
}

/* The dialect's last words after a failure: an error event instead of a good end. */
YIELDS static void end_with_error(struct relay *relay, enum refusal refusal, struct str message)
{
    struct exchange *ex = relay->ex;
    struct llm_error error = refusal_error(refusal, STR_EMPTY, message);
    refusal_note(ex, refusal, message);
    ex->record.outcome = STR("stream_broken");
    ex->record.usage.is_partial = true;
    gather_for_own(relay);
    write_error_event(relay, &error);
    frame_write_end(&relay->writer);
    task_shield();
    relay_send_now(relay, true);
    task_unshield();
}

/* The upstream failed: before the first event that is an answer of ours, later an error event. */
YIELDS static void end_broken(struct relay *relay, int code)
{
    struct exchange *ex = relay->ex;
    bool is_shutdown = task_cancel_reason(ex->task) == ERR_CANCELED;
    if (relay->client_failed) {
        ex->record.outcome = STR("client_gone");
        return;
    }
    if (relay->is_over)
        return;
    if (!relay->has_begun) {
        relay_refuse_broken(ex, code);
        return;
    }
    if (code != -ERR_CANCELED)
        attempts_failure(ex, code);
    if (code == -ERR_CANCELED && !is_shutdown) {
        ex->record.outcome = STR("client_gone");
        return;
    }
    struct str why = is_shutdown ? STR("the gateway is shutting down")
                                 : arena_dup(ex->arena, str_c(err_slot()->message));
    end_with_error(relay, refusal_of_upstream(code),
                   arena_printf(ex->arena, "The stream of %.*s broke off: %.*s.",
                                STR_ARG(ex->record.provider), STR_ARG(why)));
}

/* Nothing more comes of the upstream: was the answer whole? Then the client gets its last event. */
YIELDS static int complete(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    struct stream_observer *o = &relay->observer;
    bool has_none =
        ex->provider->id == DIALECT_OPENAI_CHAT && ex->upstream->provider->quirks.ends_without_done;
    bool owes_last = relay->way != RELAY_TRANSLATED && !o->is_done && !o->is_broken && !has_none &&
                     ex->client->write_last != NULL;
    int r = stream_observer_end(o);
    if (r < 0)
        return r;
    if (owes_last) {
        gather_for_own(relay);
        stream_ending_complete(&relay->ending, &o->summary.usage, &relay->writer.frames);
    }
    if (!relay->has_begun && (r = start_answer(relay)) < 0)
        return r;
    frame_write_end(&relay->writer);
    return relay_send_now(relay, true);
}

/*
 * The upstream failed, but perhaps all was said and only what ends a stream was missing: the client
 * gets that, as if the upstream had ended in order. 0, or `code` where the answer was cut.
 */
YIELDS static int end_failed(struct relay *relay, int code)
{
    bool is_gone = code == -ERR_CANCELED && task_cancel_reason(relay->ex->task) != ERR_CANCELED;
    if (is_gone || code == -ERR_NOMEM || !relay->has_begun || relay->observer.is_broken)
        return code;
    struct err why = *err_slot();
    size_t before = relay->copied.len;
    task_shield();
    int r = complete(relay);
    task_unshield();
    if (r == 0 || relay->is_over)
        return r;
    if (relay->way == RELAY_TRANSLATED && relay->keeps_journal)
        relay->copied.len = before;
    *err_slot() = why;
    return code;
}

/* The upstream's last byte is here. */
YIELDS static int end_in_order(struct relay *relay, int64_t now_ns)
{
    struct stream_event event;
    /* What was cut in the middle is no event: readers drop it, and so do we. */
    int r = stream_observer_finish(&relay->observer, &event);
    if (r < 0)
        return r;
    if (r == 1 && !event.is_garbled) {
        r = take_event(relay, &event, STR_EMPTY, now_ns);
        if (r < 0)
            return r;
        relay->is_unterminated = relay->way == RELAY_AS_IS;
    }
    if (!relay->has_begun && relay->openings == 0)
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "the stream held no event");
    return complete(relay);
}

static void note_finish(struct relay *relay, int64_t now_ns)
{
    if (relay->finished_ns == 0 && stream_observer_is_finished(&relay->observer))
        relay->finished_ns = now_ns;
}

/* The next time at which the relay itself has something to do. */
static int64_t next_deadline(const struct relay *relay, int64_t now_ns)
{
    const struct exchange *ex = relay->ex;
    int64_t heartbeat_ns = ex->settings->timeouts.heartbeat;
    bool may_beat = relay->has_begun || (relay->openings > 0 && !ex->is_head_early);
    int64_t deadline = heartbeat_ns > 0 && may_beat ? now_ns + heartbeat_ns : CLOCK_NEVER;
    if (!relay->has_begun)
        deadline = MIN(deadline, heartbeat_next_ns(ex));
    if (relay->finished_ns != 0)
        deadline = MIN(deadline, relay->finished_ns + DONE_GRACE_NS);
    return deadline;
}

/* The dialect's own ping where it has one, else what readers of the framing skip. */
static bool write_heartbeat(struct relay *relay)
{
    size_t before = relay->copied.len;
    if (relay->way == RELAY_TRANSLATED)
        translation_ping(relay->ex->translation, &relay->writer.frames);
    return relay->copied.len != before || frame_write_heartbeat(&relay->writer);
}

/* Nothing came by the deadline. 1 = the stream is over, 0 = go on. */
YIELDS static int on_silence(struct relay *relay, int64_t now_ns)
{
    if (relay->finished_ns != 0 && now_ns >= relay->finished_ns + DONE_GRACE_NS) {
        int r = end_in_order(relay, now_ns);
        return r < 0 ? r : 1;
    }
    if (!relay->has_begun && (relay->ex->is_head_early || heartbeat_next_ns(relay->ex) <= now_ns)) {
        int r = heartbeat_now(relay->ex); /* what is held back stays here */
        relay->client_failed = r < 0;
        return r;
    }
    if (!relay->has_begun) {
        int r = start_answer(relay);
        if (r < 0)
            return r;
    }
    if (write_heartbeat(relay))
        metrics_count(METRIC_HEARTBEATS, 1);
    return relay_send_now(relay, false);
}

/*
 * [DONE] ends the stream, whether or not the upstream has ended its body: SDKs hang up on it. What
 * came in the same read goes along. The upstream gets a moment to end, so that its connection can
 * serve again.
 */
YIELDS static int end_on_done(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    struct http_pieces pieces = {.v = pieces_v};
    if (relay->owes_lf)
        send_later(relay, STR("\n"), false);
    frame_write_end(&relay->writer);
    int r = relay_send_now(relay, true);
    if (r < 0)
        return r;
    http_request_watch_hangup(ex->http, NULL);
    int64_t deadline = clock_add_ns(loop_now_ns(), UPSTREAM_END_NS);
    while (!pieces.is_last && r == 0 && loop_now_ns() < deadline) {
        bool hit = false;
        r = http_call_read(&ex->call, &pieces, deadline, &hit);
    }
    return 1;
}

/* One read of the upstream and one write to the client. 1 = the stream is over. */
YIELDS static int relay_once(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    struct http_pieces pieces = {.v = pieces_v};
    bool hit_deadline = false;
    int r = http_call_read(&ex->call, &pieces, next_deadline(relay, loop_now_ns()), &hit_deadline);
    int64_t now_ns = loop_now_ns();
    if (hit_deadline)
        return on_silence(relay, now_ns);
    if (r < 0) {
        r = end_failed(relay, r);
        return r < 0 ? r : 1;
    }
    for (int i = 0; i < pieces.count; i++) {
        r = take_bytes(relay, str_n(pieces.v[i].iov_base, pieces.v[i].iov_len), now_ns);
        if (r < 0)
            return r;
    }
    note_finish(relay, now_ns);
    if (pieces.is_last) {
        r = end_in_order(relay, now_ns);
        return r < 0 ? r : 1;
    }
    if (relay->observer.is_done) {
        r = relay->has_begun ? 0 : start_answer(relay);
        return r < 0 ? r : end_on_done(relay);
    }
    if (relay->has_begun)
        return relay_send_now(relay, false);
    /* Comments before the first event wait for the head; the read buffer does not. */
    gather(relay);
    return 0;
}

void relay_note_stream(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    const struct stream_observer *o = &relay->observer;
    bool is_partial = ex->record.usage.is_partial;
    if (relay->way == RELAY_TRANSLATED)
        relay_note_translation(ex);
    else if (o->summary.has_usage)
        relay_note_usage(ex, &o->summary.usage);
    if (relay->continuation != NULL) {
        ex->record.usage = relay->continuation->usage;
        ex->part_usage = relay->continuation->attempt;
    } else {
        ex->part_usage = ex->record.usage; /* of the last, where it began anew */
    }
    ex->record.usage.is_partial = is_partial || relay->continuation != NULL;
    ex->record.events += o->events;
    if (relay->way != RELAY_TRANSLATED) {
        ex->record.finish_reason = arena_dup(ex->arena, str_small_get(&o->summary.finish_reason));
        ex->record.model_answered = arena_dup(ex->arena, str_small_get(&o->summary.model));
    }
    if (o->is_broken && str_eq(ex->record.outcome, STR("ok"))) {
        ex->record.outcome = STR("stream_broken");
        ex->record.error = STR("upstream_error_event");
    }
    metrics_count(METRIC_OBSERVER_ERRORS, o->undecodable);
}

/* What the client reads: the framing of its endpoint, SSE where it asked for it in the query. */
enum stream_framing relay_client_framing(const struct exchange *ex)
{
    bool is_sse =
        ex->operation->stream == STREAM_GEMINI && str_find(ex->http->query, STR("alt=sse")) >= 0;
    return is_sse ? FRAMING_SSE : ex->operation->framing;
}

int relay_set_up(struct relay *relay, enum stream_framing framing)
{
    struct exchange *ex = relay->ex;
    enum stream_framing outward = relay_client_framing(ex);
    if (relay->writer.out == NULL)
        frame_writer_init(&relay->writer, outward, &relay->copied);
    relay->writer.has_no_comments = ex->client->id == DIALECT_GEMINI;
    if (ex->translation != NULL)
        relay->way = RELAY_TRANSLATED;
    else
        relay->way = outward != framing ? RELAY_REFRAMED : RELAY_AS_IS;
    stream_ending_init(&relay->ending, ex->client, &ex->codec, ex->arena);
    /* What ends such a stream holds the whole answer: a next turn may name it. */
    if (ex->codec.request != NULL && response_store_is_on())
        relay->writer.keep_type = STR("response.completed");
    struct stream_observer_settings settings = {
        .dialect = ex->provider,
        .framing = framing,
        .event_limit = ex->settings->event_bytes,
        .arena = ex->arena,
        .codec = &ex->codec,
        .translation = ex->translation,
        .frames = &relay->writer.frames,
    };
    return stream_observer_init(&relay->observer, &settings);
}

static void keep_response(struct relay *relay)
{
    struct json_value response;
    if (relay->writer.kept.len > 0 &&
        json_find(buf_str(&relay->writer.kept), "response", &response))
        response_keep(relay->ex, response.text);
}

/* The provider failed after the beginning was sent, and the client is still there. */
static bool is_to_continue(const struct relay *relay, int code)
{
    return relay->has_begun && relay->keeps_journal && !relay->is_over && !relay->client_failed &&
           code != -ERR_CANCELED && code != -ERR_NOMEM;
}

YIELDS void relay_stream(struct exchange *ex, enum stream_framing framing)
{
    struct relay *relay = ARENA_NEW(ex->arena, struct relay);
    if (relay == NULL) {
        refuse_no_memory(ex);
        return;
    }
    relay->ex = ex;
    relay->gaps = metrics_gaps(ex->record.operation, ex->record.provider, ex->record.model);
    ex->record.is_stream = true;
    relay->keeps_journal = relay_may_continue(ex);
    int r = relay_set_up(relay, framing);
    while (r == 0) {
        r = relay_once(relay);
        if (r < 0 && is_to_continue(relay, r))
            r = relay_continue(relay, r);
    }
    if (r < 0)
        end_broken(relay, r);
    if (!relay->is_left)
        relay_note_stream(relay);
    keep_response(relay);
    stream_observer_fini(&relay->observer);
    frame_writer_fini(&relay->writer);
    relay_continue_fini(relay);
    buf_fini(&relay->copied);
    buf_fini(&relay->journal);
}
