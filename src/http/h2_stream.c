#include "base/clock.h"
#include "base/err.h"
#include "http/channel.h"
#include "http/h2_server.h"
#include "http/response_head.h"

/* A stream in the hands of its task: the request's body, the answer, the end. */

enum { LAST_WORDS_MS = 1000 };

static void count(atomic_uint_fast64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static nghttp2_session *session_of(const struct h2_stream *s)
{
    return s->server->pump.session;
}

static bool is_gone(const struct h2_stream *s)
{
    return s->is_closed || s->server->is_over;
}

static int client_left(void)
{
    return err_set(ERR_RESET, FAULT_CLIENT, "the client gave the stream up");
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the answer");
}

static void wake(struct task *task)
{
    if (task != NULL)
        task_wake(task);
}

/* --- from nghttp2 ---------------------------------------------------------------------------- */

int h2_stream_take(struct h2_stream *s, const uint8_t *bytes, size_t len)
{
    buf_add(&s->in, bytes, len);
    wake(s->reader);
    return buf_ok(&s->in) ? 0 : -ERR_NOMEM;
}

void h2_stream_end_input(struct h2_stream *s)
{
    s->in_ended = true;
    wake(s->reader);
}

ssize_t h2_stream_fill(struct h2_stream *s, uint8_t *to, size_t room, uint32_t *flags)
{
    size_t n = MIN(room, s->out.len - s->out_at);
    if (n == 0 && !s->out_ended) {
        s->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (n > 0)
        memcpy(to, s->out.ptr + s->out_at, n);
    s->out_at += n;
    s->moved_ns = loop_now_ns();
    wake(s->writer);
    if (s->out_at < s->out.len)
        return (ssize_t)n;
    buf_fini(&s->out);
    s->out_at = 0;
    if (s->out_ended)
        *flags |=
            NGHTTP2_DATA_FLAG_EOF | (s->trailers != NULL ? NGHTTP2_DATA_FLAG_NO_END_STREAM : 0);
    return (ssize_t)n;
}

void h2_stream_end_sent(struct h2_stream *s)
{
    s->end_sent = true;
    wake(s->writer);
}

void h2_stream_close(struct h2_stream *s)
{
    s->is_closed = true;
    wake(s->reader);
    wake(s->writer);
    if (s->owner != NULL && !s->end_sent)
        task_cancel(s->owner, ERR_RESET);
}

/* --- the request's body ---------------------------------------------------------------------- */

/* What the reader has had is done with: the client may send as much again. */
static void return_credit(struct h2_stream *s, size_t n)
{
    if (n == 0 || s->server->is_over)
        return;
    if (s->is_closed)
        nghttp2_session_consume_connection(session_of(s), n);
    else
        nghttp2_session_consume(session_of(s), s->id, n);
    if (nghttp2_session_want_write(session_of(s)) != 0)
        h2_pump_wake(&s->server->pump);
}

static void drop_given(struct h2_stream *s)
{
    size_t n = s->given;
    s->given = 0;
    buf_consume(&s->in, n);
    if (s->in.len == 0)
        buf_fini(&s->in);
    return_credit(s, n);
}

static int send_continue(struct h2_stream *s)
{
    nghttp2_nv status = h2_nv(STR(":status"), STR("100"));
    if (!s->expects_continue || s->head_submitted)
        return 0;
    s->expects_continue = false;
    int code =
        nghttp2_submit_headers(session_of(s), NGHTTP2_FLAG_NONE, s->id, NULL, &status, 1, NULL);
    h2_pump_wake(&s->server->pump);
    return code == 0 ? 0 : h2_error(code, "interim answer");
}

/* Until something of the request is there, or its end: 0, or -ERR_x. */
YIELDS static int wait_for_input(struct h2_stream *s, int64_t deadline_ns)
{
    while (s->in.len == 0 && !s->in_ended && !is_gone(s)) {
        s->reader = task_self();
        int r = task_park(deadline_ns);
        s->reader = NULL;
        if (r < 0)
            return r;
    }
    if (s->in.len == 0 && !s->in_ended)
        return err_set(ERR_RESET, FAULT_CLIENT, "the client gave the request up early");
    return 0;
}

YIELDS static int wait_for_body(struct h2_stream *s, int64_t deadline)
{
    int64_t patience_ns = s->server->conn->settings->body_timeout_ns;
    int r = wait_for_input(s, MIN(deadline, clock_add_ns(loop_now_ns(), patience_ns)));
    return r == -ERR_TIMEOUT
               ? err_set(ERR_TIMEOUT, FAULT_CLIENT, "the request body did not come in time")
               : r;
}

YIELDS int h2_stream_read_raw(struct http_request *req, struct http_pieces *pieces,
                              int64_t deadline)
{
    struct h2_stream *s = req->stream;
    pieces->count = 0;
    pieces->bytes = 0;
    pieces->is_last = s->body.is_done;
    drop_given(s);
    if (s->body.is_done)
        return 0;
    int r = send_continue(s);
    if (r == 0)
        r = wait_for_body(s, deadline);
    if (r < 0)
        return r;
    s->given = s->in.len;
    pieces->v[0] = (struct iovec){s->in.ptr, s->in.len};
    pieces->count = s->in.len > 0 ? 1 : 0;
    pieces->bytes = s->in.len;
    pieces->is_last = s->body.is_done = s->in_ended;
    req->body_bytes_in += pieces->bytes;
    return 0;
}

YIELDS static int read_body(struct http_request *req, struct http_pieces *pieces, int64_t deadline)
{
    struct h2_stream *s = req->stream;
    return request_body_read(&s->body, req, pieces, deadline);
}

YIELDS static int collect(struct http_request *req, uint64_t limit, int64_t deadline,
                          struct buf *out)
{
    struct h2_stream *s = req->stream;
    int r = request_body_need_decoder(&s->body, req);
    if (r < 0)
        return r;
    uint64_t slack = s->body.decoder != NULL ? REQUEST_BODY_SLACK_BYTES : 0;
    if (req->content_length > 0 && (uint64_t)req->content_length > limit + slack)
        return request_body_too_large();
    if (s->body.decoder != NULL && !s->body.is_empty)
        return request_body_collect_decoded(&s->body, req, limit, deadline, out);
    while (r == 0 && !s->body.is_done) {
        uint64_t came = req->body_bytes_in;
        if (req->content_length > 0 && came < (uint64_t)req->content_length &&
            !request_body_reserve(out, (size_t)came, (uint64_t)req->content_length - came))
            return request_body_no_memory();
        r = request_body_collect_raw(&s->body, req, limit, deadline, out);
    }
    drop_given(s);
    return r;
}

/* --- the answer ------------------------------------------------------------------------------ */

static void start(struct http_request *req, const struct http_headers *headers,
                  int64_t content_length)
{
    struct h2_stream *s = req->stream;
    s->answer_headers = headers;
    s->answer_left = content_length;
}

/* The fields of a head or of trailers that may pass, after the `used` that are in *fields. */
static size_t add_fields(nghttp2_nv *fields, size_t used, const struct http_headers *headers)
{
    for (uint32_t i = 0; headers != NULL && i < headers->count; i++) {
        const struct http_header *h = &headers->items[i];
        if (response_may_pass(headers, h))
            fields[used++] = h2_nv(h->name, h->value);
    }
    return used;
}

static ssize_t on_fill(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, stream_id);
    (void)source;
    (void)user_data;
    if (s == NULL)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    ssize_t n = h2_stream_fill(s, to, room, flags);
    if ((*flags & NGHTTP2_DATA_FLAG_NO_END_STREAM) == 0)
        return n;
    /* Trailers are submitted while the data's last frame is made, so that they follow at once. */
    struct arena_mark mark = arena_mark(s->request.arena);
    nghttp2_nv *fields = arena_alloc(s->request.arena, s->trailers->count * sizeof(*fields));
    size_t used = fields == NULL ? 0 : add_fields(fields, 0, s->trailers);
    int code =
        used == 0 ? NGHTTP2_ERR_NOMEM : nghttp2_submit_trailer(session, stream_id, fields, used);
    arena_rewind(s->request.arena, mark);
    return code == 0 ? n : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int submit_head(struct h2_stream *s)
{
    struct http_request *r = &s->request;
    struct arena_mark mark = arena_mark(r->arena);
    uint32_t count_max = 3 + (s->answer_headers != NULL ? s->answer_headers->count : 0);
    nghttp2_nv *fields = arena_alloc(r->arena, count_max * sizeof(*fields));
    nghttp2_data_provider provider = {.read_callback = on_fill};
    char status[3], length[20];
    size_t used = 0;
    if (fields == NULL)
        return no_memory();
    str_put_u64(status, r->status);
    fields[used++] = h2_nv(STR(":status"), str_n(status, sizeof(status)));
    fields[used++] = h2_nv(STR("date"), response_date());
    used = add_fields(fields, used, s->answer_headers);
    if (s->answer_left >= 0 && r->status != 204 && r->status != 304) {
        size_t digits = str_put_u64(length, (uint64_t)s->answer_left);
        fields[used++] = h2_nv(STR("content-length"), str_n(length, digits));
    }
    /* Where the end is known already the head says it: a frame less. */
    bool is_head_all =
        response_has_no_body(r) || (s->out_ended && s->out.len == 0 && s->trailers == NULL);
    int code =
        nghttp2_submit_response(session_of(s), s->id, fields, used, is_head_all ? NULL : &provider);
    arena_rewind(r->arena, mark);
    s->answer_headers = NULL;
    s->head_submitted = true;
    s->moved_ns = loop_now_ns();
    if (code != 0)
        return h2_error(code, "answer");
    r->head_sent = true;
    return 0;
}

/* What was added is to leave. */
static int push_out(struct h2_stream *s)
{
    int r = s->head_submitted ? 0 : submit_head(s);
    if (s->is_deferred && (s->out.len > s->out_at || s->out_ended)) {
        s->is_deferred = false;
        nghttp2_session_resume_data(session_of(s), s->id);
    }
    h2_pump_wake(&s->server->pump);
    return r;
}

/* Waits for the client to make room; `moved_ns` says when it last did. */
YIELDS static int wait_for_room(struct h2_stream *s, int64_t patience_ns)
{
    if (is_gone(s))
        return client_left();
    s->writer = task_self();
    int r = task_park(clock_add_ns(s->moved_ns, patience_ns));
    s->writer = NULL;
    if (r == -ERR_TIMEOUT)
        return err_set(ERR_TIMEOUT, FAULT_CLIENT, "the client took nothing of the answer");
    return r < 0 ? r : is_gone(s) && !s->end_sent ? client_left() : 0;
}

static size_t waiting_bytes(const struct h2_stream *s)
{
    return s->out.len - s->out_at;
}

static int64_t write_patience_ns(const struct h2_stream *s)
{
    return s->server->conn->settings->write_timeout_ns;
}

/* Until the client is no further behind than it may be. */
YIELDS static int let_catch_up(struct h2_stream *s)
{
    int r = push_out(s);
    while (r == 0 && waiting_bytes(s) > H2_STREAM_OUT_BYTES)
        r = wait_for_room(s, write_patience_ns(s));
    return r;
}

static int add_out(struct h2_stream *s, const char *bytes, size_t len)
{
    if (waiting_bytes(s) == 0)
        s->moved_ns = loop_now_ns();
    buf_add(&s->out, bytes, len);
    return buf_ok(&s->out) ? 0 : no_memory();
}

static bool lies_in_scratch(const struct iovec *part)
{
    uintptr_t at = (uintptr_t)part->iov_base, scratch = (uintptr_t)loop_scratch();
    return at >= scratch && at < scratch + LOOP_SCRATCH_BYTES;
}

/* What lies in the loop's scratch buffer would be overwritten while the write waits. */
static bool must_be_taken_at_once(const struct iovec *iov, int parts, size_t bytes)
{
    bool is_needed = bytes <= H2_STREAM_OUT_BYTES;
    for (int i = 0; i < parts && !is_needed; i++)
        is_needed = lies_in_scratch(&iov[i]);
    return is_needed;
}

YIELDS static int add_parts(struct h2_stream *s, const struct iovec *iov, int parts, size_t bytes)
{
    bool is_at_once = must_be_taken_at_once(iov, parts, bytes);
    int r = 0;
    for (int i = 0; i < parts && r == 0; i++) {
        const char *at = iov[i].iov_base;
        for (size_t left = iov[i].iov_len; left > 0 && r == 0;) {
            size_t n = is_at_once ? left : MIN(left, (size_t)H2_STREAM_OUT_BYTES);
            r = add_out(s, at, n);
            at += n;
            left -= n;
            if (r == 0 && !is_at_once)
                r = let_catch_up(s);
        }
    }
    return r;
}

YIELDS static int wait_for_end(struct h2_stream *s, int64_t patience_ns)
{
    int r = 0;
    while (r == 0 && !s->end_sent)
        r = wait_for_room(s, patience_ns);
    return r;
}

/* The end was said: until it is on its way to the client. A cancelled task's last words have a
 * moment to get away, as a socket would have taken them. */
YIELDS static int let_end(struct h2_stream *s)
{
    int r = push_out(s);
    if (r == 0)
        r = wait_for_end(s, write_patience_ns(s));
    if (r == -ERR_CANCELED && !is_gone(s)) {
        task_shield();
        r = wait_for_end(s, LAST_WORDS_MS * NS_PER_MS);
        task_unshield();
    }
    s->request.is_complete = r == 0;
    return r;
}

static int check_write(struct h2_stream *s, size_t bytes)
{
    CHECK(s->request.status != 0 && !s->request.is_complete);
    if (s->is_aborted)
        return err_set(ERR_RESET, FAULT_CLIENT, "the answer was broken off");
    if (is_gone(s))
        return client_left();
    if (s->answer_left >= 0 && bytes > (uint64_t)s->answer_left) {
        s->is_aborted = true;
        return err_set(ERR_INVALID, FAULT_GATEWAY, "more body than its Content-Length");
    }
    return 0;
}

static size_t iov_bytes(const struct iovec *iov, int parts)
{
    size_t n = 0;
    for (int i = 0; i < parts; i++)
        n += iov[i].iov_len;
    return n;
}

YIELDS static int write_answer(struct http_request *req, struct iovec *iov, int parts, bool is_last,
                               int64_t deadline)
{
    struct h2_stream *s = req->stream;
    size_t bytes = iov_bytes(iov, parts);
    bool has_no_body = response_has_no_body(req);
    (void)deadline; /* a client is given up by standing still, not by a fixed time */
    int r = check_write(s, bytes);
    if (r < 0)
        return r;
    bool is_short = is_last && s->answer_left >= 0 && (uint64_t)s->answer_left > bytes;
    if (!has_no_body)
        r = add_parts(s, iov, parts, bytes);
    if (r == 0) {
        s->out_ended = is_last && (!is_short || has_no_body);
        r = s->out_ended ? let_end(s) : let_catch_up(s);
    }
    if (r < 0) {
        s->is_aborted = true;
        return r;
    }
    if (s->answer_left >= 0 && !has_no_body)
        s->answer_left -= (int64_t)bytes;
    req->body_bytes_out += has_no_body ? 0 : bytes;
    return 0;
}

YIELDS static int end_answer(struct http_request *req, const struct http_headers *trailers,
                             int64_t deadline)
{
    struct h2_stream *s = req->stream;
    if (trailers != NULL && !response_has_no_body(req)) {
        /* Only what may pass counts: an empty block of trailers would be none. */
        for (uint32_t i = 0; i < trailers->count && s->trailers == NULL; i++)
            s->trailers = response_may_pass(trailers, &trailers->items[i]) ? trailers : NULL;
    }
    int r = write_answer(req, NULL, 0, true, deadline);
    s->trailers = NULL;
    return r;
}

static void abort_answer(struct http_request *req)
{
    ((struct h2_stream *)req->stream)->is_aborted = true;
}

static void watch_hangup(struct http_request *req, struct task *task)
{
    struct h2_stream *s = req->stream;
    s->owner = task;
    if (task != NULL && is_gone(s))
        task_cancel(task, ERR_RESET);
}

/* --- a stream that has become a channel (RFC 8441) ------------------------------------------- */

YIELDS static ssize_t read_channel(struct channel *ch, char *out, size_t cap, int64_t deadline_ns)
{
    struct h2_stream *s = ch->stream;
    int r = task_check_cancel();
    if (r == 0)
        r = wait_for_input(s, deadline_ns);
    if (r < 0)
        return r;
    size_t n = MIN(cap, s->in.len);
    if (n == 0)
        return -ERR_CLOSED;
    memcpy(out, s->in.ptr, n);
    s->given = n;
    drop_given(s);
    return (ssize_t)n;
}

YIELDS static int write_channel(struct channel *ch, struct iovec *iov, int count, int64_t stall_ns)
{
    struct h2_stream *s = ch->stream;
    size_t bytes = iov_bytes(iov, count);
    int r = check_write(s, bytes);
    if (r == 0)
        r = add_parts(s, iov, count, bytes);
    if (r == 0)
        r = push_out(s);
    while (r == 0 && waiting_bytes(s) > H2_STREAM_OUT_BYTES)
        r = wait_for_room(s, stall_ns > 0 ? stall_ns : write_patience_ns(s));
    return r;
}

YIELDS static int finish_channel(struct channel *ch, int64_t deadline_ns)
{
    struct h2_stream *s = ch->stream;
    int r = check_write(s, 0);
    if (r < 0)
        return r;
    s->out_ended = true;
    r = push_out(s);
    if (r == 0)
        r = wait_for_end(s, MAX(deadline_ns - loop_now_ns(), 0));
    s->request.is_complete = r == 0;
    return r;
}

YIELDS static int upgrade(struct http_request *req, const struct http_headers *headers,
                          struct channel *channel)
{
    static const struct channel_ops ops = {
        .read = read_channel,
        .write = write_channel,
        .finish = finish_channel,
    };
    struct h2_stream *s = req->stream;
    if (is_gone(s))
        return client_left();
    int r = http_response_start(req, 200, headers, -1);
    s->owner = NULL;
    s->body.is_done = true; /* what comes is the channel's */
    if (r == 0)
        r = push_out(s);
    s->is_aborted = r < 0;
    if (r == 0)
        *channel = (struct channel){.ops = &ops, .stream = s};
    return r;
}

const struct http_stream_ops h2_stream_ops = {
    .read = read_body,
    .collect = collect,
    .start = start,
    .write = write_answer,
    .end = end_answer,
    .abort = abort_answer,
    .watch_hangup = watch_hangup,
    .upgrade = upgrade,
};

/* --- its life -------------------------------------------------------------------------------- */

/* An answer of the server itself. */
YIELDS static void answer_error(struct h2_stream *s, unsigned status, const char *message)
{
    const struct http_server_settings *settings = s->server->conn->settings;
    struct arena *arena = s->request.arena;
    struct str type = STR("text/plain; charset=utf-8");
    struct str body = str_c(message);
    struct http_headers headers = {0};
    if (settings->describe_error != NULL)
        body = settings->describe_error(arena, status, message, &type);
    http_headers_add(&headers, arena, STR("content-type"), type);
    http_respond(&s->request, status, &headers, body);
}

/*
 * The stream's last frames: a reset where the answer is not whole, behind what was written of it,
 * or where the rest of the request is not wanted (RFC 9113 section 8.1).
 */
YIELDS static void end_stream(struct h2_stream *s)
{
    bool is_complete = s->request.is_complete;
    if (is_gone(s) || (is_complete && s->in_ended))
        return;
    int r = 0;
    while (!is_complete && s->head_submitted && waiting_bytes(s) > 0 && r == 0)
        r = wait_for_room(s, write_patience_ns(s));
    if (is_gone(s))
        return;
    uint32_t code = is_complete ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR;
    nghttp2_submit_rst_stream(session_of(s), NGHTTP2_FLAG_NONE, s->id, code);
    h2_pump_wake(&s->server->pump);
}

YIELDS void h2_stream_serve(struct h2_stream *s)
{
    const struct h1_conn *conn = s->server->conn;
    struct http_request *r = &s->request;
    if (s->refusal != 0) {
        count(&http_server_stats()->bad_requests);
        answer_error(s, s->refusal, s->refusal_text);
    } else {
        count(&http_server_stats()->requests);
        conn->handler(r, conn->ctx);
    }
    bool has_left = task_cancel_reason(s->task) == ERR_RESET;
    s->owner = NULL;
    task_cancel_clear(s->task);
    if (r->status == 0 && !has_left && !s->is_aborted && !is_gone(s))
        answer_error(s, 500, "the request was not answered");
    if (!r->is_complete && (has_left || is_gone(s)))
        count(&http_server_stats()->client_aborts);
    end_stream(s);
    return_credit(s, s->in.len);
    s->given = 0;
    buf_fini(&s->in);
    buf_fini(&s->out);
    request_body_fini(&s->body);
}
