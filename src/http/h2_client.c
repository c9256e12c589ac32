#include "http/h2_client.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "http/client_call.h"
#include "http/client_request.h"

/*
 * A call is a stream of a connection that others share. What the connection hears goes into the
 * calls' buffers and wakes their tasks; what a call sends leaves at once, from its own task.
 */

enum {
    CALLS_MAX = 100, /* on one connection, whatever the upstream allows */
    FIELDS_OF_OURS = 7,
    /* Nothing came for so long though something is due: a PING asks whether anybody is there. In a
     * longer silence it is repeated ever more seldom, for servers count pings. */
    QUIET_S = 15,
    QUIET_MAX_S = 300,
    PONG_S = 10,
};

struct h2_client {
    struct h2_pump pump;
    struct http_conn *conn;
    struct list calls;
    struct timer timer;
    int64_t pinged_ns; /* since when an answer to a PING is due; 0 = none is */
    unsigned pings;    /* in this silence */
    bool is_retired;
    bool is_over;
};

/* A task that sends an open request's body; it may outlive the stream. */
struct h2_sender {
    struct task *task;
    bool is_over;
};

struct h2_call {
    struct h2_client *client;
    struct http_call *call;
    struct list node;
    int32_t id;
    struct task *waiter;
    int broken; /* the connection has ended: -ERR_x */
    bool is_closed;
    bool is_refused;              /* the upstream has not looked at it */
    bool is_open, wants_trailers; /* as the request said, which is gone once the head is there */
    uint32_t close_code;

    /* The request's body, as far as it is not in frames. */
    const struct iovec *part;
    int parts_left;
    size_t part_at;
    bool is_cut; /* it is of no use any more, or may be gone */
    bool is_sent;
    int64_t moved_ns; /* when the upstream last took something */
    /* Of an open one: what is not in frames, from out_at on. */
    struct buf out;
    size_t out_at;
    bool out_ended;
    bool is_deferred; /* nghttp2 has found nothing to send and must be told of more */
    struct h2_sender *sender;

    /* The answer. */
    uint32_t head_bytes;
    bool has_head, has_ended;
    const char *complaint; /* what is wrong with its head */
    struct buf in;
    size_t owed; /* bytes that the reader has and that the upstream has no credit for yet */
};

static void wake(struct h2_call *s)
{
    if (s->waiter != NULL)
        task_wake(s->waiter);
    if (s->sender != NULL)
        task_wake(s->sender->task);
}

static struct h2_client *client_of(void *user_data)
{
    return CONTAINER_OF((struct h2_pump *)user_data, struct h2_client, pump);
}

/* --- the connection -------------------------------------------------------------------------- */

static void retire(struct h2_client *client)
{
    if (client->is_retired)
        return;
    client->is_retired = true;
    pool_retire(client->conn);
}

/* The connection has ended: all calls are told. It goes when none is left, now if none is. */
static void fail(struct h2_client *client, int code)
{
    if (client->is_over)
        return;
    client->is_over = true;
    retire(client);
    timer_disarm(&client->timer);
    LIST_FOR_EACH(node, &client->calls)
    {
        struct h2_call *s = CONTAINER_OF(node, struct h2_call, node);
        s->broken = code;
        wake(s);
    }
    if (client->conn->users == 0)
        pool_bury(client->conn);
}

/* Reads and writes what can be; the last act of who calls, for the connection may be gone. */
static void move(struct h2_client *client)
{
    if (client->is_over)
        return;
    int r = h2_pump_move(&client->pump);
    if (r > 0)
        h2_pump_wake(&client->pump); /* others have their turn first */
    else if (r == 0 && !h2_pump_is_alive(&client->pump))
        r = -ERR_CLOSED;
    if (r < 0)
        fail(client, r);
    else if (client->is_retired && client->conn->users == 0)
        fail(client, -ERR_CLOSED);
}

static void on_news(struct io *io)
{
    move(CONTAINER_OF(io, struct http_conn, io)->h2);
}

static void on_job(struct job *job)
{
    move(CONTAINER_OF(job, struct h2_client, pump.job));
}

/* Sends what a call has to say, without a turn of the loop in between. */
static void send_now(struct h2_client *client)
{
    int r = client->is_over ? 0 : h2_pump_send(&client->pump);
    if (r < 0)
        fail(client, r);
}

