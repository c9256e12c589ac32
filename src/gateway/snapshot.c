#include "gateway/snapshot.h"

#include "base/mem.h"
#include "gateway/probe_targets.h"
#include "gateway/refusal.h"
#include "gateway/response_store.h"

static atomic_bool draining;

void gateway_set_draining(bool is_draining)
{
    atomic_store_explicit(&draining, is_draining, memory_order_relaxed);
}

bool gateway_is_draining(void)
{
    return atomic_load_explicit(&draining, memory_order_relaxed);
}

const struct settings *snapshot_settings(const struct snapshot *snapshot)
{
    return snapshot->settings;
}

uint64_t snapshot_generation(const struct snapshot *snapshot)
{
    return snapshot->generation;
}

bool snapshot_is_usable(const struct snapshot *snapshot)
{
    return snapshot->is_usable;
}

void snapshot_ref(struct snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
}

void snapshot_unref(struct snapshot *snapshot)
{
    if (snapshot == NULL ||
        atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) != 1)
        return;
    key_table_free(snapshot->keys);
    settings_free(snapshot->settings);
    mem_free(snapshot);
}

static int check_aliases(const struct snapshot *s)
{
    for (unsigned i = 0; i < s->world.alias_count; i++) {
        struct plan_resolution plan;
        plan_name(&s->world, s->world.aliases[i].name, &plan);
        if (plan.verdict != PLAN_OK)
            return err_set(ERR_INVALID, FAULT_GATEWAY,
                           "models: '%.*s' leads to '%.*s', whose provider is not configured; "
                           "write it as provider/model",
                           STR_ARG(s->world.aliases[i].name), STR_ARG(s->world.aliases[i].target));
    }
    return 0;
}

static int build_keys(struct snapshot *s)
{
    const struct settings *set = s->settings;
    unsigned second = UINT32_MAX;
    s->keys = key_table_new(set->keys, set->key_count, &second);
    if (s->keys != NULL) {
        s->is_open = set->auth == AUTH_MODE_NONE || set->key_count == 0;
        return 0;
    }
    if (second < set->key_count)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "keys: '%.*s' has the same key as another entry",
                       STR_ARG(set->keys[second].name));
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the key table");
}

/* The parts of an upstream that can be wrong are tried here once, on the main thread. */
static int check_providers(struct snapshot *s)
{
    const struct settings *set = s->settings;
    for (unsigned i = 0; i < set->provider_count; i++) {
        struct upstream probe;
        int r = upstream_init(&probe, set->arena, &set->providers[i], s->generation);
        if (r < 0)
            return r;
        upstream_fini(&probe);
        s->is_usable = true;
    }
    return 0;
}

struct snapshot *snapshot_new(struct settings *settings, uint64_t generation)
{
    struct snapshot *s = MEM_NEW(struct snapshot);
    if (s == NULL) {
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a snapshot");
        return NULL;
    }
    atomic_init(&s->refs, 1);
    s->generation = generation;
    s->settings = settings;
    int r = settings_world(settings, &s->world)
                ? 0
                : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a snapshot");
    if (r == 0)
        r = check_aliases(s);
    if (r == 0)
        r = build_keys(s);
    if (r == 0)
        r = check_providers(s);
    if (r == 0) {
        response_store_configure(settings->response_store_bytes, settings->response_store_ttl_ns);
        return s;
    }
    key_table_free(s->keys);
    mem_free(s);
    return NULL;
}

static void thread_snapshot_free(struct thread_snapshot *ts)
{
    for (unsigned i = 0; i < ts->shared->settings->provider_count; i++) {
        upstream_fini(&ts->upstreams[i]);
        buf_fini(&ts->model_lists[i].body);
    }
    snapshot_unref(ts->shared);
    arena_free(ts->arena); /* the struct itself is in it */
}

static struct thread_snapshot *thread_snapshot_new(struct snapshot *shared)
{
    struct arena *arena = arena_new(4096);
    if (arena == NULL)
        return NULL;
    const struct settings *set = shared->settings;
    struct thread_snapshot *ts = ARENA_NEW(arena, struct thread_snapshot);
    struct upstream *upstreams = arena_calloc(arena, set->provider_count * sizeof(*upstreams));
    struct model_list *lists = arena_calloc(arena, set->provider_count * sizeof(*lists));
    if (ts == NULL || upstreams == NULL || lists == NULL) {
        arena_free(arena);
        return NULL;
    }
    *ts = (struct thread_snapshot){
        .shared = shared, .arena = arena, .upstreams = upstreams, .model_lists = lists};
    snapshot_ref(shared);
    for (unsigned i = 0; i < set->provider_count; i++) {
        if (upstream_init(&upstreams[i], arena, &set->providers[i], shared->generation) < 0 ||
            upstream_start(&upstreams[i]) < 0) {
            thread_snapshot_free(ts);
            return NULL;
        }
    }
    return ts;
}

struct thread_snapshot *thread_snapshot_hold(struct gateway_thread *thread)
{
    thread->current->holds++;
    return thread->current;
}

struct thread_snapshot *thread_snapshot_share(struct thread_snapshot *ts)
{
    CHECK(ts->holds > 0);
    ts->holds++;
    return ts;
}

void thread_snapshot_release(struct thread_snapshot *ts)
{
    CHECK(ts->holds > 0);
    if (--ts->holds == 0 && ts->is_retired)
        thread_snapshot_free(ts);
}

static void retire(struct thread_snapshot *ts)
{
    ts->is_retired = true;
    if (ts->holds == 0)
        thread_snapshot_free(ts);
}

static void follow(struct gateway_thread *thread)
{
    const struct settings *set = thread->current->shared->settings;
    thread->http = (struct http_server_settings){
        .limits = set->limits,
        .head_timeout_ns = set->timeouts.client_header,
        .body_timeout_ns = set->timeouts.client_body,
        .keep_alive_timeout_ns = set->timeouts.client_idle,
        .write_timeout_ns = set->timeouts.client_stall,
        .describe_error = refusal_for_bad_http,
    };
}

struct gateway_thread *gateway_thread_new(struct snapshot *first)
{
    struct gateway_thread *thread = MEM_NEW(struct gateway_thread);
    if (thread == NULL)
        return NULL;
    thread->current = thread_snapshot_new(first);
    if (thread->current == NULL) {
        mem_free(thread);
        return NULL;
    }
    follow(thread);
    probe_targets_follow(thread);
    return thread;
}

void gateway_thread_swap(struct gateway_thread *thread, struct snapshot *next)
{
    struct thread_snapshot *ts = thread_snapshot_new(next);
    if (ts == NULL) {
        log_event(LOG_ERROR, "config", "a thread keeps the old config: %s", err_slot()->message);
        return;
    }
    retire(thread->current);
    thread->current = ts;
    follow(thread);
    http_pool_purge(next->generation);
    probe_targets_follow(thread);
}

void gateway_thread_free(struct gateway_thread *thread)
{
    CHECK(thread->current->holds == 0);
    thread_snapshot_free(thread->current);
    mem_free(thread);
}

const struct http_server_settings *gateway_http_settings(struct gateway_thread *thread)
{
    return &thread->http;
}
