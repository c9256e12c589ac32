#include "http/h2_server.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/grpc.h"

/* The connection: settings, new streams, drain, the end. */

enum {
    ARENA_FIRST_BYTES = 4096,
    /* Between the notice of a drain and its last word: requests that are on their way arrive. */
    DRAIN_PATIENCE_MS = 500,
    HEAD_OVERHEAD_BYTES = 32, /* a field counts so much more (RFC 9113 section 10.5.1) */
};

/* --- heads ----------------------------------------------------------------------------------- */

static void refuse(struct h2_stream *s, unsigned status, const char *text)
{
    if (s->refusal != 0)
        return;
    s->refusal = status;
    s->refusal_text = text;
}

static enum http_method method_of(struct str name)
{
    for (unsigned m = METHOD_GET; m < METHOD_OTHER; m++) {
        if (str_eq(http_method_name((enum http_method)m), name))
            return (enum http_method)m;
    }
    return METHOD_OTHER;
}

static bool is_visible(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return false;
    }
    return true;
}

static void take_pseudo(struct h2_stream *s, struct str name, struct str value)
{
    struct http_request *r = &s->request;
    if (str_eq(name, STR(":method"))) {
        r->method_name = value;
        r->method = method_of(value);
    } else if (str_eq(name, STR(":path"))) {
        r->target = r->query = value;
        str_cut(&r->query, '?', &r->path);
        if (value.len > s->server->conn->settings->limits.target_bytes)
            refuse(s, 414, "the target is too long");
        if (!is_visible(value))
            refuse(s, 400, "the target holds a space or a control character");
    } else if (str_eq(name, STR(":authority"))) {
        r->authority = value;
    } else if (str_eq(name, STR(":scheme"))) {
        s->scheme = value;
    } else if (str_eq(name, STR(":protocol"))) {
        r->upgrade = value;
    }
}

/* Crumbs of a cookie are one header again (RFC 9113 section 8.2.3). */
static bool join_cookie(struct h2_stream *s, struct str crumb)
{
    struct http_headers *headers = &s->request.headers;
    for (uint32_t i = 0; i < headers->count; i++) {
        struct http_header *h = &headers->items[i];
        if (!str_eq(h->name, STR("cookie")))
            continue;
        const struct str parts[] = {h->value, STR("; "), crumb};
        h->value = arena_concat(s->request.arena, parts, ARRAY_LEN(parts));
        return h->value.ptr != NULL;
    }
    return http_headers_add(headers, s->request.arena, STR("cookie"), crumb);
}

static bool take_field(struct h2_stream *s, struct str name, struct str value)
{
    const struct http_limits *limits = &s->server->conn->settings->limits;
    struct http_request *r = &s->request;
    s->head_bytes += (uint32_t)(name.len + value.len + HEAD_OVERHEAD_BYTES);
    if (s->head_bytes > limits->head_bytes)
        refuse(s, 431, "the headers are too large");
    if (r->headers.count >= limits->header_count)
        refuse(s, 431, "there are too many headers");
    if (s->refusal != 0)
        return true; /* nothing of it is kept, however much comes */
    name = arena_dup(r->arena, name);
    value = arena_dup(r->arena, value);
    if (name.ptr == NULL || value.ptr == NULL)
        return false;
    if (name.ptr[0] == ':') {
        take_pseudo(s, name, value);
        return true;
    }
    if (str_eq(name, STR("cookie")))
        return join_cookie(s, value);
    return http_headers_add(&r->headers, r->arena, name, value);
}

/* Who is meant is said in one place or in two that agree; handlers find it as they do on HTTP/1. */
static bool settle_authority(struct h2_stream *s)
{
    struct http_request *r = &s->request;
    struct str host = http_headers_get(&r->headers, STR("host"));
    if (http_headers_count(&r->headers, STR("host")) > 1)
        refuse(s, 400, "more than one Host");
    if (r->authority.len == 0)
        r->authority = host;
    if (r->authority.len == 0)
        refuse(s, 400, "there is neither :authority nor Host");
    if (host.ptr != NULL && !str_ieq(host, r->authority))
        refuse(s, 400, "Host is not the :authority of the request");
    return host.ptr != NULL || http_headers_add(&r->headers, r->arena, STR("host"), r->authority);
}

