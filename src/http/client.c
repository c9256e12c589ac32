#include "http/client.h"

#include "base/clock.h"
#include "http/client_call.h"
#include "http/client_request.h"
#include "http/h2_client.h"
#include "http/pool.h"

enum {
    INTERIMS_MAX = 8,      /* 1xx answers before the final one */
    PARTS_IN_PLACE = 12,   /* of head and body; more are listed in the arena */
    PARTS_AT_ONCE = 1024,  /* Linux's UIO_MAXIOV */
    RESERVE_MAX = 1 << 20, /* taken on an upstream's word for a body that is yet to come */
};

/* After a failed write: how long an answer may take to show. It is in the socket already, or never
 * comes; only the poller has to tell us. */
#define SETTLE_NS (200 * NS_PER_MS)

/* --- time --- */

int64_t call_span_from(int64_t from_ns, int64_t span_ns)
{
    return span_ns > 0 ? clock_add_ns(from_ns, span_ns) : CLOCK_NEVER;
}

int64_t call_until(const struct http_call *call, int64_t deadline_ns)
{
    return MIN(deadline_ns, call->timeouts->total_deadline_ns);
}

int call_timed_out(const struct http_call *call, const char *what, int64_t span_ns,
                   const char *which)
{
    if (loop_now_ns() >= call->timeouts->total_deadline_ns)
        return err_set(ERR_TIMEOUT, FAULT_UPSTREAM,
                       "the upstream was not done within the time for the whole call (total "
                       "timeout)");
    return err_set(ERR_TIMEOUT, FAULT_UPSTREAM, "the upstream %s within %lld ms (%s timeout)", what,
                   (long long)(span_ns / NS_PER_MS), which);
}

/* --- connection --- */

static void drop_conn(struct http_call *call, bool is_abrupt)
{
    struct err why = *err_slot();
    if (call->h2 != NULL)
        h2_call_end(call);
    pool_drop(call->conn, is_abrupt);
    call->conn = NULL;
    *err_slot() = why;
}

YIELDS static int connect_anew(struct http_call *call)
{
    const struct http_timeouts *t = call->timeouts;
    int64_t connect_deadline_ns = call_until(call, call_span_from(clock_mono_ns(), t->connect_ns));
    int64_t tls_deadline_ns = call_until(call, call_span_from(connect_deadline_ns, t->tls_ns));
    int r = pool_open(call->origin, connect_deadline_ns, tls_deadline_ns, &call->dial, &call->conn);
    if (r != -ERR_TIMEOUT)
        return r;
    enum err_retry retry = err_slot()->retry;
    r = call->dial.tls_ns > 0
            ? call_timed_out(call, "finished no TLS handshake", t->tls_ns, "TLS")
            : call_timed_out(call, "took no connection", t->connect_ns, "connect");
    err_slot()->retry = retry;
    return r;
}

int call_broke_off(const struct http_call *call, int code, const char *when)
{
    if (code == -ERR_CANCELED || code == -ERR_NOMEM)
        return code;
    if (code == -ERR_CLOSED || code == -ERR_RESET) {
        int r = err_set(ERR_RESET, FAULT_UPSTREAM, "the upstream %s the connection %s",
                        code == -ERR_CLOSED ? "closed" : "broke off", when);
        err_slot()->retry = call->has_heard ? RETRY_NO : RETRY_IF_REUSED;
        return r;
    }
    err_slot()->fault = FAULT_UPSTREAM;
    return err_wrap("the connection to the upstream failed %s", when);
}

/* --- the head of the answer --- */

static void expect_head(struct http_call *call)
{
    h1_parser_begin(&call->conn->parser, call->arena, &call->head,
                    call->request->method == METHOD_HEAD);
}

int call_skip_interim(struct http_call *call, unsigned status)
{
    if (status == 101)
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                       "the upstream switched protocols (101), which was not asked for");
    if (++call->interims > INTERIMS_MAX)
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                       "the upstream sent more than %d interim answers", INTERIMS_MAX);
    return 0;
}

