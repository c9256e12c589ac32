#include "gateway/probe_targets.h"

#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/detached.h"
#include "gateway/exchange.h"
#include "route/health.h"
#include "rt/random.h"

/*
 * A target is a (provider, model); each of its keys is looked at by itself. A key that was used
 * since the last time has told by itself how it is. A provider that lists its models is asked for
 * the list, which is free; any other for an answer of one token, as a client would ask.
 */

enum {
    PROBES_MAX = 1024,
    PROBE_SECONDS = 10, /* how long a list may take */
    KEYS_MAX = 64,
};

/* The first look comes soon: nobody is to meet a target that was dead from the beginning. */
#define FIRST_LOOK_NS (2 * NS_PER_SEC)
#define LIST_BYTES_MAX (8u * 1024 * 1024)

struct probes;

struct probe {
    struct probes *all;
    struct timer timer;
    struct task *task; /* NULL: none under way */
    unsigned provider;
    struct str model;
    struct route_policy policy;
};

struct probes {
    struct gateway_thread *thread;
    struct thread_snapshot *ts;
    struct arena *arena; /* it lies in there */
    struct probe *items;
    unsigned count;
    unsigned under_way;
    bool is_stopped;
};

static _Thread_local struct probes *current;

/* --- a list of models --- */

/* 0 with the answer's head in *call, or -ERR_x; where it was started it is to be finished. */
YIELDS static int fetch(const struct probe *p, unsigned key, struct arena *arena,
                        struct http_call *call, bool *has_call)
{
    const struct upstream *upstream = &p->all->ts->upstreams[p->provider];
    const struct http_headers none = {0};
    struct http_headers headers = {0};
    struct headers_way way = {.client = upstream->provider->dialect,
                              .provider = upstream->provider->dialect};
    int64_t span_ns = PROBE_SECONDS * NS_PER_SEC;
    struct http_timeouts timeouts = {
        .connect_ns = span_ns,
        .tls_ns = span_ns,
        .first_byte_ns = span_ns,
        .idle_ns = span_ns,
        .total_deadline_ns = clock_add_ns(loop_now_ns(), span_ns),
    };
    struct http_call_request request = {
        .method = METHOD_GET,
        .target = upstream_target(upstream, key, arena, OPERATION_MODELS, STR_EMPTY),
        .headers = &headers,
    };
    if (request.target.ptr == NULL ||
        !headers_for_upstream(&headers, arena, &none, &upstream->headers[key], &way, false))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    int r = upstream_authenticate(upstream, arena, &request, &headers);
    if (r < 0)
        return r;
    struct buf body = BUF_INIT;
    *has_call = true;
    r = http_call_start(call, arena, &upstream->origin, &request, &timeouts);
    if (r == 0)
        r = http_call_head(call);
    if (r == 0)
        r = http_call_collect(call, LIST_BYTES_MAX, &body);
    buf_fini(&body);
    return r;
}

/* That a path is unknown says nothing about the models: the provider is there. */
static enum outcome_class outcome_of(int code, unsigned status)
{
    if (code < 0)
        return classify_failure(code);
    return status == 404 || status == 405 ? OUTCOME_OK : classify_status(status);
}

YIELDS static void ask_for_list(const struct probe *p, unsigned key, struct health_lease *lease)
{
    struct arena *arena = arena_new(2048);
    struct http_call *call = arena == NULL ? NULL : ARENA_NEW(arena, struct http_call);
    struct health_result result = {
        .outcome = OUTCOME_LOCAL, .duration_ns = -1, .retry_after_ns = -1};
    bool has_call = false;
    if (call != NULL) {
        int r = fetch(p, key, arena, call, &has_call);
        result.status = r == 0 ? call->head.status : 0;
        result.outcome = outcome_of(r, result.status);
        if (r == 0 && result.outcome != OUTCOME_OK)
            result.retry_after_ns = retry_after_ns(&call->head.headers, NULL, clock_wall_ns());
    }
    if (has_call)
        http_call_finish(call);
    if (p->all->is_stopped)
        result.outcome = OUTCOME_CANCELLED;
    else
        metrics_count(result.outcome == OUTCOME_OK ? METRIC_PROBES_OK : METRIC_PROBES_FAILED, 1);
    health_end(lease, &p->policy, &result, clock_mono_ns(), random_u64());
    arena_free(arena);
}

/* --- an answer of one token --- */

