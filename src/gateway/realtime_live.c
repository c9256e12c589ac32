#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "gateway/exchange.h"
#include "gateway/realtime.h"
#include "rt/random.h"

/*
 * Gemini's live sessions: nothing but the first message says which model is meant
 * ({"setup":{"model":"models/..."}}), so the client is answered before anybody is asked. What goes
 * wrong then is told by a close frame.
 * https://ai.google.dev/api/live
 */

enum {
    /* How long a client may take for its first message, and how large that may be. */
    SETUP_MS = 30 * 1000,
    SETUP_BYTES_MAX = 1 << 20,
    GOODBYE_MS = 1000,
};

static const struct json_want wants[] = {{{STR_INIT("setup"), STR_INIT("model")}}};

/* --- the client's first message --- */

/* Answers the handshake: no extension, since nobody knows yet what the provider can. */
YIELDS static int open_client(struct exchange *ex)
{
    struct realtime *rt = ex->realtime;
    rt->client.extensions = rt->client.protocols = STR_EMPTY;
    exchange_add_own_headers(ex);
    int r = ws_answer_write(&ex->answer, ex->head_arena, rt->client.key, STR_EMPTY, STR_EMPTY);
    if (r < 0)
        return refuse_no_memory(ex);
    r = http_response_upgrade(ex->http, &ex->answer, &rt->channel);
    ex->answer = (struct http_headers){0};
    rt->is_open = r == 0;
    if (r < 0)
        ex->record.outcome = STR("client_gone");
    return r;
}

/* Takes pieces until the message is whole: 1, 0 = more must come, or -ERR_x. */
YIELDS static int take_setup(struct realtime *rt, struct ws_reader *reader, char **bytes,
                             size_t *len)
{
    struct ws_piece piece;
    int r;
    while ((r = ws_next(reader, bytes, len, &piece)) == 1) {
        struct str part = str_n(piece.bytes, piece.len);
        if (piece.opcode == WS_CLOSE)
            return err_set(ERR_CLOSED, FAULT_CLIENT, "the client closed before its first message");
        if (piece.opcode == WS_PONG)
            continue;
        if (piece.opcode == WS_PING) {
            struct buf pong = BUF_INIT;
            ws_add_frame(&pong, WS_PONG, part, NULL);
            r = buf_ok(&pong)
                    ? channel_write(&rt->channel, pong.ptr, pong.len, GOODBYE_MS * NS_PER_MS)
                    : -ERR_NOMEM;
            buf_fini(&pong);
            if (r < 0)
                return r;
            continue;
        }
        rt->first_opcode = piece.message;
        buf_add_str(&rt->first, part);
        if (!buf_ok(&rt->first))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a message");
        if (piece.is_last && piece.is_final)
            return 1;
    }
    return r;
}

/* What is read stays in a buffer of its own: what follows the message is the session's. */
YIELDS static int read_setup(struct realtime *rt, struct ws_reader *reader)
{
    int64_t deadline_ns = clock_add_ns(loop_now_ns(), SETUP_MS * NS_PER_MS);
    int r = 0;
    while (r == 0) {
        buf_clear(&rt->ahead);
        if (!buf_reserve(&rt->ahead, 16 * 1024))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a message");
        ssize_t n = channel_read(&rt->channel, rt->ahead.ptr, rt->ahead.cap, deadline_ns);
        if (n < 0)
            return (int)n;
        rt->ahead.len = (size_t)n;
        char *bytes = rt->ahead.ptr;
        size_t len = rt->ahead.len;
        r = take_setup(rt, reader, &bytes, &len);
        if (r == 1)
            buf_consume(&rt->ahead, rt->ahead.len - len);
    }
    /* The session reads them before the socket. They were counted already. */
    if (r == 1) {
        size_t before = rt->channel.unread.len;
        if (before > 0)
            buf_add_str(&rt->ahead, rt->channel.unread);
        rt->channel.unread = buf_str(&rt->ahead);
        rt->channel.bytes_in -= rt->ahead.len - before;
    }
    return buf_ok(&rt->ahead) ? MIN(r, 0) : -ERR_NOMEM;
}

/* models/NAME, or Vertex AI's whole path to one. */
static struct str plain_model(struct str model)
{
    ptrdiff_t at = str_find(model, STR("/models/"));
    if (str_starts(model, STR("models/")))
        return str_skip(model, 7);
    return at >= 0 ? str_skip(model, (size_t)at + 8) : model;
}

YIELDS static int read_model(struct exchange *ex)
{
    struct str text = buf_str(&ex->realtime->first);
    struct json_scan scan;
    int r = json_scan_object(text, ex->settings->json_depth, wants, ARRAY_LEN(wants), &scan);
    const struct json_found *found = &scan.found[0];
    if (r == 0 && (found->kind != JSON_STRING || found->is_duplicate))
        r = err_set(ERR_INVALID, FAULT_CLIENT, "setup.model is not one string");
    if (r == 0) {
        struct json_value value = {found->kind, json_span_str(text, found->value)};
        r = json_unescape(ex->arena, json_string_raw(value), &ex->asked);
    }
    /* The log is written when the message has gone. */
    ex->asked = arena_dup(ex->arena, plain_model(ex->asked));
    ex->record.model_asked = ex->asked;
    if (r == 0 && ex->asked.len > 0)
        return 0;
    refuse(ex, REFUSE_BODY, STR("setup.model"),
           "The first message must be a setup that names a model: %s", err_slot()->message);
    return -ERR_INVALID;
}

