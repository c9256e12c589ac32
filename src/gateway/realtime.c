#include "gateway/realtime.h"

#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/exchange.h"
#include "gateway/fallbacks.h"
#include "gateway/operation.h"
#include "gateway/query.h"
#include "gateway/realtime_count.h"
#include "gateway/realtime_session.h"
#include "gateway/relay_stream.h"
#include "stream/realtime.h"

/* --- the client's request --- */

/* Subprotocols that say who asks, not what is spoken. */
static const struct str key_protocol = STR_INIT("openai-insecure-api-key.");
static const struct str account_protocols[] = {
    STR_INIT("openai-insecure-api-key."),
    STR_INIT("openai-organization."),
    STR_INIT("openai-project."),
};

static const struct str credentials[] = {
    STR_INIT("api-key"),
    STR_INIT("key"),
    STR_INIT("access_token"),
};

/* What the path of the provider says itself, or weir alone is told. */
static const struct str own_members[] = {
    STR_INIT("model"),
    STR_INIT("deployment"),
    STR_INIT("api-version"),
    STR_INIT("provider"),
};

struct str realtime_credential(struct exchange *ex)
{
    const struct http_headers *headers = &ex->http->headers;
    for (uint32_t i = 0; i < headers->count; i++) {
        struct str list = headers->items[i].value;
        if (!str_ieq(headers->items[i].name, STR("Sec-WebSocket-Protocol")))
            continue;
        for (struct str item; ws_protocol_next(&list, &item);) {
            if (str_starts(item, key_protocol))
                return str_skip(item, key_protocol.len);
        }
    }
    return query_value(ex->http->query, STR("api-key"), ex->arena);
}

static bool is_about_account(struct str protocol)
{
    for (size_t i = 0; i < ARRAY_LEN(account_protocols); i++) {
        if (str_starts(protocol, account_protocols[i]))
            return true;
    }
    return false;
}

/* The protocols that are spoken; ptr NULL without memory. */
static struct str spoken_protocols(struct exchange *ex, struct str offered)
{
    struct str kept = STR("");
    for (struct str item; kept.ptr != NULL && ws_protocol_next(&offered, &item);) {
        struct str parts[] = {kept, kept.len > 0 ? STR(", ") : STR(""), item};
        if (!is_about_account(item))
            kept = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    }
    return kept;
}

YIELDS static int refuse_handshake(struct exchange *ex, int code, unsigned status)
{
    if (code == -ERR_NOMEM)
        return refuse_no_memory(ex);
    if (status == 426 || ex->http->upgrade.len == 0) {
        exchange_answer_header(ex, STR("Sec-WebSocket-Version"), STR("13"));
        refuse(ex, REFUSE_UPGRADE, STR_EMPTY,
               "%.*s is a WebSocket: open it with a WebSocket client (wss://). %s",
               STR_ARG(ex->http->path), err_slot()->message);
    } else {
        refuse(ex, REFUSE_HANDSHAKE, STR_EMPTY, "%s", err_slot()->message);
    }
    return code;
}

YIELDS int realtime_begin(struct exchange *ex)
{
    struct realtime *rt = ARENA_NEW(ex->arena, struct realtime);
    unsigned status;
    ex->client = dialect_of(ex->operation->dialect);
    ex->realtime = rt;
    if (rt == NULL)
        return refuse_no_memory(ex);
    int r = ws_offer_read(&rt->client, ex->arena, ex->http->method, &ex->http->headers, &status);
    if (r == 0 && !str_ieq(ex->http->upgrade, STR("websocket")))
        r = err_set(ERR_INVALID, FAULT_CLIENT, "The request cannot be upgraded.");
    if (r < 0)
        return refuse_handshake(ex, r, status);
    rt->client.protocols = spoken_protocols(ex, rt->client.protocols);
    return rt->client.protocols.ptr != NULL ? 0 : refuse_no_memory(ex);
}

