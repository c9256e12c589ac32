#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/exchange.h"
#include "gateway/headers.h"
#include "gateway/heartbeat.h"
#include "gateway/realtime.h"
#include "gateway/relay_stream.h"
#include "gateway/responses.h"

/*
 * The answer's way to the client: whole answers here, streams in relay_stream.c. A whole answer is
 * read to its end before anything is sent, so that a broken one is an error and not half a body.
 */

/* A list or the like is of no dialect's answers: it goes as it is. */
static bool is_inference(const struct exchange *ex)
{
    return ex->provider != NULL;
}

/* Bytes that we were not to get (identity was asked for) are passed on unread. */
static bool is_encoded(const struct h1_head *head)
{
    struct str encoding = http_headers_get(&head->headers, STR("content-encoding"));
    return encoding.len > 0 && !str_ieq(encoding, STR("identity"));
}

void relay_note_usage(struct exchange *ex, const struct token_usage *usage)
{
    ex->record.usage = *usage;
    if (ex->provider->id != DIALECT_OPENAI_CHAT || ex->translation != NULL)
        return;
    ex->record.usage.input_includes_cached = true;
    /* xAI tells reasoning beside completion tokens; it is output and billed as such. */
    if (ex->upstream->provider->llm_quirks.total_includes_reasoning && usage->reasoning > 0 &&
        usage->output >= 0)
        ex->record.usage.output = usage->output + usage->reasoning;
}

YIELDS int relay_read_whole(struct exchange *ex, struct buf *kept, struct str *body)
{
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool hit = false;
    int r = http_call_read(&ex->call, &pieces, CLOCK_NEVER, &hit);
    if (r < 0)
        return r;
    if (pieces.bytes > ex->settings->response_bytes)
        return err_set(ERR_LIMIT, FAULT_UPSTREAM, "the answer is larger than %llu bytes",
                       (unsigned long long)ex->settings->response_bytes);
    if (pieces.is_last && pieces.count <= 1) {
        *body = pieces.count == 0 ? STR_EMPTY : str_n(v[0].iov_base, v[0].iov_len);
        return 0;
    }
    for (int i = 0; i < pieces.count; i++)
        buf_add(kept, v[i].iov_base, v[i].iov_len);
    if (!pieces.is_last)
        r = http_call_collect(&ex->call, ex->settings->response_bytes - pieces.bytes, kept);
    if (r == 0 && !buf_ok(kept))
        r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the answer");
    *body = buf_str(kept);
    return r;
}

/* What the client is told beside the body. */
static bool add_headers(struct exchange *ex)
{
    struct headers_way way = exchange_way(ex);
    if (!headers_for_client(&ex->answer, ex->head_arena, &ex->call.head.headers, &way))
        return false;
    if (ex->is_rewritten)
        exchange_answer_header(ex, STR("Content-Type"), STR("application/json"));
    return true;
}

YIELDS static void send_whole(struct exchange *ex, unsigned status, struct str body)
{
    if (ex->is_head_early) {
        refuse(ex, REFUSE_UPSTREAM_BROKEN, STR_EMPTY, "%.*s answered %u where a stream was due.",
               STR_ARG(ex->record.provider), status);
        return;
    }
    if (!add_headers(ex)) {
        refuse_no_memory(ex);
        return;
    }
    exchange_add_own_headers(ex);
    http_respond(ex->http, status, &ex->answer, body);
}

struct str relay_error_class(struct exchange *ex, const struct llm_error *error)
{
    struct str code = error->code.s.len > 0 ? error->code.s : error->type.s;
    return arena_dup(ex->arena, str_head(code, 64));
}

/* What the provider's status means for the record: whose fault it was. */
static void note_error_status(struct exchange *ex, unsigned status, const struct llm_error *error)
{
    bool is_client = status == 400 || status == 404 || status == 413 || status == 422;
    ex->record.outcome = is_client ? STR("client_error") : STR("upstream_error");
    ex->record.error = arena_printf(ex->arena, "upstream_%u", status);
    /* Not its message: providers quote the prompt there, and a log holds no bodies. */
    ex->record.error_message = relay_error_class(ex, error);
}

/* An error page that is no JSON says nothing to an SDK: its status is kept, its words are quoted.
 */
static struct str quote_page(struct exchange *ex, unsigned status, struct str body)
{
    struct str type = http_headers_get(&ex->call.head.headers, STR("content-type"));
    return arena_printf(ex->arena, "%.*s answered %u with %.*s: %.*s", STR_ARG(ex->record.provider),
                        status, STR_ARG(type.len > 0 ? type : STR("no content type")),
                        STR_ARG(str_head(body, 512)));
}

