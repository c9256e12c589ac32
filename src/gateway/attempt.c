#include "base/clock.h"
#include "gateway/exchange.h"
#include "gateway/headers.h"
#include "gateway/operation.h"

/*
 * One try at the target: send the request, wait for the head of its answer. Nothing has been sent
 * to the client yet, so a failure here is still a whole answer.
 */

static void note_call(struct exchange *ex)
{
    const struct http_call *call = &ex->call;
    ex->record.upstream_reused = call->was_reused;
    if (!call->was_reused)
        ex->record.connect_ns = call->dial.dns_ns + call->dial.connect_ns + call->dial.tls_ns;
}

/* A wait that a shutdown cut short still owes the client a word; a client that left hears none. */
YIELDS static void refuse_failed_call(struct exchange *ex, int code)
{
    bool is_shutdown = task_cancel_reason(ex->task) == ERR_CANCELED;
    if (code == -ERR_CANCELED && !is_shutdown) {
        refusal_note(ex, REFUSE_UPSTREAM_BROKEN, STR_EMPTY);
        ex->record.outcome = STR("client_gone");
        return;
    }
    enum refusal refusal = refusal_of_upstream(code);
    struct str why = is_shutdown ? STR("the gateway is shutting down")
                                 : arena_dup(ex->arena, str_c(err_slot()->message));
    struct str hint = STR_EMPTY;
    /* The dial guard's "not allowed unless": what the operator has to write. */
    if (code == -ERR_FORBIDDEN && str_find(why, STR("unless")) >= 0)
        hint = arena_printf(ex->arena, "; set providers.%.*s.allow_private: true if that is meant",
                            STR_ARG(ex->record.provider));
    task_shield();
    refuse(ex, refusal, STR_EMPTY, "No answer from %.*s: %.*s%.*s.", STR_ARG(ex->record.provider),
           STR_ARG(why), STR_ARG(hint));
    task_unshield();
}

static void set_timeouts(struct exchange *ex)
{
    const struct timeout_settings *t = &ex->settings->timeouts;
    ex->timeouts = (struct http_timeouts){
        .connect_ns = t->connect,
        .tls_ns = t->tls,
        .first_byte_ns = t->first_byte,
        .idle_ns = t->stall,
        .total_deadline_ns = t->total > 0 ? clock_add_ns(ex->start_ns, t->total) : CLOCK_NEVER,
    };
}

YIELDS static int call_upstream(struct exchange *ex, const struct http_call_request *request)
{
    int r =
        http_call_start(&ex->call, ex->head_arena, &ex->upstream->origin, request, &ex->timeouts);
    ex->has_call = true;
    return r < 0 ? r : http_call_head(&ex->call);
}

YIELDS int exchange_attempt(struct exchange *ex)
{
    struct http_headers headers = {0};
    struct iovec body[2 * ARRAY_LEN(ex->edits) + 1];
    struct http_call_request request = {
        .method = ex->operation->method,
        .target = ex->upstream_path,
        .headers = &headers,
        .body = body,
    };
    if (ex->body.len > 0)
        request.body_count =
            json_splice_iov(buf_str(&ex->body), ex->edits, ex->edit_count, body, ARRAY_LEN(body));
    for (int i = 0; i < request.body_count; i++)
        request.body_bytes += body[i].iov_len;
    if (request.target.ptr == NULL ||
        !headers_for_upstream(&headers, ex->head_arena, &ex->http->headers, &ex->upstream->headers,
                              request.body_count > 0)) {
        refuse(ex, REFUSE_NO_MEMORY, STR_EMPTY, "The gateway is out of memory; try again.");
        return -ERR_NOMEM;
    }
    set_timeouts(ex);
    ex->record.attempts++;
    http_request_watch_hangup(ex->http, ex->task);
    exchange_wait_begins(ex);
    int r = call_upstream(ex, &request);
    exchange_wait_ended(ex);
    note_call(ex);
    /* No further try can need it. */
    buf_fini(&ex->body);
    if (r < 0) {
        refuse_failed_call(ex, r);
        return r;
    }
    ex->record.upstream_status = ex->call.head.status;
    return 0;
}
