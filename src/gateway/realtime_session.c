#include "gateway/realtime_session.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "rt/random.h"

/*
 * Each direction ("flow") has a task that reads one socket and writes the other, so that neither
 * waits for the other's peer. Only that task writes to its socket; what is to be said at the end is
 * said by the request's task when both have stopped.
 */

enum {
    /* After one close frame: how long the other side may take for its own. */
    CLOSE_PATIENCE_MS = 5000,
    /* For the last words of ours. */
    GOODBYE_MS = 1000,
    KEYS_AT_ONCE = 64,
    PING_BYTES = 12,
};

struct session;

struct flow {
    struct session *session;
    struct flow *other;
    struct channel *from, *to;
    struct ws_reader reader;
    struct task *task;
    bool is_from_client;
    bool is_mid_frame; /* a frame's beginning was passed on, and not its end */
    bool has_closed;   /* a close frame was passed on */
    bool is_done;      /* reads and writes no more */
    bool is_gone;      /* its task has ended */
    unsigned code;     /* of that close frame */
    uint64_t messages;
    uint64_t frame_at; /* bytes of the frame's payload that were passed on */
    uint8_t key[WS_KEY_BYTES];
    int64_t heard_ns;  /* when bytes came last */
    int64_t pinged_ns; /* when `to` was asked for a sign of life; 0 = never */
    struct buf out;
};

struct session {
    const struct session_settings *settings;
    struct flow up, down;
    enum session_end end;
    bool is_ending;
    int64_t active_ns; /* when a message crossed last */
    int64_t close_by_ns;
    int64_t judge_at_ns;
    struct str verdict;    /* what the judge said */
    char ping[PING_BYTES]; /* the payload of our pings, to know their pongs by */
};

/* What the end of a session means for each side: the close frame that it gets unless it was sent
 * one already. */
static const struct {
    const char *name;
    unsigned to_client, to_upstream; /* 0 = what the reader of the other side says */
    struct str reason;
} ends[SESSION_END_COUNT] = {
    [SESSION_CLOSED] = {"ok", WS_CLOSE_NORMAL, WS_CLOSE_NORMAL, STR_INIT("")},
    [SESSION_CLIENT_LOST] = {"client_gone", WS_CLOSE_GOING_AWAY, WS_CLOSE_GOING_AWAY,
                             STR_INIT("the client has gone")},
    [SESSION_CLIENT_BROKEN] = {"client_protocol", 0, WS_CLOSE_GOING_AWAY,
                               STR_INIT("the client broke the protocol")},
    [SESSION_UPSTREAM_LOST] = {"upstream_lost", WS_CLOSE_BAD_GATEWAY, WS_CLOSE_GOING_AWAY,
                               STR_INIT("the provider's connection was lost")},
    [SESSION_UPSTREAM_BROKEN] = {"upstream_protocol", WS_CLOSE_BAD_GATEWAY, 0,
                                 STR_INIT("the provider broke the protocol")},
    [SESSION_IDLE] = {"idle", WS_CLOSE_GOING_AWAY, WS_CLOSE_GOING_AWAY,
                      STR_INIT("the session was idle for too long")},
    [SESSION_TIME_OVER] = {"time_over", WS_CLOSE_GOING_AWAY, WS_CLOSE_GOING_AWAY,
                           STR_INIT("the session has reached its time limit")},
    [SESSION_POLICY] = {"policy", WS_CLOSE_POLICY, WS_CLOSE_GOING_AWAY,
                        STR_INIT("the gateway has ended the session")},
    [SESSION_SHUTDOWN] = {"shutting_down", WS_CLOSE_GOING_AWAY, WS_CLOSE_GOING_AWAY,
                          STR_INIT("the gateway is shutting down")},
    [SESSION_NO_MEMORY] = {"overloaded", WS_CLOSE_TRY_LATER, WS_CLOSE_GOING_AWAY,
                           STR_INIT("the gateway is overloaded")},
};

const char *session_end_name(enum session_end end)
{
    return ends[end].name;
}

/* --- ending --- */

