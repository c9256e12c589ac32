#include "gateway/bridge.h"

#include "base/clock.h"
#include "gateway/bridge_private.h"
#include "gateway/realtime.h"

/*
 * The socket: its own request's task reads, another one writes what all requests have to say. Each
 * request has a task of its own, so none waits for another's provider.
 */

enum {
    /* While so much waits for the client's socket, answers wait for their turn. */
    OUT_BYTES = 256 * 1024,
    GOODBYE_MS = 1000,
};

static const struct str subprotocol = STR_INIT("weir.v1");

static _Thread_local struct {
    struct list all;
    bool has_list, is_draining;
} thread;

/* --- ending --- */

static void end_with(struct bridge *b, unsigned code, struct str reason)
{
    if (b->is_ending)
        return;
    b->is_ending = true;
    b->close_code = code;
    b->close_reason = reason;
}

/* Nothing can be said any more, and nothing more will come. */
static void lose(struct bridge *b)
{
    b->is_ending = b->is_lost = true;
    b->close_code = 0;
}

void bridge_break(struct bridge *b)
{
    if (b->is_lost)
        return;
    lose(b);
    task_cancel(b->reader, ERR_CLOSED);
}

static void drain(struct bridge *b)
{
    b->is_draining = true;
    if (b->count == 0 && !b->is_ending) {
        end_with(b, WS_CLOSE_GOING_AWAY, STR("the gateway is shutting down"));
        task_cancel(b->reader, ERR_CLOSED);
    }
}

void bridge_drain(void)
{
    thread.is_draining = true;
    if (!thread.has_list)
        return;
    LIST_FOR_EACH(node, &thread.all)
    {
        drain(CONTAINER_OF(node, struct bridge, node));
    }
}

void bridge_left(struct bridge *b)
{
    b->count--;
    b->active_ns = loop_now_ns();
    if (b->is_ending)
        task_wake(b->reader);
    else if (b->is_draining)
        drain(b);
}

/* --- writing --- */

static void wake_writer(struct bridge *b)
{
    if (!b->is_writer_gone)
        task_wake(b->writer);
}

static void add_frame(struct bridge *b, enum ws_opcode opcode, struct str payload)
{
    if (b->is_lost)
        return;
    ws_add_frame(&b->out, opcode, payload, NULL);
    wake_writer(b);
}

void bridge_send(struct bridge *b, struct str text)
{
    add_frame(b, WS_TEXT, text);
}

static bool has_room(const struct bridge *b)
{
    return b->out.len + b->writing < OUT_BYTES;
}

YIELDS int bridge_wait_room(struct bridge *b)
{
    while (!b->is_lost && !has_room(b)) {
        int r = task_park(CLOCK_NEVER);
        if (r < 0)
            return r;
    }
    return b->is_lost ? err_set(ERR_RESET, FAULT_CLIENT, "the socket is gone") : 0;
}

static void wake_waiting(struct bridge *b)
{
    LIST_FOR_EACH(node, &b->streams)
    {
        struct bridge_stream *s = CONTAINER_OF(node, struct bridge_stream, node);
        if (s->is_waiting)
            task_wake(s->task);
    }
    task_wake(b->reader);
}

YIELDS static void write_out(struct bridge *b)
{
    struct buf bytes = b->out;
    bool is_broken = !buf_ok(&bytes);
    b->out = BUF_INIT;
    b->writing = bytes.len;
    if (!is_broken)
        is_broken = channel_write(b->channel, bytes.ptr, bytes.len,
                                  b->ex->settings->timeouts.client_stall) < 0;
    b->writing = 0;
    buf_fini(&bytes);
    if (is_broken)
        bridge_break(b);
    wake_waiting(b);
}

static void writer_main(void *arg)
{
    struct bridge *b = arg;
    while (!b->is_lost && !(b->is_finished && b->out.len == 0 && buf_ok(&b->out))) {
        if (b->out.len > 0 || !buf_ok(&b->out))
            write_out(b);
        else if (task_park(CLOCK_NEVER) < 0)
            break;
    }
    b->is_writer_gone = true;
    task_wake(b->reader);
}