/* What of the query goes on to the provider. */
static void keep_query(struct exchange *ex)
{
    struct str query = ex->http->query;
    for (size_t i = 0; i < ARRAY_LEN(credentials); i++)
        query = query_without(query, credentials[i], ex->arena);
    for (size_t i = 0; !ex->realtime->is_passthrough && i < ARRAY_LEN(own_members); i++)
        query = query_without(query, own_members[i], ex->arena);
    ex->realtime->query = query;
}

/*
 * Transcriptions and calls that exist name no model in the URL: the first says it in an event, the
 * second has one already. ?provider= says whose they are, else it is the first that has sessions;
 * routing and keys know them as PROVIDER/transcription and PROVIDER/call.
 */
static struct str without_model(struct exchange *ex)
{
    struct str query = ex->http->query;
    bool is_call = query_value(query, STR("call_id"), ex->arena).len > 0;
    bool transcribes = str_eq(query_value(query, STR("intent"), ex->arena), STR("transcription"));
    struct str name = query_value(query, STR("provider"), ex->arena);
    const struct settings *settings = ex->settings;
    for (unsigned i = 0; name.len == 0 && i < settings->provider_count; i++) {
        const struct provider *p = &settings->providers[i];
        if (!p->is_simulated && p->paths[OPERATION_REALTIME].len > 0)
            name = p->name;
    }
    struct str parts[] = {name, is_call ? STR("/call") : STR("/transcription")};
    if (name.len == 0 || !(is_call || transcribes))
        return STR_EMPTY;
    ex->realtime->has_no_model = true;
    return arena_concat(ex->arena, parts, ARRAY_LEN(parts));
}

YIELDS static int read_query(struct exchange *ex)
{
    struct str query = ex->http->query;
    ex->asked = query_value(query, STR("model"), ex->arena);
    if (ex->asked.len == 0)
        ex->asked = query_value(query, STR("deployment"), ex->arena);
    if (ex->asked.len == 0)
        ex->asked = without_model(ex);
    ex->record.model_asked = ex->asked;
    if (ex->asked.len == 0) {
        refuse(ex, REFUSE_BODY, STR("model"),
               "You must provide a model: add ?model=... to the URL.");
        return -ERR_INVALID;
    }
    keep_query(ex);
    return 0;
}

YIELDS static int count_in(struct exchange *ex)
{
    unsigned most = ex->settings->realtime.sessions_per_key;
    int r = realtime_count_enter(ex->record.key_name, most);
    if (r == -ERR_NOMEM)
        return refuse_no_memory(ex);
    if (r < 0)
        refuse(ex, REFUSE_SESSIONS, STR_EMPTY,
               "There are %u sessions of this key already, which is the limit "
               "(realtime.sessions_per_key).",
               most);
    return r;
}

YIELDS void realtime_try(struct exchange *ex)
{
    if (fallbacks_take(ex) == 0 && exchange_plan(ex) == 0 && count_in(ex) == 0) {
        attempts_run(ex);
        realtime_count_leave(ex->record.key_name);
    }
}

YIELDS void realtime_run(struct exchange *ex)
{
    if (realtime_begin(ex) == 0 && read_query(ex) == 0)
        realtime_try(ex);
}

/* PROVIDER/path: that provider's own path, which keys may allow like a model. */
YIELDS void realtime_passthrough_run(struct exchange *ex)
{
    struct str parts[] = {ex->path.publisher, STR("/"), ex->path.model};
    if (realtime_begin(ex) < 0)
        return;
    ex->asked = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
    ex->record.model_asked = ex->asked;
    ex->realtime->is_passthrough = true;
    keep_query(ex);
    realtime_try(ex);
}

/* --- an attempt --- */

/* The provider's path for the session; empty where it has none. */
static struct str path_of(struct exchange *ex)
{
    const struct provider *p = ex->upstream->provider;
    const struct realtime *rt = ex->realtime;
    if (p->is_simulated)
        return STR_EMPTY;
    if (!rt->is_passthrough) {
        struct str path = p->paths[ex->operation->upstream];
        ptrdiff_t at = str_index(path, '?');
        return rt->has_no_model && at >= 0 ? str_head(path, (size_t)at) : path;
    }
    struct str parts[] = {STR("/"), ex->target.model};
    struct str path = arena_concat(ex->head_arena, parts, ARRAY_LEN(parts));
    /* No way out of what is allowed by "..", encoded or not. */
    if (str_find(path, STR("..")) >= 0 || str_find(path, STR("%")) >= 0)
        return STR_EMPTY;
    for (unsigned i = 0; i < p->passthrough_count; i++) {
        if (str_glob(p->passthrough[i], path))
            return path;
    }
    return STR_EMPTY;
}

