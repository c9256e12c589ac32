/*
 * When a failed attempt may be made again, and the budget that keeps retries from multiplying an
 * outage.
 * retry_delay_ns: any thread, pure. A budget: one thread at a time (health.h locks). Nothing
 * yields. Plain values; a zeroed budget is an empty one. Cannot fail. A free second try of a reused
 * connection that died before the first byte is the HTTP client's own and no retry in this sense.
 */
#ifndef WEIR_ROUTE_RETRY_H
#define WEIR_ROUTE_RETRY_H

#include "route/route.h"

/* Longest wait for a provider that says when to come back; beyond, the client is told. */
#define RETRY_WAIT_MAX_NS (INT64_C(60) * 1000000000)

/*
 * How long to wait before the same target is tried again; -1 = there is no time for it. `retry` is
 * 1 for the first. Full jitter: evenly in [0, backoff * 2^(retry-1)], at most backoff_max; with
 * `retry_after_ns` (-1 = none) that long at least. The attempt must begin before `deadline_ns`
 * (CLOCK_NEVER = none). Another target is tried at once: no delay belongs there.
 */
int64_t retry_delay_ns(const struct route_policy *policy, unsigned retry, int64_t retry_after,
                       int64_t now_ns, int64_t deadline_ns, uint64_t seed);

/*
 * The budget counts over a minute in buckets of ten seconds. What is charged is the retry that
 * fails: when one of three upstreams dies, everybody on it must move at once, and that is no
 * outage; when all are gone, retries fail and soon there are none. While more retries fail than
 * succeed, those under way count as failed already.
 */
enum { RETRY_BUCKETS = 6 };
struct retry_budget {
    struct retry_bucket {
        int64_t number;
        uint32_t requests, failed, succeeded;
    } buckets[RETRY_BUCKETS];
    uint32_t under_way;
};
#define RETRY_BUCKET_NS (INT64_C(10) * 1000000000)
/* So many failed retries a minute are free: few requests may retry, too. */
enum { RETRY_FLOOR = 5 };

/* A request has come (not an attempt). */
void retry_budget_request(struct retry_budget *budget, int64_t now_ns);
/* May it try again? True: retry_budget_end must follow. 0 percent: never; 100 and more: always. */
bool retry_budget_begin(struct retry_budget *budget, uint32_t percent, int64_t now_ns);
/* The retry has come out. Cancelled ones count as succeeded. */
void retry_budget_end(struct retry_budget *budget, bool is_ok, int64_t now_ns);

#endif
