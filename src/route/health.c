#include "base/clock.h"
#include "route/health_private.h"

const char *const health_verdict_names[HEALTH_VERDICT_COUNT] = {
    [HEALTH_GO] = "go",
    [HEALTH_PROBE] = "probe",
    [HEALTH_LIMITED] = "limited",
    [HEALTH_BENCHED] = "benched",
    [HEALTH_OPEN] = "open",
    [HEALTH_PROBING] = "probing",
    [HEALTH_ALL_EXCLUDED] = "all_excluded",
};

/* Percentiles cost as much as all else together, so they may be a bit old. */
#define TIMES_VALID_NS (250 * NS_PER_MS)

void health_times_of(const struct latency *latency, struct health_times *times, int64_t now_ns)
{
    if (times->is_counted && now_ns - times->counted_ns < TIMES_VALID_NS)
        return;
    *times = (struct health_times){
        .is_counted = true,
        .counted_ns = now_ns,
        .p50_ns = latency_percentile(latency, 50, now_ns),
        .p95_ns = latency_percentile(latency, 95, now_ns),
        .samples = latency_samples(latency, now_ns),
    };
}

/* --- may it go? --- */

static enum health_verdict judge_bench(const struct health_entry *entry,
                                       enum health_lenience lenience, int64_t now_ns,
                                       int64_t *until_ns)
{
    if (!limits_is_benched(&entry->limits, now_ns, until_ns))
        return HEALTH_GO;
    bool is_guess = entry->limits.bench_why == BENCH_GUESSED;
    bool is_short = *until_ns - now_ns <= HEALTH_SHORT_BENCH_NS;
    if ((is_guess && lenience != HEALTH_STRICT) || (is_short && lenience == HEALTH_ONLY_ONE))
        return HEALTH_GO;
    return entry->bench_for == OUTCOME_DENIED ? HEALTH_BENCHED : HEALTH_LIMITED;
}

enum health_verdict health_judge(const struct health_entry *entry,
                                 const struct health_provider *provider, unsigned key,
                                 int64_t tokens, enum health_lenience lenience, int64_t now_ns,
                                 int64_t *until_ns)
{
    *until_ns = 0;
    if (provider != NULL && lenience == HEALTH_STRICT && provider->benches[key].until_ns > now_ns) {
        *until_ns = provider->benches[key].until_ns;
        return HEALTH_BENCHED;
    }
    if (entry == NULL)
        return HEALTH_GO;
    enum health_verdict verdict = judge_bench(entry, lenience, now_ns, until_ns);
    if (verdict != HEALTH_GO)
        return verdict;
    switch (breaker_look(&entry->breaker, now_ns)) {
    case BREAKER_STAY_OPEN:
        *until_ns = entry->breaker.until_ns;
        return HEALTH_OPEN;
    case BREAKER_STAY_PROBING:
        *until_ns = CLOCK_NEVER;
        return HEALTH_PROBING;
    case BREAKER_GO_PROBE:
        verdict = HEALTH_PROBE;
        break;
    case BREAKER_GO:
        break;
    }
    if (lenience == HEALTH_STRICT && limits_is_near(&entry->limits, tokens, now_ns, until_ns))
        return HEALTH_LIMITED;
    *until_ns = 0;
    return verdict;
}

/* All keys of an ask, judged. */
struct choice {
    uint64_t usable;
    uint64_t total_weight;
    enum health_verdict verdict;
    int64_t until_ns; /* 0 where one is usable; else when the first of them will be */
};

static unsigned key_count_of(const struct health_ask *ask)
{
    return MIN(MAX(ask->key_count, 1u), (unsigned)HEALTH_KEYS_MAX);
}

static uint32_t weight_of(const struct health_ask *ask, unsigned key)
{
    return ask->weights != NULL ? ask->weights[key] : 1;
}