static int skip_interim(struct http_call *call)
{
    int r = call_skip_interim(call, call->head.status);
    call->first_byte_ns = 0;
    if (r == 0)
        expect_head(call);
    return r;
}

static bool is_upgrade(const struct http_call *call)
{
    return call->head.status == 101 && call->wants_upgrade;
}

/* Bytes of the answer from the read buffer: 1 = the head is whole and what came after it is kept,
 * 0 = more is needed, or -ERR_x. */
static int take_head_bytes(struct http_call *call, struct str bytes)
{
    call->bytes_in += bytes.len;
    call->has_heard = true;
    while (bytes.len > 0) {
        bool is_whole;
        if (call->first_byte_ns == 0)
            call->first_byte_ns = clock_mono_ns();
        ssize_t used = h1_parse_head(&call->conn->parser, bytes, &is_whole);
        if (used < 0)
            return err_wrap("the upstream's answer");
        bytes = str_skip(bytes, (size_t)used);
        if (!is_whole)
            continue;
        if (call->head.status >= 200 || is_upgrade(call)) {
            call->has_head = true;
            buf_add_str(&call->unread, bytes);
            return buf_ok(&call->unread) ? 1 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
        }
        int r = skip_interim(call);
        if (r < 0)
            return r;
    }
    return 0;
}

/* --- sending --- */

/* Moves past the n bytes that were taken; the number of parts that are left. */
static int advance(struct iovec **parts, int count, size_t n)
{
    for (; count > 0 && n >= (*parts)->iov_len; (*parts)++, count--)
        n -= (*parts)->iov_len;
    if (count > 0) {
        (*parts)->iov_base = (char *)(*parts)->iov_base + n;
        (*parts)->iov_len -= n;
    }
    return count;
}

/* The upstream may answer while we send: 1 = there is no use in sending on, 0 = go on, or -ERR_x.
 */
static int hear_early_answer(struct http_call *call)
{
    struct str bytes;
    ssize_t n = io_try_recv(&call->conn->io, &bytes);
    if (n == 0)
        return 0;
    /* An end or an error is met again, and told, by who reads the head. */
    return n < 0 ? 1 : take_head_bytes(call, bytes);
}

/* Waits while the socket is full. 1 = there is no use in sending on, 0 = go on, or -ERR_x. */
YIELDS static int wait_to_send(struct http_call *call)
{
    struct io *io = &call->conn->io;
    int64_t idle_ns = call->timeouts->idle_ns;
    int r = io_wait_any(io, call_until(call, call_span_from(loop_now_ns(), idle_ns)));
    if (r == -ERR_TIMEOUT)
        return call_timed_out(call, "took nothing of the request", idle_ns, "idle");
    if (r < 0)
        return r;
    return (io->flags & IO_READABLE) != 0 ? hear_early_answer(call) : 0;
}

/* Stops early, with is_send_cut, when the upstream has answered or does not read any more. */
YIELDS static int send_parts(struct http_call *call, struct iovec *parts, int count)
{
    int r = 0;
    while (count > 0 && r == 0) {
        ssize_t n = io_try_writev(&call->conn->io, parts, MIN(count, PARTS_AT_ONCE));
        if (n == -ERR_RESET) {
            r = 1; /* there may be an answer that says why */
        } else if (n < 0) {
            r = call_broke_off(call, (int)n, "while the request was sent");
        } else {
            call->bytes_out += (uint64_t)n;
            count = advance(&parts, count, (size_t)n);
            if (n == 0)
                r = wait_to_send(call);
        }
    }
    call->is_send_cut = r == 1;
    call->sent_ns = clock_mono_ns();
    return MIN(r, 0);
}