/* --- the provider --- */

/* As the provider names it in a setup: Vertex AI wants the whole path. */
static struct str full_model(const struct exchange *ex)
{
    const struct provider *p = ex->upstream->provider;
    struct str plain[] = {STR("models/"), ex->target.model};
    struct str whole[] = {
        STR("projects/"),          p->places[PLACE_PROJECT],          STR("/locations/"),
        p->places[PLACE_LOCATION], STR("/publishers/google/models/"), ex->target.model};
    return p->variant == VARIANT_VERTEX ? arena_concat(ex->arena, whole, ARRAY_LEN(whole))
                                        : arena_concat(ex->arena, plain, ARRAY_LEN(plain));
}

YIELDS int realtime_live_begin(struct exchange *ex)
{
    struct realtime *rt = ex->realtime;
    struct str text = buf_str(&rt->first);
    struct json_scan scan;
    struct iovec pieces[3];
    uint8_t key[WS_KEY_BYTES];
    struct buf message = BUF_INIT, model = BUF_INIT, frame = BUF_INIT;
    int r = json_scan_object(text, ex->settings->json_depth, wants, ARRAY_LEN(wants), &scan);
    if (r < 0)
        return r;
    buf_add_json(&model, full_model(ex));
    struct json_edit edit = json_edit_replace(scan.found[0].value, buf_str(&model));
    int count = json_splice_iov(text, &edit, 1, pieces, ARRAY_LEN(pieces));
    for (int i = 0; i < count; i++)
        buf_add(&message, pieces[i].iov_base, pieces[i].iov_len);
    random_secret(key, sizeof(key));
    ws_add_frame(&frame, rt->first_opcode, buf_str(&message), key);
    r = count < 0 ? count : -ERR_NOMEM;
    if (count >= 0 && buf_ok(&model) && buf_ok(&message) && buf_ok(&frame))
        r = channel_write(&rt->provider, frame.ptr, frame.len, ex->settings->timeouts.client_stall);
    buf_fini(&model);
    buf_fini(&message);
    buf_fini(&frame);
    return r;
}

/* --- the end, where there was no session --- */

static unsigned close_code_of(const struct exchange *ex, const struct ws_reader *reader)
{
    if (reader->close_code != 0)
        return reader->close_code;
    if (str_eq(ex->record.outcome, STR("client_error")))
        return WS_CLOSE_POLICY;
    return str_eq(ex->record.outcome, STR("upstream_error")) ? WS_CLOSE_BAD_GATEWAY
                                                             : WS_CLOSE_INTERNAL;
}

YIELDS static void close_client(struct exchange *ex, const struct ws_reader *reader)
{
    struct realtime *rt = ex->realtime;
    struct buf out = BUF_INIT;
    task_shield();
    if (!str_eq(ex->record.outcome, STR("client_gone"))) {
        ws_add_close(&out, close_code_of(ex, reader), ex->record.error_message, NULL);
        if (buf_ok(&out) &&
            channel_write(&rt->channel, out.ptr, out.len, GOODBYE_MS * NS_PER_MS) == 0)
            channel_finish(&rt->channel, clock_add_ns(clock_mono_ns(), GOODBYE_MS * NS_PER_MS));
    }
    task_unshield();
    buf_fini(&out);
    ex->http->is_complete = rt->channel.is_finished;
}

YIELDS static void refuse_setup(struct exchange *ex, int code)
{
    if (code == -ERR_CLOSED || code == -ERR_RESET)
        ex->record.outcome = STR("client_gone");
    else if (code == -ERR_NOMEM)
        refuse_no_memory(ex);
    else if (code == -ERR_CANCELED)
        refuse(ex, REFUSE_DRAINING, STR_EMPTY, "The gateway is shutting down.");
    else
        refuse(ex, REFUSE_BODY, STR_EMPTY, "The first message could not be read: %s",
               code == -ERR_TIMEOUT ? "it did not come in time" : err_slot()->message);
}

YIELDS void realtime_live_run(struct exchange *ex)
{
    const struct ws_reader_settings settings = {.role = WS_SERVER, .message_max = SETUP_BYTES_MAX};
    struct ws_reader reader;
    if (realtime_begin(ex) < 0 || open_client(ex) < 0)
        return;
    struct realtime *rt = ex->realtime;
    ws_reader_init(&reader, &settings);
    exchange_wait_begins(ex);
    int r = read_setup(rt, &reader);
    exchange_wait_ended(ex);
    if (r < 0)
        refuse_setup(ex, r);
    else if (read_model(ex) == 0)
        realtime_try(ex);
    if (!rt->is_joined)
        close_client(ex, &reader);
    buf_fini(&rt->first);
    buf_fini(&rt->ahead);
}
