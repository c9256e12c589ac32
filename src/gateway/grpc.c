#include "gateway/grpc.h"

#include "base/clock.h"
#include "base/err.h"
#include "gateway/planning.h"
#include "http/grpc.h"
#include "route/classify.h"
#include "rt/random.h"
#include "stream/grpc_service.h"

enum {
    /* Of a request that is read before its call: what is whole by then can be sent again. */
    GATHER_BYTES = 256 * 1024,
    /* For bytes that were sent with the head, and come a moment later. */
    GATHER_MS = 1,
    /* Of an answer's message that is kept to be looked into. */
    LOOK_BYTES = 1 << 20,
    CANDIDATES_MAX = 16,
};

struct grpc_call {
    struct exchange *ex;
    struct str service, method;      /* of the path */
    const struct grpc_method *known; /* NULL = its messages are not looked into */
    struct str model;
    int64_t deadline_ns; /* the client's; CLOCK_NEVER = none */
    enum grpc_code code; /* what the call came to */
    bool has_code;

    struct buf first; /* of the request's body, read before the call */
    bool is_whole;    /* it is all of it */
    struct grpc_frames in, out;
    struct buf look; /* the answer's message under way */

    struct http_call_request request;
    struct iovec body;
    struct http_headers headers;
    struct health_lease lease;

    struct task *sender;
    bool sender_is_over;
};

bool grpc_is_call(const struct http_request *http)
{
    return http->version_major == 2 && http->method == METHOD_POST &&
           grpc_is_content_type(http_headers_get(&http->headers, STR("content-type")));
}

/* --- how it ends ----------------------------------------------------------------------------- */

static struct str code_text(struct exchange *ex, enum grpc_code code)
{
    return arena_u64(ex->arena, code);
}

static struct str message_text(struct exchange *ex, struct str message)
{
    struct buf text = BUF_INIT;
    grpc_message_write(&text, message);
    struct str kept = arena_dup(ex->arena, buf_str(&text));
    buf_fini(&text);
    return kept;
}

static void note_code(struct exchange *ex, enum grpc_code code)
{
    ex->record.grpc_status = str_c(grpc_code_names[code]);
    if (ex->grpc != NULL) {
        ex->grpc->code = code;
        ex->grpc->has_code = true;
    }
}

/* The last words of our own. */
YIELDS static void end_with(struct exchange *ex, enum grpc_code code, struct str message)
{
    struct http_headers trailers = {0};
    struct http_request *http = ex->http;
    note_code(ex, code);
    if (http->is_complete)
        return;
    if (http->status != 0) {
        http_headers_add(&trailers, ex->arena, STR("grpc-status"), code_text(ex, code));
        http_headers_add(&trailers, ex->arena, STR("grpc-message"), message_text(ex, message));
        http_response_end(http, &trailers, CLOCK_NEVER);
        return;
    }
    ex->answer = (struct http_headers){0};
    exchange_answer_header(ex, STR("content-type"), STR("application/grpc"));
    exchange_answer_header(ex, STR("grpc-status"), code_text(ex, code));
    exchange_answer_header(ex, STR("grpc-message"), message_text(ex, message));
    exchange_add_own_headers(ex);
    if (http_response_start(http, 200, &ex->answer, -1) == 0)
        http_response_end(http, NULL, CLOCK_NEVER);
}

YIELDS void grpc_refuse(struct exchange *ex, unsigned status, struct str message)
{
    end_with(ex, grpc_code_of_http(status), message);
}

static bool is_past_deadline(const struct grpc_call *g)
{
    return clock_mono_ns() >= g->deadline_ns;
}