YIELDS static int send_request(struct http_call *call)
{
    const struct http_call_request *request = call->request;
    struct iovec few[PARTS_IN_PLACE];
    struct iovec *parts = few;
    struct buf head = BUF_INIT;
    int count = request->body_count + 1;
    if (count > PARTS_IN_PLACE)
        parts = arena_alloc(call->arena, (size_t)count * sizeof(*parts));
    if (parts == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the request");
    int r = client_write_head(&head, call->origin, request);
    if (r == 0) {
        expect_head(call);
        parts[0] = (struct iovec){head.ptr, head.len};
        for (int i = 1; i < count; i++)
            parts[i] = request->body[i - 1];
        r = send_parts(call, parts, count);
    }
    buf_fini(&head);
    return r;
}

/* A connection of the pool, or a new one. */
YIELDS static int take_or_connect(struct http_call *call)
{
    int64_t connect_ns = call->timeouts->connect_ns;
    int64_t deadline_ns = call_until(call, call_span_from(clock_mono_ns(), connect_ns));
    int r = pool_take(call->origin, deadline_ns, &call->conn);
    call->was_reused = call->conn != NULL;
    if (r == -ERR_TIMEOUT) {
        call_timed_out(call, "took no connection", connect_ns, "connect");
        err_slot()->retry = RETRY_YES;
    }
    return r < 0 || call->conn != NULL ? r : connect_anew(call);
}

YIELDS static int send_on_conn(struct http_call *call)
{
    const struct http_call_request *request = call->request;
    if (call->conn->h2 == NULL && (request->is_open || request->wants_trailers))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "the upstream does not speak HTTP/2");
    return call->conn->h2 != NULL ? h2_call_start(call) : send_request(call);
}

/* A connection that is to become something else is its own, and of HTTP/1.1: few upstreams take
 * the extended CONNECT that HTTP/2 has for it. */
