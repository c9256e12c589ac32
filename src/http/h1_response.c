#include "base/clock.h"
#include "base/err.h"
#include "http/h1_conn.h"
#include "http/response_head.h"

/* The answer: our own framing around what the handler gives, in as few writes as can be. */

void h1_response_start(struct http_request *r, const struct http_headers *headers,
                       int64_t content_length)
{
    struct h1_conn *conn = r->stream;
    conn->answer_headers = headers;
    conn->head_waits = true;
    if (content_length >= 0)
        conn->framing = ANSWER_LENGTH;
    else
        conn->framing = r->version_minor > 0 ? ANSWER_CHUNKED : ANSWER_UNTIL_CLOSE;
    conn->answer_left = content_length >= 0 ? (uint64_t)content_length : 0;
    conn->closes = conn->closes || !conn->head.is_keep_alive || h1_server_is_draining() ||
                   conn->framing == ANSWER_UNTIL_CLOSE || !h1_request_is_drainable(conn);
}

static void write_head(struct h1_conn *conn, struct buf *out)
{
    const struct http_request *r = &conn->request;
    bool is_upgrade = r->status == 101;
    BUF_LIT(out, "HTTP/1.1 ");
    buf_add_u64(out, r->status);
    buf_add_char(out, ' ');
    buf_add_str(out, http_reason(r->status));
    BUF_LIT(out, "\r\nDate: ");
    buf_add_str(out, response_date());
    const struct http_headers *headers = conn->answer_headers;
    for (uint32_t i = 0; headers != NULL && i < headers->count; i++) {
        const struct http_header *h = &headers->items[i];
        if (!response_may_pass(headers, h))
            continue;
        BUF_LIT(out, "\r\n");
        buf_add_str(out, h->name);
        BUF_LIT(out, ": ");
        buf_add_str(out, h->value);
    }
    if (is_upgrade) {
        BUF_LIT(out, "\r\nUpgrade: ");
        buf_add_str(out, r->upgrade);
        BUF_LIT(out, "\r\nConnection: Upgrade\r\n\r\n");
        return;
    }
    if (conn->framing == ANSWER_CHUNKED && !response_has_no_body(r)) {
        BUF_LIT(out, "\r\nTransfer-Encoding: chunked");
    } else if (conn->framing == ANSWER_LENGTH && r->status != 204 && r->status != 304) {
        BUF_LIT(out, "\r\nContent-Length: ");
        buf_add_u64(out, conn->answer_left);
    }
    if (conn->closes)
        BUF_LIT(out, "\r\nConnection: close");
    else if (r->version_minor == 0)
        BUF_LIT(out, "\r\nConnection: keep-alive");
    BUF_LIT(out, "\r\n\r\n");
}

static void add_chunk_size(struct buf *out, size_t n)
{
    char hex[16];
    size_t at = sizeof(hex);
    do {
        hex[--at] = "0123456789abcdef"[n & 15];
        n >>= 4;
    } while (n > 0);
    buf_add(out, hex + at, sizeof(hex) - at);
    BUF_LIT(out, "\r\n");
}

static size_t iov_bytes(const struct iovec *iov, int count)
{
    size_t n = 0;
    for (int i = 0; i < count; i++)
        n += iov[i].iov_len;
    return n;
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the answer");
}

YIELDS static int send_parts(struct h1_conn *conn, struct iovec *iov, int count)
{
    int result = io_writev_paced(&conn->io, iov, count, conn->settings->write_timeout_ns);
    if (result == 0)
        conn->request.head_sent = true;
    else if (result != -ERR_CANCELED)
        conn->resets = true; /* what the kernel holds for it would stay there for minutes */
    return result;
}

/* What stands before the body bytes: the head if it waits still, and the chunk's size. */
static void write_front(struct h1_conn *conn, size_t bytes, struct buf *front)
{
    if (conn->head_waits)
        write_head(conn, front);
    conn->head_waits = false;
    if (conn->framing == ANSWER_CHUNKED && bytes > 0)
        add_chunk_size(front, bytes);
}

/* What stands after them. */
static struct str back_of(const struct h1_conn *conn, size_t bytes, bool is_last)
{
    if (conn->framing != ANSWER_CHUNKED || response_has_no_body(&conn->request))
        return STR_EMPTY;
    if (bytes > 0)
        return is_last ? STR("\r\n0\r\n\r\n") : STR("\r\n");
    return is_last ? STR("0\r\n\r\n") : STR_EMPTY;
}

enum {
    PARTS_IN_PLACE = 6,
    /* Answers up to this many bytes are copied behind what stands before them: one send of one
     * piece costs the kernel less than gathering, and the copy is 10 ns. */
    COPIED_BYTES_MAX = 2048,
    /* What a head usually needs. */
    HEAD_ROOM_BYTES = 960,
    FRAMING_ROOM_BYTES = 32,
};

/* The whole of a small write as one piece. */
YIELDS static int send_joined(struct h1_conn *conn, struct buf *front, const struct iovec *iov,
                              int count, struct str back)
{
    for (int i = 0; i < count; i++)
        buf_add(front, iov[i].iov_base, iov[i].iov_len);
    buf_add_str(front, back);
    struct iovec part = {front->ptr, front->len};
    return buf_ok(front) ? send_parts(conn, &part, 1) : no_memory();
}