/* A failed call, told to the client. */
YIELDS static void refuse_failed(struct grpc_call *g, int code)
{
    struct exchange *ex = g->ex;
    enum err_code reason = task_cancel_reason(ex->task);
    struct str why = arena_dup(ex->arena, str_c(err_slot()->message));
    if (code == -ERR_CANCELED && reason == ERR_RESET) {
        note_code(ex, GRPC_CANCELLED);
        ex->record.outcome = STR("client_gone");
        return;
    }
    task_shield();
    if (code == -ERR_CANCELED && reason == ERR_LIMIT)
        refuse(ex, REFUSE_BODY_TOO_LARGE, STR_EMPTY, "A message is larger than the limit.");
    else if (code == -ERR_CANCELED)
        refuse(ex, REFUSE_DRAINING, STR_EMPTY, "The gateway is shutting down.");
    else if (code == -ERR_TIMEOUT && is_past_deadline(g))
        refuse(ex, REFUSE_UPSTREAM_TIMEOUT, STR_EMPTY, "Deadline exceeded.");
    else
        refuse(ex, refusal_of_upstream(code), STR_EMPTY, "No answer from %.*s: %.*s.",
               STR_ARG(ex->record.provider), STR_ARG(why));
    task_unshield();
}

/* --- the request ----------------------------------------------------------------------------- */

/* "/package.Service/Method" */
static bool read_path(struct grpc_call *g)
{
    struct str path = str_skip(g->ex->http->path, 1);
    g->method = path;
    return str_cut(&g->method, '/', &g->service) && g->service.len > 0 && g->method.len > 0 &&
           str_index(g->method, '/') < 0;
}

static int64_t own_deadline(struct grpc_call *g)
{
    return MIN(g->deadline_ns, exchange_deadline(g->ex));
}

/* What names the model is there, or will not come. */
static bool is_told_enough(struct grpc_call *g)
{
    struct str bytes = buf_str(&g->first);
    if (g->known == NULL || g->is_whole || g->in.messages > 0)
        return true;
    if (bytes.len <= 5)
        return false;
    return grpc_method_model(g->known, str_skip(bytes, 5)).len > 0;
}

/*
 * Reads what comes with the head: most calls are whole then, and can be sent again where an
 * upstream has not looked at them. A service that is known is waited for until it names its model.
 */
YIELDS static int gather(struct grpc_call *g)
{
    struct http_request *http = g->ex->http;
    while (!g->is_whole && g->first.len < GATHER_BYTES) {
        struct iovec v[HTTP_PIECES_MAX];
        struct http_pieces pieces = {.v = v};
        int64_t soon_ns = clock_mono_ns() + GATHER_MS * NS_PER_MS;
        bool may_wait = !is_told_enough(g);
        int r = http_request_read(http, &pieces, may_wait ? own_deadline(g) : soon_ns);
        if (r == -ERR_TIMEOUT && !may_wait)
            return 0;
        if (r < 0)
            return r;
        for (int i = 0; i < pieces.count && r == 0; i++) {
            buf_add(&g->first, v[i].iov_base, v[i].iov_len);
            r = grpc_frames_count(&g->in, str_n(v[i].iov_base, v[i].iov_len));
        }
        if (r < 0)
            return r;
        if (!buf_ok(&g->first))
            return -ERR_NOMEM;
        g->is_whole = pieces.is_last;
    }
    return 0;
}

YIELDS static int read_request(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    exchange_wait_begins(ex);
    int r = gather(g);
    exchange_wait_ended(ex);
    if (r == -ERR_LIMIT)
        refuse(ex, REFUSE_BODY_TOO_LARGE, STR_EMPTY, "%s.", err_slot()->message);
    else if (r == -ERR_PROTOCOL || r == -ERR_INVALID)
        refuse(ex, REFUSE_BODY, STR_EMPTY, "%s.", err_slot()->message);
    else if (r == -ERR_TIMEOUT && !is_past_deadline(g))
        refuse(ex, REFUSE_BODY_TIMEOUT, STR_EMPTY, "The first message did not come in time.");
    else if (r < 0)
        refuse_failed(g, r);
    if (r < 0)
        return r;
    struct str bytes = buf_str(&g->first);
    if (g->known != NULL && bytes.len > 5 && bytes.ptr[0] == 0)
        g->model = arena_dup(ex->arena, grpc_method_model(g->known, str_skip(bytes, 5)));
    return 0;
}

/* --- where it goes --------------------------------------------------------------------------- */