static int want_http1(struct http_call *call)
{
    struct http_origin *origin = ARENA_NEW(call->arena, struct http_origin);
    if (origin == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a connection");
    *origin = *call->origin;
    origin->speaks_h2 = false;
    origin->target.is_http1_only = true;
    http_origin_seal(origin);
    call->origin = origin;
    return 0;
}

YIELDS int http_call_start(struct http_call *call, struct arena *arena,
                           const struct http_origin *origin,
                           const struct http_call_request *request,
                           const struct http_timeouts *timeouts)
{
    *call = (struct http_call){
        .origin = origin,
        .request = request,
        .timeouts = timeouts,
        .arena = arena,
        .start_ns = clock_mono_ns(),
        .wants_upgrade = request->upgrade.len > 0,
    };
    int r = client_check_request(origin, request);
    if (r == 0 && request->upgrade.len > 0)
        r = want_http1(call);
    if (r == 0)
        r = take_or_connect(call);
    if (r == 0)
        r = send_on_conn(call);
    if (r < 0 && call->conn != NULL)
        drop_conn(call, true);
    return r;
}

/* --- reading --- */

enum {
    REFUSALS_MAX = 3, /* of streams, by upstreams that had not looked at the request */
};

/*
 * The server closed the connection as idle while our request was under way: nobody has seen the
 * request (or so we hope: that is why it happens once, and only before the first byte). Or it said
 * that it had not looked at it, as one does that is about to close a shared connection: then it is
 * known, and no request is lost by it.
 */
YIELDS static int start_over(struct http_call *call)
{
    bool is_shared = call->h2 != NULL;
    if (h2_call_was_refused(call))
        call->refusals++;
    else
        call->was_retried = true;
    drop_conn(call, true);
    call->was_reused = false;
    pool_note_free_retry();
    int r = is_shared ? take_or_connect(call) : connect_anew(call);
    return r < 0 ? r : send_on_conn(call);
}

static bool may_start_over(const struct http_call *call, int code)
{
    if (code != -ERR_RESET || call->has_heard || call->request->is_open)
        return false;
    if (h2_call_was_refused(call))
        return call->refusals < REFUSALS_MAX;
    if (call->h2 != NULL && !h2_call_lost_connection(call))
        return false; /* the upstream itself has ended it: it was no race with an idle timeout */
    return call->was_reused && !call->was_retried;
}

YIELDS static int read_head(struct http_call *call)
{
    const struct http_timeouts *t = call->timeouts;
    bool has_begun = call->first_byte_ns != 0;
    int64_t deadline_ns = has_begun ? call_span_from(loop_now_ns(), t->idle_ns)
                                    : call_span_from(call->sent_ns, t->first_byte_ns);
    int64_t settle_ns = CLOCK_NEVER;
    if (call->is_send_cut && !has_begun)
        settle_ns = clock_add_ns(call->sent_ns, SETTLE_NS);
    struct str bytes;
    ssize_t n = io_recv(&call->conn->io, &bytes, MIN(settle_ns, call_until(call, deadline_ns)));
    if (n > 0) {
        int r = take_head_bytes(call, bytes);
        return MIN(r, 0);
    }
    if (n == -ERR_TIMEOUT && loop_now_ns() >= settle_ns)
        n = -ERR_RESET;
    if (n == -ERR_TIMEOUT && loop_now_ns() >= call_until(call, deadline_ns))
        return has_begun ? call_timed_out(call, "sent no more of its answer", t->idle_ns, "idle")
                         : call_timed_out(call, "did not begin to answer", t->first_byte_ns,
                                          "first byte");
    return call_broke_off(call, (int)n,
                          call->has_heard ? "inside the head of its answer" : "before it answered");
}

/* All of the answer has come: the connection is free for the next call, or of no more use. */
static void end_body(struct http_call *call)
{
    call->is_body_done = true;
    if (call->h2 != NULL)
        h2_call_end(call);
    /* Where sending was cut the kernel still holds much for a peer that does not read: an orderly
     * end would stay stuck behind it. */
    if (call->may_reuse)
        pool_put(call->conn);
    else
        pool_drop(call->conn, call->is_send_cut);
    call->conn = NULL;
}

YIELDS int http_call_head(struct http_call *call)
{
    CHECK(call->conn != NULL);
    while (!call->has_head) {
        int r = call->h2 != NULL ? h2_call_head(call) : read_head(call);
        if (may_start_over(call, r))
            r = start_over(call);
        if (r < 0)
            return r;
    }
    call->may_reuse = call->head.is_keep_alive && !call->is_send_cut;
    if (is_upgrade(call))
        return 0;
    if (call->head.framing == H1_NO_BODY) {
        call->may_reuse = call->may_reuse && call->unread.len == 0;
        end_body(call);
    }
    return 0;
}

/* Waits for bytes of the body: 0, or -ERR_x; -ERR_CLOSED when the connection's end is the body's.
 */
YIELDS static int receive(struct http_call *call, struct str *bytes, int64_t deadline_ns,
                          bool *hit_deadline)
{
    if (call->quiet_since_ns == 0)
        call->quiet_since_ns = loop_now_ns();
    int64_t idle_ns = call->timeouts->idle_ns;
    int64_t own_ns = call_until(call, call_span_from(call->quiet_since_ns, idle_ns));
    ssize_t n = io_recv(&call->conn->io, bytes, MIN(own_ns, deadline_ns));
    if (n > 0) {
        call->quiet_since_ns = 0;
        call->bytes_in += (uint64_t)n;
        return 0;
    }
    if (n == -ERR_CLOSED && h1_parse_eof(&call->conn->parser) == 0)
        return -ERR_CLOSED;
    if (n != -ERR_TIMEOUT || loop_now_ns() < MIN(own_ns, deadline_ns))
        return call_broke_off(call, (int)n, "before the end of the response");
    *hit_deadline = deadline_ns < own_ns;
    return *hit_deadline ? -ERR_TIMEOUT : call_timed_out(call, "sent nothing", idle_ns, "idle");
}

/* Decodes bytes that were just received; what finds no room in the pieces is kept. */
static int take_body_bytes(struct http_call *call, struct str bytes, struct http_pieces *pieces)
{
    ssize_t used = h1_parse_body(&call->conn->parser, bytes, pieces);
    if (used < 0)
        return err_wrap("the upstream's answer");
    struct str rest = str_skip(bytes, (size_t)used);
    if (pieces->is_last)
        call->may_reuse = call->may_reuse && rest.len == 0;
    else
        buf_add_str(&call->unread, rest);
    return buf_ok(&call->unread) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}

/* The same for what was kept; it stays where it is until the next call. */
static int take_unread(struct http_call *call, struct http_pieces *pieces)
{
    struct str bytes = str_skip(buf_str(&call->unread), call->unread_at);
    ssize_t used = h1_parse_body(&call->conn->parser, bytes, pieces);
    if (used < 0)
        return err_wrap("the upstream's answer");
    call->unread_at += (size_t)used;
    if (pieces->is_last)
        call->may_reuse = call->may_reuse && call->unread_at == call->unread.len;
    return 0;
}

YIELDS int http_call_send(struct http_call *call, const struct iovec *iov, int count, bool is_last)
{
    return h2_call_send(call, iov, count, is_last);
}

YIELDS int http_call_read(struct http_call *call, struct http_pieces *pieces, int64_t deadline_ns,
                          bool *hit_deadline)
{
    CHECK(call->has_head);
    *hit_deadline = false;
    pieces->count = 0;
    pieces->bytes = 0;
    pieces->is_last = call->is_body_done;
    while (pieces->bytes == 0 && !pieces->is_last) {
        struct str bytes;
        int r;
        if (call->h2 != NULL) {
            r = h2_call_read(call, pieces, deadline_ns, hit_deadline);
        } else if (call->unread_at < call->unread.len) {
            r = take_unread(call, pieces);
        } else {
            buf_fini(&call->unread);
            call->unread_at = 0;
            r = receive(call, &bytes, deadline_ns, hit_deadline);
            if (r == 0)
                r = take_body_bytes(call, bytes, pieces);
        }
        if (r == -ERR_CLOSED) {
            call->may_reuse = false;
            pieces->is_last = true;
        } else if (r < 0) {
            return r;
        }
    }
    if (pieces->is_last && !call->is_body_done)
        end_body(call);
    return 0;
}

static int too_large(uint64_t limit)
{
    return err_set(ERR_LIMIT, FAULT_UPSTREAM,
                   "the upstream's answer is larger than the limit of %llu bytes",
                   (unsigned long long)limit);
}

YIELDS int http_call_collect(struct http_call *call, uint64_t limit, struct buf *out)
{
    /* Filled after the last wait only, so that all tasks of the thread can share it. */
    static _Thread_local struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool hit;
    uint64_t had = out->len;
    if (call->head.framing == H1_LENGTH && !call->is_body_done) {
        uint64_t left =
            call->h2 != NULL ? call->head.content_length : h1_body_left(&call->conn->parser);
        if (left > limit)
            return too_large(limit);
        buf_reserve(out, (size_t)MIN(left, RESERVE_MAX));
    }
    while (!pieces.is_last) {
        int r = http_call_read(call, &pieces, CLOCK_NEVER, &hit);
        if (r < 0)
            return r;
        if (out->len - had + pieces.bytes > limit)
            return too_large(limit);
        for (int i = 0; i < pieces.count; i++)
            buf_add(out, v[i].iov_base, v[i].iov_len);
        if (!buf_ok(out))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the upstream's answer");
    }
    return 0;
}

void http_call_forget_head(struct http_call *call, struct arena *arena)
{
    call->head.headers = (struct http_headers){0};
    call->arena = arena;
    if (call->conn != NULL && call->h2 == NULL)
        h1_parser_use_arena(&call->conn->parser, arena);
}

void http_call_upgrade(struct http_call *call, struct channel *channel)
{
    /* A 101 that was not asked for is no answer. The request may be gone by now. */
    CHECK(call->conn != NULL && call->head.status == 101 && call->channel == NULL);
    call->channel = channel;
    channel_over_io(channel, &call->conn->io, buf_str(&call->unread));
}

void http_call_finish(struct http_call *call)
{
    bool is_orderly = call->channel != NULL && call->channel->is_finished;
    call->channel = NULL;
    buf_fini(&call->unread);
    call->unread_at = 0;
    if (call->conn != NULL)
        drop_conn(call, !is_orderly);
}
