#include <stdatomic.h>

#include "base/mem.h"
#include "route/health_private.h"

struct health_route {
    struct health_route *next; /* of the bucket */
    struct str name;           /* behind the struct */
    atomic_uint_fast64_t turn;
    pthread_mutex_t lock; /* of the budget */
    struct retry_budget budget;
};

/* Names come from the config: few, and none of them leaves. So the way to one needs no lock: a
 * bucket's chain only ever grows at its head. */
enum { BUCKETS = 256 };
static _Atomic(struct health_route *) buckets[BUCKETS];
static pthread_mutex_t growing = PTHREAD_MUTEX_INITIALIZER;
static unsigned route_count;
static struct health_route nameless = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct health_route *find(struct health_route *route, struct str name)
{
    while (route != NULL && !str_eq(route->name, name))
        route = route->next;
    return route;
}

static struct health_route *add(_Atomic(struct health_route *) *bucket, struct str name)
{
    struct health_route *head = atomic_load_explicit(bucket, memory_order_relaxed);
    struct health_route *route = find(head, name);
    if (route != NULL || route_count >= HEALTH_ROUTES_MAX)
        return route;
    route = mem_calloc(1, sizeof(*route) + name.len);
    if (route == NULL)
        return NULL;
    memcpy(route + 1, name.ptr, name.len);
    route->name = str_n((const char *)(route + 1), name.len);
    pthread_mutex_init(&route->lock, NULL);
    route->next = head;
    atomic_store_explicit(bucket, route, memory_order_release);
    route_count++;
    return route;
}

struct health_route *health_route(struct str name)
{
    if (name.len == 0)
        return &nameless;
    _Atomic(struct health_route *) *bucket = &buckets[str_hash(name) % BUCKETS];
    struct health_route *route = find(atomic_load_explicit(bucket, memory_order_acquire), name);
    if (route != NULL)
        return route;
    pthread_mutex_lock(&growing);
    route = add(bucket, name);
    pthread_mutex_unlock(&growing);
    return route != NULL ? route : &nameless;
}

void health_routes_fini(void)
{
    for (int i = 0; i < BUCKETS; i++) {
        struct health_route *route = atomic_exchange(&buckets[i], NULL), *next;
        for (; route != NULL; route = next) {
            next = route->next;
            pthread_mutex_destroy(&route->lock);
            mem_free(route);
        }
    }
    route_count = 0;
    nameless.budget = (struct retry_budget){0};
    atomic_store(&nameless.turn, 0);
}

uint64_t health_turn(struct health_route *route)
{
    return atomic_fetch_add_explicit(&route->turn, 1, memory_order_relaxed);
}

uint64_t health_next_turn(struct health_route *route)
{
    return atomic_load_explicit(&route->turn, memory_order_relaxed);
}

void health_count_request(struct health_route *route, int64_t now_ns)
{
    pthread_mutex_lock(&route->lock);
    retry_budget_request(&route->budget, now_ns);
    pthread_mutex_unlock(&route->lock);
}

bool health_retry_begin(struct health_route *route, uint32_t budget_percent, int64_t now_ns)
{
    pthread_mutex_lock(&route->lock);
    bool is_allowed = retry_budget_begin(&route->budget, budget_percent, now_ns);
    pthread_mutex_unlock(&route->lock);
    return is_allowed;
}

void health_retry_end(struct health_route *route, bool is_ok, int64_t now_ns)
{
    pthread_mutex_lock(&route->lock);
    retry_budget_end(&route->budget, is_ok, now_ns);
    pthread_mutex_unlock(&route->lock);
}