YIELDS static int send_gathered(struct h1_conn *conn, const struct buf *front,
                                const struct iovec *iov, int count, struct str back)
{
    struct iovec few[PARTS_IN_PLACE + 2];
    struct iovec *parts = few;
    struct arena *arena = conn->request.arena;
    struct arena_mark mark = arena_mark(arena);
    if (count > PARTS_IN_PLACE)
        parts = arena_alloc(arena, (size_t)(count + 2) * sizeof(*parts));
    if (parts == NULL || !buf_ok(front))
        return no_memory();
    parts[0] = (struct iovec){front->ptr, front->len};
    memcpy(&parts[1], iov, (size_t)count * sizeof(*iov));
    parts[count + 1] = (struct iovec){(void *)(uintptr_t)back.ptr, back.len};
    int result = send_parts(conn, parts, count + 2);
    if (parts != few)
        arena_rewind(arena, mark);
    return result;
}

YIELDS static int send_answer(struct h1_conn *conn, const struct iovec *iov, int count,
                              size_t bytes, bool is_last)
{
    struct buf front = BUF_INIT;
    struct str back = back_of(conn, bytes, is_last);
    bool is_small = bytes <= COPIED_BYTES_MAX;
    size_t room = FRAMING_ROOM_BYTES + (is_small ? bytes : 0);
    buf_reserve(&front, conn->head_waits ? room + HEAD_ROOM_BYTES : room);
    write_front(conn, bytes, &front);
    int result = is_small ? send_joined(conn, &front, iov, count, back)
                          : send_gathered(conn, &front, iov, count, back);
    buf_fini(&front);
    return result;
}

static int check_write(struct h1_conn *conn, size_t bytes)
{
    CHECK(conn->request.status != 0 && !conn->request.is_complete);
    if (conn->is_aborted)
        return err_set(ERR_RESET, FAULT_CLIENT, "the answer was broken off");
    if (conn->framing == ANSWER_LENGTH && bytes > conn->answer_left) {
        conn->is_aborted = true;
        return err_set(ERR_INVALID, FAULT_GATEWAY, "more body than its Content-Length");
    }
    return 0;
}

YIELDS int h1_response_write(struct http_request *r, struct iovec *iov, int count, bool is_last,
                             int64_t deadline)
{
    struct h1_conn *conn = r->stream;
    size_t bytes = iov_bytes(iov, count);
    size_t sent = response_has_no_body(r) ? 0 : bytes;
    (void)deadline; /* a client is given up by standing still, not by a fixed time */
    int result = check_write(conn, bytes);
    if (result < 0)
        return result;
    result = send_answer(conn, iov, sent > 0 ? count : 0, sent, is_last);
    if (result < 0) {
        conn->is_aborted = true;
        return result;
    }
    if (conn->framing == ANSWER_LENGTH)
        conn->answer_left -= bytes;
    r->body_bytes_out += sent;
    r->is_complete = is_last && (conn->framing != ANSWER_LENGTH || conn->answer_left == 0 ||
                                 response_has_no_body(r));
    return 0;
}

static void write_trailers(const struct http_headers *trailers, struct buf *out)
{
    BUF_LIT(out, "0\r\n");
    for (uint32_t i = 0; i < trailers->count; i++) {
        const struct http_header *h = &trailers->items[i];
        if (!response_may_pass(trailers, h))
            continue;
        buf_add_str(out, h->name);
        BUF_LIT(out, ": ");
        buf_add_str(out, h->value);
        BUF_LIT(out, "\r\n");
    }
    BUF_LIT(out, "\r\n");
}

YIELDS int h1_response_end(struct http_request *r, const struct http_headers *trailers,
                           int64_t deadline)
{
    struct h1_conn *conn = r->stream;
    if (trailers == NULL || trailers->count == 0 || conn->framing != ANSWER_CHUNKED ||
        response_has_no_body(r))
        return h1_response_write(r, NULL, 0, true, deadline);
    int result = check_write(conn, 0);
    if (result < 0)
        return result;
    struct buf text = BUF_INIT;
    write_front(conn, 0, &text);
    write_trailers(trailers, &text);
    struct iovec iov = {text.ptr, text.len};
    result = buf_ok(&text) ? send_parts(conn, &iov, 1) : no_memory();
    buf_fini(&text);
    conn->is_aborted = result < 0;
    r->is_complete = result == 0;
    return result;
}

YIELDS int h1_response_upgrade(struct http_request *r, const struct http_headers *headers,
                               struct channel *channel)
{
    struct h1_conn *conn = r->stream;
    struct buf head = BUF_INIT;
    CHECK(r->status == 0 && conn->body.is_done);
    r->status = 101;
    conn->answer_headers = headers;
    conn->closes = true;
    io_watch_hangup(&conn->io, NULL);
    write_head(conn, &head);
    struct iovec iov = {head.ptr, head.len};
    int result = buf_ok(&head) ? send_parts(conn, &iov, 1) : no_memory();
    buf_fini(&head);
    conn->is_aborted = result < 0;
    if (result < 0)
        return result;
    conn->channel = channel;
    channel_over_io(channel, &conn->io, str_skip(buf_str(&conn->ahead), conn->ahead_used));
    return 0;
}
