#include "gateway/exchange.h"

#include "base/clock.h"
#include "gateway/cost.h"
#include "gateway/detached.h"
#include "gateway/grpc.h"
#include "gateway/operation.h"
#include "observe/access_log.h"
#include "rt/random.h"

enum { TARGET_SHOWN_BYTES = 4096 };

void exchange_answer_header(struct exchange *ex, struct str name, struct str value)
{
    if (value.ptr != NULL && http_value_is_safe(value))
        http_headers_add(&ex->answer, ex->head_arena, name, value);
}

void exchange_forget_head(struct exchange *ex)
{
    ex->answer = (struct http_headers){0};
    if (ex->has_call)
        http_call_forget_head(&ex->call, ex->arena);
    arena_free(ex->head_arena);
    ex->head_arena = NULL;
}

void exchange_add_own_headers(struct exchange *ex)
{
    const struct request_record *rec = &ex->record;
    exchange_answer_header(ex, STR("x-weir-request-id"), rec->request_id);
    if (ex->upstream == NULL)
        return;
    /* A client may ask for any name; its own stack need not take it back as a header. */
    struct str target[] = {rec->provider, STR("/"), rec->model};
    if (rec->model.len <= TARGET_SHOWN_BYTES)
        exchange_answer_header(ex, STR("x-weir-target"),
                               arena_concat(ex->head_arena, target, ARRAY_LEN(target)));
    if (rec->route.len > 0)
        exchange_answer_header(ex, STR("x-weir-route"), rec->route);
    if (rec->attempts > 0)
        exchange_answer_header(ex, STR("x-weir-attempts"),
                               arena_u64(ex->head_arena, rec->attempts));
    if (rec->is_simulated)
        exchange_answer_header(ex, STR("x-weir-simulated"), STR("true"));
    exchange_add_cost_header(ex);
    exchange_wait_begins(ex); /* what follows is the client's time */
    exchange_answer_header(ex, STR("x-weir-overhead-us"),
                           arena_u64(ex->head_arena, (uint64_t)(ex->own_ns / NS_PER_US)));
}

struct headers_way exchange_way(const struct exchange *ex)
{
    const struct dialect *provider = ex->provider;
    return (struct headers_way){
        .client = ex->operation->dialect,
        .provider = provider != NULL ? provider->id : ex->upstream->provider->dialect,
        .is_translated = ex->is_rewritten,
    };
}

void exchange_wait_begins(struct exchange *ex)
{
    if (ex->since_ns != 0)
        ex->own_ns += clock_mono_ns() - ex->since_ns;
    ex->since_ns = 0;
}

void exchange_wait_ended(struct exchange *ex)
{
    ex->since_ns = clock_mono_ns();
}

/* Identify: method and path say which operation this is, in which dialect. */
YIELDS static void identify(struct exchange *ex)
{
    struct http_request *http = ex->http;
    struct str allow;
    if (grpc_is_call(http)) {
        ex->operation = &grpc_operation;
        ex->record.operation = str_c(grpc_operation.name);
        ex->record.dialect = ex->record.operation;
        ex->record.grpc_method = str_skip(http->path, 1);
        return;
    }
    ex->operation = operation_find(http, &ex->path, &allow, &ex->error_dialect, ex->arena);
    if (ex->operation != NULL) {
        ex->record.operation = str_c(ex->operation->name);
        if (ex->operation->needs_key)
            ex->record.dialect = str_c(dialect_names[ex->operation->dialect]);
        return;
    }
    if (allow.len == 0) {
        refuse(ex, REFUSE_PATH, STR_EMPTY, "Unknown request URL: %.*s %.*s. weir serves %.*s.",
               STR_ARG(http->method_name), STR_ARG(http->path), STR_ARG(operation_list(ex->arena)));
        return;
    }
    exchange_answer_header(ex, STR("Allow"), allow);
    refuse(ex, REFUSE_METHOD, STR_EMPTY, "Method %.*s is not allowed for %.*s; use %.*s.",
           STR_ARG(http->method_name), STR_ARG(http->path), STR_ARG(allow));
}

static struct str client_ip(struct exchange *ex)
{
    char text[NET_ADDR_TEXT_BYTES];
    return arena_dup(ex->arena, str_c(net_addr_format(&ex->http->peer, false, text)));
}