YIELDS static void refuse_path(struct exchange *ex)
{
    const struct provider *p = ex->upstream->provider;
    bool is_passthrough = ex->realtime->is_passthrough;
    if (!attempts_unfit(ex))
        refuse(ex, REFUSE_OPERATION, STR("model"),
               "The provider '%.*s' does not offer '%s'. Ask for another model, or set "
               "providers.%.*s.%s.",
               STR_ARG(p->name), ex->operation->name, STR_ARG(p->name),
               is_passthrough                              ? "passthrough"
               : ex->operation->upstream == OPERATION_LIVE ? "paths.live"
                                                           : "paths.realtime");
}

YIELDS int realtime_prepare(struct exchange *ex)
{
    struct str path = path_of(ex);
    ex->provider = dialect_of(ex->upstream->provider->dialect);
    ex->upstream_operation = ex->operation->upstream;
    if (path.len == 0) {
        refuse_path(ex);
        return -ERR_INVALID;
    }
    exchange_set_target(ex);
    struct str query = ex->realtime->query;
    if (query.len > 0) {
        bool has_query = str_index(path, '?') >= 0;
        struct str parts[] = {path, has_query ? STR("&") : STR("?"), query};
        path = arena_concat(ex->head_arena, parts, ARRAY_LEN(parts));
    }
    ex->upstream_path = upstream_target_at(ex->upstream, ex->key_index, ex->head_arena, path, false,
                                           ex->target.model);
    return path.ptr != NULL && ex->upstream_path.ptr != NULL ? 0 : refuse_no_memory(ex);
}

int realtime_offer(struct exchange *ex, struct http_call_request *request,
                   struct http_headers *headers)
{
    struct realtime *rt = ex->realtime;
    ws_make_key(rt->key);
    rt->upstream = rt->client;
    rt->upstream.key = str_n(rt->key, sizeof(rt->key));
    request->upgrade = STR("websocket");
    return ws_offer_write(headers, ex->head_arena, &rt->upstream);
}

/* --- the session --- */

/* What the client is told of the provider's answer, beside what opens its own socket. */
static bool add_answer_headers(struct exchange *ex)
{
    const struct realtime *rt = ex->realtime;
    struct http_headers told = {0};
    struct headers_way way = exchange_way(ex);
    if (!headers_for_client(&told, ex->head_arena, &ex->call.head.headers, &way))
        return false;
    for (uint32_t i = 0; i < told.count; i++) {
        if (!str_istarts(told.items[i].name, STR("sec-websocket-")))
            exchange_answer_header(ex, told.items[i].name, told.items[i].value);
    }
    exchange_add_own_headers(ex);
    return ws_answer_write(&ex->answer, ex->head_arena, rt->client.key, rt->agreed.protocol,
                           rt->agreed.extensions) == 0;
}

/* What is noticed of a session while it lasts. */
struct watching {
    const struct exchange *ex;
    const struct snapshot *judged; /* the config by which the key was looked at last */
    struct realtime_observer observer;
    struct metrics_session *metrics;
};

static void on_timing(void *ctx, enum realtime_timing timing, int64_t ns)
{
    static const enum metrics_session_time times[] = {
        [REALTIME_FIRST_DELTA] = METRICS_SESSION_FIRST,
        [REALTIME_FIRST_AUDIO] = METRICS_SESSION_FIRST_AUDIO,
        [REALTIME_FIRST_TEXT] = METRICS_SESSION_FIRST_TEXT,
        [REALTIME_BARGE_IN] = METRICS_SESSION_BARGE_IN,
    };
    struct watching *w = ctx;
    metrics_session_time(w->metrics, times[timing], ns);
}