YIELDS void relay_note_failed_answer(struct exchange *ex)
{
    struct buf kept = BUF_INIT;
    struct str body = STR_EMPTY;
    struct llm_error error = LLM_ERROR_NONE;
    unsigned status = ex->call.head.status;
    struct str kind = http_headers_get(&ex->call.head.headers, STR("x-amzn-errortype"));
    if (relay_read_whole(ex, &kept, &body) < 0)
        body = STR_EMPTY;
    ex->provider->read_error(status, kind, body, &error);
    attempts_error(ex, &error);
    buf_fini(&kept);
}

/* The provider's error, passed on as it is or told in the client's words. */
YIELDS static void send_error(struct exchange *ex, unsigned status, struct str body)
{
    struct llm_error error = LLM_ERROR_NONE;
    struct str kind = http_headers_get(&ex->call.head.headers, STR("x-amzn-errortype"));
    bool is_known = ex->provider->read_error(status, kind, body, &error);
    note_error_status(ex, status, &error);
    if (attempts_error(ex, &error))
        return;
    if (is_known && ex->error_dialect == ex->provider->id && ex->translation == NULL &&
        !ex->is_head_early) {
        send_whole(ex, status, body);
        return;
    }
    struct str outcome = ex->record.outcome, name = ex->record.error;
    struct str message = ex->record.error_message;
    if (!is_known) {
        error.message = text_plain(quote_page(ex, status, body));
        error.code = text_plain(STR("upstream_error"));
        error.type = text_plain(STR("server_error"));
    }
    struct headers_way way = exchange_way(ex);
    way.is_translated = true;
    headers_for_client(&ex->answer, ex->head_arena, &ex->call.head.headers, &way);
    refuse_with_error(ex, status, &error);
    ex->record.outcome = outcome;
    ex->record.error = name;
    ex->record.error_message = message;
}

static void note_answer(struct exchange *ex, const struct answer_summary *answer)
{
    if (answer->has_usage)
        relay_note_usage(ex, &answer->usage);
    ex->record.finish_reason = arena_dup(ex->arena, str_small_get(&answer->finish_reason));
    ex->record.model_answered = arena_dup(ex->arena, str_small_get(&answer->model));
}

/* A 200 with an error inside is an error; its status is what it says. */
YIELDS static void send_hidden_error(struct exchange *ex, const struct llm_error *error,
                                     struct str body)
{
    unsigned status = error->status >= 400 ? error->status : 502;
    struct str name = relay_error_class(ex, error);
    if (attempts_error(ex, error))
        return;
    if (ex->translation == NULL && ex->error_dialect == ex->provider->id)
        send_whole(ex, status, body);
    else
        refuse_with_error(ex, status, error);
    note_error_status(ex, status, error);
    ex->record.error_message = name;
}

YIELDS static void send_same(struct exchange *ex, struct str body)
{
    struct answer_summary answer = {0};
    bool is_read = !is_encoded(&ex->call.head) &&
                   answer_summary_read(&answer, ex->provider, ex->arena, &ex->codec, body) == 0;
    if (is_read && answer.is_error) {
        send_hidden_error(ex, &answer.error, body);
        return;
    }
    if (is_read)
        note_answer(ex, &answer);
    else
        metrics_count(METRIC_OBSERVER_ERRORS, 1);
    send_whole(ex, ex->call.head.status, body);
}

/* The translation of a whole answer; streamed where that was asked for. */
static int translate_whole(struct exchange *ex, struct str body, struct buf *out, bool *is_error)
{
    struct translation *t = ex->translation;
    if (!ex->is_stream)
        return translation_whole(t, body, out, is_error);
    struct frame_writer writer;
    frame_writer_init(&writer, relay_client_framing(ex), out);
    int r = translation_whole_as_stream(t, body, &writer.frames);
    frame_write_end(&writer);
    frame_writer_fini(&writer);
    *is_error = t->is_error;
    return r;
}

YIELDS static void send_translation(struct exchange *ex, struct str body)
{
    if (ex->is_head_early) {
        /* It is a stream by now: translate_whole has made one of it. */
        struct iovec iov = {(void *)(uintptr_t)body.ptr, body.len};
        ex->is_head_early = false;
        http_response_write(ex->http, &iov, 1, true, CLOCK_NEVER);
        return;
    }
    if (!add_headers(ex)) {
        refuse_no_memory(ex);
        return;
    }
    if (ex->is_stream)
        headers_replace(&ex->answer, ex->head_arena, STR("Content-Type"),
                        stream_framing_type(relay_client_framing(ex)));
    exchange_add_own_headers(ex);
    http_respond(ex->http, ex->call.head.status, &ex->answer, body);
    if (!ex->is_stream && ex->client->id == DIALECT_OPENAI_RESPONSES)
        response_keep(ex, body);
}