/* The first to find an end says what it is. */
static void end_session(struct session *s, enum session_end end)
{
    if (s->is_ending)
        return;
    s->is_ending = true;
    s->end = end;
    s->close_by_ns = 0;
}

static void end_lost(struct flow *f, int code)
{
    struct session *s = f->session;
    if (code == -ERR_CANCELED)
        end_session(s, SESSION_SHUTDOWN);
    else if (code == -ERR_NOMEM)
        end_session(s, SESSION_NO_MEMORY);
    else if (f->other->has_closed)
        end_session(s, SESSION_CLOSED); /* it took a close frame for the end: so be it */
    else
        end_session(s, f->is_from_client ? SESSION_CLIENT_LOST : SESSION_UPSTREAM_LOST);
}

/* --- passing frames on --- */

/* A client's keys must be such that nobody can foresee them (RFC 6455 section 10.3). */
static void next_key(uint8_t key[WS_KEY_BYTES])
{
    static _Thread_local uint8_t keys[KEYS_AT_ONCE][WS_KEY_BYTES];
    static _Thread_local unsigned left;
    if (left == 0) {
        random_secret(keys, sizeof(keys));
        left = KEYS_AT_ONCE;
    }
    memcpy(key, keys[--left], WS_KEY_BYTES);
}

/* What is written to the provider is a client's, and masked. */
static const uint8_t *key_for(struct flow *f)
{
    if (!f->is_from_client)
        return NULL;
    next_key(f->key);
    return f->key;
}

static void begin_frame(struct flow *f, const struct ws_piece *piece)
{
    char head[WS_HEAD_MAX];
    struct ws_frame frame = {
        .opcode = piece->opcode,
        .is_final = piece->is_final,
        .has_rsv1 = piece->has_rsv1,
        .bytes = piece->frame_bytes,
        .key = key_for(f),
    };
    buf_add(&f->out, head, ws_put_head(head, &frame));
    f->frame_at = 0;
}

static bool is_our_pong(const struct flow *f, const struct ws_piece *piece)
{
    return piece->opcode == WS_PONG &&
           str_eq(str_n(piece->bytes, piece->len), str_n(f->session->ping, PING_BYTES));
}

static void note_piece(struct flow *f, const struct ws_piece *piece)
{
    struct session *s = f->session;
    struct str reason;
    if (piece->opcode == WS_CLOSE) {
        f->has_closed = true;
        f->code = ws_close_read(str_n(piece->bytes, piece->len), &reason);
    }
    if (piece->opcode >= WS_CLOSE)
        return;
    s->active_ns = loop_now_ns();
    f->messages += piece->is_last && piece->is_final;
    if (s->settings->observe != NULL)
        s->settings->observe(s->settings->observe_ctx, f->is_from_client, piece);
}

static void pass_on(struct flow *f, const struct ws_piece *piece)
{
    if (is_our_pong(f, piece))
        return;
    note_piece(f, piece);
    if (piece->is_first)
        begin_frame(f, piece);
    if (f->is_from_client)
        ws_mask(piece->bytes, piece->len, f->key, f->frame_at);
    f->frame_at += piece->len;
    buf_add(&f->out, piece->bytes, piece->len);
    f->is_mid_frame = !piece->is_last;
}

YIELDS static int write_out(struct flow *f)
{
    int r = 0;
    if (!buf_ok(&f->out))
        r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a message");
    else if (f->out.len > 0)
        r = channel_write(f->to, f->out.ptr, f->out.len, f->session->settings->stall_ns);
    /* Nothing is held while the socket is silent. */
    buf_fini(&f->out);
    return r;
}

/* A write failed: the other peer's end is met by who reads it, but not where it stands still. */
static void end_unwritable(struct flow *f, int code)
{
    if (code == -ERR_CANCELED || code == -ERR_NOMEM)
        end_lost(f, code);
    else
        end_lost(f->other, code);
    f->is_mid_frame = true; /* nothing can be said on that socket any more */
}

