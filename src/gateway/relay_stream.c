#include "gateway/relay_stream.h"

#include "base/clock.h"
#include "gateway/exchange.h"
#include "gateway/headers.h"
#include "stream/observer.h"

/*
 * Whole events go to the client as the bytes they came in; what is incomplete waits in the
 * observer. So the client never holds half an event when the upstream breaks, and an error event
 * can follow at any time. All events of one read leave in one write.
 */

/* After the last finish reason: how long [DONE] may take before we say it ourselves. */
#define DONE_GRACE_NS (5 * NS_PER_SEC)
/* After [DONE]: how long the upstream may take to end its body. The client's next request on this
 * connection waits for it, so it is short. */
#define UPSTREAM_END_NS (100 * NS_PER_MS)

/* One list for the whole thread, not a kilobyte on the stack of each waiting stream: pieces last
 * until the next wait anyway. */
static _Thread_local struct iovec pieces_v[HTTP_PIECES_MAX];

struct relay {
    struct exchange *ex;
    struct stream_observer observer;
    struct metrics_gaps *gaps;
    bool has_begun;      /* the head and a first event were sent, or are about to be */
    bool is_over;        /* nothing more will be sent */
    bool client_failed;  /* a write to the client failed */
    bool owes_lf;        /* the last event came without the LF of its last CRLF */
    int64_t content_ns;  /* when content last came */
    int64_t finished_ns; /* when the last finish reason came; 0 = not yet */
    /* What this read sends, in order: `copied`, then `run`, which lies in the read buffer. */
    struct buf copied;
    struct str run;
};

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
    if (!headers_for_client(&ex->answer, ex->head_arena, &ex->call.head.headers)) {
        relay->is_over = true;
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
        return -ERR_NOMEM;
    }
    /* So that no hop on the way holds tokens back or compresses them. */
    static const struct http_header kept[] = {
        {STR_INIT("Cache-Control"), STR_INIT("no-cache, no-transform")},
        {STR_INIT("X-Accel-Buffering"), STR_INIT("no")},
    };
    for (size_t i = 0; i < ARRAY_LEN(kept); i++)
        headers_replace(&ex->answer, ex->head_arena, kept[i].name, kept[i].value);
    exchange_add_own_headers(ex);
    return http_response_start(ex->http, ex->call.head.status, &ex->answer, -1);
}

/* The stream runs now, perhaps for minutes: what was only needed to begin it is given back. */
static void settle_down(struct exchange *ex)
{
    exchange_forget_head(ex);
    task_trim_stack();
}

/* Sends what was queued, with the head if that waits still. */
YIELDS static int send_now(struct relay *relay, bool is_last)
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
    if (count > 0 || is_last)
        r = http_response_write(relay->ex->http, iov, count, is_last, CLOCK_NEVER);
    buf_fini(&relay->copied);
    relay->run = STR_EMPTY;
    relay->is_over = relay->is_over || is_last;
    relay->client_failed = relay->client_failed || r < 0;
    if (relay->ex->head_arena != NULL && r == 0 && relay->ex->http->head_sent)
        settle_down(relay->ex);
    return r;
}

static void note_content(struct relay *relay, int64_t now_ns)
{
    struct exchange *ex = relay->ex;
    if (relay->content_ns == 0)
        ex->record.ttft_ns = now_ns - ex->start_ns;
    else
        metrics_gap(relay->gaps, now_ns - relay->content_ns);
    relay->content_ns = now_ns;
}

/* An error as the very first event: the client gets an error answer, not a stream with 200. */
YIELDS static int refuse_first_event(struct relay *relay, const struct stream_event *event)
{
    struct exchange *ex = relay->ex;
    unsigned status = event->error.status >= 400 ? event->error.status : 502;
    struct str body = arena_dup(ex->arena, event->data);
    struct str name = relay_error_class(ex, &event->error);
    relay->is_over = true;
    refuse_with_status(ex, status, REFUSE_UPSTREAM_ERROR, body);
    ex->record.error_message = name;
    return -ERR_PROTOCOL;
}

YIELDS static int take_event(struct relay *relay, const struct stream_event *event,
                             struct str source, int64_t now_ns)
{
    struct exchange *ex = relay->ex;
    if (event->kind == STREAM_ERROR && !relay->has_begun)
        return refuse_first_event(relay, event);
    if (event->kind == STREAM_CONTENT)
        note_content(relay, now_ns);
    if (event->kind == STREAM_USAGE_ONLY && ex->strips_usage)
        return 0;
    relay->owes_lf = str_ends(event->raw, STR("\r\n\r"));
    send_later(relay, event->raw, lies_in(event->raw, source));
    if (event->kind != STREAM_COMMENT && !relay->has_begun)
        return start_answer(relay);
    return 0;
}

YIELDS static int take_bytes(struct relay *relay, struct str bytes, int64_t now_ns)
{
    struct str rest = bytes;
    struct stream_event event;
    for (;;) {
        int r = stream_observer_next(&relay->observer, &rest, &event);
        if (r <= 0)
            return r;
        r = take_event(relay, &event, bytes, now_ns);
        if (r < 0)
            return r;
    }
}

