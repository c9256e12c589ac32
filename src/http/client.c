#include "http/client.h"

#include "base/clock.h"
#include "http/pool.h"

/* One call: send the request, read the answer, give the connection back or close it. */

enum {
    /* Interim answers (1xx) that are skipped before the real one. */
    INTERIM_MAX = 8,
    PARTS_IN_PLACE = 12,
};

void http_origin_seal(struct http_origin *origin)
{
    const struct dial_target *t = &origin->target;
    uint64_t h = str_ihash(t->host) ^ (uint64_t)t->port << 48 ^ origin->generation << 32;
    h = h * 31 + str_ihash(t->tls_host);
    h = h * 31 + str_ihash(t->proxy.host) + t->proxy.port;
    h = h * 31 + (uintptr_t)t->tls + (uintptr_t)origin->in_process;
    origin->identity = h ^ h >> 32;
}

/* An error of the transport becomes the upstream's fault, with words on what was going on. */
static int upstream_error(int code, const char *doing)
{
    struct err *e = err_slot();
    if (code == -ERR_CANCELED || code == -ERR_NOMEM)
        return code;
    e->fault = FAULT_UPSTREAM;
    e->retry = RETRY_YES;
    return err_wrap("%s", doing);
}

static int timed_out(const char *what, int64_t ns)
{
    int r = err_set(ERR_TIMEOUT, FAULT_UPSTREAM, "%s for %lld ms", what,
                    (long long)(ns / NS_PER_MS));
    err_slot()->retry = RETRY_YES;
    return r;
}

/* --- sending --- */

static void write_head(const struct http_call *call, struct buf *out)
{
    const struct http_call_request *request = call->request;
    bool has_accept = false;
    buf_add_str(out, http_method_name(request->method));
    buf_add_char(out, ' ');
    buf_add_str(out, request->target);
    BUF_LIT(out, " HTTP/1.1\r\nHost: ");
    buf_add_str(out, call->origin->host_header);
    for (uint32_t i = 0; i < request->headers->count; i++) {
        const struct http_header *h = &request->headers->items[i];
        if (http_header_is_hop_by_hop(request->headers, h->name) ||
            str_ieq(h->name, STR("host")) || str_ieq(h->name, STR("content-length")) ||
            str_ieq(h->name, STR("expect")))
            continue;
        has_accept = has_accept || str_ieq(h->name, STR("accept-encoding"));
        BUF_LIT(out, "\r\n");
        buf_add_str(out, h->name);
        BUF_LIT(out, ": ");
        buf_add_str(out, h->value);
    }
    if (!has_accept)
        BUF_LIT(out, "\r\nAccept-Encoding: identity");
    bool has_body_method = request->method == METHOD_POST || request->method == METHOD_PUT ||
                           request->method == METHOD_PATCH;
    if (request->body_bytes > 0 || has_body_method) {
        BUF_LIT(out, "\r\nContent-Length: ");
        buf_add_u64(out, request->body_bytes);
    }
    BUF_LIT(out, "\r\n\r\n");
}

static bool is_target_char(char c)
{
    return c > ' ' && c < 0x7f;
}

/* What is written must not be able to begin another request. */
static int check_request(const struct http_call_request *request)
{
    for (size_t i = 0; i < request->target.len; i++) {
        if (!is_target_char(request->target.ptr[i]))
            return err_set(ERR_INVALID, FAULT_GATEWAY, "the upstream path holds a bad character");
    }
    for (uint32_t i = 0; i < request->headers->count; i++) {
        const struct http_header *h = &request->headers->items[i];
        if (h->name.len == 0 || !http_value_is_safe(h->name) || !http_value_is_safe(h->value))
            return err_set(ERR_INVALID, FAULT_GATEWAY, "a header for upstream is malformed");
    }
    return 0;
}

/* Waits until the socket takes more or has something to say. */
YIELDS static int wait_either(struct io *io, int64_t deadline_ns)
{
    while ((io->flags & (IO_READABLE | IO_WRITABLE)) == 0) {
        io->reader = io->writer = task_self();
        int r = task_park(deadline_ns);
        io->reader = io->writer = NULL;
        if (r < 0)
            return r;
    }
    return 0;
}

static int advance(struct iovec **iov, int count, size_t n)
{
    while (count > 0 && n >= (*iov)->iov_len) {
        n -= (*iov)->iov_len;
        (*iov)++;
        count--;
    }
    if (count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + n;
        (*iov)->iov_len -= n;
    }
    return count;
}

/* An answer that comes while the request is still being sent is kept; 1 = it has begun. */
static int take_early_answer(struct http_call *call)
{
    struct str bytes;
    ssize_t n = io_try_recv(&call->conn->io, &bytes);
    if (n <= 0)
        return (int)n;
    buf_add_str(&call->conn->ahead, bytes);
    call->may_reuse = false;
    return buf_ok(&call->conn->ahead) ? 1
                                      : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to read on");
}