static void begin_short(struct exchange *ex)
{
    ex->record.is_probe = ex->record.is_extra = true;
}

YIELDS static void run_short(struct exchange *ex)
{
    const struct route_policy *policy = detached_of(ex->http)->owner;
    if (exchange_plan(ex) < 0)
        return;
    ex->policy = policy;
    attempts_run(ex);
}

YIELDS static int discard(struct detached *d, const struct iovec *iov, int count, bool is_last)
{
    (void)d, (void)iov, (void)count, (void)is_last;
    return 0;
}

static void settle_short(struct exchange *ex)
{
    bool is_ok = str_eq(ex->record.outcome, STR("ok"));
    metrics_count(is_ok ? METRIC_PROBES_OK : METRIC_PROBES_FAILED, 1);
}

YIELDS static void end_short(struct detached *d)
{
    (void)d;
}

static const struct detached_sink short_sink = {
    .begun = begin_short,
    .serve = run_short,
    .write = discard,
    .settled = settle_short,
    .ended = end_short,
};

static void ask_for_token(const struct probe *p)
{
    struct str target = STR("/v1/chat/completions");
    struct http_request like = {
        .method = METHOD_POST,
        .method_name = STR("POST"),
        .target = target,
        .path = target,
        .authority = STR("localhost"),
        .version_major = 1,
        .version_minor = 1,
        .start_ns = clock_mono_ns(),
    };
    net_addr_parse(STR("127.0.0.1"), 0, &like.peer);
    struct detached *d = detached_make(p->all->thread, &like, &short_sink);
    struct route_policy *policy = d == NULL ? NULL : ARENA_NEW(d->http.arena, struct route_policy);
    if (policy != NULL) {
        *policy = p->policy;
        policy->retries = 0;
        policy->when_limited = LIMITED_FAIL;
        d->owner = policy;
        BUF_LIT(&d->body, "{\"model\":");
        struct str parts[] = {p->all->ts->upstreams[p->provider].provider->name, STR("/"),
                              p->model};
        buf_add_json(&d->body, arena_concat(d->http.arena, parts, ARRAY_LEN(parts)));
        BUF_LIT(&d->body,
                ",\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"ping\"}]}");
    }
    if (policy != NULL && buf_ok(&d->body) && detached_start(d, RUN_BULK, "probe") == 0)
        return;
    if (d != NULL)
        detached_drop(d);
}

/* --- a look at a target --- */

/* The key and nothing else, as health is asked. */
static void make_ask(const struct probe *p, unsigned key, struct health_ask *ask)
{
    const struct upstream *upstream = &p->all->ts->upstreams[p->provider];
    *ask = (struct health_ask){
        .provider = upstream->provider->name,
        .model = p->model,
        .key_count = upstream->key_count,
        .weights = upstream->key_weights,
        .excluded = ~(UINT64_C(1) << key),
    };
}

/* A breaker that waits for one attempt gets it; else who was used of late need not be asked. */
static bool is_due(const struct probe *p, const struct health_ask *ask, int64_t now_ns)
{
    struct health_view view;
    health_look(ask, now_ns, &view);
    if (view.verdict == HEALTH_PROBE)
        return true;
    int64_t idle_ns = p->policy.probe_interval_ns / 2;
    return view.verdict == HEALTH_GO &&
           (view.last_used_ns == 0 || now_ns - view.last_used_ns >= idle_ns);
}

static void probes_free(struct probes *all)
{
    thread_snapshot_release(all->ts);
    arena_free(all->arena);
}

YIELDS static void probe_main(void *arg)
{
    struct probe *p = arg;
    struct probes *all = p->all;
    const struct upstream *upstream = &all->ts->upstreams[p->provider];
    bool has_list = upstream->provider->paths[OPERATION_MODELS].len > 0;
    for (unsigned key = 0; key < MIN(upstream->key_count, KEYS_MAX) && !all->is_stopped; key++) {
        struct health_ask ask;
        struct health_lease lease = {0};
        int64_t now_ns = clock_mono_ns();
        make_ask(p, key, &ask);
        if (!is_due(p, &ask, now_ns))
            continue;
        if (!has_list) {
            ask_for_token(p); /* with whichever of the keys health would choose */
            break;
        }
        if (health_may_go(health_begin(&ask, now_ns, random_u64(), &lease, NULL)))
            ask_for_list(p, key, &lease);
    }
    p->task = NULL;
    if (--all->under_way == 0 && all->is_stopped)
        probes_free(all);
}

