#include "base/clock.h"
#include "base/err.h"
#include "http/h1_conn.h"

/* The body of a request: framing, Content-Encoding, limits. */

enum {
    /* Reserved before bytes have come, whatever Content-Length promises; then four times what has
     * come. */
    RESERVE_FIRST_BYTES = 256 * 1024,
    RESERVE_FACTOR = 4,
    /* Encoded bytes may be more than decoded ones, but by their framing only. */
    ENCODED_SLACK_BYTES = 64 * 1024,
    /* Decoded at a time; others run in between. */
    DECODE_MIN_BYTES = 4 * 1024,
    DECODE_MAX_BYTES = 64 * 1024,
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

static int too_large(void)
{
    return err_set(ERR_LIMIT, FAULT_CLIENT, "the request body is too large");
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the request body");
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
    conn->body_done = pieces->is_last;
    int r = h1_conn_used(conn, bytes, (size_t)used);
    return r < 0 ? body_fails(conn, r) : 0;
}

/* Makes the decoder that the request's Content-Encoding asks for, once. */
static int need_decoder(struct h1_conn *conn)
{
    enum content_encoding encoding;
    struct str header = http_headers_get(&conn->head.headers, STR("content-encoding"));
    if (conn->decoder != NULL || header.ptr == NULL)
        return 0;
    if (http_headers_count(&conn->head.headers, STR("content-encoding")) > 1)
        return err_set(ERR_INVALID, FAULT_CLIENT, "more than one Content-Encoding");
    int r = content_encoding_parse(header, &encoding);
    if (r < 0 || encoding == ENCODING_IDENTITY)
        return r;
    conn->decoder = content_decoder_new(encoding);
    return conn->decoder != NULL ? 0 : no_memory();
}

/* Reads until there is something to decode, or the body has ended. */
YIELDS static int read_encoded(struct h1_conn *conn, struct http_pieces *pieces, uint64_t limit,
                               int64_t deadline_ns)
{
    buf_clear(&conn->encoded);
    conn->encoded_used = 0;
    while (conn->encoded.len == 0 && !conn->body_done) {
        int r = read_raw(conn, pieces, deadline_ns);
        if (r < 0)
            return r;
        if (conn->request.body_bytes_in > limit + ENCODED_SLACK_BYTES)
            return too_large();
        for (int i = 0; i < pieces->count; i++)
            buf_add(&conn->encoded, pieces->v[i].iov_base, pieces->v[i].iov_len);
        if (!buf_ok(&conn->encoded))
            return no_memory();
    }
    return 0;
}

/*
 * Appends the next decoded bytes to *out, a bounded number. 1 = that was the end of the body.
 * `limit` is of the whole body; the bytes that came before are `before`.
 */
YIELDS static int decode_some(struct h1_conn *conn, struct http_pieces *pieces, uint64_t limit,
                              uint64_t before, int64_t deadline_ns, struct buf *out)
{
    size_t had = out->len;
    if (!conn->has_more && conn->encoded_used == conn->encoded.len) {
        int r = read_encoded(conn, pieces, limit, deadline_ns);
        if (r < 0)
            return r;
    } else {
        /* Others run between two pieces of a long decode. */
        int r = task_yield();
        if (r < 0)
            return r;
    }
    struct str in = str_skip(buf_str(&conn->encoded), conn->encoded_used);
    size_t max = MIN(MAX(in.len * 8, (size_t)DECODE_MIN_BYTES), (size_t)DECODE_MAX_BYTES);
    int more = content_decoder_feed(conn->decoder, &in, max, out);
    if (more < 0)
        return more;
    conn->has_more = more == 1;
    conn->encoded_used = conn->encoded.len - in.len;
    if (before + (out->len - had) > limit)
        return too_large();
    if (conn->has_more || in.len > 0 || !conn->body_done)
        return 0;
    int r = content_decoder_finish(conn->decoder);
    return r < 0 ? r : 1;
}

YIELDS static int read_decoded(struct h1_conn *conn, struct http_pieces *pieces, int64_t deadline)
{
    uint64_t limit = conn->settings->limits.body_bytes;
    int r = 0;
    buf_clear(&conn->decoded);
    while (r == 0 && conn->decoded.len == 0)
        r = decode_some(conn, pieces, limit, conn->body_decoded, deadline, &conn->decoded);
    conn->body_decoded += conn->decoded.len;
    pieces->v[0] = (struct iovec){conn->decoded.ptr, conn->decoded.len};
    pieces->count = conn->decoded.len > 0 ? 1 : 0;
    pieces->bytes = conn->decoded.len;
    pieces->is_last = r == 1;
    return MIN(r, 0);
}

YIELDS int h1_request_read(struct http_request *req, struct http_pieces *pieces, int64_t deadline)
{
    struct h1_conn *conn = req->stream;
    int r = need_decoder(conn);
    if (r < 0)
        return r;
    if (conn->decoder != NULL && conn->head.framing != H1_NO_BODY)
        return read_decoded(conn, pieces, deadline);
    r = read_raw(conn, pieces, deadline);
    if (r == 0 && req->body_bytes_in > conn->settings->limits.body_bytes)
        r = too_large();
    return r;
}

/* Room for what comes next of a body of known length: as much as may be believed by now. */
static bool reserve_for(struct buf *out, size_t came, uint64_t left)
{
    size_t believed = MAX((size_t)RESERVE_FIRST_BYTES, came * (RESERVE_FACTOR - 1));
    return out->cap > out->len || buf_reserve(out, (size_t)MIN(left, (uint64_t)believed));
}

/* A body of known length goes straight from the socket to its place. */
YIELDS static int collect_in_place(struct h1_conn *conn, int64_t deadline, struct buf *out)
{
    int r = send_continue(conn);
    if (r < 0)
        return body_fails(conn, r);
    for (uint64_t left; (left = h1_body_left(&conn->parser)) > 0;) {
        if (!reserve_for(out, (size_t)conn->request.body_bytes_in, left))
            return no_memory();
        size_t room = (size_t)MIN(left, (uint64_t)(out->cap - out->len));
        ssize_t n = io_read(&conn->io, out->ptr + out->len, room, body_deadline(conn, deadline));
        if (n < 0)
            return body_fails(conn, (int)n);
        out->len += (size_t)n;
        conn->request.body_bytes_in += (uint64_t)n;
        conn->body_done = h1_body_took(&conn->parser, (uint64_t)n);
    }
    return 0;
}

/* Pieces last until the next wait, so all tasks of a thread can use one list: a kilobyte less on
 * each stack. */
static _Thread_local struct iovec piece_list[HTTP_PIECES_MAX];

YIELDS static int collect_pieces(struct h1_conn *conn, uint64_t limit, int64_t deadline,
                                 struct buf *out)
{
    struct http_pieces pieces = {.v = piece_list};
    int r = read_raw(conn, &pieces, deadline);
    if (r < 0)
        return r;
    if (conn->request.body_bytes_in > limit)
        return too_large();
    for (int i = 0; i < pieces.count; i++)
        buf_add(out, pieces.v[i].iov_base, pieces.v[i].iov_len);
    return buf_ok(out) ? 0 : no_memory();
}

YIELDS static int collect_decoded(struct h1_conn *conn, uint64_t limit, int64_t deadline,
                                  struct buf *out)
{
    struct http_pieces pieces = {.v = piece_list};
    size_t first = out->len;
    int r;
    do {
        r = decode_some(conn, &pieces, limit, out->len - first, deadline, out);
    } while (r == 0);
    return MIN(r, 0);
}

YIELDS int h1_request_collect(struct http_request *req, uint64_t limit, int64_t deadline,
                              struct buf *out)
{
    struct h1_conn *conn = req->stream;
    int r = need_decoder(conn);
    if (r < 0)
        return r;
    uint64_t slack = conn->decoder != NULL ? ENCODED_SLACK_BYTES : 0;
    if (conn->head.framing == H1_LENGTH && conn->head.content_length > limit + slack)
        return too_large();
    if (conn->decoder != NULL && conn->head.framing != H1_NO_BODY)
        return collect_decoded(conn, limit, deadline, out);
    if (conn->head.framing == H1_LENGTH && !reserve_for(out, 0, conn->head.content_length))
        return no_memory();
    while (r == 0 && !conn->body_done) {
        if (conn->head.framing == H1_LENGTH && !conn->body_failed && !h1_conn_has_ahead(conn))
            r = collect_in_place(conn, deadline, out);
        else
            r = collect_pieces(conn, limit, deadline, out);
    }
    /* The answer may be a stream of minutes: what was read ahead is not to wait that long. */
    if (!h1_conn_has_ahead(conn))
        drop_ahead(conn);
    return r;
}

bool h1_request_is_drainable(const struct h1_conn *conn)
{
    if (conn->body_done)
        return true;
    /* Where 100 was not said the client may never send the body, or send it all the same. */
    if (conn->body_failed || (conn->head.expects_continue && !conn->continue_sent))
        return false;
    return conn->head.framing == H1_LENGTH && h1_body_left(&conn->parser) <= DRAIN_BYTES_MAX;
}

YIELDS bool h1_request_drain(struct h1_conn *conn)
{
    struct http_pieces pieces = {.v = piece_list};
    if (!h1_request_is_drainable(conn))
        return false;
    int64_t deadline = loop_now_ns() + DRAIN_TIME_MS * NS_PER_MS;
    while (!conn->body_done) {
        if (read_raw(conn, &pieces, deadline) < 0)
            return false;
    }
    return true;
}

void h1_request_release(struct h1_conn *conn)
{
    content_decoder_free(conn->decoder);
    conn->decoder = NULL;
    buf_fini(&conn->encoded);
    buf_fini(&conn->decoded);
}
