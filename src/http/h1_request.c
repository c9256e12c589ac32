#include "base/clock.h"
#include "base/err.h"
#include "http/h1_conn.h"

/* The body of a request: framing, Content-Encoding, limits. */

enum {
    /* Reserved before bytes have come, whatever Content-Length promises. */
    RESERVE_FIRST_BYTES = 256 * 1024,
    /* What is read away after an answer so that the connection can be kept. */
    DRAIN_BYTES_MAX = 64 * 1024,
    DRAIN_TIME_MS = 1000,
};

YIELDS ssize_t h1_conn_bytes(struct h1_conn *conn, struct str *bytes, size_t most,
                             int64_t deadline_ns)
{
    if (conn->ahead.len > conn->ahead_used) {
        *bytes = str_skip(buf_str(&conn->ahead), conn->ahead_used);
        return (ssize_t)bytes->len;
    }
    /* An idle connection holds no buffer. */
    buf_fini(&conn->ahead);
    conn->ahead_used = 0;
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

YIELDS static int send_continue(struct h1_conn *conn)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!conn->head.expects_continue || conn->continue_sent || conn->request.head_sent)
        return 0;
    conn->continue_sent = true;
    struct iovec iov = {(void *)(uintptr_t)text, sizeof(text) - 1};
    return io_writev_paced(&conn->io, &iov, 1, conn->settings->write_timeout_ns);
}

/* One read's worth of the body as it is framed, Content-Encoding not undone. */
YIELDS static int read_raw(struct h1_conn *conn, struct http_pieces *pieces, int64_t deadline_ns)
{
    struct str bytes;
    pieces->count = 0;
    pieces->bytes = 0;
    pieces->is_last = conn->body_done;
    if (conn->body_done)
        return 0;
    int sent = send_continue(conn);
    if (sent < 0)
        return sent;
    ssize_t n = h1_conn_bytes(conn, &bytes, LOOP_SCRATCH_BYTES, body_deadline(conn, deadline_ns));
    if (n < 0) {
        conn->body_failed = true;
        return n == -ERR_CLOSED ? err_set(ERR_RESET, FAULT_CLIENT, "the client closed early")
                                : (int)n;
    }
    ssize_t used = h1_parse_body(&conn->parser, bytes, pieces);
    if (used < 0) {
        conn->body_failed = true;
        return (int)used;
    }
    conn->request.body_bytes_in += pieces->bytes;
    conn->body_done = pieces->is_last;
    return h1_conn_used(conn, bytes, (size_t)used);
}

/* Makes the decoder that the request's Content-Encoding asks for, once. */
static int need_decoder(struct h1_conn *conn)
{
    enum content_encoding encoding;
    struct str header = http_headers_get(&conn->head.headers, STR("content-encoding"));
    if (conn->decoder != NULL || header.len == 0)
        return 0;
    int r = content_encoding_parse(header, &encoding);
    if (r < 0 || encoding == ENCODING_IDENTITY)
        return r;
    conn->decoder = content_decoder_new(encoding);
    return conn->decoder != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to decompress");
}

static int decode_pieces(struct h1_conn *conn, const struct http_pieces *raw, uint64_t limit,
                         struct buf *out)
{
    int r = 0;
    for (int i = 0; r == 0 && i < raw->count; i++)
        r = content_decoder_feed(conn->decoder, str_n(raw->v[i].iov_base, raw->v[i].iov_len),
                                 limit, out);
    if (r == 0 && raw->is_last)
        r = content_decoder_finish(conn->decoder);
    return r;
}

YIELDS int h1_request_read(struct http_request *req, struct http_pieces *pieces, int64_t deadline)
{
    struct h1_conn *conn = req->stream;
    int r = need_decoder(conn);
    if (r == 0)
        r = read_raw(conn, pieces, deadline);
    if (r < 0 || conn->decoder == NULL)
        return r;
    buf_clear(&conn->decoded);
    r = decode_pieces(conn, pieces, conn->settings->limits.body_bytes, &conn->decoded);
    pieces->count = conn->decoded.len > 0 ? 1 : 0;
    pieces->bytes = conn->decoded.len;
    pieces->v[0] = (struct iovec){conn->decoded.ptr, conn->decoded.len};
    return r;
}