static void choose_among(const struct health_ask *ask, const struct health_target *target,
                         int64_t now_ns, struct choice *choice)
{
    const struct health_provider *provider =
        target != NULL ? target->provider : health_provider_find(ask->provider);
    unsigned count = key_count_of(ask);
    *choice = (struct choice){.verdict = HEALTH_ALL_EXCLUDED, .until_ns = CLOCK_NEVER};
    for (unsigned key = 0; key < count; key++) {
        int64_t until_ns;
        if (ask->excluded >> key & 1)
            continue;
        enum health_verdict verdict = health_judge(health_entry_of(target, key), provider, key,
                                                   ask->tokens, ask->lenience, now_ns, &until_ns);
        if (health_may_go(verdict)) {
            choice->usable |= UINT64_C(1) << key;
            choice->total_weight += weight_of(ask, key);
        }
        /* Of those that may go the one without a probe, of the others the one that may go first. */
        if (until_ns < choice->until_ns || choice->verdict == HEALTH_ALL_EXCLUDED ||
            (until_ns == choice->until_ns && verdict < choice->verdict)) {
            choice->verdict = verdict;
            choice->until_ns = until_ns;
        }
    }
}

/* By weight; where all that is left weighs nothing, any of them. */
static unsigned pick(const struct health_ask *ask, const struct choice *choice, uint64_t seed)
{
    bool is_weighed = choice->total_weight > 0;
    uint64_t total =
        is_weighed ? choice->total_weight : (uint64_t)__builtin_popcountll(choice->usable);
    uint64_t at = seed % total;
    unsigned key = 0;
    for (; key < HEALTH_KEYS_MAX - 1; key++) {
        if ((choice->usable >> key & 1) == 0)
            continue;
        uint64_t weight = is_weighed ? weight_of(ask, key) : 1;
        if (at < weight)
            break;
        at -= weight;
    }
    return key;
}

/* --- an attempt --- */

static void begin_with(struct health_entry *entry, const struct health_ask *ask, int64_t now_ns,
                       struct health_lease *lease)
{
    struct health_target *target = entry->target;
    lease->entry = entry;
    lease->is_probe = breaker_ask(&entry->breaker, now_ns) == BREAKER_GO_PROBE;
    limits_take(&entry->limits, ask->tokens);
    entry->attempts++;
    entry->in_flight++;
    entry->last_used_ns = now_ns;
    target->in_flight++;
    list_remove(&target->used);
    list_push(&health_table.used, &target->used);
}

enum health_verdict health_begin(const struct health_ask *ask, int64_t now_ns, uint64_t seed,
                                 struct health_lease *lease, int64_t *until_ns)
{
    uint64_t hash = health_hash(ask->provider, ask->model);
    struct choice choice = {.verdict = HEALTH_GO, .usable = 1};
    *lease = (struct health_lease){.begun_ns = now_ns};
    health_lock();
    if (health_table.buckets != NULL) {
        struct health_target *target = health_target_find(ask->provider, ask->model, hash);
        choose_among(ask, target, now_ns, &choice);
        if (choice.usable != 0) {
            lease->key = pick(ask, &choice, seed);
            struct health_entry *entry =
                health_entry_get(ask->provider, ask->model, hash, lease->key);
            if (entry != NULL)
                begin_with(entry, ask, now_ns, lease);
            choice.verdict = lease->is_probe ? HEALTH_PROBE : HEALTH_GO;
        }
    }
    health_unlock();
    if (until_ns != NULL)
        *until_ns = choice.until_ns;
    return choice.verdict;
}

static void tell_breaker(struct health_lease *lease, const struct route_policy *policy,
                         bool is_failure, bool is_slow, int64_t now_ns, uint64_t seed)
{
    struct breaker_outcome outcome = {
        .is_failure = is_failure,
        .is_slow = is_slow,
        .is_probe = lease->is_probe,
        .begun_ns = lease->begun_ns,
    };
    breaker_record(&lease->entry->breaker, policy, &outcome, now_ns, seed);
    lease->counted_ok = !is_failure;
    lease->counted_failed = is_failure;
    lease->is_probe = false;
}