static bool is_authority(struct str rule, struct str authority)
{
    ptrdiff_t colon = str_rindex(authority, ':');
    return str_ieq(rule, authority) ||
           (colon >= 0 && str_ieq(rule, str_head(authority, (size_t)colon)));
}

static bool has_model(const struct provider *p, struct str model)
{
    bool is_found = model.len == 0 || p->model_count == 0;
    for (unsigned i = 0; i < p->model_count && !is_found; i++)
        is_found = str_glob(p->models[i], model);
    return is_found;
}

/* How well a provider fits: 0 = not at all; a name counts more than a pattern, that more than "*".
 */
static unsigned fitness(const struct grpc_call *g, const struct provider *p)
{
    unsigned best = p->grpc_service_count == 0 && p->grpc_authority_count > 0 ? 1 : 0;
    bool is_for = p->grpc_authority_count == 0;
    for (unsigned i = 0; i < p->grpc_authority_count && !is_for; i++)
        is_for = is_authority(p->grpc_authorities[i], g->ex->http->authority);
    for (unsigned i = 0; i < p->grpc_service_count; i++) {
        struct str rule = p->grpc_services[i];
        unsigned fit = str_eq(rule, g->service)     ? 3
                       : str_eq(rule, STR("*"))     ? 1
                       : str_glob(rule, g->service) ? 2
                                                    : 0;
        best = MAX(best, fit);
    }
    if (!is_for || !has_model(p, g->model))
        return 0;
    return best == 0 ? 0 : 2 * best + (p->grpc_authority_count > 0 ? 1 : 0);
}

/* The providers that fit best, in the order of the config. */
static unsigned find_candidates(const struct grpc_call *g, unsigned out[CANDIDATES_MAX])
{
    const struct settings *settings = g->ex->settings;
    unsigned best = 0, count = 0;
    for (unsigned i = 0; i < settings->provider_count; i++)
        best = MAX(best, fitness(g, &settings->providers[i]));
    for (unsigned i = 0; i < settings->provider_count && best > 0 && count < CANDIDATES_MAX; i++) {
        if (fitness(g, &settings->providers[i]) == best)
            out[count++] = i;
    }
    return count;
}

/* What keys are given for, and breakers are kept for: the model, or the service. */
static struct str subject(const struct grpc_call *g)
{
    return g->model.len > 0 ? g->model : g->service;
}

static bool may_use(const struct grpc_call *g, unsigned provider)
{
    const struct exchange *ex = g->ex;
    struct str parts[] = {ex->settings->providers[provider].name, STR("/"), subject(g)};
    struct str resolved = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    return ex->key == NULL || virtual_key_allows(ex->key, subject(g), resolved);
}

/* --- the call -------------------------------------------------------------------------------- */

/* Metadata is the caller's business but for credentials, which are the gateway's. */
static bool goes_up(const struct http_headers *headers, struct str name)
{
    static const struct str kept[] = {
        STR_INIT("authorization"),   STR_INIT("api-key"), STR_INIT("x-api-key"),
        STR_INIT("x-goog-api-key"),  STR_INIT("cookie"),  STR_INIT("host"),
        STR_INIT("content-length"),  STR_INIT("te"),      STR_INIT("grpc-timeout"),
        STR_INIT("accept-encoding"), STR_INIT("expect"),
    };
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (str_ieq(kept[i], name))
            return false;
    }
    return !http_header_is_hop_by_hop(headers, name) && !str_istarts(name, STR("x-weir-")) &&
           !str_istarts(name, STR("x-forwarded-"));
}