/* A pipe, or messages that have a limit each. */
static bool is_endless(const struct http_request *r)
{
    struct str type = http_headers_get(&r->headers, STR("content-type"));
    return r->method == METHOD_CONNECT || grpc_is_content_type(type);
}

/* The head is whole: what a handler may know of the request. */
static bool settle_head(struct h2_stream *s, bool is_end)
{
    struct http_request *r = &s->request;
    struct str length = http_headers_get(&r->headers, STR("content-length"));
    struct str expected = http_headers_get(&r->headers, STR("expect"));
    uint64_t bytes;
    s->in_ended = is_end;
    r->content_length = is_end ? 0 : -1;
    if (!is_end && length.ptr != NULL && str_to_u64(length, &bytes) && bytes <= INT64_MAX)
        r->content_length = (int64_t)bytes;
    if (expected.ptr != NULL && !str_ieq(expected, STR("100-continue")))
        refuse(s, 417, "the only expectation that is understood is 100-continue");
    s->expects_continue = expected.ptr != NULL && !is_end;
    if (r->method == METHOD_CONNECT && r->upgrade.len == 0)
        refuse(s, 501, "CONNECT is not for gateways");
    request_body_init(&s->body, h2_stream_read_raw, is_end,
                      is_endless(r) ? UINT64_MAX / 2
                                    : s->server->conn->settings->limits.body_bytes);
    return settle_authority(s);
}

/* --- streams --------------------------------------------------------------------------------- */

static struct h2_server *server_of(void *user_data)
{
    return CONTAINER_OF((struct h2_pump *)user_data, struct h2_server, pump);
}

static struct h2_stream *stream_new(struct h2_server *server, int32_t id)
{
    struct arena *arena = arena_new(ARENA_FIRST_BYTES);
    struct h2_stream *s = arena == NULL ? NULL : ARENA_NEW(arena, struct h2_stream);
    if (s == NULL) {
        arena_free(arena);
        return NULL;
    }
    const struct h1_conn *conn = server->conn;
    s->server = server;
    s->id = id;
    s->request = (struct http_request){
        .ops = &h2_stream_ops,
        .stream = s,
        .arena = arena,
        .method = METHOD_OTHER,
        .peer = conn->peer,
        .is_tls = conn->tls != NULL,
        .version_major = 2,
        .start_ns = clock_mono_ns(),
    };
    list_push(&server->streams, &s->node);
    server->stream_count++;
    return s;
}

static void stream_free(struct h2_stream *s)
{
    struct h2_server *server = s->server;
    list_remove(&s->node);
    if (--server->stream_count == 0)
        server->idle_since_ns = loop_now_ns();
    arena_free(s->request.arena); /* the struct itself is in it */
}

static void stream_main(void *arg)
{
    struct h2_stream *s = arg;
    struct h2_server *server = s->server;
    h2_stream_serve(s);
    if (!s->is_closed && !server->is_over)
        nghttp2_session_set_stream_user_data(server->pump.session, s->id, NULL);
    stream_free(s);
    server->task_count--;
    h1_server_count_active(-1);
    h2_pump_wake(&server->pump);
}

static int begin_stream(struct h2_stream *s, bool is_end)
{
    struct h2_server *server = s->server;
    if (!settle_head(s, is_end))
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    s->task = task_spawn(RUN_NORMAL, "client stream", stream_main, s);
    if (s->task == NULL)
        return nghttp2_submit_rst_stream(server->pump.session, NGHTTP2_FLAG_NONE, s->id,
                                         NGHTTP2_REFUSED_STREAM);
    server->task_count++;
    h1_server_count_active(1);
    return 0;
}

/* --- nghttp2's callbacks -----------------------------------------------------------------------
 */