static void judge(struct session *s)
{
    const struct session_settings *t = s->settings;
    if (s->is_ending || t->judge == NULL)
        return;
    s->verdict = t->judge(t->judge_ctx);
    if (s->verdict.len > 0)
        end_session(s, SESSION_POLICY);
}

YIELDS static void take_bytes(struct flow *f, char *bytes, size_t len)
{
    struct ws_piece piece;
    int r;
    while ((r = ws_next(&f->reader, &bytes, &len, &piece)) == 1)
        pass_on(f, &piece);
    int w = write_out(f);
    if (w < 0)
        end_unwritable(f, w);
    else if (r < 0)
        end_session(f->session,
                    f->is_from_client ? SESSION_CLIENT_BROKEN : SESSION_UPSTREAM_BROKEN);
    else
        judge(f->session);
}

/* --- time --- */

static int64_t after(int64_t from_ns, int64_t span_ns)
{
    return span_ns > 0 ? clock_add_ns(from_ns, span_ns) : CLOCK_NEVER;
}

static int64_t next_tick_ns(const struct flow *f, int64_t ping_from_ns)
{
    const struct session_settings *t = f->session->settings;
    int64_t tick_ns = MIN(after(ping_from_ns, t->ping_ns), t->deadline_ns);
    tick_ns = MIN(tick_ns, f->session->judge_at_ns);
    return MIN(tick_ns, after(f->session->active_ns, t->idle_ns));
}

YIELDS static void ping(struct flow *f)
{
    if (f->is_mid_frame)
        return;
    ws_add_frame(&f->out, WS_PING, str_n(f->session->ping, PING_BYTES), key_for(f));
    f->pinged_ns = loop_now_ns();
    int r = write_out(f);
    if (r < 0)
        end_unwritable(f, r);
}

/* Nothing has come for a while. */
YIELDS static void on_tick(struct flow *f)
{
    struct session *s = f->session;
    const struct session_settings *t = s->settings;
    int64_t now_ns = loop_now_ns();
    int64_t asked_ns = f->other->pinged_ns; /* whom this flow reads is pinged by the other one */
    bool is_for_judge = now_ns >= s->judge_at_ns;
    judge(s);
    /* The clock on the wall, by which keys end, may be behind. */
    if (is_for_judge)
        s->judge_at_ns = clock_add_ns(now_ns, NS_PER_SEC);
    if (s->is_ending || is_for_judge)
        return;
    if (now_ns >= t->deadline_ns)
        end_session(s, SESSION_TIME_OVER);
    else if (now_ns >= after(s->active_ns, t->idle_ns))
        end_session(s, SESSION_IDLE);
    else if (t->ping_ns > 0 && asked_ns > f->heard_ns && now_ns >= asked_ns + t->ping_ns)
        end_lost(f, -ERR_TIMEOUT);
    else if (t->ping_ns > 0)
        ping(f);
}

/* --- the tasks --- */

/* Stops, and sees to it that the other flow does: at once where the session has ended, else when it
 * has had the time to pass on the answer to a close frame. */
YIELDS static void leave(struct flow *f)
{
    struct session *s = f->session;
    f->is_done = true;
    if (f->has_closed && !s->is_ending)
        s->close_by_ns = clock_add_ns(loop_now_ns(), CLOSE_PATIENCE_MS * NS_PER_MS);
    if (f->other->is_done && !f->other->is_gone)
        task_wake(f->other->task);
    while (!f->other->is_done && !s->is_ending) {
        int r = task_park(s->close_by_ns);
        if (r == -ERR_CANCELED)
            end_session(s, SESSION_SHUTDOWN);
        else if (r == -ERR_TIMEOUT)
            end_session(s, SESSION_CLOSED);
    }
    end_session(s, SESSION_CLOSED);
    if (!f->other->is_done)
        task_cancel(f->other->task, ERR_CLOSED);
}