void health_first(struct health_lease *lease, const struct route_policy *policy, int64_t ttft_ns,
                  int64_t now_ns, uint64_t seed)
{
    if (lease->entry == NULL)
        return;
    bool is_slow = policy->slow_ttft_ns > 0 && ttft_ns > policy->slow_ttft_ns;
    health_lock();
    latency_record(&lease->entry->target->ttft, ttft_ns, now_ns);
    if (is_slow || lease->is_probe)
        tell_breaker(lease, policy, is_slow, is_slow, now_ns, seed);
    health_unlock();
}

void health_learn(struct health_lease *lease, const struct http_headers *headers, int64_t now_ns,
                  int64_t now_wall_ns)
{
    struct limits told;
    if (lease->entry == NULL || !limits_read(headers, now_ns, now_wall_ns, &told))
        return;
    health_lock();
    limits_merge(&lease->entry->limits, &told);
    health_unlock();
}

/* How long after so many refusals in a row, where the provider does not say. */
static int64_t guess_ns(const struct outcome_rule *rule, uint32_t in_row)
{
    int64_t ns = rule->bench_ns;
    for (uint32_t i = 0; i < in_row && ns < rule->bench_max_ns; i++)
        ns *= 2;
    return MIN(ns, rule->bench_max_ns);
}

/* Many attempts under way are refused at once: they are one refusal, not many in a row. */
static void bench_entry(struct health_lease *lease, const struct health_result *result,
                        int64_t now_ns)
{
    struct health_entry *entry = lease->entry;
    const struct outcome_rule *rule = &outcome_rules[result->outcome];
    bool is_told = result->retry_after_ns > 0;
    bool is_sibling = lease->begun_ns < entry->benched_ns;
    if (!is_told && (is_sibling || result->retry_after_ns == 0))
        return;
    int64_t ns = is_told ? result->retry_after_ns : guess_ns(rule, entry->limits.benched_in_row);
    limits_bench(&entry->limits, clock_add_ns(now_ns, ns), is_told ? BENCH_TOLD : BENCH_GUESSED);
    entry->benched_ns = now_ns;
    entry->bench_for = result->outcome;
}

static void bench_key(struct health_lease *lease, const struct health_result *result,
                      int64_t now_ns)
{
    struct key_bench *bench = &lease->entry->target->provider->benches[lease->key];
    if (lease->begun_ns < bench->benched_ns)
        return;
    int64_t ns = guess_ns(&outcome_rules[result->outcome], bench->in_row++);
    bench->until_ns = clock_add_ns(now_ns, MAX(ns, result->retry_after_ns));
    bench->benched_ns = now_ns;
}

static void note_good(struct health_lease *lease, const struct health_result *result,
                      int64_t now_ns)
{
    struct health_entry *entry = lease->entry;
    if (lease->begun_ns >= entry->benched_ns)
        limits_unbench(&entry->limits);
    struct key_bench *bench = &entry->target->provider->benches[lease->key];
    if (lease->begun_ns >= bench->benched_ns)
        *bench = (struct key_bench){0};
    if (result->duration_ns >= 0)
        latency_record(&entry->target->duration, result->duration_ns, now_ns);
}

static void note_error(struct health_lease *lease, const struct health_result *result,
                       int64_t now_ns)
{
    struct health_entry *entry = lease->entry;
    const struct outcome_rule *rule = &outcome_rules[result->outcome];
    entry->last_error = result->outcome;
    entry->last_error_status = result->status;
    entry->last_error_ns = now_ns;
    if (rule->benches == BENCH_KEY)
        bench_key(lease, result, now_ns);
    else if (rule->benches == BENCH_TARGET_KEY ||
             (rule->counts_for_breaker && result->retry_after_ns > 0))
        bench_entry(lease, result, now_ns);
    struct health_target *target = entry->target;
    /* Names that nobody has are the first to leave, so that they push out nothing that is used. */
    if (result->outcome == OUTCOME_NO_MODEL && entry->outcomes[OUTCOME_OK] == 0) {
        list_remove(&target->used);
        list_push_front(&health_table.used, &target->used);
    }
}