static void on_timer(struct timer *timer)
{
    struct probe *p = CONTAINER_OF(timer, struct probe, timer);
    int64_t interval_ns = p->policy.probe_interval_ns;
    /* A tenth more or less, so that the probes of many processes do not stay in step. */
    int64_t jitter_ns = (int64_t)(random_u64() % (uint64_t)(interval_ns / 5 + 1));
    loop_timer_arm(timer, clock_add_ns(loop_now_ns(), interval_ns - interval_ns / 10 + jitter_ns));
    if (p->task != NULL)
        return;
    p->task = task_spawn(RUN_BULK, "probe", probe_main, p);
    p->all->under_way += p->task != NULL;
}

/* --- which targets there are --- */

static struct probe *find(struct probes *all, const struct plan_step *step)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (all->items[i].provider == step->provider && str_eq(all->items[i].model, step->model))
            return &all->items[i];
    }
    return NULL;
}

static void add(struct probes *all, const struct plan_step *step, const struct route_policy *policy)
{
    struct probe *p = find(all, step);
    if (p != NULL) {
        p->policy.probe_interval_ns = MIN(p->policy.probe_interval_ns, policy->probe_interval_ns);
        return;
    }
    struct str model = arena_dup(all->arena, step->model);
    if (all->count == PROBES_MAX || model.ptr == NULL)
        return;
    p = &all->items[all->count++];
    *p = (struct probe){.all = all, .provider = step->provider, .model = model, .policy = *policy};
}

/* All that a plan of the route may hold, nested routes and fallbacks, too. */
static void add_route(struct probes *all, const struct route *route)
{
    struct arena *arena = arena_new(4096);
    struct route_facts facts = {.model = route->name, .output_tokens = -1};
    struct plan_view view = {0};
    struct plan plan;
    if (arena != NULL &&
        plan_make(&all->ts->shared->world, &facts, &view, clock_mono_ns(), 0, arena, &plan) == 0) {
        for (unsigned i = 0; i < plan.step_count; i++)
            add(all, &plan.steps[i], &route->policy);
    }
    arena_free(arena);
}

static bool is_wanted(const struct settings *settings)
{
    for (unsigned i = 0; i < settings->route_count; i++) {
        if (settings->routes[i].policy.probe_interval_ns > 0)
            return true;
    }
    return false;
}

static struct probes *make(struct gateway_thread *thread)
{
    struct arena *arena = arena_new(4096);
    struct probes *all = arena == NULL ? NULL : ARENA_NEW(arena, struct probes);
    struct probe *items =
        arena == NULL ? NULL : arena_calloc(arena, PROBES_MAX * sizeof(struct probe));
    if (all == NULL || items == NULL) {
        arena_free(arena);
        return NULL;
    }
    *all = (struct probes){.thread = thread, .arena = arena, .items = items};
    all->ts = thread_snapshot_hold(thread);
    return all;
}

void probe_targets_follow(struct gateway_thread *thread)
{
    const struct settings *settings = thread->current->shared->settings;
    probe_targets_stop();
    if (loop_self() == NULL || loop_index(loop_self()) != 0 || !is_wanted(settings))
        return;
    current = make(thread);
    if (current == NULL)
        return;
    for (unsigned i = 0; i < settings->route_count; i++) {
        if (settings->routes[i].policy.probe_interval_ns > 0)
            add_route(current, &settings->routes[i]);
    }
    for (unsigned i = 0; i < current->count; i++) {
        struct probe *p = &current->items[i];
        int64_t first_ns = MIN(p->policy.probe_interval_ns, FIRST_LOOK_NS);
        timer_init(&p->timer, on_timer);
        loop_timer_arm(&p->timer,
                       clock_add_ns(loop_now_ns(), (int64_t)(random_u64() % (uint64_t)first_ns)));
    }
}

void probe_targets_stop(void)
{
    struct probes *all = current;
    if (all == NULL)
        return;
    current = NULL;
    all->is_stopped = true;
    for (unsigned i = 0; i < all->count; i++) {
        timer_disarm(&all->items[i].timer);
        if (all->items[i].task != NULL)
            task_cancel(all->items[i].task, ERR_CANCELED);
    }
    if (all->under_way == 0)
        probes_free(all);
}
