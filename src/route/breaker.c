#include "route/breaker.h"

#include "base/clock.h"

const char *const breaker_state_names[BREAKER_STATE_COUNT] = {
    [BREAKER_CLOSED] = "closed",
    [BREAKER_DEGRADED] = "degraded",
    [BREAKER_OPEN] = "open",
    [BREAKER_PROBING] = "probing",
};

const char *const breaker_why_names[BREAKER_WHY_COUNT] = {
    [BREAKER_WHY_NONE] = "none",           [BREAKER_WHY_IN_A_ROW] = "failures_in_a_row",
    [BREAKER_WHY_RATIO] = "failure_ratio", [BREAKER_WHY_SLOW] = "slow",
    [BREAKER_WHY_PROBE_DUE] = "probe_due", [BREAKER_WHY_PROBE_FAILED] = "probe_failed",
    [BREAKER_WHY_RECOVERED] = "recovered",
};

/* Doublings of the time to the next probe. */
enum { BACKOFF_SHIFT_MAX = 3 };

static void change(struct breaker *b, enum breaker_state state, enum breaker_why why,
                   int64_t now_ns)
{
    if (b->state != state)
        b->since_ns = now_ns;
    b->state = state;
    b->why = why;
}

/* --- the window --- */

static void count(struct breaker *b, int64_t window_ns, bool is_failure, int64_t now_ns)
{
    int64_t age = now_ns - b->window_start_ns;
    if (b->window_ns == 0 || age >= b->window_ns) {
        bool follows = b->window_ns != 0 && age < 2 * b->window_ns;
        b->previous = follows ? b->current : (struct breaker_counts){0};
        b->current = (struct breaker_counts){0};
        b->window_start_ns = follows ? b->window_start_ns + b->window_ns : now_ns;
        /* Routes may want different windows of one breaker: the one that is first has it. */
        b->window_ns = MAX(window_ns, NS_PER_MS);
    }
    b->current.attempts++;
    b->current.failures += is_failure;
}

/* As if the previous window's attempts had come evenly: what of it is younger than a window. */
struct breaker_counts breaker_recent(const struct breaker *b, int64_t now_ns)
{
    int64_t age = now_ns - b->window_start_ns;
    struct breaker_counts newer = b->current, older = b->previous;
    if (b->window_ns == 0 || age >= 2 * b->window_ns)
        return (struct breaker_counts){0};
    if (age >= b->window_ns) {
        age -= b->window_ns;
        older = newer;
        newer = (struct breaker_counts){0};
    }
    double share = 1.0 - (double)MAX(age, 0) / (double)b->window_ns;
    return (struct breaker_counts){
        newer.attempts + (uint32_t)(share * older.attempts + 0.5),
        newer.failures + (uint32_t)(share * older.failures + 0.5),
    };
}

/* --- the states --- */

static void open_breaker(struct breaker *b, const struct route_policy *policy, enum breaker_why why,
                         int64_t now_ns, uint64_t seed)
{
    unsigned shift = MIN(b->failed_probes, (uint32_t)BACKOFF_SHIFT_MAX);
    int64_t open_ns = policy->breaker_open_ns << shift;
    /* Up to a quarter more, so that the probes of many do not come at once. */
    open_ns += (int64_t)(seed % (uint64_t)(open_ns / 4 + 1));
    change(b, BREAKER_OPEN, why, now_ns);
    b->until_ns = clock_add_ns(now_ns, open_ns);
    b->is_probe_out = false;
    b->openings++;
}

static void close_breaker(struct breaker *b, int64_t now_ns)
{
    change(b, BREAKER_CLOSED, BREAKER_WHY_RECOVERED, now_ns);
    b->failures_in_row = b->failed_probes = 0;
    b->is_probe_out = false;
    b->closed_ns = now_ns;
    /* What opened it must not open it again. */
    b->current = b->previous = (struct breaker_counts){0};
}

enum breaker_verdict breaker_look(const struct breaker *b, int64_t now_ns)
{
    if (b->state < BREAKER_OPEN)
        return BREAKER_GO;
    if (b->is_probe_out)
        return BREAKER_STAY_PROBING;
    return now_ns >= b->until_ns ? BREAKER_GO_PROBE : BREAKER_STAY_OPEN;
}

enum breaker_verdict breaker_ask(struct breaker *b, int64_t now_ns)
{
    enum breaker_verdict verdict = breaker_look(b, now_ns);
    if (verdict == BREAKER_GO_PROBE) {
        change(b, BREAKER_PROBING, BREAKER_WHY_PROBE_DUE, now_ns);
        b->is_probe_out = true;
    }
    return verdict;
}

/* What the counts say: nothing, half of what opens it, or enough. */
static void judge(struct breaker *b, const struct route_policy *policy,
                  const struct breaker_outcome *outcome, int64_t now_ns, uint64_t seed)
{
    struct breaker_counts recent = breaker_recent(b, now_ns);
    uint64_t in_row = b->failures_in_row, attempts = recent.attempts;
    uint64_t failed = UINT64_C(100) * recent.failures, bar = policy->breaker_percent * attempts;
    bool has_ratio = policy->breaker_percent > 0;
    enum breaker_why ratio = outcome->is_slow ? BREAKER_WHY_SLOW : BREAKER_WHY_RATIO;
    enum breaker_why row = outcome->is_slow ? BREAKER_WHY_SLOW : BREAKER_WHY_IN_A_ROW;
    bool is_ratio = has_ratio && attempts >= MAX(policy->breaker_least, 1u) && failed >= bar;
    bool is_half_ratio =
        has_ratio && 2 * attempts >= MAX(policy->breaker_least, 2u) && 2 * failed >= bar;
    if (in_row >= policy->breaker_failures)
        open_breaker(b, policy, row, now_ns, seed);
    else if (is_ratio && outcome->is_failure)
        open_breaker(b, policy, ratio, now_ns, seed);
    else if (in_row > 0 && 2 * in_row >= policy->breaker_failures)
        change(b, BREAKER_DEGRADED, row, now_ns);
    else if (recent.failures > 0 && is_half_ratio)
        change(b, BREAKER_DEGRADED, ratio, now_ns);
    else if (b->state == BREAKER_DEGRADED)
        change(b, BREAKER_CLOSED, BREAKER_WHY_RECOVERED, now_ns);
}

void breaker_record(struct breaker *b, const struct route_policy *policy,
                    const struct breaker_outcome *outcome, int64_t now_ns, uint64_t seed)
{
    if (outcome->begun_ns < b->closed_ns && !outcome->is_probe)
        return;
    count(b, policy->breaker_window_ns, outcome->is_failure, now_ns);
    b->failures_in_row = outcome->is_failure ? b->failures_in_row + 1 : 0;
    if (b->state < BREAKER_OPEN) {
        if (policy->breaker_failures > 0)
            judge(b, policy, outcome, now_ns, seed);
        return;
    }
    if (!outcome->is_probe || !b->is_probe_out)
        return;
    if (!outcome->is_failure) {
        close_breaker(b, now_ns);
        return;
    }
    b->failed_probes++;
    open_breaker(b, policy, BREAKER_WHY_PROBE_FAILED, now_ns, seed);
}

void breaker_release(struct breaker *b)
{
    b->is_probe_out = false;
}

enum breaker_state breaker_shown(const struct breaker *b, int64_t now_ns)
{
    if (b->state == BREAKER_DEGRADED && breaker_recent(b, now_ns).failures == 0)
        return BREAKER_CLOSED;
    if (b->state == BREAKER_PROBING && !b->is_probe_out)
        return BREAKER_OPEN;
    return b->state;
}