YIELDS static int make_request(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    const struct http_headers *theirs = &ex->http->headers;
    const struct http_headers *own = &ex->upstream->headers[ex->key_index];
    struct str path[] = {ex->upstream->provider->url_path, ex->http->path};
    char timeout[GRPC_TIMEOUT_BYTES];
    bool is_ok = true;
    g->headers = (struct http_headers){0};
    for (uint32_t i = 0; i < theirs->count && is_ok; i++) {
        const struct http_header *h = &theirs->items[i];
        if (goes_up(theirs, h->name) && http_headers_get(own, h->name).ptr == NULL)
            is_ok = http_headers_add(&g->headers, ex->head_arena, h->name, h->value);
    }
    for (uint32_t i = 0; i < own->count && is_ok; i++)
        is_ok =
            http_headers_add(&g->headers, ex->head_arena, own->items[i].name, own->items[i].value);
    if (is_ok && g->deadline_ns != CLOCK_NEVER) {
        size_t n = grpc_timeout_write(timeout, g->deadline_ns - clock_mono_ns());
        is_ok = http_headers_add(&g->headers, ex->head_arena, STR("grpc-timeout"),
                                 arena_dup(ex->head_arena, str_n(timeout, n)));
    }
    g->body = (struct iovec){g->first.ptr, g->first.len};
    g->request = (struct http_call_request){
        .method = METHOD_POST,
        .target = arena_concat(ex->head_arena, path, ARRAY_LEN(path)),
        .headers = &g->headers,
        .body = &g->body,
        .body_count = g->is_whole && g->first.len > 0 ? 1 : 0,
        .body_bytes = g->is_whole ? g->first.len : 0,
        .wants_trailers = true,
        /* The end must be said by a frame of data, an empty one if need be. */
        .is_open = !g->is_whole || g->first.len == 0,
    };
    if (!is_ok || g->request.target.ptr == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    return upstream_authenticate(ex->upstream, ex->head_arena, &g->request, &g->headers);
}

static void set_timeouts(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    const struct timeout_settings *t = &ex->settings->timeouts;
    const struct route_policy *p = ex->policy;
    ex->timeouts = (struct http_timeouts){
        .connect_ns = p->connect_ns > 0 ? p->connect_ns : t->connect,
        .tls_ns = t->tls,
        .total_deadline_ns = own_deadline(g),
    };
    if (!g->is_whole)
        return; /* both sides may be silent as long as they like: PING tells who is there */
    ex->timeouts.first_byte_ns = p->first_byte_ns > 0 ? p->first_byte_ns : t->first_byte;
    ex->timeouts.idle_ns = p->stall_ns > 0 ? p->stall_ns : t->stall;
}

/* The way up, in a task of its own. */
YIELDS static int send_some(struct grpc_call *g, bool *is_last)
{
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    int r = http_request_read(g->ex->http, &pieces, CLOCK_NEVER);
    if (r == -ERR_TIMEOUT)
        return 0; /* a stream may be silent */
    for (int i = 0; i < pieces.count && r == 0; i++)
        r = grpc_frames_count(&g->in, str_n(v[i].iov_base, v[i].iov_len));
    if (r == -ERR_LIMIT || r == -ERR_PROTOCOL)
        task_cancel(g->ex->task, ERR_LIMIT);
    if (r == 0)
        r = http_call_send(&g->ex->call, v, pieces.count, pieces.is_last);
    *is_last = pieces.is_last;
    return r;
}

static void sender_main(void *arg)
{
    struct grpc_call *g = arg;
    bool is_last = false;
    int r = 0;
    while (r == 0 && !is_last)
        r = send_some(g, &is_last);
    g->sender_is_over = true;
    task_wake(g->ex->task);
}

YIELDS static int begin_sending(struct grpc_call *g)
{
    int r = 0;
    if (g->first.len > 0 || g->is_whole)
        r = http_call_send(&g->ex->call, &g->body, 1, g->is_whole);
    buf_fini(&g->first);
    if (r == -ERR_CLOSED)
        return 0; /* the answer says why */
    if (r < 0 || g->is_whole)
        return r;
    g->sender_is_over = false;
    g->sender = task_spawn(RUN_NORMAL, "gRPC request", sender_main, g);
    return g->sender != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a task");
}

YIELDS static void stop_sending(struct grpc_call *g)
{
    if (g->sender == NULL)
        return;
    if (!g->sender_is_over)
        task_cancel(g->sender, ERR_CANCELED);
    task_shield();
    while (!g->sender_is_over)
        task_park(CLOCK_NEVER);
    task_unshield();
    g->sender = NULL;
}

YIELDS static int call_upstream(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    int r = make_request(g);
    if (r < 0)
        return r;
    set_timeouts(g);
    ex->record.attempts++;
    r = http_call_start(&ex->call, ex->head_arena, &ex->upstream->origin, &g->request,
                        &ex->timeouts);
    ex->has_call = true;
    if (r == 0 && g->request.is_open)
        r = begin_sending(g);
    if (r == 0)
        r = http_call_head(&ex->call);
    ex->record.upstream_reused = ex->call.was_reused;
    if (!ex->call.was_reused)
        ex->record.connect_ns =
            ex->call.dial.dns_ns + ex->call.dial.connect_ns + ex->call.dial.tls_ns;
    return r;
}

/* --- the answer ------------------------------------------------------------------------------ */

/* Looks into the messages of an answer: when they come, how many, what they tell of tokens. */
static int take_answer_bytes(struct grpc_call *g, struct str bytes)
{
    struct exchange *ex = g->ex;
    int r = 0;
    if (ex->record.ttft_ns < 0 && bytes.len > 0) {
        int64_t now_ns = clock_mono_ns();
        ex->record.ttft_ns = now_ns - ex->start_ns;
        health_first(&g->lease, ex->policy, now_ns - ex->call.start_ns, now_ns, random_u64());
    }
    while (r == 0 && bytes.len > 0) {
        struct str message;
        bool is_end;
        r = grpc_frames_next(&g->out, bytes, &message, &bytes, &is_end);
        bool looks = g->known != NULL && g->known->usage_field != 0;
        if (r == 0 && looks && g->look.len + message.len <= LOOK_BYTES)
            buf_add_str(&g->look, message);
        if (r == 0 && looks && is_end) {
            if (g->out.prefix[0] == 0 && buf_ok(&g->look))
                grpc_method_usage(g->known, buf_str(&g->look), &ex->record.usage);
            buf_clear(&g->look);
        }
    }
    return r;
}

static void copy_metadata(struct http_headers *out, struct arena *arena,
                          const struct http_headers *from)
{
    for (uint32_t i = 0; i < from->count; i++) {
        const struct http_header *h = &from->items[i];
        if (!http_header_is_hop_by_hop(from, h->name) && !str_ieq(h->name, STR("server")))
            http_headers_add(out, arena, h->name, h->value);
    }
}

/* The status that the upstream gave, from its trailers or from a head that is all of its answer. */
static void take_status(struct grpc_call *g, const struct http_headers *from)
{
    struct exchange *ex = g->ex;
    struct str status = http_headers_get(from, STR("grpc-status"));
    enum grpc_code code = status.ptr != NULL ? grpc_code_read(status) : GRPC_UNKNOWN;
    note_code(ex, code);
    ex->record.upstream_status = grpc_http_of_code(code);
    if (code == GRPC_OK)
        return;
    ex->record.outcome =
        ex->record.upstream_status >= 500 ? STR("upstream_error") : STR("client_error");
    ex->record.error = STR("grpc_status");
    ex->record.error_message = arena_dup(ex->arena, http_headers_get(from, STR("grpc-message")));
}

YIELDS static int finish(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    struct http_headers trailers = {0};
    bool is_in_head = ex->call.trailers.count == 0 &&
                      http_headers_get(&ex->call.head.headers, STR("grpc-status")).ptr != NULL;
    if (is_in_head) {
        take_status(g, &ex->call.head.headers);
        return http_response_end(ex->http, NULL, CLOCK_NEVER);
    }
    copy_metadata(&trailers, ex->arena, &ex->call.trailers);
    take_status(g, &ex->call.trailers);
    if (http_headers_get(&trailers, STR("grpc-status")).ptr == NULL) {
        http_headers_add(&trailers, ex->arena, STR("grpc-status"), STR("2"));
        http_headers_add(&trailers, ex->arena, STR("grpc-message"),
                         STR("the upstream ended its answer without a status"));
    }
    return http_response_end(ex->http, &trailers, CLOCK_NEVER);
}

/* One read of the answer, one write. A head without a message is sent on at once, too. */
YIELDS static int relay_some(struct grpc_call *g, bool *is_last)
{
    struct exchange *ex = g->ex;
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool hit;
    exchange_wait_begins(ex);
    int r = http_call_read(&ex->call, &pieces, ex->http->head_sent ? CLOCK_NEVER : clock_mono_ns(),
                           &hit);
    exchange_wait_ended(ex);
    if (r == -ERR_TIMEOUT && hit)
        return http_response_write(ex->http, NULL, 0, false, CLOCK_NEVER);
    *is_last = r == 0 && pieces.is_last;
    for (int i = 0; i < pieces.count && r == 0; i++)
        r = take_answer_bytes(g, str_n(v[i].iov_base, v[i].iov_len));
    if (r < 0 || pieces.bytes == 0)
        return r;
    return http_response_write(ex->http, v, pieces.count, false, CLOCK_NEVER);
}

YIELDS static int relay(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    bool is_last = ex->call.is_body_done;
    copy_metadata(&ex->answer, ex->head_arena, &ex->call.head.headers);
    exchange_add_own_headers(ex);
    int r = http_response_start(ex->http, 200, &ex->answer, -1);
    while (r == 0 && !is_last)
        r = relay_some(g, &is_last);
    return r < 0 ? r : finish(g);
}

/* An answer that is none of gRPC: a proxy's error page, say. */
YIELDS static bool is_foreign(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    unsigned status = ex->call.head.status;
    struct str type = http_headers_get(&ex->call.head.headers, STR("content-type"));
    if (status == 200 && grpc_is_content_type(type))
        return false;
    ex->record.upstream_status = status == 200 ? 502 : status;
    struct str why = arena_printf(ex->arena, "%.*s answered with status %u and no gRPC.",
                                  STR_ARG(ex->record.provider), status);
    refusal_note(ex, REFUSE_UPSTREAM_BROKEN, why);
    end_with(ex, status == 200 ? GRPC_UNKNOWN : grpc_code_of_http(status), why);
    return true;
}

/* --- one after the other --------------------------------------------------------------------- */

static void settle_try(struct grpc_call *g, int r, bool was_client)
{
    struct exchange *ex = g->ex;
    int64_t now_ns = clock_mono_ns();
    struct health_result result = {.status = ex->record.upstream_status, .retry_after_ns = -1};
    if (was_client || g->code == GRPC_CANCELLED)
        result.outcome = OUTCOME_CANCELLED;
    else if (r < 0)
        result.outcome = classify_failure(r);
    else
        result.outcome = classify_status(ex->record.upstream_status);
    result.duration_ns =
        result.outcome == OUTCOME_OK && g->is_whole ? now_ns - ex->call.start_ns : -1;
    health_end(&g->lease, ex->policy, &result, now_ns, random_u64());
}

/* Nobody has looked at it, and it is all here. */
static bool may_go_elsewhere(const struct grpc_call *g, int r)
{
    return g->is_whole && !g->ex->call.has_heard &&
           (r == -ERR_CONNECT || r == -ERR_DNS || r == -ERR_TLS || err_slot()->retry == RETRY_YES);
}

/* A try at one provider: true when the next is to be asked. */
YIELDS static bool try_one(struct grpc_call *g, unsigned provider, bool is_last)
{
    struct exchange *ex = g->ex;
    struct health_ask ask;
    planning_ask(ex, provider, subject(g), &ask);
    ask.lenience = is_last ? HEALTH_LAST_RESORT : HEALTH_STRICT;
    enum health_verdict verdict =
        health_begin(&ask, clock_mono_ns(), random_u64(), &g->lease, NULL);
    ex->upstream = &ex->ts->upstreams[provider];
    ex->record.provider = ex->upstream->provider->name;
    if (!health_may_go(verdict)) {
        if (is_last)
            refuse(ex, verdict == HEALTH_LIMITED ? REFUSE_LIMITED : REFUSE_NO_TARGET, STR_EMPTY,
                   "No provider of %.*s can be asked now.", STR_ARG(g->service));
        return true;
    }
    ex->key_index = g->lease.key;
    ex->record.upstream_key = upstream_key_name(ex->upstream, ex->key_index);
    exchange_wait_begins(ex);
    int r = call_upstream(g);
    exchange_wait_ended(ex);
    bool goes_on = r < 0 && !is_last && may_go_elsewhere(g, r);
    if (r == 0 && !is_foreign(g))
        r = relay(g);
    bool was_client = task_cancel_reason(ex->task) != 0 ||
                      (r < 0 && (is_past_deadline(g) || err_slot()->fault == FAULT_CLIENT));
    if (r < 0 && !goes_on)
        refuse_failed(g, r);
    stop_sending(g);
    settle_try(g, r, was_client);
    return goes_on;
}

YIELDS static void try_all(struct grpc_call *g)
{
    struct exchange *ex = g->ex;
    unsigned candidates[CANDIDATES_MAX];
    unsigned count = find_candidates(g, candidates), allowed = 0;
    if (count == 0) {
        refuse(ex, REFUSE_PATH, STR_EMPTY, "No provider's 'grpc' names the service %.*s%s%.*s.",
               STR_ARG(g->service), g->model.len > 0 ? " and offers the model " : "",
               STR_ARG(g->model));
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (may_use(g, candidates[i]))
            candidates[allowed++] = candidates[i];
    }
    if (allowed == 0) {
        refuse(ex, REFUSE_MODEL_FORBIDDEN, STR_EMPTY, "This API key may not use %.*s.",
               STR_ARG(subject(g)));
        return;
    }
    for (unsigned i = 0; i < allowed; i++) {
        if (!try_one(g, candidates[i], i + 1 == allowed))
            return;
        if (i + 1 < allowed && !exchange_forget_attempt(ex)) {
            refuse_no_memory(ex);
            return;
        }
    }
}

YIELDS static void grpc_run(struct exchange *ex)
{
    struct grpc_call *g = ARENA_NEW(ex->arena, struct grpc_call);
    struct str timeout = http_headers_get(&ex->http->headers, STR("grpc-timeout"));
    int64_t span_ns;
    if (g == NULL) {
        refuse_no_memory(ex);
        return;
    }
    ex->grpc = g;
    *g = (struct grpc_call){.ex = ex, .deadline_ns = CLOCK_NEVER, .first = BUF_INIT};
    g->in.limit = ex->settings->limits.body_bytes;
    g->out.limit = ex->settings->response_bytes;
    ex->is_stream = ex->record.is_stream = true;
    if (!read_path(g)) {
        refuse(ex, REFUSE_PATH, STR_EMPTY, "%.*s is not /package.Service/Method.",
               STR_ARG(ex->http->path));
        return;
    }
    if (timeout.ptr != NULL && !grpc_timeout_read(timeout, &span_ns)) {
        refuse(ex, REFUSE_HEADER, STR_EMPTY, "grpc-timeout is not a number with a unit.");
        return;
    }
    if (timeout.ptr != NULL)
        g->deadline_ns = clock_add_ns(ex->start_ns, span_ns);
    g->known = grpc_method_find(g->service, g->method);
    http_request_watch_hangup(ex->http, ex->task);
    if (read_request(g) == 0) {
        ex->record.model_asked = g->model;
        ex->record.model = subject(g);
        try_all(g);
    }
    ex->record.messages_in = g->in.messages;
    ex->record.messages_out = g->out.messages;
    metrics_count(METRIC_GRPC_MESSAGES_IN, g->in.messages);
    metrics_count(METRIC_GRPC_MESSAGES_OUT, g->out.messages);
    buf_fini(&g->first);
    buf_fini(&g->look);
}

const struct operation grpc_operation = {
    .name = "grpc",
    .dialect = DIALECT_OPENAI_CHAT,
    .method = METHOD_POST,
    .path = "/{service}/{method}",
    .needs_key = true,
    .upstream = OPERATION_COUNT,
    .run = grpc_run,
    .stream = STREAM_ALWAYS,
    .framing = FRAMING_SSE,
};