void health_end(struct health_lease *lease, const struct route_policy *policy,
                const struct health_result *result, int64_t now_ns, uint64_t seed)
{
    struct health_entry *entry = lease->entry;
    const struct outcome_rule *rule = &outcome_rules[result->outcome];
    if (entry == NULL)
        return;
    health_lock();
    entry->in_flight--;
    entry->target->in_flight--;
    entry->outcomes[result->outcome]++;
    if (result->outcome == OUTCOME_OK)
        note_good(lease, result, now_ns);
    else if (result->outcome != OUTCOME_CANCELLED)
        note_error(lease, result, now_ns);
    if (rule->counts_for_breaker && !lease->counted_failed)
        tell_breaker(lease, policy, true, false, now_ns, seed);
    else if (result->outcome == OUTCOME_OK && !lease->counted_ok && !lease->counted_failed)
        tell_breaker(lease, policy, false, false, now_ns, seed);
    if (lease->is_probe)
        breaker_release(&entry->breaker);
    health_unlock();
    *lease = (struct health_lease){0};
}

/* --- for the planner --- */

static void view_target(struct health_target *target, const struct choice *choice, int64_t now_ns,
                        struct health_view *view)
{
    health_times_of(&target->ttft, &target->ttft_times, now_ns);
    health_times_of(&target->duration, &target->duration_times, now_ns);
    view->is_known = true;
    view->in_flight = target->in_flight;
    view->ttft_p50_ns = target->ttft_times.p50_ns;
    view->ttft_p95_ns = target->ttft_times.p95_ns;
    view->ttft_samples = target->ttft_times.samples;
    view->duration_p50_ns = target->duration_times.p50_ns;
    view->duration_p95_ns = target->duration_times.p95_ns;
    view->duration_samples = target->duration_times.samples;
    view->state = BREAKER_STATE_COUNT;
    /* The best of the keys that count: those that may be used, or all where none may. */
    for (unsigned key = 0; key < HEALTH_KEYS_MAX && key < MAX(target->key_count, 1u); key++) {
        const struct health_entry *entry = health_entry_of(target, key);
        bool is_usable = choice->usable >> key & 1;
        if (entry == NULL || (choice->usable != 0 && !is_usable))
            continue;
        view->state = MIN(view->state, breaker_shown(&entry->breaker, now_ns));
        view->last_used_ns = MAX(view->last_used_ns, entry->last_used_ns);
    }
    if (view->state == BREAKER_STATE_COUNT)
        view->state = BREAKER_CLOSED;
}

void health_look(const struct health_ask *ask, int64_t now_ns, struct health_view *view)
{
    uint64_t hash = health_hash(ask->provider, ask->model);
    struct choice choice = {.verdict = HEALTH_GO, .usable = 1};
    *view = (struct health_view){
        .ttft_p50_ns = -1,
        .ttft_p95_ns = -1,
        .duration_p50_ns = -1,
        .duration_p95_ns = -1,
    };
    health_lock();
    if (health_table.buckets != NULL) {
        struct health_target *target = health_target_find(ask->provider, ask->model, hash);
        choose_among(ask, target, now_ns, &choice);
        if (target != NULL)
            view_target(target, &choice, now_ns, view);
    }
    health_unlock();
    view->verdict = choice.verdict;
    view->until_ns = choice.until_ns;
    view->usable_keys = (unsigned)__builtin_popcountll(choice.usable);
}

static int64_t percentile_ns(struct str provider, struct str model, bool is_ttft, unsigned percent,
                             int64_t now_ns)
{
    uint64_t hash = health_hash(provider, model);
    int64_t ns = -1;
    health_lock();
    struct health_target *target =
        health_table.buckets != NULL ? health_target_find(provider, model, hash) : NULL;
    if (target != NULL)
        ns = latency_percentile(is_ttft ? &target->ttft : &target->duration, percent, now_ns);
    health_unlock();
    return ns;
}

int64_t health_ttft_ns(struct str provider, struct str model, unsigned percent, int64_t now_ns)
{
    return percentile_ns(provider, model, true, percent, now_ns);
}

int64_t health_duration_ns(struct str provider, struct str model, unsigned percent, int64_t now_ns)
{
    return percentile_ns(provider, model, false, percent, now_ns);
}