static int64_t quiet_ns(const struct h2_client *client)
{
    int64_t seconds = (int64_t)QUIET_S << MIN(2 * client->pings, 8u);
    return MIN(seconds, (int64_t)QUIET_MAX_S) * NS_PER_SEC;
}

static void on_timer(struct timer *timer)
{
    struct h2_client *client = CONTAINER_OF(timer, struct h2_client, timer);
    int64_t heard_ns = client->pump.heard_ns;
    int64_t now_ns = loop_now_ns();
    if (list_is_empty(&client->calls))
        return;
    bool is_answered = heard_ns >= client->pinged_ns;
    if (client->pinged_ns != 0 && !is_answered) {
        if (now_ns < client->pinged_ns + PONG_S * NS_PER_SEC)
            loop_timer_arm(timer, client->pinged_ns + PONG_S * NS_PER_SEC);
        else
            fail(client, -ERR_RESET);
        return;
    }
    int64_t since_ns = MAX(heard_ns, client->pinged_ns);
    if (now_ns < since_ns + quiet_ns(client)) {
        loop_timer_arm(timer, since_ns + quiet_ns(client));
        return;
    }
    nghttp2_submit_ping(client->pump.session, NGHTTP2_FLAG_NONE, NULL);
    client->pinged_ns = now_ns;
    client->pings++;
    loop_timer_arm(timer, now_ns + PONG_S * NS_PER_SEC);
    h2_pump_wake(&client->pump);
}

static void watch_liveness(struct h2_client *client)
{
    if (client->timer.deadline_ns != CLOCK_NEVER)
        return;
    client->pinged_ns = 0;
    client->pings = 0;
    loop_timer_arm(&client->timer, loop_now_ns() + quiet_ns(client));
}

bool h2_client_is_open(const struct h2_client *client)
{
    return !client->is_over && !client->is_retired;
}

bool h2_client_has_room(const struct h2_client *client)
{
    if (!h2_client_is_open(client) ||
        nghttp2_session_check_request_allowed(client->pump.session) == 0)
        return false;
    uint32_t theirs = nghttp2_session_get_remote_settings(client->pump.session,
                                                          NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    return client->conn->users < MIN(theirs, (uint32_t)CALLS_MAX);
}

void h2_client_close(struct h2_client *client)
{
    timer_disarm(&client->timer);
    if (!client->is_over) {
        nghttp2_session_terminate_session(client->pump.session, NGHTTP2_NO_ERROR);
        h2_pump_send(&client->pump);
    }
    h2_pump_close(&client->pump);
    mem_free(client);
}

/* --- nghttp2's callbacks --------------------------------------------------------------------- */

static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *user_data)
{
    struct h2_client *client = client_of(user_data);
    (void)session;
    /* Anything but the answer to a PING ends a silence. */
    if (hd->type != NGHTTP2_PING)
        client->pings = 0;
    return h2_pump_charge(&client->pump, hd);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)user_data;
    if (s == NULL)
        return 0;
    s->call->has_heard = true;
    if (s->call->first_byte_ns == 0)
        s->call->first_byte_ns = clock_mono_ns();
    return 0;
}

static bool take_status(struct http_call *call, struct str value)
{
    uint64_t status;
    if (!str_to_u64(value, &status) || status < 100 || status > 999)
        return false;
    call->head.status = (unsigned)status;
    call->head.headers.count = 0; /* what an interim answer said is over */
    return true;
}

