#include "base/clock.h"
#include "base/json.h"
#include "dialect/base64.h"
#include "gateway/bridge_private.h"
#include "gateway/held_body.h"

/*
 * A request on the socket: an http_request whose answer becomes messages, handled by a task of its
 * own as those of connections are.
 */

enum {
    ARENA_FIRST_BYTES = 4096,
    /* Of an answer that is no stream of events, in one message. */
    PIECE_BYTES = 48 * 1024,
    /* A character that is not whole yet. */
    CHARACTER_REST_MAX = 3,
};

static struct bridge_stream *self(const struct http_request *r)
{
    return r->stream;
}

/* --- messages --- */

/* {"id":ID, and what follows. */
static void begin_message(const struct bridge_stream *s, struct buf *out)
{
    BUF_LIT(out, "{\"id\":");
    buf_add_str(out, s->id);
}

/* `out` is given back. */
static int send_message(struct bridge_stream *s, struct buf *out)
{
    int r = 0;
    buf_add_char(out, '}');
    if (buf_ok(out))
        bridge_send(s->bridge, buf_str(out));
    else
        r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a message");
    buf_fini(out);
    return r;
}

/* Waits until the client, and its socket, have room for one more message. */
YIELDS static int wait_turn(struct bridge_stream *s)
{
    const struct bridge *b = s->bridge;
    int64_t stall_ns = b->ex->settings->timeouts.client_stall;
    int64_t deadline_ns = stall_ns > 0 ? clock_add_ns(loop_now_ns(), stall_ns) : CLOCK_NEVER;
    int r = 0;
    s->is_waiting = true;
    while (r == 0 && s->has_bound && s->credit == 0 && !b->is_lost && !b->is_shutdown)
        r = task_park(deadline_ns);
    if (r == 0)
        r = bridge_wait_room(s->bridge);
    s->is_waiting = false;
    if (r == 0 && s->has_bound && s->credit > 0)
        s->credit--;
    return r;
}

static enum bridge_shape shape_of(struct str type)
{
    static const struct str texts[] = {STR_INIT("text/"), STR_INIT("application/json"),
                                       STR_INIT("application/x-ndjson"),
                                       STR_INIT("application/openmetrics-text")};
    if (str_istarts(type, STR("text/event-stream")))
        return BRIDGE_EVENTS;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (str_istarts(type, texts[i]))
            return BRIDGE_TEXT;
    }
    return BRIDGE_BYTES;
}

static int send_head(struct bridge_stream *s)
{
    const struct http_headers *headers = s->headers;
    struct buf out = BUF_INIT;
    bool is_first = true;
    begin_message(s, &out);
    buf_printf(&out, ",\"status\":%u,\"headers\":{", s->http.status);
    for (uint32_t i = 0; headers != NULL && i < headers->count; i++) {
        const struct http_header *h = &headers->items[i];
        char name[64];
        if (http_header_is_hop_by_hop(headers, h->name) || h->name.len > sizeof(name))
            continue;
        for (size_t k = 0; k < h->name.len; k++)
            name[k] =
                (char)(h->name.ptr[k] | (h->name.ptr[k] >= 'A' && h->name.ptr[k] <= 'Z') * 32);
        if (!is_first)
            buf_add_char(&out, ',');
        is_first = false;
        buf_add_json(&out, str_n(name, h->name.len));
        buf_add_char(&out, ':');
        buf_add_json(&out, h->value);
    }
    buf_add_char(&out, '}');
    s->has_begun = true;
    s->http.head_sent = true;
    s->shape = BRIDGE_BYTES;
    if (headers != NULL)
        s->shape = shape_of(http_headers_get(headers, STR("content-type")));
    s->headers = NULL;
    if (s->shape == BRIDGE_EVENTS)
        sse_splitter_init(&s->splitter, 2 * s->bridge->ex->settings->event_bytes);
    return send_message(s, &out);
}

/* What is an object goes as one, so that nobody has to parse twice. */
static void add_data(const struct bridge_stream *s, struct buf *out, struct str data)
{
    struct json_scan scan;
    unsigned depth = s->bridge->ex->settings->json_depth;
    BUF_LIT(out, ",\"data\":");
    if (data.len > 0 && data.ptr[0] == '{' && json_scan_object(data, depth, NULL, 0, &scan) == 0)
        buf_add_str(out, data);
    else
        buf_add_json(out, data);
}

YIELDS static int send_event(struct bridge_stream *s, const struct sse_event *event)
{
    struct buf out = BUF_INIT;
    uint64_t number;
    /* Signs of life are the socket's own business. */
    if (!event->has_data)
        return 0;
    int r = wait_turn(s);
    if (r < 0)
        return r;
    begin_message(s, &out);
    if (event->has_id && str_to_u64(event->id, &number))
        buf_printf(&out, ",\"seq\":%llu", (unsigned long long)number);
    if (event->type.len > 0) {
        BUF_LIT(&out, ",\"event\":");
        buf_add_json(&out, event->type);
    }
    add_data(s, &out, event->data);
    return send_message(s, &out);
}

