#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/h1_conn.h"
#include "http/h2_server.h"
#include "rt/sys.h"

/* The life of a connection: accept, TLS, one request after the other, good-bye. */

enum {
    ARENA_FIRST_BYTES = 4096,
    /* Read at once for a head: what of a large body comes with it must be copied, the rest is read
     * straight to its place. */
    HEAD_READ_BYTES = 8 * 1024,
    /* Bytes that the kernel takes before it says that it is full: bounds what waits there for a
     * client that reads slowly. */
    NOT_SENT_BYTES = 128 * 1024,
    /* How long is still read after the last answer: unread bytes would make the kernel send RST,
     * and a client may lose the answer by it. */
    LINGER_MS = 1000,
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

void h1_server_count_active(int change)
{
    conns.active = (size_t)((int64_t)conns.active + change);
    add_load(change);
}

void h1_server_note_bad(void)
{
    count(&conns.stats.bad_requests);
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
    .upgrade = h1_response_upgrade,
    .abort = abort_answer,
    .watch_hangup = watch_hangup,
};

/* The protocol that may be switched to; where there is a body it would come first, and nobody does
 * that. WebSocket is the only one that is known. */
static struct str upgrade_of(const struct h1_head *head)
{
    bool is_possible = head->upgrades && head->version_minor > 0 && head->framing == H1_NO_BODY &&
                       http_headers_has_token(&head->headers, STR("upgrade"), STR("websocket"));
    return is_possible ? STR("websocket") : STR_EMPTY;
}

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
        .upgrade = upgrade_of(head),
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
    request_body_init(&conn->body, h1_request_read_raw, head->framing == H1_NO_BODY,
                      conn->settings->limits.body_bytes);
    conn->continue_sent = conn->body_failed = conn->is_aborted = false;
    conn->answer_headers = NULL;
    conn->head_waits = conn->closes = false;
    conn->channel = NULL;
}

/* An answer of the server itself; the connection ends with it. */
YIELDS static void answer_error(struct h1_conn *conn, unsigned status, const char *message)
{
    struct arena *arena = conn->request.arena;
    struct str type = STR("text/plain; charset=utf-8");
    struct str body = str_c(message);
    struct http_headers headers = {0};
    if (conn->settings->describe_error != NULL)
        body = conn->settings->describe_error(arena, status, message, &type);
    http_headers_add(&headers, arena, STR("Content-Type"), type);
    conn->closes = true;
    http_respond(&conn->request, status, &headers, body);
}

/* The answer to what is no valid request. */
YIELDS static void answer_bad_request(struct h1_conn *conn, struct arena *arena, unsigned status,
                                      const char *message)
{
    conn->head = (struct h1_head){.version_minor = 1, .framing = H1_NO_BODY};
    fill_request(conn, arena, loop_now_ns());
    answer_error(conn, status, message);
    conn->lingers = conn->request.is_complete;
}