static bool take_field(struct h2_call *s, struct str name, struct str value)
{
    const struct http_limits *limits = &http_limits_default;
    struct http_call *call = s->call;
    struct http_headers *headers = s->has_head ? &call->trailers : &call->head.headers;
    s->head_bytes += (uint32_t)(name.len + value.len);
    call->bytes_in += name.len + value.len;
    if (s->head_bytes > limits->head_bytes || headers->count >= limits->header_count)
        s->complaint = "the headers of the upstream's answer are too large";
    if (s->complaint != NULL || (s->has_head && !s->wants_trailers))
        return s->complaint == NULL;
    if (!s->has_head && str_eq(name, STR(":status")))
        return take_status(call, value);
    name = arena_dup(call->arena, name);
    value = arena_dup(call->arena, value);
    return name.ptr != NULL && value.ptr != NULL &&
           http_headers_add(headers, call->arena, name, value);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, nghttp2_rcbuf *name,
                     nghttp2_rcbuf *value, uint8_t flags, void *user_data)
{
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)flags;
    (void)user_data;
    if (s == NULL)
        return 0;
    return take_field(s, h2_str(name), h2_str(value)) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame,
                             nghttp2_rcbuf *name, nghttp2_rcbuf *value, uint8_t flags,
                             void *user_data)
{
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    (void)name;
    (void)value;
    (void)flags;
    (void)user_data;
    if (s != NULL)
        s->complaint = "the upstream's answer has a header that HTTP does not allow";
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* A head is whole: the final one, or one more that comes before it. */
static int take_head(struct h2_call *s)
{
    struct http_call *call = s->call;
    if (s->has_head)
        return 0;
    if (call->head.status < 200) {
        call->first_byte_ns = 0;
        s->head_bytes = 0;
        if (call_skip_interim(call, call->head.status) < 0)
            s->complaint = "the upstream sent too many interim answers, or switched protocols";
        return s->complaint == NULL ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    s->has_head = true;
    wake(s);
    return 0;
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    struct h2_client *client = client_of(user_data);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        retire(client);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s == NULL)
        return 0;
    int r = frame->hd.type == NGHTTP2_HEADERS ? take_head(s) : 0;
    if (r == 0 && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        s->has_ended = true;
        wake(s);
    }
    if (r == 0)
        return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_PROTOCOL_ERROR);
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *bytes,
                   size_t len, void *user_data)
{
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, stream_id);
    (void)flags;
    (void)user_data;
    if (s == NULL)
        return nghttp2_session_consume_connection(session, len);
    buf_add(&s->in, bytes, len);
    s->call->bytes_in += len;
    wake(s);
    return buf_ok(&s->in) ? 0 : NGHTTP2_ERR_NOMEM;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame, void *user_data)
{
    h2_pump_sent(user_data, frame);
    if ((frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) ||
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0)
        return 0;
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (s == NULL)
        return 0;
    s->is_sent = true;
    s->call->sent_ns = clock_mono_ns();
    wake(s);
    return 0;
}

/* A request that did not leave was not seen by anybody. */
static int on_frame_not_send(nghttp2_session *session, const nghttp2_frame *frame, int code,
                             void *user_data)
{
    struct h2_client *client = client_of(user_data);
    (void)session;
    (void)code;
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    LIST_FOR_EACH(node, &client->calls)
    {
        struct h2_call *s = CONTAINER_OF(node, struct h2_call, node);
        if (s->id != frame->hd.stream_id)
            continue;
        s->is_closed = s->is_refused = true;
        wake(s);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id, uint32_t code,
                           void *user_data)
{
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, stream_id);
    (void)user_data;
    if (s == NULL)
        return 0;
    s->is_closed = true;
    s->close_code = code;
    s->is_refused = s->is_refused || code == NGHTTP2_REFUSED_STREAM;
    wake(s);
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

static int say_hello(struct h2_pump *pump)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, http_limits_default.head_bytes},
    };
    return h2_pump_greet(pump, settings, ARRAY_LEN(settings));
}