/* A body of known length goes straight from the socket to its place. */
YIELDS static int collect_in_place(struct h1_conn *conn, int64_t deadline, struct buf *out)
{
    while (conn->parser.left > 0 && conn->ahead.len == conn->ahead_used) {
        /* The first part was reserved on the client's word; for what it has begun to send, the word
         * is believed. */
        if (out->len == out->cap && !buf_reserve(out, (size_t)conn->parser.left))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the body");
        size_t room = (size_t)MIN(conn->parser.left, (uint64_t)(out->cap - out->len));
        ssize_t n =
            io_read(&conn->io, out->ptr + out->len, room, body_deadline(conn, deadline));
        if (n < 0) {
            conn->body_failed = true;
            return n == -ERR_CLOSED ? err_set(ERR_RESET, FAULT_CLIENT, "the client closed early")
                                    : (int)n;
        }
        out->len += (size_t)n;
        conn->parser.left -= (uint64_t)n;
        conn->request.body_bytes_in += (uint64_t)n;
    }
    return 0;
}

YIELDS static int collect_framed(struct h1_conn *conn, uint64_t limit, int64_t deadline,
                                 struct buf *out)
{
    static _Thread_local struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    while (!conn->body_done) {
        if (conn->decoder == NULL && conn->head.framing == H1_LENGTH &&
            conn->ahead.len == conn->ahead_used) {
            int r = send_continue(conn);
            if (r == 0)
                r = collect_in_place(conn, deadline, out);
            if (r < 0)
                return r;
            conn->body_done = conn->parser.left == 0;
            continue;
        }
        int r = read_raw(conn, &pieces, deadline);
        if (r == 0 && conn->decoder != NULL)
            r = decode_pieces(conn, &pieces, limit, out);
        if (r < 0)
            return r;
        for (int i = 0; conn->decoder == NULL && i < pieces.count; i++)
            buf_add(out, v[i].iov_base, v[i].iov_len);
        if (out->len > limit)
            return err_set(ERR_LIMIT, FAULT_CLIENT, "the request body is too large");
        if (!buf_ok(out))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the body");
    }
    return 0;
}

YIELDS int h1_request_collect(struct http_request *req, uint64_t limit, int64_t deadline,
                              struct buf *out)
{
    struct h1_conn *conn = req->stream;
    int r = need_decoder(conn);
    if (r < 0)
        return r;
    if (conn->head.framing == H1_LENGTH && conn->head.content_length > limit)
        return err_set(ERR_LIMIT, FAULT_CLIENT, "the request body is too large");
    if (conn->head.framing == H1_LENGTH && conn->decoder == NULL &&
        !buf_reserve(out, (size_t)MIN(conn->head.content_length, RESERVE_FIRST_BYTES)))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the body");
    return collect_framed(conn, limit, deadline, out);
}

bool h1_request_is_drainable(const struct h1_conn *conn)
{
    if (conn->body_done)
        return true;
    /* Where 100 was not said the client may never send the body, or send it all the same. */
    if (conn->body_failed || (conn->head.expects_continue && !conn->continue_sent))
        return false;
    return conn->head.framing == H1_LENGTH && conn->parser.left <= DRAIN_BYTES_MAX;
}

YIELDS bool h1_request_drain(struct h1_conn *conn)
{
    static _Thread_local struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    if (!h1_request_is_drainable(conn))
        return false;
    int64_t deadline = loop_now_ns() + DRAIN_TIME_MS * NS_PER_MS;
    while (!conn->body_done) {
        if (read_raw(conn, &pieces, deadline) < 0)
            return false;
    }
    return true;
}