YIELDS static int send_parts(struct http_call *call, struct iovec *iov, int count)
{
    struct io *io = &call->conn->io;
    while (count > 0) {
        ssize_t n = io_try_writev(io, iov, count);
        if (n < 0)
            return (int)n;
        call->bytes_out += (uint64_t)n;
        count = advance(&iov, count, (size_t)n);
        if (count == 0)
            break;
        int64_t deadline = MIN(clock_add_ns(loop_now_ns(), call->timeouts->idle_ns),
                               call->timeouts->total_deadline_ns);
        int r = wait_either(io, deadline);
        if (r == -ERR_TIMEOUT)
            return timed_out("the upstream took nothing of the request", call->timeouts->idle_ns);
        if (r == 0 && (io->flags & IO_READABLE) != 0)
            r = take_early_answer(call);
        if (r != 0)
            return MIN(r, 0);
    }
    return io->layer == NULL ? 0 : io_writev(io, NULL, 0, call->timeouts->total_deadline_ns);
}

YIELDS static int send_request(struct http_call *call)
{
    const struct http_call_request *request = call->request;
    struct iovec few[PARTS_IN_PLACE];
    struct iovec *parts = few;
    struct buf head = BUF_INIT;
    int count = request->body_count + 1;
    write_head(call, &head);
    if (count > PARTS_IN_PLACE)
        parts = arena_alloc(call->arena, (size_t)count * sizeof(*parts));
    int r = buf_ok(&head) && parts != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    if (r == 0) {
        parts[0] = (struct iovec){head.ptr, head.len};
        for (int i = 0; i < request->body_count; i++)
            parts[i + 1] = request->body[i];
        r = send_parts(call, parts, count);
    }
    buf_fini(&head);
    call->sent_ns = clock_mono_ns();
    return r;
}

/* --- connections --- */

static void drop_conn(struct http_call *call)
{
    if (call->conn != NULL)
        pool_close(call->conn);
    call->conn = NULL;
}

YIELDS static int use_new_conn(struct http_call *call)
{
    call->was_reused = false;
    call->conn = pool_open(call->origin, call->timeouts, &call->dial);
    if (call->conn == NULL)
        return -err_slot()->code;
    return send_request(call);
}

/* Only a connection that had lain idle, that died before a byte of the answer, and only once: the
 * other side closed it while our request was on its way. */
static bool may_retry_free(const struct http_call *call, int code)
{
    return (code == -ERR_CLOSED || code == -ERR_RESET) && call->was_reused &&
           !call->was_retried && call->first_byte_ns == 0;
}

YIELDS static int retry_free(struct http_call *call)
{
    call->was_retried = true;
    pool_count_free_retry();
    drop_conn(call);
    return use_new_conn(call);
}

YIELDS int http_call_start(struct http_call *call, struct arena *arena,
                           const struct http_origin *origin,
                           const struct http_call_request *request,
                           const struct http_timeouts *timeouts)
{
    *call = (struct http_call){.origin = origin,
                               .request = request,
                               .timeouts = timeouts,
                               .arena = arena,
                               .may_reuse = true,
                               .start_ns = loop_now_ns()};
    int r = check_request(request);
    if (r < 0)
        return r;
    call->conn = pool_take(origin);
    if (call->conn == NULL)
        return use_new_conn(call);
    call->was_reused = true;
    r = send_request(call);
    if (may_retry_free(call, r))
        r = retry_free(call);
    return r < 0 ? upstream_error(r, "sending the request") : 0;
}

/* --- reading --- */

/* Bytes that were read before, else what the socket gives until the deadline. */
YIELDS static ssize_t next_bytes(struct http_conn *conn, struct str *bytes, int64_t deadline_ns)
{
    if (conn->ahead.len > conn->ahead_used) {
        *bytes = str_skip(buf_str(&conn->ahead), conn->ahead_used);
        return (ssize_t)bytes->len;
    }
    buf_fini(&conn->ahead);
    conn->ahead_used = 0;
    return io_recv(&conn->io, bytes, deadline_ns);
}

static int bytes_used(struct http_conn *conn, struct str bytes, size_t used)
{
    if (conn->ahead.len > 0) {
        conn->ahead_used += used;
        return 0;
    }
    buf_add_str(&conn->ahead, str_skip(bytes, used));
    return buf_ok(&conn->ahead) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to read on");
}

/* Reads until a head is whole. -ERR_CLOSED and -ERR_RESET are told as they are. */
YIELDS static int read_one_head(struct http_call *call)
{
    struct http_conn *conn = call->conn;
    bool is_done = false;
    h1_parser_begin(&conn->parser, call->arena, &call->head,
                    call->request->method == METHOD_HEAD);
    while (!is_done) {
        struct str bytes;
        int64_t deadline = MIN(clock_add_ns(call->sent_ns, call->timeouts->first_byte_ns),
                               call->timeouts->total_deadline_ns);
        ssize_t n = next_bytes(conn, &bytes, deadline);
        if (n == -ERR_TIMEOUT)
            return timed_out("no answer", loop_now_ns() - call->sent_ns);
        if (n < 0)
            return (int)n;
        if (call->first_byte_ns == 0)
            call->first_byte_ns = clock_mono_ns();
        ssize_t used = h1_parse_head(&conn->parser, bytes, &is_done);
        if (used < 0)
            return upstream_error((int)used, "the answer is not valid HTTP");
        call->bytes_in += (uint64_t)used;
        int r = bytes_used(conn, bytes, (size_t)used);
        if (r < 0)
            return r;
    }
    return 0;
}