int h2_client_open(struct http_conn *conn)
{
    struct h2_client *client = MEM_NEW(struct h2_client);
    if (client == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a connection");
    client->conn = conn;
    list_init(&client->calls);
    timer_init(&client->timer, on_timer);
    int r = h2_pump_open(&client->pump, &conn->io, false, set_callbacks, on_job);
    if (r == 0)
        r = say_hello(&client->pump);
    if (r < 0) {
        h2_pump_close(&client->pump);
        mem_free(client);
        return r;
    }
    conn->h2 = client;
    conn->io.on_news = on_news;
    conn->io.tells_room = true;
    h2_pump_wake(&client->pump); /* what came with the handshake is read, too */
    return 0;
}

/* --- a call: sending ------------------------------------------------------------------------- */

/* Of an open request: what has come of its body. */
static ssize_t fill_open(struct h2_call *s, uint8_t *to, size_t room, uint32_t *flags)
{
    size_t n = MIN(room, s->out.len - s->out_at);
    s->is_deferred = n == 0 && !s->out_ended;
    if (s->is_deferred)
        return NGHTTP2_ERR_DEFERRED;
    if (n > 0)
        memcpy(to, s->out.ptr + s->out_at, n);
    s->out_at += n;
    s->call->bytes_out += n;
    if (s->out_at < s->out.len)
        return (ssize_t)n;
    buf_fini(&s->out);
    s->out_at = 0;
    wake(s);
    if (s->out_ended)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static ssize_t on_fill(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room,
                       uint32_t *flags, nghttp2_data_source *source, void *user_data)
{
    struct h2_call *s = nghttp2_session_get_stream_user_data(session, stream_id);
    size_t filled = 0;
    (void)source;
    (void)user_data;
    if (s != NULL && s->is_open)
        return fill_open(s, to, room, flags);
    if (s == NULL || s->is_cut)
        return s == NULL ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE : NGHTTP2_ERR_DEFERRED;
    while (s->parts_left > 0 && filled < room) {
        size_t n = MIN(room - filled, s->part->iov_len - s->part_at);
        if (n > 0)
            memcpy(to + filled, (const char *)s->part->iov_base + s->part_at, n);
        filled += n;
        s->part_at += n;
        if (s->part_at < s->part->iov_len)
            break;
        s->part++;
        s->part_at = 0;
        s->parts_left--;
    }
    s->moved_ns = loop_now_ns();
    s->call->bytes_out += filled;
    if (s->parts_left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)filled;
}

static size_t add_fields(nghttp2_nv *fields, size_t used, struct http_call *call)
{
    const struct http_headers *headers = call->request->headers;
    bool has_encoding = false;
    for (uint32_t i = 0; headers != NULL && i < headers->count; i++) {
        const struct http_header *h = &headers->items[i];
        if (client_leaves_out(h->name))
            continue;
        has_encoding = has_encoding || str_ieq(h->name, STR("accept-encoding"));
        fields[used++] = h2_nv(h->name, h->value);
    }
    if (call->request->wants_trailers)
        fields[used++] = h2_nv(STR("te"), STR("trailers"));
    else if (!has_encoding)
        fields[used++] = h2_nv(STR("accept-encoding"), STR("identity"));
    for (size_t i = 0; i < used; i++)
        call->bytes_out += fields[i].namelen + fields[i].valuelen;
    return used;
}

static int submit(struct h2_call *s)
{
    struct http_call *call = s->call;
    const struct http_call_request *request = call->request;
    const struct http_origin *origin = call->origin;
    struct arena_mark mark = arena_mark(call->arena);
    uint32_t count_max = FIELDS_OF_OURS + (request->headers != NULL ? request->headers->count : 0);
    nghttp2_nv *fields = arena_alloc(call->arena, count_max * sizeof(*fields));
    nghttp2_data_provider provider = {.read_callback = on_fill};
    char length[20];
    size_t used = 0;
    if (fields == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the request");
    fields[used++] = h2_nv(STR(":method"), http_method_name(request->method));
    fields[used++] = h2_nv(STR(":scheme"), origin->target.tls != NULL ? STR("https") : STR("http"));
    fields[used++] = h2_nv(STR(":authority"), origin->host_header);
    fields[used++] = h2_nv(STR(":path"), request->target);
    if (!request->is_open && client_has_length(request)) {
        size_t digits = str_put_u64(length, request->body_bytes);
        fields[used++] = h2_nv(STR("content-length"), str_n(length, digits));
    }
    used = add_fields(fields, used, call);
    s->id =
        nghttp2_submit_request(s->client->pump.session, NULL, fields, used,
                               request->is_open || request->body_bytes > 0 ? &provider : NULL, s);
    arena_rewind(call->arena, mark);
    return s->id > 0 ? 0 : h2_error(s->id, "request");
}

/* The stream has ended without what was waited for. */
static int ended_early(const struct h2_call *s, const char *when)
{
    if (s->complaint != NULL)
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "%s", s->complaint);
    if (s->is_refused) {
        int r = err_set(ERR_RESET, FAULT_UPSTREAM,
                        "the upstream refused the request before it looked at it");
        err_slot()->retry = RETRY_YES;
        return r;
    }
    if (s->is_closed) {
        int r = err_set(ERR_RESET, FAULT_UPSTREAM, "the upstream reset the stream %s (%s)", when,
                        nghttp2_http2_strerror(s->close_code));
        err_slot()->retry = s->call->has_heard ? RETRY_NO : RETRY_IF_REUSED;
        return r;
    }
    return call_broke_off(s->call, s->broken == -ERR_TIMEOUT ? -ERR_RESET : s->broken, when);
}

/* Waits for news of the stream: 0, -ERR_TIMEOUT, -ERR_CANCELED. */
YIELDS static int wait(struct h2_call *s, int64_t deadline_ns)
{
    s->waiter = task_self();
    int r = task_park(deadline_ns);
    s->waiter = NULL;
    return r;
}

static bool is_dead(const struct h2_call *s)
{
    return s->is_closed || s->broken < 0;
}

YIELDS static int send_all(struct h2_call *s)
{
    struct http_call *call = s->call;
    int64_t idle_ns = call->timeouts->idle_ns;
    while (!s->is_sent && !s->has_head && !is_dead(s)) {
        int r = wait(s, call_until(call, call_span_from(s->moved_ns, idle_ns)));
        if (r == -ERR_TIMEOUT &&
            loop_now_ns() >= call_until(call, call_span_from(s->moved_ns, idle_ns)))
            return call_timed_out(call, "took nothing of the request", idle_ns, "idle");
        if (r < 0 && r != -ERR_TIMEOUT)
            return r;
    }
    call->is_send_cut = !s->is_sent;
    if (call->sent_ns == 0)
        call->sent_ns = clock_mono_ns();
    return 0; /* what went wrong is told by who reads the head */
}

YIELDS int h2_call_start(struct http_call *call)
{
    struct h2_client *client = call->conn->h2;
    struct h2_call *s = MEM_NEW(struct h2_call);
    if (s == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the request");
    *s = (struct h2_call){
        .client = client,
        .call = call,
        .is_open = call->request->is_open,
        .wants_trailers = call->request->wants_trailers,
        .part = call->request->body,
        .parts_left = call->request->body_count,
        .moved_ns = loop_now_ns(),
    };
    call->h2 = s;
    call->head = (struct h1_head){.version_minor = 1, .is_keep_alive = true};
    call->first_byte_ns = call->sent_ns = 0;
    list_push(&client->calls, &s->node);
    if (client->is_over) {
        s->broken = -ERR_CLOSED;
        return 0;
    }
    int r = submit(s);
    if (r < 0)
        return r;
    watch_liveness(client);
    send_now(client);
    if (s->is_open) {
        call->sent_ns = clock_mono_ns();
        return 0;
    }
    return send_all(s);
}

YIELDS int h2_call_send(struct http_call *call, const struct iovec *iov, int count, bool is_last)
{
    struct h2_call *s = call->h2;
    struct h2_sender me = {.task = task_self()};
    int r = 0;
    if (s == NULL || !s->is_open || is_dead(s) || s->out_ended)
        return err_set(ERR_CLOSED, FAULT_UPSTREAM, "the upstream takes nothing more");
    for (int i = 0; i < count; i++)
        buf_add(&s->out, iov[i].iov_base, iov[i].iov_len);
    if (!buf_ok(&s->out))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the request");
    s->out_ended = is_last;
    if (s->is_deferred)
        nghttp2_session_resume_data(s->client->pump.session, s->id);
    s->is_deferred = false;
    send_now(s->client);
    while (r == 0 && !me.is_over && !is_dead(s) && s->out.len - s->out_at > H2_STREAM_OUT_BYTES) {
        s->sender = &me;
        r = task_park(CLOCK_NEVER);
        if (!me.is_over)
            s->sender = NULL;
    }
    return r;
}

/* --- a call: reading ------------------------------------------------------------------------- */

static void settle_head(struct h2_call *s)
{
    struct http_call *call = s->call;
    struct str length = http_headers_get(&call->head.headers, STR("content-length"));
    uint64_t bytes;
    call->has_head = true;
    call->head.framing = H1_CHUNKED;
    if (length.ptr != NULL && str_to_u64(length, &bytes)) {
        call->head.framing = H1_LENGTH;
        call->head.content_length = bytes;
    }
    if (s->has_ended && s->in.len == 0)
        call->head.framing = H1_NO_BODY;
}

YIELDS int h2_call_head(struct http_call *call)
{
    struct h2_call *s = call->h2;
    const struct http_timeouts *t = call->timeouts;
    while (!s->has_head || s->complaint != NULL) {
        if (is_dead(s) || s->complaint != NULL)
            return ended_early(s, "before it answered");
        int64_t deadline_ns = call_until(call, call_span_from(call->sent_ns, t->first_byte_ns));
        int r = wait(s, deadline_ns);
        if (r == -ERR_TIMEOUT && loop_now_ns() >= deadline_ns)
            return call_timed_out(call, "did not begin to answer", t->first_byte_ns, "first byte");
        if (r < 0 && r != -ERR_TIMEOUT)
            return r;
    }
    settle_head(s);
    s->is_cut = !s->is_open; /* the body's memory was lent until now */
    return 0;
}

bool h2_call_was_refused(const struct http_call *call)
{
    return call->h2 != NULL && call->h2->is_refused && call->h2->complaint == NULL;
}

bool h2_call_lost_connection(const struct http_call *call)
{
    return call->h2->broken < 0 && !call->h2->is_closed;
}

/* What the reader has had is done with: the upstream may send as much again. */
static void return_credit(struct h2_call *s)
{
    struct h2_client *client = s->client;
    size_t n = s->owed;
    s->owed = 0;
    if (n == 0 || client->is_over)
        return;
    if (s->is_closed)
        nghttp2_session_consume_connection(client->pump.session, n);
    else
        nghttp2_session_consume(client->pump.session, s->id, n);
    if (nghttp2_session_want_write(client->pump.session) != 0)
        h2_pump_wake(&client->pump);
}

YIELDS static int wait_for_body(struct h2_call *s, int64_t deadline_ns, bool *hit_deadline)
{
    struct http_call *call = s->call;
    int64_t idle_ns = call->timeouts->idle_ns;
    while (s->in.len == 0 && !s->has_ended) {
        if (is_dead(s) || s->complaint != NULL)
            return ended_early(s, "before the end of the response");
        if (call->quiet_since_ns == 0)
            call->quiet_since_ns = loop_now_ns();
        int64_t own_ns = call_until(call, call_span_from(call->quiet_since_ns, idle_ns));
        int r = wait(s, MIN(own_ns, deadline_ns));
        if (r == -ERR_TIMEOUT && loop_now_ns() >= MIN(own_ns, deadline_ns)) {
            *hit_deadline = deadline_ns < own_ns;
            return *hit_deadline ? -ERR_TIMEOUT
                                 : call_timed_out(call, "sent nothing", idle_ns, "idle");
        }
        if (r < 0 && r != -ERR_TIMEOUT)
            return r;
    }
    call->quiet_since_ns = 0;
    return 0;
}

YIELDS int h2_call_read(struct http_call *call, struct http_pieces *pieces, int64_t deadline_ns,
                        bool *hit_deadline)
{
    struct h2_call *s = call->h2;
    return_credit(s);
    buf_fini(&call->unread);
    int r = wait_for_body(s, deadline_ns, hit_deadline);
    if (r < 0)
        return r;
    call->unread = s->in;
    s->in = BUF_INIT;
    s->owed = call->unread.len;
    pieces->v[0] = (struct iovec){call->unread.ptr, call->unread.len};
    pieces->count = call->unread.len > 0 ? 1 : 0;
    pieces->bytes = call->unread.len;
    pieces->is_last = s->has_ended;
    return 0;
}

void h2_call_end(struct http_call *call)
{
    struct h2_call *s = call->h2;
    struct h2_client *client = s->client;
    call->h2 = NULL;
    s->owed += s->in.len;
    if (!is_dead(s) && s->id > 0) {
        /* Either it is given up, or the answer was faster than the request. */
        nghttp2_session_set_stream_user_data(client->pump.session, s->id, NULL);
        nghttp2_submit_rst_stream(client->pump.session, NGHTTP2_FLAG_NONE, s->id, NGHTTP2_CANCEL);
        h2_pump_wake(&client->pump);
        s->is_closed = true;
    }
    return_credit(s);
    list_remove(&s->node);
    if (s->sender != NULL) {
        s->sender->is_over = true;
        task_wake(s->sender->task);
    }
    buf_fini(&s->in);
    buf_fini(&s->out);
    mem_free(s);
}