YIELDS static void send_translated(struct exchange *ex, struct str body)
{
    struct buf out = BUF_INIT;
    bool is_error = false;
    int r = translate_whole(ex, body, &out, &is_error);
    if (r == 0 && !buf_ok(&out))
        r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the answer");
    relay_note_translation(ex);
    if (r < 0) {
        metrics_count(METRIC_OBSERVER_ERRORS, 1);
        if (attempts_failure(ex, r)) {
            buf_fini(&out);
            return;
        }
        refuse(ex, r == -ERR_NOMEM ? REFUSE_NO_MEMORY : REFUSE_UPSTREAM_BROKEN, STR_EMPTY,
               "The answer of %.*s is not what the %s dialect knows: %s.",
               STR_ARG(ex->record.provider), ex->provider->name, err_slot()->message);
    } else if (is_error) {
        send_hidden_error(ex, &ex->translation->error, body);
    } else {
        send_translation(ex, buf_str(&out));
    }
    buf_fini(&out);
}

void relay_note_translation(struct exchange *ex)
{
    const struct translation *t = ex->translation;
    bool is_partial = ex->record.usage.is_partial;
    relay_note_usage(ex, &t->usage);
    ex->record.usage.is_partial = is_partial;
    ex->record.finish_reason = arena_dup(ex->arena, t->raw_finish.s);
    ex->record.model_answered = arena_dup(ex->arena, t->model.s);
}

YIELDS static void send_unread(struct exchange *ex, unsigned status, struct str body)
{
    struct llm_error error = LLM_ERROR_NONE;
    if (status >= 400)
        note_error_status(ex, status, &error);
    send_whole(ex, status, body);
}

YIELDS static void relay_whole(struct exchange *ex)
{
    struct buf kept = BUF_INIT;
    struct str body = STR_EMPTY;
    exchange_wait_begins(ex);
    heartbeat_begin(ex);
    int r = relay_read_whole(ex, &kept, &body);
    if (r == 0 && ex->heartbeat != NULL && kept.len == 0) {
        buf_add_str(&kept, body); /* what lies in the read buffer does not last until the end */
        body = buf_str(&kept);
        r = buf_ok(&kept) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the answer");
    }
    heartbeat_end(ex);
    exchange_wait_ended(ex);
    unsigned status = ex->call.head.status;
    if (r < 0)
        relay_refuse_broken(ex, r);
    else if (!is_inference(ex))
        send_unread(ex, status, body);
    else if (status >= 400 && !is_encoded(&ex->call.head))
        send_error(ex, status, body);
    else if (ex->translation != NULL)
        send_translated(ex, body);
    else
        send_same(ex, body);
    buf_fini(&kept);
}

YIELDS void relay_refuse_broken(struct exchange *ex, int code)
{
    bool is_shutdown = task_cancel_reason(ex->task) == ERR_CANCELED;
    if (code == -ERR_CANCELED && !is_shutdown) {
        ex->record.outcome = STR("client_gone");
        return;
    }
    if (!is_shutdown && attempts_failure(ex, code))
        return;
    struct str why = is_shutdown ? STR("the gateway is shutting down")
                                 : arena_dup(ex->arena, str_c(err_slot()->message));
    task_shield();
    refuse(ex, refusal_of_upstream(code), STR_EMPTY, "The answer of %.*s broke off: %.*s.",
           STR_ARG(ex->record.provider), STR_ARG(why));
    task_unshield();
}

YIELDS void exchange_relay(struct exchange *ex)
{
    const struct h1_head *head = &ex->call.head;
    enum stream_framing framing;
    if (ex->realtime != NULL && (head->status < 400 || ex->realtime->is_open)) {
        realtime_relay(ex);
        return;
    }
    /* Some providers label an error to a stream request as an event stream: it is plain JSON. */
    bool is_stream = is_inference(ex) && head->status == 200 && !is_encoded(head) &&
                     stream_framing_of(http_headers_get(&head->headers, STR("content-type")),
                                       ex->llm_target.variant == VARIANT_BEDROCK, &framing);
    if (is_stream)
        relay_stream(ex, framing);
    else
        relay_whole(ex);
}