/*
 * Frames on streams that are closed are ignored by nghttp2, as they may have crossed a reset of
 * ours. But what the client has closed itself it cannot use again (RFC 9113 section 5.1 and 5.1.1).
 */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user_data)
{
    struct h2_server *server = server_of(user_data);
    int32_t id = hd->stream_id;
    if (hd->type == NGHTTP2_HEADERS && id > server->newest_id) {
        if (id > server->newest_id + 2) {
            server->skipped_from = server->newest_id + 2;
            server->skipped_to = id - 2;
        }
        server->newest_id = id;
    } else if (hd->type == NGHTTP2_HEADERS && id >= server->skipped_from &&
               id <= server->skipped_to) {
        return nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR);
    } else if (hd->type == NGHTTP2_RST_STREAM) {
        server->reset_id = id;
    } else if (hd->type == NGHTTP2_DATA && id != 0 && id == server->reset_id) {
        return nghttp2_session_terminate_session(session, NGHTTP2_STREAM_CLOSED);
    }
    return h2_pump_charge(&server->pump, hd);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_server *server = server_of(user_data);
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    int32_t id = frame->hd.stream_id;
    struct h2_stream *s = NULL;
    if (server->stream_count < H2_TASKS_MAX)
        s = stream_new(server, id);
    if (s == NULL)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return nghttp2_session_set_stream_user_data(session, id, s);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags;
    (void)user_data;
    if (s == NULL || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    return take_field(s, h2_str(name), h2_str(value)) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* A field that HTTP does not allow makes the request malformed; ignoring it would be a guess. */
static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags,
                             void *user_data)
{
    (void)session;
    (void)frame;
    (void)name;
    (void)value;
    (void)flags;
    (void)user_data;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    (void)user_data;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    bool is_end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    if (s == NULL)
        return 0;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        return begin_stream(s, is_end);
    if (is_end)
        h2_stream_end_input(s);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t len, void *user_data)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, stream_id);
    (void)flags;
    (void)user_data;
    /* Nobody will read it: the connection's window must not suffer. */
    if (s == NULL)
        return nghttp2_session_consume_connection(session, len);
    return h2_stream_take(s, bytes, len) == 0 ? 0 : NGHTTP2_ERR_NOMEM;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    h2_pump_sent(user_data, frame);
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s != NULL)
        h2_stream_end_sent(s);
    return 0;
}

/* An answer's head that could not be sent leaves a stream without an end. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int code,
                             void *user_data)
{
    (void)user_data;
    if (frame->hd.type != NGHTTP2_HEADERS || code == NGHTTP2_ERR_STREAM_CLOSED ||
        code == NGHTTP2_ERR_STREAM_CLOSING || code == NGHTTP2_ERR_SESSION_CLOSING)
        return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                     NGHTTP2_INTERNAL_ERROR);
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code,
                           void *user_data)
{
    struct h2_stream *s = nghttp2_session_get_stream_user_data(session, stream_id);
    (void)user_data;
    (void)code;
    if (s == NULL)
        return 0;
    h2_stream_close(s);
    if (s->task == NULL)
        stream_free(s); /* its head never was complete */
    return 0;
}

static void set_callbacks(nghttp2_session_callbacks *c)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(c, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, on_frame_send);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(c, on_frame_not_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, on_stream_close);
}

/* --- the connection -------------------------------------------------------------------------- */

static int say_hello(struct h2_server *server)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, H2_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, server->conn->settings->limits.head_bytes},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
    };
    return h2_pump_greet(&server->pump, settings, ARRAY_LEN(settings));
}