/* --- reading --- */

static void take_data(struct bridge *b, const struct ws_piece *piece)
{
    bool ends = piece->is_last && piece->is_final;
    struct str part = str_n(piece->bytes, piece->len);
    b->active_ns = loop_now_ns();
    /* Most messages come in one piece, which is read where it lies. */
    if (ends && b->message.len == 0) {
        bridge_take(b, part);
        return;
    }
    buf_add_str(&b->message, part);
    if (!buf_ok(&b->message))
        end_with(b, WS_CLOSE_TRY_LATER, STR("the gateway is overloaded"));
    else if (ends)
        bridge_take(b, buf_str(&b->message));
    if (ends)
        buf_fini(&b->message);
}

static void take_piece(struct bridge *b, const struct ws_piece *piece)
{
    struct str part = str_n(piece->bytes, piece->len);
    struct str reason;
    switch (piece->opcode) {
    case WS_CLOSE:
        end_with(b, ws_close_read(part, &reason), STR_EMPTY);
        break;
    case WS_PING:
        add_frame(b, WS_PONG, part);
        break;
    case WS_PONG:
        break;
    default:
        take_data(b, piece);
    }
}

static void take_bytes(struct bridge *b, char *bytes, size_t len)
{
    struct ws_piece piece;
    int r = 0;
    while (!b->is_ending && (r = ws_next(&b->frames, &bytes, &len, &piece)) == 1)
        take_piece(b, &piece);
    if (r < 0)
        end_with(b, b->frames.close_code,
                 b->frames.close_code == WS_CLOSE_TOO_LARGE
                     ? STR("a message is larger than the limit (bridge.message)")
                     : STR_EMPTY);
}

/* --- time --- */

static int64_t after(int64_t from_ns, int64_t span_ns)
{
    return span_ns > 0 ? clock_add_ns(from_ns, span_ns) : CLOCK_NEVER;
}

static bool is_asked(const struct bridge *b)
{
    return b->pinged_ns > b->heard_ns;
}

static int64_t next_ping_ns(const struct bridge *b)
{
    return after(is_asked(b) ? b->pinged_ns : b->heard_ns, b->settings->ping_ns);
}

static int64_t next_tick_ns(const struct bridge *b)
{
    return MIN(next_ping_ns(b), after(b->active_ns, b->settings->idle_ns));
}

/* Nothing has come for a while. */
static void on_tick(struct bridge *b)
{
    int64_t now_ns = loop_now_ns();
    if (b->count > 0)
        b->active_ns = now_ns;
    if (now_ns >= after(b->active_ns, b->settings->idle_ns)) {
        end_with(b, WS_CLOSE_GOING_AWAY, STR("the socket was idle for too long"));
    } else if (now_ns >= next_ping_ns(b) && is_asked(b)) {
        lose(b);
    } else if (now_ns >= next_ping_ns(b)) {
        add_frame(b, WS_PING, STR_EMPTY);
        b->pinged_ns = now_ns;
    }
}

static void end_read(struct bridge *b, int code)
{
    if (b->is_ending)
        return;
    if (code == -ERR_CANCELED && task_cancel_reason(b->reader) == ERR_CANCELED) {
        b->is_shutdown = true;
        end_with(b, WS_CLOSE_GOING_AWAY, STR("the gateway is shutting down"));
    } else {
        lose(b);
    }
}

YIELDS static void read_messages(struct bridge *b)
{
    while (!b->is_ending) {
        /* Who sends without reading what is said in turn is not read from either. */
        int r = bridge_wait_room(b);
        if (r < 0) {
            end_read(b, r);
            break;
        }
        ssize_t n = channel_read(b->channel, loop_scratch(), LOOP_SCRATCH_BYTES, next_tick_ns(b));
        if (n > 0) {
            b->heard_ns = loop_now_ns();
            take_bytes(b, loop_scratch(), (size_t)n);
            if (n == LOOP_SCRATCH_BYTES)
                task_yield();
        } else if (n == -ERR_TIMEOUT) {
            on_tick(b);
        } else {
            end_read(b, (int)n);
        }
    }
}

/* --- the whole --- */

