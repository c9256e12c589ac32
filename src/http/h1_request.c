#include "base/clock.h"
#include "base/err.h"
#include "http/h1_conn.h"

/* The body of a request: framing, Content-Encoding, limits. */

enum {
    /* What is read away after an answer so that the connection can be kept. */
    DRAIN_BYTES_MAX = 64 * 1024,
    DRAIN_TIME_MS = 1000,
    /* The least that is read at once, however little may be read ahead. */
    READ_BYTES_MIN = 4 * 1024,
};

bool h1_conn_has_ahead(const struct h1_conn *conn)
{
    return conn->ahead.len > conn->ahead_used;
}

/* All of it is used. */
static void drop_ahead(struct h1_conn *conn)
{
    buf_fini(&conn->ahead);
    conn->ahead_used = 0;
}

YIELDS ssize_t h1_conn_bytes(struct h1_conn *conn, struct str *bytes, size_t most,
                             int64_t deadline_ns)
{
    if (h1_conn_has_ahead(conn)) {
        *bytes = str_skip(buf_str(&conn->ahead), conn->ahead_used);
        return (ssize_t)bytes->len;
    }
    if (conn->fresh.len > 0) {
        *bytes = conn->fresh;
        conn->fresh = STR_EMPTY;
        return (ssize_t)bytes->len;
    }
    /* A waiting connection holds no buffer. */
    drop_ahead(conn);
    ssize_t n = io_read(&conn->io, loop_scratch(), most, deadline_ns);
    *bytes = str_n(loop_scratch(), n > 0 ? (size_t)n : 0);
    return n;
}

int h1_conn_used(struct h1_conn *conn, struct str bytes, size_t used)
{
    if (conn->ahead.len > 0) {
        conn->ahead_used += used;
        return 0;
    }
    /* The read buffer is everybody's: what is not used must be kept. */
    buf_add_str(&conn->ahead, str_skip(bytes, used));
    return buf_ok(&conn->ahead) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to read on");
}

static int64_t body_deadline(const struct h1_conn *conn, int64_t deadline_ns)
{
    return MIN(deadline_ns, clock_add_ns(loop_now_ns(), conn->settings->body_timeout_ns));
}

/* What is read at once of a framed body: what is more than the body is read ahead. */
static size_t read_most(const struct h1_conn *conn)
{
    size_t most = MAX(conn->settings->limits.pipeline_bytes, (uint32_t)READ_BYTES_MIN);
    return MIN(most, (size_t)LOOP_SCRATCH_BYTES);
}

/* The body cannot be read on: the connection must end. */
static int body_fails(struct h1_conn *conn, int code)
{
    conn->body_failed = true;
    if (code == -ERR_CLOSED)
        return err_set(ERR_RESET, FAULT_CLIENT, "the client closed the connection early");
    if (code == -ERR_TIMEOUT)
        return err_set(ERR_TIMEOUT, FAULT_CLIENT, "the request body did not come in time");
    return code;
}

YIELDS static int send_continue(struct h1_conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!conn->head.expects_continue || conn->continue_sent || conn->request.head_sent)
        return 0;
    conn->continue_sent = true;
    struct iovec iov = {(void *)(uintptr_t)text, sizeof(text) - 1};
    return io_writev_paced(&conn->io, &iov, 1, conn->settings->write_timeout_ns);
}

