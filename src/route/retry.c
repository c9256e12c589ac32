#include "route/retry.h"

#include "base/clock.h"

/* --- the delay --- */

int64_t retry_delay_ns(const struct route_policy *policy, unsigned retry, int64_t retry_after,
                       int64_t now_ns, int64_t deadline_ns, uint64_t seed)
{
    int64_t longest = MAX(policy->backoff_ns, 0);
    for (unsigned i = 1; i < retry && longest < policy->backoff_max_ns; i++)
        longest *= 2;
    longest = MIN(longest, MAX(policy->backoff_max_ns, 0));
    int64_t delay = (int64_t)(seed % ((uint64_t)longest + 1));
    if (retry_after > RETRY_WAIT_MAX_NS)
        return -1;
    /* Everybody was told the same moment: the jitter comes on top. */
    if (retry_after >= 0)
        delay = retry_after + MIN(delay, retry_after / 4);
    if (deadline_ns != CLOCK_NEVER && clock_add_ns(now_ns, delay) >= deadline_ns)
        return -1;
    return delay;
}

/* --- the budget --- */

static struct retry_bucket *bucket_of(struct retry_budget *budget, int64_t now_ns)
{
    int64_t number = now_ns / RETRY_BUCKET_NS;
    struct retry_bucket *bucket = &budget->buckets[number % RETRY_BUCKETS];
    /* Another thread's clock may be ahead by a bit. */
    if (bucket->number < number)
        *bucket = (struct retry_bucket){.number = number};
    return bucket;
}

void retry_budget_request(struct retry_budget *budget, int64_t now_ns)
{
    bucket_of(budget, now_ns)->requests++;
}

bool retry_budget_begin(struct retry_budget *budget, uint32_t percent, int64_t now_ns)
{
    int64_t oldest = now_ns / RETRY_BUCKET_NS - RETRY_BUCKETS;
    uint64_t requests = 0, failed = 0, succeeded = 0;
    for (int i = 0; i < RETRY_BUCKETS && percent < 100; i++) {
        const struct retry_bucket *bucket = &budget->buckets[i];
        if (bucket->number <= oldest)
            continue;
        requests += bucket->requests;
        failed += bucket->failed;
        succeeded += bucket->succeeded;
    }
    uint64_t charged = failed > succeeded ? failed + budget->under_way : failed;
    bool has_left = percent > 0 && charged < MAX(requests * percent / 100, RETRY_FLOOR);
    bool is_allowed = percent >= 100 || has_left;
    budget->under_way += is_allowed;
    return is_allowed;
}

void retry_budget_end(struct retry_budget *budget, bool is_ok, int64_t now_ns)
{
    struct retry_bucket *bucket = bucket_of(budget, now_ns);
    if (budget->under_way > 0)
        budget->under_way--;
    bucket->succeeded += is_ok;
    bucket->failed += !is_ok;
}