/* Who is there is told that nobody waits for an answer any more; at a shutdown, that it ends. */
YIELDS static void end_streams(struct bridge *b)
{
    LIST_FOR_EACH(node, &b->streams)
    {
        bridge_stream_cancel(CONTAINER_OF(node, struct bridge_stream, node),
                             b->is_shutdown ? ERR_CANCELED : ERR_RESET);
    }
    while (b->count > 0)
        task_park(CLOCK_NEVER);
}

YIELDS static void say_goodbye(struct bridge *b)
{
    int64_t deadline_ns = clock_add_ns(clock_mono_ns(), GOODBYE_MS * NS_PER_MS);
    if (b->close_code != 0 && !b->is_lost)
        ws_add_close(&b->out, b->close_code, b->close_reason, NULL);
    b->is_finished = true;
    wake_writer(b);
    while (!b->is_writer_gone && task_park(deadline_ns) != -ERR_TIMEOUT)
        continue;
    if (!b->is_writer_gone)
        task_cancel(b->writer, ERR_CLOSED);
    while (!b->is_writer_gone)
        task_park(CLOCK_NEVER);
    if (!b->is_lost)
        channel_finish(b->channel, deadline_ns);
}

static void note_result(struct bridge *b)
{
    struct exchange *ex = b->ex;
    ex->http->is_complete = b->channel->is_finished;
    ex->http->body_bytes_in = b->channel->bytes_in;
    ex->http->body_bytes_out = b->channel->bytes_out;
    if (b->is_lost)
        ex->record.outcome = STR("client_gone");
    else if (b->is_shutdown)
        ex->record.outcome = STR("gateway_error");
    else if (b->frames.error != 0)
        ex->record.outcome = STR("client_error");
    if (!str_eq(ex->record.outcome, STR("ok")) && b->close_reason.len > 0)
        ex->record.error_message = b->close_reason;
}

YIELDS static void run(struct bridge *b)
{
    const struct ws_reader_settings reader = {.role = WS_SERVER,
                                              .message_max = b->settings->message_bytes};
    ws_reader_init(&b->frames, &reader);
    b->active_ns = b->heard_ns = loop_now_ns();
    b->reader = task_self();
    b->writer = task_spawn(RUN_NORMAL, "bridge writer", writer_main, b);
    if (b->writer == NULL) {
        b->ex->record.outcome = STR("gateway_error");
        return;
    }
    list_push(&thread.all, &b->node);
    if (thread.is_draining)
        drain(b);
    read_messages(b);
    list_remove(&b->node);
    task_cancel_clear(b->reader);
    task_shield();
    end_streams(b);
    say_goodbye(b);
    task_unshield();
    buf_fini(&b->message);
    buf_fini(&b->out);
    note_result(b);
}

YIELDS static int open_socket(struct exchange *ex)
{
    struct realtime *rt = ex->realtime;
    bool is_known = ws_has_protocol(rt->client.protocols, subprotocol);
    exchange_add_own_headers(ex);
    int r = ws_answer_write(&ex->answer, ex->head_arena, rt->client.key,
                            is_known ? subprotocol : STR_EMPTY, STR_EMPTY);
    if (r < 0)
        return refuse_no_memory(ex);
    r = http_response_upgrade(ex->http, &ex->answer, &rt->channel);
    if (r < 0)
        ex->record.outcome = STR("client_gone");
    return r;
}

YIELDS void bridge_run(struct exchange *ex)
{
    if (realtime_begin(ex) < 0)
        return;
    struct bridge *b = ARENA_NEW(ex->arena, struct bridge);
    if (b == NULL) {
        refuse_no_memory(ex);
        return;
    }
    if (!thread.has_list)
        list_init(&thread.all);
    thread.has_list = true;
    list_init(&b->streams);
    b->ex = ex;
    b->channel = &ex->realtime->channel;
    b->settings = &ex->settings->bridge;
    b->credential = exchange_credential(ex);
    if (open_socket(ex) < 0)
        return;
    ex->is_stream = ex->record.is_stream = true;
    exchange_forget_head(ex);
    exchange_wait_begins(ex);
    run(b);
}