YIELDS int h1_request_read_raw(struct http_request *req, struct http_pieces *pieces,
                               int64_t deadline_ns)
{
    struct h1_conn *conn = req->stream;
    struct str bytes;
    pieces->count = 0;
    pieces->bytes = 0;
    pieces->is_last = conn->body.is_done;
    if (conn->body.is_done)
        return 0;
    if (conn->body_failed)
        return err_set(ERR_PROTOCOL, FAULT_CLIENT, "the request body broke off before");
    int sent = send_continue(conn);
    if (sent < 0)
        return body_fails(conn, sent);
    ssize_t n = h1_conn_bytes(conn, &bytes, read_most(conn), body_deadline(conn, deadline_ns));
    if (n < 0)
        return body_fails(conn, (int)n);
    ssize_t used = h1_parse_body(&conn->parser, bytes, pieces);
    if (used < 0)
        return body_fails(conn, (int)used);
    conn->request.body_bytes_in += pieces->bytes;
    conn->body.is_done = pieces->is_last;
    int r = h1_conn_used(conn, bytes, (size_t)used);
    return r < 0 ? body_fails(conn, r) : 0;
}

YIELDS int h1_request_read(struct http_request *req, struct http_pieces *pieces, int64_t deadline)
{
    struct h1_conn *conn = req->stream;
    return request_body_read(&conn->body, req, pieces, deadline);
}

/* A body of known length goes straight from the socket to its place. */
YIELDS static int collect_in_place(struct h1_conn *conn, int64_t deadline, struct buf *out)
{
    int r = send_continue(conn);
    if (r < 0)
        return body_fails(conn, r);
    for (uint64_t left; (left = h1_body_left(&conn->parser)) > 0;) {
        if (!request_body_reserve(out, (size_t)conn->request.body_bytes_in, left))
            return request_body_no_memory();
        size_t room = (size_t)MIN(left, (uint64_t)(out->cap - out->len));
        ssize_t n = io_read(&conn->io, out->ptr + out->len, room, body_deadline(conn, deadline));
        if (n < 0)
            return body_fails(conn, (int)n);
        out->len += (size_t)n;
        conn->request.body_bytes_in += (uint64_t)n;
        conn->body.is_done = h1_body_took(&conn->parser, (uint64_t)n);
    }
    return 0;
}

YIELDS int h1_request_collect(struct http_request *req, uint64_t limit, int64_t deadline,
                              struct buf *out)
{
    struct h1_conn *conn = req->stream;
    struct request_body *body = &conn->body;
    int r = request_body_need_decoder(body, req);
    if (r < 0)
        return r;
    uint64_t slack = body->decoder != NULL ? REQUEST_BODY_SLACK_BYTES : 0;
    if (conn->head.framing == H1_LENGTH && conn->head.content_length > limit + slack)
        return request_body_too_large();
    if (body->decoder != NULL && conn->head.framing != H1_NO_BODY)
        return request_body_collect_decoded(body, req, limit, deadline, out);
    if (conn->head.framing == H1_LENGTH && !request_body_reserve(out, 0, conn->head.content_length))
        return request_body_no_memory();
    while (r == 0 && !conn->body.is_done) {
        if (conn->head.framing == H1_LENGTH && !conn->body_failed && !h1_conn_has_ahead(conn))
            r = collect_in_place(conn, deadline, out);
        else
            r = request_body_collect_raw(body, req, limit, deadline, out);
    }
    /* The answer may be a stream of minutes: what was read ahead is not to wait that long. */
    if (!h1_conn_has_ahead(conn))
        drop_ahead(conn);
    return r;
}

bool h1_request_is_drainable(const struct h1_conn *conn)
{
    if (conn->body.is_done)
        return true;
    /* Where 100 was not said the client may never send the body, or send it all the same. */
    if (conn->body_failed || (conn->head.expects_continue && !conn->continue_sent))
        return false;
    return conn->head.framing == H1_LENGTH && h1_body_left(&conn->parser) <= DRAIN_BYTES_MAX;
}

YIELDS bool h1_request_drain(struct h1_conn *conn)
{
    static _Thread_local struct iovec unused[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = unused};
    if (!h1_request_is_drainable(conn))
        return false;
    int64_t deadline = loop_now_ns() + DRAIN_TIME_MS * NS_PER_MS;
    while (!conn->body.is_done) {
        if (h1_request_read_raw(&conn->request, &pieces, deadline) < 0)
            return false;
    }
    return true;
}