static bool is_interim(const struct http_call *call)
{
    return call->head.status >= 100 && call->head.status < 200;
}

YIELDS int http_call_head(struct http_call *call)
{
    for (int interim = 0; interim <= INTERIM_MAX; interim++) {
        int r = read_one_head(call);
        if (may_retry_free(call, r)) {
            r = retry_free(call);
            if (r == 0)
                r = read_one_head(call);
        }
        if (r == -ERR_CLOSED)
            r = err_set(ERR_RESET, FAULT_UPSTREAM, "connection closed before an answer");
        if (r < 0)
            return r == -ERR_RESET ? upstream_error(r, "waiting for the answer") : r;
        if (call->head.status == 101)
            return upstream_error(
                err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "status 101 was not asked for"), "answer");
        if (!is_interim(call)) {
            call->may_reuse = call->may_reuse && call->head.is_keep_alive;
            return 0;
        }
    }
    return upstream_error(err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "too many interim answers"),
                          "answer");
}

/* Gives the connection back as soon as the last byte is read, unless pieces still lie in its own
 * buffer. */
static void body_is_done(struct http_call *call)
{
    call->is_body_done = true;
    if (call->may_reuse && call->conn->ahead.len == 0) {
        pool_give(call->conn);
        call->conn = NULL;
    }
}

static int on_read_error(struct http_call *call, int code, struct http_pieces *pieces)
{
    if (code == -ERR_CLOSED) {
        call->may_reuse = false;
        if (h1_parse_eof(&call->conn->parser) == 0) {
            pieces->is_last = true;
            call->is_body_done = true;
            return 0;
        }
        code = err_set(ERR_RESET, FAULT_UPSTREAM,
                       "the upstream closed the connection before the end of the answer");
    }
    return upstream_error(code, "reading the answer");
}

YIELDS int http_call_read(struct http_call *call, struct http_pieces *pieces, int64_t deadline_ns,
                          bool *hit_deadline)
{
    pieces->count = 0;
    pieces->bytes = 0;
    pieces->is_last = call->is_body_done || call->head.framing == H1_NO_BODY;
    *hit_deadline = false;
    if (pieces->is_last) {
        if (!call->is_body_done)
            body_is_done(call);
        return 0;
    }
    struct str bytes;
    int64_t own = MIN(clock_add_ns(loop_now_ns(), call->timeouts->idle_ns),
                      call->timeouts->total_deadline_ns);
    ssize_t n = next_bytes(call->conn, &bytes, MIN(deadline_ns, own));
    if (n == -ERR_TIMEOUT) {
        *hit_deadline = deadline_ns < own;
        return *hit_deadline ? -ERR_TIMEOUT
                             : timed_out("the answer stood still", call->timeouts->idle_ns);
    }
    if (n < 0)
        return on_read_error(call, (int)n, pieces);
    ssize_t used = h1_parse_body(&call->conn->parser, bytes, pieces);
    if (used < 0)
        return upstream_error((int)used, "the answer is not valid HTTP");
    call->bytes_in += (uint64_t)used;
    int r = bytes_used(call->conn, bytes, (size_t)used);
    if (r == 0 && pieces->is_last)
        body_is_done(call);
    return r;
}

YIELDS int http_call_collect(struct http_call *call, uint64_t limit, struct buf *out)
{
    static _Thread_local struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    if (call->head.framing == H1_LENGTH && call->head.content_length > limit)
        return err_set(ERR_LIMIT, FAULT_UPSTREAM, "the answer has %llu bytes, the limit is %llu",
                       (unsigned long long)call->head.content_length, (unsigned long long)limit);
    while (!pieces.is_last) {
        bool hit = false;
        int r = http_call_read(call, &pieces, CLOCK_NEVER, &hit);
        if (r < 0)
            return r;
        for (int i = 0; i < pieces.count; i++)
            buf_add(out, v[i].iov_base, v[i].iov_len);
        if (out->len > limit)
            return err_set(ERR_LIMIT, FAULT_UPSTREAM, "the answer is larger than %llu bytes",
                           (unsigned long long)limit);
        if (!buf_ok(out))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the answer");
    }
    return 0;
}

void http_call_finish(struct http_call *call)
{
    if (call->conn == NULL)
        return;
    if (call->is_body_done && call->may_reuse)
        pool_give(call->conn);
    else
        pool_close(call->conn);
    call->conn = NULL;
}