/* What the clock asks for. False when the connection is given up at once. */
static bool keep_time(struct h2_server *server)
{
    const struct http_server_settings *settings = server->conn->settings;
    nghttp2_session *session = server->pump.session;
    int64_t now_ns = loop_now_ns();
    if (server->pump.out.len > 0 &&
        now_ns >= clock_add_ns(server->pump.out_since_ns, settings->write_timeout_ns))
        return false;
    if (server->drain == H2_OPEN && h1_server_is_draining())
        server->drain = H2_ASKED;
    if (server->drain == H2_ASKED) {
        nghttp2_submit_shutdown_notice(session);
        server->drain = H2_NOTICED;
        server->noticed_ns = now_ns;
    }
    if (server->drain == H2_NOTICED &&
        now_ns >= server->noticed_ns + DRAIN_PATIENCE_MS * NS_PER_MS) {
        int32_t last = nghttp2_session_get_last_proc_stream_id(session);
        nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
        server->drain = H2_LAST;
    }
    bool is_idle = server->stream_count == 0 &&
                   now_ns >= clock_add_ns(server->idle_since_ns, settings->keep_alive_timeout_ns);
    if (is_idle || (server->drain == H2_LAST && server->stream_count == 0))
        nghttp2_session_terminate_session(session, NGHTTP2_NO_ERROR);
    return true;
}

static int64_t next_time_ns(const struct h2_server *server)
{
    const struct http_server_settings *settings = server->conn->settings;
    int64_t next_ns = CLOCK_NEVER;
    if (server->pump.out.len > 0)
        next_ns = clock_add_ns(server->pump.out_since_ns, settings->write_timeout_ns);
    if (server->drain == H2_NOTICED)
        next_ns = MIN(next_ns, server->noticed_ns + DRAIN_PATIENCE_MS * NS_PER_MS);
    if (server->stream_count == 0)
        next_ns =
            MIN(next_ns, clock_add_ns(server->idle_since_ns, settings->keep_alive_timeout_ns));
    return next_ns;
}

/* Moves bytes until one side is done or gone: 0, or -ERR_x. */
YIELDS static int pump(struct h2_server *server)
{
    int r;
    do {
        r = h2_pump_move(&server->pump);
        if (r < 0)
            return r;
        if (!keep_time(server))
            return err_set(ERR_TIMEOUT, FAULT_CLIENT, "the client takes nothing");
        if (r == 0)
            r = h2_pump_send(&server->pump); /* what keep_time had to say */
        else
            r = task_yield();
        if (!h2_pump_is_alive(&server->pump))
            return 0;
        if (r == 0)
            r = h2_pump_wait(&server->pump, next_time_ns(server));
    } while (r == 0 || r == -ERR_TIMEOUT);
    return r;
}

/* Nothing more comes or goes: the tasks are told, and waited for. */
YIELDS static void part(struct h2_server *server)
{
    server->is_over = true;
    LIST_FOR_EACH(node, &server->streams)
    {
        struct h2_stream *s = CONTAINER_OF(node, struct h2_stream, node);
        if (s->task == NULL)
            stream_free(s);
        else
            h2_stream_close(s);
    }
    task_shield();
    while (server->task_count > 0)
        task_park(CLOCK_NEVER);
    task_unshield();
}

YIELDS void h2_serve(struct h1_conn *conn, struct str first)
{
    struct h2_server server = {
        .conn = conn, .idle_since_ns = loop_now_ns(), .newest_id = -1, .skipped_from = 1};
    list_init(&server.streams);
    int r = h2_pump_open(&server.pump, &conn->io, true, set_callbacks, NULL);
    if (r == 0)
        r = say_hello(&server);
    if (r == 0 && first.len > 0)
        r = h2_pump_feed(&server.pump, first);
    conn->h2 = &server;
    if (r == 0)
        r = pump(&server);
    else if (server.pump.session != NULL)
        h2_pump_send(&server.pump); /* it may say why */
    if (server.pump.is_flooded || r == -ERR_PROTOCOL)
        h1_server_note_bad();
    part(&server);
    conn->h2 = NULL;
    conn->lingers = r == 0;
    h2_pump_close(&server.pump);
}

void h2_server_drain(struct h2_server *server)
{
    if (server->drain == H2_OPEN)
        server->drain = H2_ASKED;
    h2_pump_wake(&server->pump);
}

void h2_server_cancel(struct h2_server *server)
{
    LIST_FOR_EACH(node, &server->streams)
    {
        struct h2_stream *s = CONTAINER_OF(node, struct h2_stream, node);
        if (s->task != NULL)
            task_cancel(s->task, ERR_CANCELED);
    }
}