YIELDS static int send_events(struct bridge_stream *s, struct str bytes)
{
    struct sse_event event;
    int r;
    while ((r = sse_next(&s->splitter, &bytes, &event)) == 1) {
        r = send_event(s, &event);
        if (r < 0)
            return r;
    }
    return r;
}

YIELDS static int send_piece(struct bridge_stream *s, struct str piece)
{
    struct buf out = BUF_INIT;
    int r = wait_turn(s);
    if (r < 0)
        return r;
    begin_message(s, &out);
    if (s->shape == BRIDGE_TEXT) {
        BUF_LIT(&out, ",\"data\":");
        buf_add_json(&out, piece);
        return send_message(s, &out);
    }
    struct arena_mark mark = arena_mark(s->http.arena);
    struct str text = base64_encode(s->http.arena, piece);
    BUF_LIT(&out, ",\"base64\":\"");
    buf_add_str(&out, text);
    buf_add_char(&out, '"');
    bool is_encoded = text.ptr != NULL;
    arena_rewind(s->http.arena, mark);
    if (is_encoded)
        return send_message(s, &out);
    buf_fini(&out);
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a message");
}

/* How much of the text ends with a whole character; all of it where it is no UTF-8. */
static size_t whole_characters(struct str text)
{
    for (size_t rest = 1; rest <= CHARACTER_REST_MAX && rest <= text.len; rest++) {
        uint8_t byte = (uint8_t)text.ptr[text.len - rest];
        if ((byte & 0xc0) == 0x80)
            continue;
        size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return length > rest ? text.len - rest : text.len;
    }
    return text.len;
}

YIELDS static int send_pieces(struct bridge_stream *s, struct str bytes, bool is_last)
{
    bool is_text = s->shape == BRIDGE_TEXT;
    while (bytes.len > 0) {
        struct str piece = str_head(bytes, MIN(bytes.len, PIECE_BYTES));
        bool ends = is_last && piece.len == bytes.len;
        if (is_text && !ends)
            piece = str_head(piece, whole_characters(piece));
        if (piece.len == 0)
            break;
        int r = send_piece(s, piece);
        if (r < 0)
            return r;
        bytes = str_skip(bytes, piece.len);
    }
    /* What is left is the beginning of a character. */
    struct buf rest = BUF_INIT;
    buf_add_str(&rest, bytes);
    buf_fini(&s->held);
    s->held = rest;
    return buf_ok(&rest) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a message");
}

/* --- the answer --- */

static void start(struct http_request *r, const struct http_headers *headers,
                  int64_t content_length)
{
    (void)content_length; /* the end is told */
    self(r)->headers = headers;
}

/* The bytes may lie in the loop's read buffer, which others use while this waits: a copy. */
static int gather(struct bridge_stream *s, const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++)
        buf_add(&s->held, iov[i].iov_base, iov[i].iov_len);
    return buf_ok(&s->held) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for an answer");
}

YIELDS static int send_body(struct bridge_stream *s, bool is_last)
{
    struct buf bytes = s->held;
    struct sse_event event;
    s->held = BUF_INIT;
    int r = s->shape == BRIDGE_EVENTS ? send_events(s, buf_str(&bytes))
                                      : send_pieces(s, buf_str(&bytes), is_last);
    if (r == 0 && is_last && s->shape == BRIDGE_EVENTS && sse_finish(&s->splitter, &event) == 1)
        r = send_event(s, &event);
    buf_fini(&bytes);
    return r;
}

YIELDS static int write_answer(struct http_request *http, struct iovec *iov, int count,
                               bool is_last, int64_t deadline)
{
    struct bridge_stream *s = self(http);
    size_t bytes = 0;
    (void)deadline; /* the socket has its own */
    CHECK(http->status != 0 && !http->is_complete);
    if (s->is_aborted || s->is_cancelled)
        return err_set(ERR_RESET, FAULT_CLIENT, "nobody wants the answer any more");
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    bool has_body = http->method != METHOD_HEAD;
    int r = has_body ? gather(s, iov, count) : 0;
    if (r == 0 && !s->has_begun)
        r = send_head(s);
    if (r == 0 && has_body)
        r = send_body(s, is_last);
    if (r < 0) {
        s->is_aborted = true;
        return r;
    }
    http->body_bytes_out += bytes;
    http->is_complete = is_last;
    return 0;
}

YIELDS static int end_answer(struct http_request *http, const struct http_headers *trailers,
                             int64_t deadline)
{
    (void)trailers;
    return write_answer(http, NULL, 0, true, deadline);
}

