#include "gateway/mirror.h"

#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/detached.h"
#include "gateway/exchange.h"
#include "rt/random.h"

/* Per thread, under way at the same time; what is beyond is dropped. */
enum { MIRRORS_MAX = 64 };
#define MIRROR_BYTES_MAX (64u * 1024 * 1024) /* of requests' bodies */

#define MILLION 1000000

struct mirror {
    struct str target;
    struct str pair;
    size_t bytes; /* of the body */
};

static _Thread_local struct {
    unsigned under_way;
    size_t bytes;
} thread;

static void begin(struct exchange *ex)
{
    const struct mirror *mirror = detached_of(ex->http)->owner;
    ex->record.pair = mirror->pair;
    ex->record.is_mirror = ex->record.is_extra = true;
}

YIELDS static void run_mirror(struct exchange *ex)
{
    const struct mirror *mirror = detached_of(ex->http)->owner;
    ex->asked = mirror->target;
    if (exchange_plan(ex) == 0)
        attempts_run(ex);
}

/* Nobody reads it: what is to be known of it, the exchange has seen. */
YIELDS static int discard(struct detached *d, const struct iovec *iov, int count, bool is_last)
{
    (void)d, (void)iov, (void)count, (void)is_last;
    return 0;
}

YIELDS static void end(struct detached *d)
{
    const struct mirror *mirror = d->owner;
    thread.under_way--;
    thread.bytes -= mirror->bytes;
}

static const struct detached_sink mirror_sink = {
    .begun = begin,
    .serve = run_mirror,
    .write = discard,
    .ended = end,
};

static bool make(const struct exchange *ex, struct detached *d)
{
    struct arena *arena = d->http.arena;
    struct mirror *mirror = ARENA_NEW(arena, struct mirror);
    if (mirror == NULL)
        return false;
    mirror->target = arena_dup(arena, ex->policy->mirror_target);
    mirror->pair = arena_dup(arena, ex->record.request_id);
    mirror->bytes = ex->body.len;
    d->owner = mirror;
    d->http.start_ns = clock_mono_ns(); /* its time is its own */
    buf_add_str(&d->body, buf_str(&ex->body));
    return mirror->target.ptr != NULL && mirror->pair.ptr != NULL && buf_ok(&d->body);
}

static bool start(const struct exchange *ex)
{
    if (thread.under_way >= MIRRORS_MAX || thread.bytes + ex->body.len > MIRROR_BYTES_MAX ||
        gateway_is_draining())
        return false;
    struct detached *d = detached_new(ex, &mirror_sink);
    if (d == NULL)
        return false;
    if (!make(ex, d) || detached_start(d, RUN_BULK, "mirrored request") < 0) {
        detached_drop(d);
        return false;
    }
    thread.under_way++;
    thread.bytes += ex->body.len;
    return true;
}

void mirror_copy(struct exchange *ex)
{
    const struct route_policy *policy = ex->policy;
    if (policy->mirror_target.len == 0 || random_u64() % MILLION >= policy->mirror_per_million)
        return;
    if (!start(ex)) {
        metrics_count(METRIC_MIRRORS_DROPPED, 1);
        return;
    }
    metrics_count(METRIC_MIRRORS, 1);
    ex->record.pair = ex->record.request_id;
}