static void observe(void *ctx, bool is_from_client, const struct ws_piece *piece)
{
    struct watching *w = ctx;
    realtime_observe(&w->observer, is_from_client, piece, clock_mono_ns());
}

/* The key as the config has it now: it may be gone, have ended, or allow the model no more. */
static bool key_still_stands(const struct watching *w, const struct settings *settings)
{
    const struct exchange *ex = w->ex;
    struct str parts[] = {ex->record.provider, STR("/"), ex->record.model};
    for (unsigned i = 0; i < settings->key_count; i++) {
        const struct virtual_key *key = &settings->keys[i];
        if (!str_eq(key->name, ex->key->name))
            continue;
        struct str resolved = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
        return memcmp(key->sha256, ex->key->sha256, KEY_HASH_BYTES) == 0 &&
               virtual_key_verdict(key, clock_wall_ns()) == KEY_OK &&
               virtual_key_allows(key, ex->asked, resolved);
    }
    return false;
}

/* A session lasts: what was allowed when it began is looked at as it goes on. */
static struct str judge(void *ctx)
{
    struct watching *w = ctx;
    const struct exchange *ex = w->ex;
    const struct token_usage *usage = &w->observer.usage;
    int64_t most = ex->settings->realtime.session_tokens;
    const struct snapshot *now = ex->thread->current->shared;
    if (most > 0 && MAX(usage->input, 0) >= most - MAX(usage->output, 0))
        return STR("the session has used its tokens (realtime.session_tokens)");
    if (ex->key == NULL)
        return STR_EMPTY;
    if (virtual_key_verdict(ex->key, clock_wall_ns()) != KEY_OK)
        return STR("the API key has expired");
    if (now != w->judged && !key_still_stands(w, now->settings))
        return STR("the API key may not be used for this any more");
    w->judged = now;
    return STR_EMPTY;
}

/* When the key ends, on the clock of waits. */
static int64_t key_ends_ns(const struct exchange *ex)
{
    if (ex->key == NULL || ex->key->expires_wall_ns == 0)
        return CLOCK_NEVER;
    return clock_add_ns(clock_mono_ns(), MAX(ex->key->expires_wall_ns - clock_wall_ns(), 0));
}

static void note_observed(struct exchange *ex, const struct realtime_observer *o)
{
    ex->record.usage = o->usage;
    ex->record.model_answered = arena_dup(ex->arena, str_n(o->model, o->model_len));
    if (o->unread > 0)
        metrics_count(METRIC_OBSERVER_ERRORS, o->unread);
}

static bool is_usual(unsigned close_code)
{
    return close_code == WS_CLOSE_NORMAL || close_code == WS_CLOSE_GOING_AWAY ||
           close_code == WS_CLOSE_NONE;
}

static void note_result(struct exchange *ex, const struct session_result *result)
{
    static const struct str outcomes[SESSION_END_COUNT] = {
        [SESSION_CLOSED] = STR_INIT("ok"),
        [SESSION_CLIENT_LOST] = STR_INIT("client_gone"),
        [SESSION_CLIENT_BROKEN] = STR_INIT("client_error"),
        [SESSION_UPSTREAM_LOST] = STR_INIT("stream_broken"),
        [SESSION_UPSTREAM_BROKEN] = STR_INIT("stream_broken"),
        [SESSION_IDLE] = STR_INIT("ok"),
        [SESSION_TIME_OVER] = STR_INIT("ok"),
        [SESSION_POLICY] = STR_INIT("client_error"),
        [SESSION_SHUTDOWN] = STR_INIT("gateway_error"),
        [SESSION_NO_MEMORY] = STR_INIT("gateway_error"),
    };
    struct request_record *rec = &ex->record;
    rec->outcome = outcomes[result->end];
    rec->events = result->messages_down;
    if (result->end != SESSION_CLOSED)
        rec->error = str_c(session_end_name(result->end));
    if (result->end != SESSION_CLOSED || !is_usual(result->client_code) ||
        !is_usual(result->upstream_code))
        rec->error_message = arena_printf(ex->arena, "close codes: client %u, upstream %u",
                                          result->client_code, result->upstream_code);
    /* The target has failed in the middle: its health is to know. */
    if (result->end == SESSION_UPSTREAM_LOST || result->end == SESSION_UPSTREAM_BROKEN)
        attempts_failure(ex, -ERR_RESET);
}