static void abort_answer(struct http_request *http)
{
    self(http)->is_aborted = true;
}

static void watch_hangup(struct http_request *http, struct task *task)
{
    if (task != NULL && self(http)->is_cancelled)
        task_cancel(task, ERR_RESET);
}

/* --- the request --- */

YIELDS static int read_body(struct http_request *http, struct http_pieces *pieces, int64_t deadline)
{
    (void)deadline;
    held_body_read(&self(http)->body, pieces);
    return 0;
}

YIELDS static int collect_body(struct http_request *http, uint64_t limit, int64_t deadline,
                               struct buf *out)
{
    (void)deadline;
    return held_body_collect(&self(http)->body, limit, out);
}

static const struct http_stream_ops stream_ops = {
    .read = read_body,
    .collect = collect_body,
    .start = start,
    .write = write_answer,
    .end = end_answer,
    .abort = abort_answer,
    .watch_hangup = watch_hangup,
};

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a request");
}

static int read_method(struct http_request *http, const struct bridge_wish *wish)
{
    static const enum http_method methods[] = {METHOD_GET,    METHOD_HEAD,  METHOD_POST,
                                               METHOD_PUT,    METHOD_PATCH, METHOD_DELETE,
                                               METHOD_OPTIONS};
    bool sends = wish->body.len > 0;
    http->method = sends ? METHOD_POST : METHOD_GET;
    if (wish->method.len > 0) {
        http->method = METHOD_OTHER;
        for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
            if (json_string_eq(wish->method, http_method_name(methods[i])))
                http->method = methods[i];
        }
    }
    http->method_name = http_method_name(http->method);
    if (http->method == METHOD_OTHER)
        return err_set(ERR_INVALID, FAULT_CLIENT, "\"method\" is none that weir knows");
    return 0;
}

static int read_target(struct http_request *http, struct str raw)
{
    int r = json_unescape(http->arena, raw, &http->target);
    /* Not the arena's copy where nothing had to be unescaped. */
    if (r == 0)
        http->target = arena_dup(http->arena, http->target);
    if (r < 0 || http->target.ptr == NULL)
        return r < 0 ? r : no_memory();
    for (size_t i = 0; i < http->target.len; i++) {
        uint8_t byte = (uint8_t)http->target.ptr[i];
        if (http->target.ptr[0] != '/' || byte <= ' ' || byte >= 0x7f || byte == '#')
            return err_set(ERR_INVALID, FAULT_CLIENT,
                           "\"path\" must begin with '/' and be encoded as in a URL");
    }
    http->query = http->target;
    str_cut(&http->query, '?', &http->path);
    return 0;
}

static bool is_credential(struct str name)
{
    static const struct str names[] = {STR_INIT("authorization"), STR_INIT("api-key"),
                                       STR_INIT("x-api-key"), STR_INIT("x-goog-api-key")};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(name, names[i]))
            return true;
    }
    return false;
}

static int add_header(struct http_request *http, struct str name, struct str value)
{
    struct str n = arena_dup(http->arena, name), v = arena_dup(http->arena, value);
    if (n.ptr == NULL || v.ptr == NULL || !http_headers_add(&http->headers, http->arena, n, v))
        return no_memory();
    return 0;
}

static int read_headers(struct bridge_stream *s, struct str object, bool *has_credential)
{
    struct http_request *http = &s->http;
    struct json_cursor cursor;
    struct json_value value;
    struct str key, name, text;
    int r = 0, more = 0;
    json_cursor_init(&cursor, object);
    while (r == 0 && object.len > 0 && (more = json_iter_object(&cursor, &key, &value)) == 1) {
        if (value.kind != JSON_STRING)
            return err_set(ERR_INVALID, FAULT_CLIENT, "\"headers\" must be an object of strings");
        r = json_unescape(http->arena, key, &name);
        if (r == 0)
            r = json_unescape(http->arena, json_string_raw(value), &text);
        if (r < 0)
            break;
        if (!http_name_is_safe(name) || !http_value_is_safe(text) ||
            http->headers.count >= s->bridge->ex->settings->limits.header_count)
            return err_set(ERR_INVALID, FAULT_CLIENT,
                           "\"headers\" has a header that HTTP does not allow, or too many");
        *has_credential = *has_credential || is_credential(name);
        r = add_header(http, name, text);
    }
    return r < 0 ? r : MIN(more, 0);
}

