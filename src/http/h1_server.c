#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/h1_conn.h"
#include "rt/sys.h"

/* The life of a connection: accept, TLS, one request after the other, good-bye. */

enum {
    ARENA_FIRST_BYTES = 2048,
    /* Read at once for a head: what of a large body comes with it must be copied, the rest is read
     * straight to its place. */
    HEAD_READ_BYTES = 8 * 1024,
    /* Bytes that the kernel takes before it says that it is full: bounds what waits there for a
     * client that reads slowly. */
    NOT_SENT_BYTES = 128 * 1024,
    /* After an answer to a request that was not read whole: how long and how much is still read so
     * that the client gets the answer before the RST. */
    LINGER_MS = 1000,
    LINGER_BYTES = 256 * 1024,
    /* While draining: how long an idle connection may still bring a request. */
    DRAIN_PATIENCE_MS = 500,
};

struct thread_conns {
    struct list all;
    size_t count;
    size_t active;
    bool is_ready; /* the list has been made */
    bool is_draining;
    struct http_server_stats stats;
};

static _Thread_local struct thread_conns conns;

static void count(atomic_uint_fast64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void add_load(int64_t n)
{
    atomic_fetch_add_explicit(&loop_stats(loop_self())->load, n, memory_order_relaxed);
}

bool h1_server_is_draining(void)
{
    return conns.is_draining;
}

static void abort_answer(struct http_request *r)
{
    ((struct h1_conn *)r->stream)->is_aborted = true;
}

static void watch_hangup(struct http_request *r, struct task *task)
{
    io_watch_hangup(&((struct h1_conn *)r->stream)->io, task);
}

static const struct http_stream_ops h1_ops = {
    .read = h1_request_read,
    .collect = h1_request_collect,
    .start = h1_response_start,
    .write = h1_response_write,
    .end = h1_response_end,
    .abort = abort_answer,
    .watch_hangup = watch_hangup,
};

/* Makes the request from its parsed head. */
static void fill_request(struct h1_conn *conn, struct arena *arena, int64_t start_ns)
{
    const struct h1_head *head = &conn->head;
    struct str query = head->target;
    struct str path;
    str_cut(&query, '?', &path);
    conn->request = (struct http_request){
        .ops = &h1_ops,
        .stream = conn,
        .arena = arena,
        .method = head->method,
        .method_name = head->method_name,
        .target = head->target,
        .path = path,
        .query = query,
        .authority = http_headers_get(&head->headers, STR("host")),
        .headers = head->headers,
        .content_length = head->framing == H1_CHUNKED  ? -1
                          : head->framing == H1_LENGTH ? (int64_t)head->content_length
                                                       : 0,
        .peer = conn->peer,
        .is_tls = conn->tls != NULL,
        .version_major = 1,
        .version_minor = head->version_minor,
        .start_ns = start_ns,
    };
    conn->body_done = head->framing == H1_NO_BODY;
    conn->continue_sent = conn->body_failed = conn->is_aborted = false;
    conn->answer_headers = NULL;
    conn->head_waits = conn->closes = false;
}

/* The answer to what is no valid request; the connection ends with it. */
YIELDS static void answer_bad_request(struct h1_conn *conn, struct arena *arena, unsigned status,
                                      const char *message)
{
    struct str type = STR("text/plain");
    struct str body = str_c(message);
    if (conn->settings->describe_error != NULL)
        body = conn->settings->describe_error(arena, status, message, &type);
    struct http_headers headers = {0};
    http_headers_add(&headers, arena, STR("Content-Type"), type);
    fill_request(conn, arena, loop_now_ns());
    conn->request.version_minor = 1;
    conn->body_done = true;
    conn->closes = true;
    http_respond(&conn->request, status, &headers, body);
}

/* Reads a head. 0, or -ERR_x after which the connection ends. */
YIELDS static int read_head(struct h1_conn *conn, struct arena *arena)
{
    bool is_done = false;
    int64_t deadline = clock_add_ns(loop_now_ns(), conn->settings->head_timeout_ns);
    h1_parser_begin(&conn->parser, arena, &conn->head, false);
    while (!is_done) {
        struct str bytes;
        ssize_t n = h1_conn_bytes(conn, &bytes, HEAD_READ_BYTES, deadline);
        if (n == -ERR_TIMEOUT) {
            count(&conns.stats.timeouts);
            answer_bad_request(conn, arena, 408, "the request's head did not come in time");
        }
        if (n < 0)
            return (int)n;
        ssize_t used = h1_parse_head(&conn->parser, bytes, &is_done);
        if (used < 0) {
            char message[sizeof(err_slot()->message)];
            memcpy(message, err_slot()->message, sizeof(message));
            count(&conns.stats.bad_requests);
            answer_bad_request(conn, arena, h1_status(&conn->parser), message);
            return (int)used;
        }
        int r = h1_conn_used(conn, bytes, (size_t)used);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Everything after the handler: an answer there must be, and the next request may follow or not. */
YIELDS static bool finish_request(struct h1_conn *conn)
{
    struct http_request *r = &conn->request;
    bool was_cut = task_cancel_reason(conn->task) == ERR_RESET;
    io_watch_hangup(&conn->io, NULL);
    task_cancel_clear(conn->task);
    if (was_cut || conn->is_aborted)
        count(&conns.stats.client_aborts);
    if (r->status == 0 && !was_cut) {
        conn->closes = true;
        http_respond(r, 500, NULL, STR_EMPTY);
    }
    return r->is_complete && !conn->closes && !conn->is_aborted && !was_cut &&
           h1_request_drain(conn);
}

YIELDS static bool serve_request(struct h1_conn *conn, struct arena *arena)
{
    int64_t start_ns = clock_mono_ns();
    if (read_head(conn, arena) < 0)
        return false;
    fill_request(conn, arena, start_ns);
    count(&conns.stats.requests);
    conn->handler(&conn->request, conn->ctx);
    bool goes_on = finish_request(conn);
    content_decoder_free(conn->decoder);
    conn->decoder = NULL;
    buf_fini(&conn->decoded);
    return goes_on;
}

/*
 * Waits for the first bytes of a request with nothing held but the connection itself. While the
 * server drains, a request that is on its way already is still served (and told to be the last).
 */
YIELDS static bool wait_for_request(struct h1_conn *conn)
{
    if (conn->ahead.len > conn->ahead_used)
        return true;
    int64_t patience_ns = conn->settings->keep_alive_timeout_ns;
    for (;;) {
        if (conns.is_draining)
            patience_ns = DRAIN_PATIENCE_MS * NS_PER_MS;
        int r = io_wait_readable(&conn->io, clock_add_ns(loop_now_ns(), patience_ns));
        if (r == 0)
            return true;
        if (r != -ERR_CANCELED || !conns.is_draining || conn->has_waited_out)
            return false;
        conn->has_waited_out = true;
        task_cancel_clear(conn->task);
    }
}

YIELDS static bool serve_next(struct h1_conn *conn)
{
    if (!wait_for_request(conn))
        return false;
    struct arena *arena = arena_new(ARENA_FIRST_BYTES);
    if (arena == NULL)
        return false;
    conn->is_active = true;
    conns.active++;
    bool goes_on = serve_request(conn, arena);
    conns.active--;
    conn->is_active = false;
    arena_free(arena);
    return goes_on;
}

/* Lets the client read the answer before the RST that unread bytes would cause. */
YIELDS static void linger(struct h1_conn *conn)
{
    int64_t deadline = loop_now_ns() + LINGER_MS * NS_PER_MS;
    size_t left = LINGER_BYTES;
    bool is_owed = conn->request.status != 0 && (!conn->body_done || conn->body_failed);
    if (!is_owed || io_is_hung_up(&conn->io))
        return;
    io_shutdown_write(&conn->io);
    for (struct str bytes; left > 0;) {
        ssize_t n = io_recv(&conn->io, &bytes, deadline);
        if (n <= 0)
            return;
        left -= MIN(left, (size_t)n);
    }
}

static void conn_main(void *arg)
{
    struct h1_conn *conn = arg;
    bool is_open = true;
    conn->task = task_self();
    if (conn->tls != NULL) {
        int64_t deadline = clock_add_ns(loop_now_ns(), conn->settings->head_timeout_ns);
        is_open = tls_accept(&conn->io, conn->tls, deadline) == 0;
        if (!is_open)
            count(&conns.stats.tls_failures);
    }
    while (is_open)
        is_open = serve_next(conn);
    if (conn->is_aborted) {
        io_abort(&conn->io);
    } else {
        linger(conn);
        io_close(&conn->io);
    }
    buf_fini(&conn->ahead);
    list_remove(&conn->node);
    conns.count--;
    add_load(-1);
    count(&conns.stats.closed);
    tls_context_unref(conn->tls);
    mem_free(conn);
}

void http_serve(int fd, const struct net_addr *peer, struct tls_context *tls,
                const struct http_server_settings *settings, http_handler_fn *handler, void *ctx)
{
    if (!conns.is_ready) {
        list_init(&conns.all);
        conns.is_ready = true;
    }
    struct h1_conn *conn = MEM_NEW(struct h1_conn);
    if (conn == NULL) {
        sys_close(fd);
        return;
    }
    conn->settings = settings;
    conn->handler = handler;
    conn->ctx = ctx;
    conn->tls = tls;
    if (peer != NULL)
        conn->peer = *peer;
    h1_parser_init(&conn->parser, H1_REQUESTS, &settings->limits);
    if (io_open(&conn->io, fd) < 0) {
        mem_free(conn);
        return;
    }
    io_limit_unsent(&conn->io, NOT_SENT_BYTES);
    list_push(&conns.all, &conn->node);
    if (task_spawn(RUN_NORMAL, "client connection", conn_main, conn) == NULL) {
        list_remove(&conn->node);
        io_close(&conn->io);
        mem_free(conn);
        return;
    }
    if (tls != NULL)
        tls_context_ref(tls);
    conns.count++;
    add_load(1);
    count(&conns.stats.accepted);
}

void http_server_drain(void)
{
    conns.is_draining = true;
    if (!conns.is_ready)
        return;
    LIST_FOR_EACH(node, &conns.all) {
        struct h1_conn *conn = CONTAINER_OF(node, struct h1_conn, node);
        if (!conn->is_active && conn->task != NULL)
            task_cancel(conn->task, ERR_CANCELED);
    }
}

void http_server_cancel_all(void)
{
    if (!conns.is_ready)
        return;
    LIST_FOR_EACH(node, &conns.all) {
        struct h1_conn *conn = CONTAINER_OF(node, struct h1_conn, node);
        if (conn->task != NULL)
            task_cancel(conn->task, ERR_CANCELED);
    }
}

size_t http_server_connections(void)
{
    return conns.count;
}

size_t http_server_active(void)
{
    return conns.active;
}

struct http_server_stats *http_server_stats(void)
{
    return &conns.stats;
}