/* Another target may be tried; else the client is told. */
YIELDS static void fail_before(struct exchange *ex, int code)
{
    struct str why = arena_dup(ex->arena, str_c(err_slot()->message));
    if (code == -ERR_NOMEM)
        refuse_no_memory(ex);
    else if (!attempts_failure(ex, code))
        refuse(ex, REFUSE_UPSTREAM_BROKEN, STR_EMPTY, "No session with %.*s: %.*s.",
               STR_ARG(ex->record.provider), STR_ARG(why));
}

/* The provider answered with something else, and the client is past HTTP. */
YIELDS static void fail_with_answer(struct exchange *ex)
{
    unsigned status = ex->call.head.status;
    relay_note_failed_answer(ex);
    if (!attempts_goes_on(ex))
        refuse(ex, REFUSE_UPSTREAM_ERROR, STR_EMPTY, "%.*s answered %u.",
               STR_ARG(ex->record.provider), status);
}

YIELDS static void run_session(struct exchange *ex)
{
    const struct realtime_settings *limits = &ex->settings->realtime;
    struct realtime *rt = ex->realtime;
    struct session_result result;
    struct watching watching;
    http_call_upgrade(&ex->call, &rt->provider);
    if (!rt->is_open && http_response_upgrade(ex->http, &ex->answer, &rt->channel) < 0) {
        ex->record.outcome = STR("client_gone");
        return;
    }
    if (rt->is_open && realtime_live_begin(ex) < 0) {
        fail_before(ex, -ERR_RESET);
        return;
    }
    rt->is_joined = true;
    http_request_watch_hangup(ex->http, NULL);
    ex->is_stream = ex->record.is_stream = true;
    exchange_forget_head(ex);
    int64_t total_ns = limits->session_ns;
    struct session_settings settings = {
        .ping_ns = limits->ping_ns,
        .idle_ns = limits->idle_ns,
        .deadline_ns = total_ns > 0 ? clock_add_ns(clock_mono_ns(), total_ns) : CLOCK_NEVER,
        .stall_ns = ex->settings->timeouts.client_stall,
        .message_max = limits->message_bytes,
        .has_deflate = rt->agreed.has_deflate,
        .observe = rt->is_passthrough ? NULL : observe,
        .observe_ctx = &watching,
        .judge = judge,
        .judge_ctx = &watching,
        .judge_at_ns = key_ends_ns(ex),
    };
    watching = (struct watching){.ex = ex, .judged = ex->ts->shared};
    watching.metrics = metrics_session(ex->record.operation, ex->record.provider, ex->record.model);
    realtime_observer_init(&watching.observer,
                           ex->operation->upstream == OPERATION_LIVE ? REALTIME_GEMINI
                                                                     : REALTIME_OPENAI,
                           on_timing, &watching);
    session_run(&rt->channel, &rt->provider, &settings, &result);
    note_observed(ex, &watching.observer);
    realtime_observer_fini(&watching.observer);
    ex->http->is_complete = rt->channel.is_finished;
    ex->http->body_bytes_in = rt->channel.bytes_in;
    ex->http->body_bytes_out = rt->channel.bytes_out;
    note_result(ex, &result);
}

YIELDS void realtime_relay(struct exchange *ex)
{
    struct realtime *rt = ex->realtime;
    if (ex->call.head.status != 101 && rt->is_open) {
        fail_with_answer(ex);
        return;
    }
    int r = ws_answer_read(&rt->agreed, ex->arena, &rt->upstream, &ex->call.head.headers);
    if (r == 0 && !rt->is_open && !add_answer_headers(ex))
        r = -ERR_NOMEM;
    if (r == 0) {
        attempts_first_token(ex, clock_mono_ns());
        run_session(ex);
        return;
    }
    fail_before(ex, r);
}