/* Reads more of a head. 1 = it is complete, or -ERR_x after which the connection ends. */
YIELDS static int read_head_some(struct h1_conn *conn, struct arena *arena, int64_t deadline)
{
    bool is_done;
    struct str bytes;
    ssize_t n = h1_conn_bytes(conn, &bytes, HEAD_READ_BYTES, deadline);
    if (n == -ERR_TIMEOUT && conn->parser.gathered.len > 0) {
        count(&conns.stats.timeouts);
        answer_bad_request(conn, arena, 408, "the head of the request did not come in time");
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
    return r < 0 ? r : is_done;
}

/* Reads a head: 1, or -ERR_x. The time for it runs from its first byte and is not pushed out. */
YIELDS static int read_head(struct h1_conn *conn, struct arena *arena)
{
    int64_t deadline = clock_add_ns(loop_now_ns(), conn->settings->head_timeout_ns);
    int r;
    h1_parser_begin(&conn->parser, arena, &conn->head, false);
    do {
        r = read_head_some(conn, arena, deadline);
    } while (r == 0);
    return r;
}

/* After a handler whose request has become a channel. */
static void finish_channel(struct h1_conn *conn)
{
    struct http_request *r = &conn->request;
    task_cancel_clear(conn->task);
    r->body_bytes_in = conn->channel->bytes_in;
    r->body_bytes_out = conn->channel->bytes_out;
    r->is_complete = conn->channel->is_finished;
    conn->resets = conn->resets || !r->is_complete;
    conn->lingers = r->is_complete;
    conn->channel = NULL;
}

/* Everything after the handler: an answer there must be, and the next request may follow or not. */
YIELDS static bool finish_request(struct h1_conn *conn)
{
    struct http_request *r = &conn->request;
    if (conn->channel != NULL) {
        finish_channel(conn);
        return false;
    }
    bool has_left = task_cancel_reason(conn->task) == ERR_RESET;
    io_watch_hangup(&conn->io, NULL);
    task_cancel_clear(conn->task);
    if (r->status == 0 && !has_left && !conn->is_aborted)
        answer_error(conn, 500, "the request was not answered");
    if (conn->resets || (has_left && !r->is_complete))
        count(&conns.stats.client_aborts);
    /* Where the end of the connection ends the answer, an orderly end would make it look whole. */
    if (!r->is_complete && (has_left || (r->head_sent && conn->framing == ANSWER_UNTIL_CLOSE)))
        conn->resets = true;
    if (r->is_complete && !conn->closes && !has_left && h1_request_drain(conn))
        return true;
    /* A client that said it would send nothing more has nothing that could cross our end; but where
     * that end is the answer's, it must arrive (over TLS it is a record of its own). */
    conn->lingers = r->is_complete && (conn->head.is_keep_alive || !conn->body.is_done ||
                                       conn->framing == ANSWER_UNTIL_CLOSE);
    return false;
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
    request_body_fini(&conn->body);
    return goes_on;
}

/*
 * Waits for the first bytes of a request with nothing held but the connection itself. While the
 * server drains, a request that is on its way already is still served (and told to be the last).
 */
YIELDS static bool wait_for_request(struct h1_conn *conn)
{
    if (h1_conn_has_ahead(conn))
        return true;
    buf_fini(&conn->ahead);
    conn->ahead_used = 0;
    int64_t patience_ns = conn->settings->keep_alive_timeout_ns;
    for (;;) {
        if (conns.is_draining)
            patience_ns = DRAIN_PATIENCE_MS * NS_PER_MS;
        /* Bytes are waited for, not readiness: a socket that was read empty in two parts is still
         * taken for readable. */
        int64_t deadline = clock_add_ns(loop_now_ns(), patience_ns);
        ssize_t n = io_read(&conn->io, loop_scratch(), HEAD_READ_BYTES, deadline);
        if (n > 0) {
            conn->fresh = str_n(loop_scratch(), (size_t)n);
            return true;
        }
        if (n != -ERR_CANCELED || !conns.is_draining || conn->has_waited_out)
            return false;
        conn->has_waited_out = true;
        task_cancel_clear(conn->task);
    }
}

/*
 * A client may begin with the preface of HTTP/2 (RFC 9113 section 3.4); its first bytes tell, for
 * no request of HTTP/1 begins like that. The few that may be needed for it are read ahead.
 */
YIELDS static bool begins_h2(struct h1_conn *conn)
{
    const struct str preface = STR("PRI ");
    int64_t deadline = clock_add_ns(loop_now_ns(), conn->settings->head_timeout_ns);
    struct str head = conn->fresh;
    while (head.len < preface.len && str_starts(preface, head)) {
        buf_add_str(&conn->ahead, conn->fresh);
        conn->fresh = STR_EMPTY;
        if (!buf_reserve(&conn->ahead, HEAD_READ_BYTES))
            return false;
        ssize_t n =
            io_read(&conn->io, conn->ahead.ptr + conn->ahead.len, HEAD_READ_BYTES, deadline);
        if (n < 0)
            return false;
        conn->ahead.len += (size_t)n;
        head = buf_str(&conn->ahead);
    }
    return str_starts(head, preface);
}

/*
 * A first line without any HTTP version is of another protocol, or a broken preface, which must end
 * the connection (RFC 9113 section 3.4): who sent it could not read an answer of HTTP/1.
 */
static bool is_foreign(struct h1_conn *conn)
{
    struct str line;
    struct str first = h1_conn_has_ahead(conn) ? buf_str(&conn->ahead) : conn->fresh;
    return str_cut(&first, '\n', &line) && line.len > 1 && str_ifind(line, STR(" HTTP/")) < 0;
}

YIELDS static void serve_h2(struct h1_conn *conn)
{
    h2_serve(conn, h1_conn_has_ahead(conn) ? buf_str(&conn->ahead) : conn->fresh);
}

YIELDS static bool serve_next(struct h1_conn *conn)
{
    if (!wait_for_request(conn))
        return false;
    if (!conn->has_spoken) {
        conn->has_spoken = true;
        if (begins_h2(conn)) {
            serve_h2(conn);
            return false;
        }
        if (is_foreign(conn)) {
            count(&conns.stats.bad_requests);
            return false;
        }
    }
    struct arena *arena = arena_new(ARENA_FIRST_BYTES);
    if (arena == NULL)
        return false;
    conn->is_active = true;
    conns.active++;
    bool goes_on = serve_request(conn, arena);
    /* Others are served between two requests of a pipeline; a cancellation is met by the next wait.
     */
    if (goes_on && h1_conn_has_ahead(conn))
        task_yield();
    conns.active--;
    conn->is_active = false;
    arena_free(arena);
    return goes_on;
}

/* Reads what still comes, for a moment and no more than a request body may have. */
YIELDS static void linger(struct h1_conn *conn)
{
    int64_t deadline = loop_now_ns() + LINGER_MS * NS_PER_MS;
    uint64_t left = conn->settings->limits.body_bytes;
    if (io_is_hung_up(&conn->io) || io_finish(&conn->io, deadline) < 0)
        return;
    while (left > 0 && task_yield() == 0) {
        struct str bytes;
        ssize_t n = io_recv(&conn->io, &bytes, deadline);
        if (n <= 0)
            return;
        left -= MIN(left, (uint64_t)n);
    }
}

static void conn_main(void *arg)
{
    struct h1_conn *conn = arg;
    bool is_open = true;
    conn->task = task_self();
    if (conn->tls != NULL) {
        int64_t deadline = clock_add_ns(loop_now_ns(), conn->settings->head_timeout_ns);
        conn->is_opening = true;
        is_open = tls_accept(&conn->io, conn->tls, deadline) == 0;
        conn->is_opening = false;
        if (!is_open)
            count(&conns.stats.tls_failures);
    }
    conn->has_spoken = conn->tls != NULL; /* there ALPN says it */
    if (is_open && conn->tls != NULL && str_eq(tls_alpn(&conn->io), STR("h2"))) {
        serve_h2(conn);
        is_open = false;
    }
    while (is_open)
        is_open = serve_next(conn);
    if (conn->lingers)
        linger(conn);
    if (conn->resets)
        io_abort(&conn->io);
    else
        io_close(&conn->io);
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

void http_server_announce_drain(void)
{
    conns.is_draining = true;
}

void http_server_drain(void)
{
    conns.is_draining = true;
    if (!conns.is_ready)
        return;
    LIST_FOR_EACH(node, &conns.all)
    {
        struct h1_conn *conn = CONTAINER_OF(node, struct h1_conn, node);
        if (conn->h2 != NULL)
            h2_server_drain(conn->h2);
        else if (!conn->is_active && !conn->is_opening && conn->task != NULL)
            task_cancel(conn->task, ERR_CANCELED);
    }
}

void http_server_cancel_all(void)
{
    if (!conns.is_ready)
        return;
    LIST_FOR_EACH(node, &conns.all)
    {
        struct h1_conn *conn = CONTAINER_OF(node, struct h1_conn, node);
        if (conn->h2 != NULL)
            h2_server_cancel(conn->h2);
        else if (conn->task != NULL)
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
