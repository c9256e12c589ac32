#include "gateway/model_fetch.h"

#include "base/clock.h"
#include "gateway/headers.h"

enum { FRESH_SECONDS = 300, RETRY_SECONDS = 10, FETCH_SECONDS = 5 };

/* Largest list that is kept; the biggest public one (OpenRouter) is about 1 MB. */
#define LIST_BYTES_MAX (8u * 1024 * 1024)

/* The fetches of one request: in the memory of the waiting task, which outlives them. */
struct fetches {
    struct exchange *ex;
    struct task *waiter;
    unsigned left;
    struct fetch *items;
    unsigned count;
};

struct fetch {
    struct fetches *all;
    struct task *task;
    unsigned provider;
};

bool model_list_is_fetched(const struct provider *provider)
{
    if (provider->paths[OPERATION_MODELS].len == 0)
        return false;
    for (unsigned i = 0; i < provider->model_count; i++) {
        if (str_index(provider->models[i], '*') < 0)
            return false;
    }
    return true;
}

YIELDS static int fetch_list(struct fetch *f, struct arena *arena, struct buf *out)
{
    const struct upstream *upstream = &f->all->ex->ts->upstreams[f->provider];
    struct http_headers none = {0};
    struct http_headers headers = {0};
    struct headers_way way = {.client = upstream->provider->dialect,
                              .provider = upstream->provider->dialect};
    if (!headers_for_upstream(&headers, arena, &none, &upstream->headers[0], &way, false))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    struct http_call_request request = {
        .method = METHOD_GET,
        .target = upstream_target(upstream, 0, arena, OPERATION_MODELS, STR_EMPTY),
        .headers = &headers,
    };
    struct http_timeouts timeouts = {
        .connect_ns = FETCH_SECONDS * NS_PER_SEC,
        .tls_ns = FETCH_SECONDS * NS_PER_SEC,
        .first_byte_ns = FETCH_SECONDS * NS_PER_SEC,
        .idle_ns = FETCH_SECONDS * NS_PER_SEC,
        .total_deadline_ns = clock_add_ns(loop_now_ns(), FETCH_SECONDS * NS_PER_SEC),
    };
    struct http_call call;
    int r = upstream_authenticate(upstream, arena, &request, &headers);
    if (r < 0)
        return r;
    r = http_call_start(&call, arena, &upstream->origin, &request, &timeouts);
    if (r == 0)
        r = http_call_head(&call);
    if (r == 0)
        r = http_call_collect(&call, LIST_BYTES_MAX, out);
    if (r == 0 && call.head.status != 200)
        r = err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "status %u", call.head.status);
    http_call_finish(&call);
    return r;
}

static void fetch_main(void *arg)
{
    struct fetch *f = arg;
    struct fetches *all = f->all;
    struct thread_snapshot *ts = all->ex->ts;
    struct model_list *list = &ts->model_lists[f->provider];
    struct arena *arena = arena_new(2048);
    struct buf body = BUF_INIT;
    int r = arena == NULL ? -ERR_NOMEM : fetch_list(f, arena, &body);
    buf_fini(&list->body);
    if (r == 0) {
        list->body = body;
    } else {
        buf_fini(&body);
        log_event(LOG_WARN, "models", "no model list from %.*s: %s",
                  STR_ARG(ts->upstreams[f->provider].provider->name), err_slot()->message);
    }
    list->fresh_until_ns =
        clock_add_ns(clock_mono_ns(), (r == 0 ? FRESH_SECONDS : RETRY_SECONDS) * NS_PER_SEC);
    arena_free(arena);
    f->task = NULL;
    if (--all->left == 0)
        task_wake(all->waiter);
}

static void cancel_all(struct fetches *all)
{
    for (unsigned i = 0; i < all->count; i++) {
        if (all->items[i].task != NULL)
            task_cancel(all->items[i].task, ERR_CANCELED);
    }
}

/* Waits for all, also when this task is cancelled: the fetches use its memory. */
YIELDS static int wait_for(struct fetches *all)
{
    int result = 0;
    while (all->left > 0 && result == 0)
        result = task_park(CLOCK_NEVER);
    if (result < 0)
        cancel_all(all);
    task_shield();
    while (all->left > 0)
        task_park(CLOCK_NEVER);
    task_unshield();
    return result;
}

YIELDS int model_lists_refresh(struct exchange *ex)
{
    unsigned count = ex->settings->provider_count;
    struct fetches all = {.ex = ex, .waiter = task_self()};
    all.items = arena_calloc(ex->arena, count * sizeof(*all.items));
    if (all.items == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    int64_t now_ns = loop_now_ns();
    for (unsigned i = 0; i < count; i++) {
        if (!model_list_is_fetched(ex->ts->upstreams[i].provider) ||
            ex->ts->model_lists[i].fresh_until_ns > now_ns)
            continue;
        struct fetch *f = &all.items[all.count];
        *f = (struct fetch){.all = &all, .provider = i};
        f->task = task_spawn(RUN_NORMAL, "model list", fetch_main, f);
        if (f->task == NULL)
            continue;
        all.count++;
        all.left++;
    }
    return wait_for(&all);
}