/* The dialect's last words after a failure: an error event instead of [DONE]. */
YIELDS static void end_with_error(struct relay *relay, enum refusal refusal, struct str message)
{
    struct exchange *ex = relay->ex;
    const struct refusal_row *row = refusal_row(refusal);
    struct buf json = BUF_INIT;
    refusal_note(ex, refusal, message);
    ex->record.outcome = STR("stream_broken");
    ex->record.usage.is_partial = true;
    openai_error_write(&json, str_c(row->type), STR_EMPTY, str_c(row->code), message);
    buf_add_str(&relay->copied, relay->run);
    relay->run = STR_EMPTY;
    sse_write(&relay->copied, STR_EMPTY, buf_str(&json));
    buf_fini(&json);
    task_shield();
    send_now(relay, true);
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

/* The upstream's last byte is here: was the answer whole? */
YIELDS static int end_in_order(struct relay *relay, int64_t now_ns)
{
    struct exchange *ex = relay->ex;
    struct stream_observer *o = &relay->observer;
    struct stream_event event;
    /* What was cut in the middle is no event: readers drop it, and so do we. */
    bool is_unterminated = stream_observer_finish(o, &event) == 1 && !event.is_garbled;
    if (is_unterminated) {
        int r = take_event(relay, &event, STR_EMPTY, now_ns);
        if (r < 0)
            return r;
    }
    if (!relay->has_begun)
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "the stream held no event");
    if (o->is_done || o->is_broken)
        return send_now(relay, true);
    if (!stream_observer_is_finished(o)) {
        if (is_unterminated)
            send_later(relay, STR("\n\n"), false);
        return err_set(ERR_RESET, FAULT_UPSTREAM, "it ended without a finish reason or [DONE]");
    }
    if (!ex->upstream->provider->quirks.ends_without_done) {
        if (is_unterminated)
            send_later(relay, STR("\n\n"), false);
        send_later(relay, STR("data: [DONE]\n\n"), false);
    }
    return send_now(relay, true);
}

static void note_finish(struct relay *relay, int64_t now_ns)
{
    if (relay->finished_ns == 0 && stream_observer_is_finished(&relay->observer))
        relay->finished_ns = now_ns;
}

/* The next time at which the relay itself has something to do. */
static int64_t next_deadline(const struct relay *relay, int64_t now_ns)
{
    int64_t heartbeat_ns = relay->ex->settings->timeouts.heartbeat;
    int64_t deadline = heartbeat_ns > 0 && relay->has_begun ? now_ns + heartbeat_ns : CLOCK_NEVER;
    if (relay->finished_ns != 0)
        deadline = MIN(deadline, relay->finished_ns + DONE_GRACE_NS);
    return deadline;
}

/* Nothing came by the deadline. 1 = the stream is over, 0 = go on. */
YIELDS static int on_silence(struct relay *relay, int64_t now_ns)
{
    if (relay->finished_ns != 0 && now_ns >= relay->finished_ns + DONE_GRACE_NS) {
        int r = end_in_order(relay, now_ns);
        return r < 0 ? r : 1;
    }
    metrics_count(METRIC_HEARTBEATS, 1);
    send_later(relay, STR(": heartbeat\n\n"), false);
    return send_now(relay, false);
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
    int r = send_now(relay, true);
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
    if (r < 0)
        return r;
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
    if (relay->observer.is_done && relay->has_begun)
        return end_on_done(relay);
    if (relay->has_begun)
        return send_now(relay, false);
    /* Comments before the first event wait for the head; the read buffer does not. */
    buf_add_str(&relay->copied, relay->run);
    relay->run = STR_EMPTY;
    return 0;
}

static void note_stream(struct relay *relay)
{
    struct exchange *ex = relay->ex;
    const struct stream_observer *o = &relay->observer;
    bool is_partial = ex->record.usage.is_partial;
    if (o->has_usage)
        relay_note_usage(ex, &o->usage);
    ex->record.usage.is_partial = is_partial;
    ex->record.events = o->events;
    ex->record.finish_reason =
        arena_dup(ex->arena, str_n(o->finish_reason.text, o->finish_reason.len));
    ex->record.model_answered = arena_dup(ex->arena, str_n(o->model.text, o->model.len));
    if (o->is_broken && str_eq(ex->record.outcome, STR("ok"))) {
        ex->record.outcome = STR("stream_broken");
        ex->record.error = STR("upstream_error_event");
    }
    metrics_count(METRIC_OBSERVER_ERRORS, o->undecodable);
}

YIELDS void relay_stream(struct exchange *ex)
{
    struct relay *relay = ARENA_NEW(ex->arena, struct relay);
    if (relay == NULL) {
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
        return;
    }
    relay->ex = ex;
    relay->gaps = metrics_gaps(ex->record.operation, ex->record.provider, ex->record.model);
    ex->record.is_stream = true;
    stream_observer_init(&relay->observer, ex->settings->event_bytes);
    int r;
    do {
        r = relay_once(relay);
    } while (r == 0);
    if (r < 0)
        end_broken(relay, r);
    note_stream(relay);
    stream_observer_fini(&relay->observer);
    buf_fini(&relay->copied);
}