static void begin(struct exchange *ex)
{
    struct http_request *http = ex->http;
    memcpy(ex->request_id, "req_", 4);
    random_id(ex->request_id + 4, REQUEST_ID_LEN - 4);
    ex->start_ns = http->start_ns;
    ex->since_ns = http->start_ns;
    ex->record = (struct request_record){
        .start_wall_ns = clock_wall_ns(),
        .request_id = str_n(ex->request_id, REQUEST_ID_LEN),
        .client_ip = client_ip(ex),
        .method = http->method_name,
        .path = http->path,
        .operation = STR("unknown"),
        .outcome = STR("ok"),
        .connect_ns = -1,
        .upstream_ns = -1,
        .ttft_ns = -1,
        .generation = ex->ts->shared->generation,
        .usage = TOKEN_USAGE_NONE,
    };
}

/* After the last byte left: what happened goes to the metrics and the log. */
static void settle(struct exchange *ex)
{
    struct http_request *http = ex->http;
    struct request_record *rec = &ex->record;
    int64_t now_ns = clock_mono_ns();
    if (ex->has_call) {
        if (ex->call.sent_ns > 0)
            rec->upstream_ns = now_ns - ex->call.sent_ns;
        http_call_finish(&ex->call);
    }
    http_request_watch_hangup(http, NULL);
    buf_fini(&ex->body);
    buf_fini(&ex->rewritten);
    if (ex->translation != NULL)
        translation_fini(ex->translation);
    if (!http->is_complete && task_cancel_reason(ex->task) == ERR_RESET)
        rec->outcome = STR("client_gone");
    else if (!http->is_complete && str_eq(rec->outcome, STR("ok")))
        rec->outcome = STR("client_gone");
    if (str_eq(rec->outcome, STR("client_gone"))) {
        rec->usage.is_partial = true;
        if (ex->has_call)
            metrics_count(METRIC_UPSTREAM_CANCELLED, 1);
    }
    exchange_note_cost(ex);
    rec->status = http->status;
    rec->total_ns = now_ns - ex->start_ns;
    rec->overhead_ns = ex->own_ns;
    rec->bytes_in = http->body_bytes_in;
    rec->bytes_out = http->body_bytes_out;
    const struct detached *detached = detached_of(http);
    if (detached != NULL && detached->sink->settled != NULL)
        detached->sink->settled(ex);
    if (!ex->is_told_elsewhere) {
        metrics_request_end(rec);
        access_log_write(rec);
    }
    arena_free(ex->head_arena);
    thread_snapshot_release(ex->ts);
}

/* A detached request is a copy of one that was let in and that is counted as under way. */
YIELDS static int admit(struct exchange *ex)
{
    struct detached *detached = detached_of(ex->http);
    if (detached == NULL) {
        metrics_request_begin(ex->record.operation);
        return ex->operation != NULL ? exchange_authenticate(ex) : -ERR_INVALID;
    }
    ex->key = detached->key;
    if (ex->key != NULL)
        ex->record.key_name = ex->key->name;
    if (detached->sink->begun != NULL)
        detached->sink->begun(ex);
    return 0;
}

YIELDS void gateway_handle(struct http_request *r, void *ctx)
{
    struct gateway_thread *thread = ctx;
    const struct detached *detached = detached_of(r);
    struct exchange *ex = ARENA_NEW(r->arena, struct exchange);
    struct arena *head_arena = arena_new(HEAD_ARENA_BYTES);
    if (ex == NULL || head_arena == NULL) {
        arena_free(head_arena);
        return;
    }
    ex->head_arena = head_arena;
    ex->http = r;
    ex->arena = r->arena;
    ex->task = task_self();
    ex->thread = thread;
    /* A copy is served with the config that its request began with. */
    ex->ts = detached != NULL ? thread_snapshot_share(detached->ts) : thread_snapshot_hold(thread);
    ex->settings = ex->ts->shared->settings;
    ex->policy = &ex->settings->routing;
    begin(ex);
    identify(ex);
    if (admit(ex) == 0)
        ex->operation->run(ex);
    settle(ex);
}