YIELDS static void flow_run(struct flow *f)
{
    struct session *s = f->session;
    int64_t ping_from_ns = f->heard_ns;
    while (!s->is_ending && !f->has_closed) {
        ssize_t n = channel_read(f->from, loop_scratch(), LOOP_SCRATCH_BYTES,
                                 next_tick_ns(f, ping_from_ns));
        if (n > 0) {
            ping_from_ns = f->heard_ns = loop_now_ns();
            take_bytes(f, loop_scratch(), (size_t)n);
            /* One that sends without a pause leaves room for others. */
            if (n == LOOP_SCRATCH_BYTES)
                task_yield();
        } else if (n == -ERR_TIMEOUT) {
            ping_from_ns = loop_now_ns();
            on_tick(f);
        } else {
            end_lost(f, (int)n);
        }
    }
    leave(f);
    buf_fini(&f->out);
}

static void down_main(void *arg)
{
    struct session *s = arg;
    flow_run(&s->down);
    s->down.is_gone = true;
    task_wake(s->up.task);
}

/* --- the last words --- */

/* To the peer that `f` writes to, unless it was sent a close frame, or stands in the middle of one.
 */
YIELDS static void say_goodbye(struct flow *f)
{
    struct session *s = f->session;
    unsigned code = f->is_from_client ? ends[s->end].to_upstream : ends[s->end].to_client;
    struct str reason = ends[s->end].reason;
    int64_t deadline_ns = clock_add_ns(clock_mono_ns(), GOODBYE_MS * NS_PER_MS);
    if (f->is_mid_frame)
        return;
    if (!f->has_closed) {
        const struct ws_reader *theirs = &f->other->reader;
        if (code == 0) {
            code = theirs->close_code;
            reason = str_c(code == WS_CLOSE_TOO_LARGE ? "a message is larger than the limit" : "");
        } else if (s->end == SESSION_POLICY && !f->is_from_client) {
            reason = s->verdict;
        } else if (s->end == SESSION_CLOSED) {
            code = f->other->has_closed ? f->other->code : WS_CLOSE_NORMAL;
        }
        ws_add_close(&f->out, code, reason, key_for(f));
        int r = channel_write(f->to, f->out.ptr, f->out.len, GOODBYE_MS * NS_PER_MS);
        buf_fini(&f->out);
        if (r < 0)
            return;
    }
    channel_finish(f->to, deadline_ns);
}

static void flow_init(struct flow *f, struct session *s, struct channel *from, struct channel *to,
                      bool is_from_client)
{
    const struct ws_reader_settings reader = {
        .role = is_from_client ? WS_SERVER : WS_CLIENT,
        .has_deflate = s->settings->has_deflate,
        .message_max = s->settings->message_max,
    };
    *f = (struct flow){
        .session = s,
        .other = is_from_client ? &s->down : &s->up,
        .from = from,
        .to = to,
        .is_from_client = is_from_client,
        .code = WS_CLOSE_LOST,
        .heard_ns = loop_now_ns(),
    };
    ws_reader_init(&f->reader, &reader);
}

YIELDS void session_run(struct channel *client, struct channel *upstream,
                        const struct session_settings *settings, struct session_result *result)
{
    struct session s = {
        .settings = settings,
        .active_ns = loop_now_ns(),
        .close_by_ns = CLOCK_NEVER,
        .judge_at_ns = settings->judge != NULL ? settings->judge_at_ns : CLOCK_NEVER,
    };
    random_id(s.ping, PING_BYTES);
    flow_init(&s.up, &s, client, upstream, true);
    flow_init(&s.down, &s, upstream, client, false);
    s.up.task = task_self();
    s.down.task = task_spawn(RUN_NORMAL, "realtime session", down_main, &s);
    if (s.down.task == NULL) {
        s.down.is_done = s.down.is_gone = true;
        end_session(&s, SESSION_NO_MEMORY);
    }
    flow_run(&s.up);
    task_cancel_clear(task_self());
    task_shield();
    while (!s.down.is_gone)
        task_park(CLOCK_NEVER);
    say_goodbye(&s.up);
    say_goodbye(&s.down);
    task_unshield();
    *result = (struct session_result){
        .end = s.end,
        .client_code = s.up.code,
        .upstream_code = s.down.code,
        .messages_up = s.up.messages,
        .messages_down = s.down.messages,
    };
}