/* The headers that stand for members of the message. */
static int add_own_headers(struct bridge_stream *s, const struct bridge_wish *wish,
                           bool has_credential)
{
    struct http_request *http = &s->http;
    struct str parts[] = {STR("Bearer "), s->bridge->credential};
    int r = 0;
    if (s->bridge->credential.len > 0 && !has_credential)
        r = add_header(http, STR("Authorization"),
                       arena_concat(http->arena, parts, ARRAY_LEN(parts)));
    if (r == 0 && wish->body.len > 0 &&
        http_headers_get(&http->headers, STR("content-type")).ptr == NULL)
        r = add_header(http, STR("Content-Type"), STR("application/json"));
    if (r == 0 && wish->wants_resume)
        r = add_header(http, STR("x-weir-resume"), STR("true"));
    if (r == 0 && wish->after >= 0)
        r = add_header(http, STR("Last-Event-ID"), arena_u64(http->arena, (uint64_t)wish->after));
    return r;
}

/* "resume" names a stream that has begun on another socket, or on none. */
static int read_resume(struct http_request *http, struct str raw)
{
    struct str parts[] = {STR("/v1/streams/"), raw};
    http->method = METHOD_GET;
    http->method_name = http_method_name(METHOD_GET);
    struct str path = arena_concat(http->arena, parts, ARRAY_LEN(parts));
    return path.ptr == NULL ? no_memory() : read_target(http, path);
}

static int read_request(struct bridge_stream *s, const struct bridge_wish *wish)
{
    const struct http_request *socket = s->bridge->ex->http;
    struct http_request *http = &s->http;
    bool has_credential = false;
    http->ops = &stream_ops;
    http->stream = s;
    http->authority = arena_dup(http->arena, socket->authority);
    http->peer = socket->peer;
    http->is_tls = socket->is_tls;
    http->version_major = 1;
    http->version_minor = 1;
    http->start_ns = clock_mono_ns();
    s->id = arena_dup(http->arena, wish->id);
    if (s->id.ptr == NULL || http->authority.ptr == NULL)
        return no_memory();
    int r = wish->resume.len > 0 ? read_resume(http, wish->resume) : read_method(http, wish);
    if (r == 0 && wish->resume.len == 0)
        r = read_target(http, wish->path);
    if (r == 0)
        r = read_headers(s, wish->headers, &has_credential);
    if (r == 0)
        r = add_own_headers(s, wish, has_credential);
    buf_add_str(&s->body, wish->body);
    http->content_length = (int64_t)s->body.len;
    http->body_bytes_in = s->body.len;
    return r == 0 && !buf_ok(&s->body) ? no_memory() : r;
}

/* --- its life --- */

static void drop(struct bridge_stream *s)
{
    buf_fini(&s->body);
    buf_fini(&s->held);
    if (s->has_begun && s->shape == BRIDGE_EVENTS)
        sse_splitter_fini(&s->splitter);
    arena_free(s->http.arena); /* it lies in there */
}

static void send_end(struct bridge_stream *s)
{
    struct buf out = BUF_INIT;
    /* A client that closes its socket has not said what is to become of each request. */
    if (s->bridge->is_ending && !s->bridge->is_shutdown)
        return;
    const char *end = s->http.is_complete ? "complete" : s->is_cancelled ? "cancelled" : "cut";
    begin_message(s, &out);
    buf_printf(&out, ",\"end\":\"%s\"", end);
    if (send_message(s, &out) < 0)
        bridge_break(s->bridge);
}

static void stream_main(void *arg)
{
    struct bridge_stream *s = arg;
    struct bridge *b = s->bridge;
    gateway_handle(&s->http, b->ex->thread);
    send_end(s);
    list_remove(&s->node);
    drop(s);
    bridge_left(b);
}

int bridge_stream_start(struct bridge *b, const struct bridge_wish *wish)
{
    struct arena *arena = arena_new(ARENA_FIRST_BYTES);
    struct bridge_stream *s = arena == NULL ? NULL : ARENA_NEW(arena, struct bridge_stream);
    if (s == NULL) {
        arena_free(arena);
        return no_memory();
    }
    s->bridge = b;
    s->http.arena = arena;
    s->has_bound = wish->credit >= 0;
    s->credit = wish->credit;
    int r = read_request(s, wish);
    if (r == 0 && (s->task = task_spawn(RUN_NORMAL, "bridge request", stream_main, s)) == NULL)
        r = no_memory();
    if (r < 0) {
        drop(s);
        return r;
    }
    list_push(&b->streams, &s->node);
    b->count++;
    return 0;
}

void bridge_stream_cancel(struct bridge_stream *s, enum err_code reason)
{
    s->is_cancelled = s->is_cancelled || reason == ERR_RESET;
    task_cancel(s->task, reason);
}

void bridge_stream_credit(struct bridge_stream *s, int64_t credit)
{
    enum { CREDIT_MAX = 1 << 30 };
    if (s->has_bound)
        s->credit = MIN(s->credit + MIN(credit, CREDIT_MAX), CREDIT_MAX);
    if (s->is_waiting)
        task_wake(s->task);
}
