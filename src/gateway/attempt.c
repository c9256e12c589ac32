#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/exchange.h"
#include "gateway/headers.h"
#include "gateway/heartbeat.h"
#include "gateway/operation.h"
#include "gateway/realtime.h"

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
    if (!is_shutdown && attempts_failure(ex, code))
        return;
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
    const struct route_policy *p = ex->policy;
    ex->timeouts = (struct http_timeouts){
        .connect_ns = p->connect_ns > 0 ? p->connect_ns : t->connect,
        .tls_ns = t->tls,
        .first_byte_ns = p->first_byte_ns > 0 ? p->first_byte_ns : t->first_byte,
        .idle_ns = p->stall_ns > 0 ? p->stall_ns : t->stall,
        .total_deadline_ns = exchange_deadline(ex),
    };
}

YIELDS static int call_upstream(struct exchange *ex, const struct http_call_request *request)
{
    int r =
        http_call_start(&ex->call, ex->head_arena, &ex->upstream->origin, request, &ex->timeouts);
    ex->has_call = true;
    return r < 0 ? r : http_call_head(&ex->call);
}

int exchange_body_pieces(const struct exchange *ex, struct iovec *pieces, unsigned max)
{
    if (ex->rewritten.len > 0) {
        pieces[0] = (struct iovec){ex->rewritten.ptr, ex->rewritten.len};
        return 1;
    }
    if (ex->body.len == 0)
        return 0;
    return json_splice_iov(buf_str(&ex->body), ex->fit.edits, ex->fit.count, pieces, max);
}

/* A translated answer may repeat what was asked (Responses). */
void exchange_forget_body(struct exchange *ex)
{
    if (ex->translation == NULL || ex->codec.request == NULL)
        buf_fini(&ex->body);
}

int64_t exchange_deadline(const struct exchange *ex)
{
    int64_t total_ns =
        ex->policy->total_ns > 0 ? ex->policy->total_ns : ex->settings->timeouts.total;
    return total_ns > 0 ? clock_add_ns(ex->start_ns, total_ns) : CLOCK_NEVER;
}

bool exchange_forget_attempt(struct exchange *ex)
{
    struct request_record *rec = &ex->record;
    if (ex->has_call)
        http_call_finish(&ex->call);
    ex->has_call = false;
    if (ex->translation != NULL)
        translation_fini(ex->translation);
    ex->translation = NULL;
    buf_fini(&ex->rewritten);
    ex->is_rewritten = false;
    ex->fit = (struct llm_fit){0};
    ex->betas = ex->special_path = STR_EMPTY;
    ex->provider = NULL;
    ex->answer = (struct http_headers){0};
    rec->outcome = STR("ok");
    rec->error = rec->error_message = rec->finish_reason = rec->model_answered = STR_EMPTY;
    rec->upstream_dialect = STR_EMPTY;
    rec->upstream_status = 0;
    rec->connect_ns = -1;
    struct arena *fresh = arena_new(HEAD_ARENA_BYTES);
    if (fresh == NULL)
        return false;
    arena_free(ex->head_arena);
    ex->head_arena = fresh;
    return true;
}

YIELDS static int add_headers(struct exchange *ex, struct http_call_request *request,
                              struct http_headers *headers)
{
    struct headers_way way = exchange_way(ex);
    request->headers = headers;
    if (!headers_for_upstream(headers, ex->head_arena, &ex->http->headers,
                              &ex->upstream->headers[ex->key_index], &way, request->body_count > 0))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    if (ex->betas.len > 0 &&
        !http_headers_add(headers, ex->head_arena, STR("anthropic-beta"), ex->betas))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    if (ex->realtime != NULL && realtime_offer(ex, request, headers) < 0)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    return upstream_authenticate(ex->upstream, ex->head_arena, request, headers);
}

YIELDS int exchange_attempt(struct exchange *ex)
{
    struct http_headers headers = {0};
    struct iovec body[2 * ARRAY_LEN(ex->fit.edits) + 1];
    struct http_call_request request = {
        .method = ex->operation->method,
        .target = ex->upstream_path,
        .body = body,
    };
    request.body_count = exchange_body_pieces(ex, body, ARRAY_LEN(body));
    if (request.body_count < 0) {
        refuse(ex, REFUSE_INTERNAL, STR_EMPTY, "The request body could not be edited.");
        return request.body_count;
    }
    for (int i = 0; i < request.body_count; i++)
        request.body_bytes += body[i].iov_len;
    set_timeouts(ex);
    ex->record.attempts++;
    http_request_watch_hangup(ex->http, ex->task);
    exchange_wait_begins(ex);
    heartbeat_begin(ex);
    int r = add_headers(ex, &request, &headers);
    if (r == 0)
        r = call_upstream(ex, &request);
    heartbeat_end(ex);
    exchange_wait_ended(ex);
    if (ex->has_call)
        note_call(ex);
    buf_fini(&ex->rewritten);
    if (r < 0) {
        refuse_failed_call(ex, r);
        return r;
    }
    ex->record.upstream_status = ex->call.head.status;
    attempts_head(ex);
    /* A token that was taken back before its time: the next request has a new one. */
    if (ex->call.head.status == 401 && ex->upstream->credential != NULL)
        credential_refused(ex->upstream->credential);
    return 0;
}
