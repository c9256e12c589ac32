#include "base/clock.h"
#include "dialect/openai_chat/response.h"
#include "gateway/exchange.h"
#include "gateway/headers.h"
#include "gateway/relay_stream.h"

/*
 * The answer's way to the client: whole answers here, streams in relay_stream.c. A whole answer is
 * read to its end before anything is sent, so that a broken one is an error and not half a body.
 */

static bool is_event_stream(const struct h1_head *head)
{
    struct str type = http_headers_get(&head->headers, STR("content-type"));
    /* Some providers label an error to a stream request as an event stream: it is plain JSON. */
    return head->status == 200 && str_istarts(type, STR("text/event-stream"));
}

/* Bytes that we were not to get (identity was asked for) are passed on unread. */
static bool is_encoded(const struct h1_head *head)
{
    struct str encoding = http_headers_get(&head->headers, STR("content-encoding"));
    return encoding.len > 0 && !str_ieq(encoding, STR("identity"));
}

void relay_note_usage(struct exchange *ex, const struct token_usage *usage)
{
    const struct provider_quirks *quirks = &ex->upstream->provider->quirks;
    ex->record.usage = *usage;
    ex->record.usage.input_includes_cached = true;
    /* xAI tells reasoning beside completion tokens; it is output and billed as such. */
    if (quirks->total_includes_reasoning && usage->reasoning > 0 && usage->output >= 0)
        ex->record.usage.output = usage->output + usage->reasoning;
}

/* The body as one piece: in place where it came with one read, else gathered in *kept. */
YIELDS static int read_whole(struct exchange *ex, struct buf *kept, struct str *body)
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

YIELDS static void send_whole(struct exchange *ex, unsigned status, struct str body)
{
    if (!headers_for_client(&ex->answer, ex->head_arena, &ex->call.head.headers)) {
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
        return;
    }
    exchange_add_own_headers(ex);
    http_respond(ex->http, status, &ex->answer, body);
}

/* An error page that is no JSON says nothing to an SDK: its status is kept, its words are quoted.
 */
YIELDS static void send_foreign_error(struct exchange *ex, unsigned status, struct str body)
{
    struct buf json = BUF_INIT;
    struct str type = http_headers_get(&ex->call.head.headers, STR("content-type"));
    struct str message = arena_printf(
        ex->arena, "%.*s answered %u with %.*s: %.*s", STR_ARG(ex->record.provider), status,
        STR_ARG(type.len > 0 ? type : STR("no content type")), STR_ARG(str_head(body, 512)));
    openai_error_write(&json, STR("server_error"), STR_EMPTY, STR("upstream_error"), message);
    struct str retry = http_headers_get(&ex->call.head.headers, STR("retry-after"));
    if (retry.ptr != NULL)
        exchange_answer_header(ex, STR("Retry-After"), retry);
    refuse_with_status(ex, status, REFUSE_UPSTREAM_ERROR, buf_str(&json));
    buf_fini(&json);
}

struct str relay_error_class(struct exchange *ex, const struct openai_error *error)
{
    struct str code = error->code.len > 0 ? error->code : error->type;
    return arena_dup(ex->arena, str_head(code, 64));
}

/* What the provider's status means for the record: whose fault it was. */
static void note_error_status(struct exchange *ex, unsigned status,
                              const struct openai_error *error)
{
    bool is_client = status == 400 || status == 404 || status == 413 || status == 422;
    ex->record.outcome = is_client ? STR("client_error") : STR("upstream_error");
    ex->record.error = arena_printf(ex->arena, "upstream_%u", status);
    /* Not its message: providers quote the prompt there, and a log holds no bodies. */
    ex->record.error_message = relay_error_class(ex, error);
}

static void note_answer(struct exchange *ex, const struct openai_answer *answer)
{
    if (answer->has_usage)
        relay_note_usage(ex, &answer->usage);
    ex->record.finish_reason = arena_dup(ex->arena, answer->finish_reason);
    ex->record.model_answered = arena_dup(ex->arena, answer->model);
}

YIELDS static void relay_whole(struct exchange *ex)
{
    struct buf kept = BUF_INIT;
    struct str body = STR_EMPTY;
    exchange_wait_begins(ex);
    int r = read_whole(ex, &kept, &body);
    exchange_wait_ended(ex);
    if (r < 0) {
        relay_refuse_broken(ex, r);
        buf_fini(&kept);
        return;
    }
    unsigned status = ex->call.head.status;
    struct openai_answer answer = {0};
    bool is_read = !is_encoded(&ex->call.head) && openai_answer_read(body, &answer) == 0;
    if (is_read)
        note_answer(ex, &answer);
    else
        metrics_count(METRIC_OBSERVER_ERRORS, 1);
    if (is_read && answer.is_error && status < 400)
        status = answer.error.status >= 400 ? answer.error.status : 502;
    if (status >= 400)
        note_error_status(ex, status, &answer.error);
    if (status >= 400 && !is_read && !is_encoded(&ex->call.head))
        send_foreign_error(ex, status, body);
    else
        send_whole(ex, status, body);
    buf_fini(&kept);
}

YIELDS void relay_refuse_broken(struct exchange *ex, int code)
{
    bool is_shutdown = task_cancel_reason(ex->task) == ERR_CANCELED;
    if (code == -ERR_CANCELED && !is_shutdown) {
        ex->record.outcome = STR("client_gone");
        return;
    }
    struct str why = is_shutdown ? STR("the gateway is shutting down")
                                 : arena_dup(ex->arena, str_c(err_slot()->message));
    task_shield();
    refuse(ex, refusal_of_upstream(code), STR_EMPTY, "The answer of %.*s broke off: %.*s.",
           STR_ARG(ex->record.provider), STR_ARG(why));
    task_unshield();
}

YIELDS void exchange_relay(struct exchange *ex)
{
    if (is_event_stream(&ex->call.head) && !is_encoded(&ex->call.head))
        relay_stream(ex);
    else
        relay_whole(ex);
}
