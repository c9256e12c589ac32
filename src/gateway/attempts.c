#include "gateway/attempts.h"

#include "base/clock.h"
#include "base/err.h"
#include "gateway/exchange.h"
#include "gateway/fallbacks.h"
#include "gateway/heartbeat.h"
#include "gateway/limit_queue.h"
#include "gateway/planning.h"
#include "gateway/realtime.h"
#include "observe/metrics.h"
#include "route/classify.h"
#include "route/health.h"
#include "route/retry.h"
#include "rt/random.h"

/* What one step of the plan has come to so far. */
struct step_state {
    uint64_t tried_keys;
    unsigned tries;
    bool is_passed_over; /* its health lets nothing through, or the request does not fit it */
};

/* What is told of failed tries stays shorter than a line of the log may be. */
enum { FAILED_BYTES_MAX = 700 };

struct attempts {
    struct exchange *ex;
    const struct plan *plan;
    struct step_state *states;
    unsigned at;      /* the step under way */
    unsigned retries; /* of the policy's, used */
    struct health_route *route;
    bool owes_retry;     /* health_retry_begin wants its end */
    bool is_last_resort; /* nothing else is left: guesses about limits do not count */
    struct health_lease lease;
    struct limit_ticket ticket;
    int64_t queue_until_ns; /* the ticket waits no longer, however often it loses its turn */
    int64_t begun_ns;
    /* What the try under way came to. */
    struct health_result result;
    bool is_told;  /* by attempts_error or _failure */
    bool is_unfit; /* it was never asked */
    bool goes_on;  /* another try follows ... */
    int64_t at_ns; /* ... then */
    struct buf failed, failed_header;
};

static const struct plan_step *step_of(const struct attempts *a, unsigned index)
{
    return &a->plan->steps[index];
}

static void make_ask(const struct attempts *a, unsigned index, struct health_ask *ask)
{
    const struct plan_step *step = step_of(a, index);
    planning_ask(a->ex, step->provider, step->model, ask);
    ask->excluded = a->states[index].tried_keys;
}

static const enum plan_part part_of[FALLBACK_COUNT] = {
    [FALLBACK_GENERAL] = PLAN_FALLBACK_GENERAL,
    [FALLBACK_CONTEXT_WINDOW] = PLAN_FALLBACK_CONTEXT_WINDOW,
    [FALLBACK_CONTENT_POLICY] = PLAN_FALLBACK_CONTENT_POLICY,
};

/* --- which step comes next --- */

static bool is_open_to(const struct attempts *a, unsigned index)
{
    const struct plan_step *step = step_of(a, index);
    const struct step_state *state = &a->states[index];
    return !step->is_out && !state->is_passed_over && state->tries == 0;
}

/* At that time, if nothing else happens until then. */
static bool may_go_at(const struct attempts *a, unsigned index, int64_t at_ns)
{
    struct health_ask ask;
    struct health_view view;
    make_ask(a, index, &ask);
    health_look(&ask, at_ns, &view);
    return health_may_go(view.verdict);
}

static bool may_go(const struct attempts *a, unsigned index)
{
    return may_go_at(a, index, clock_mono_ns());
}

/* The first step of a part that was not tried yet and that may be used; -1 = there is none. */
static int next_of_part(const struct attempts *a, enum plan_part part)
{
    for (unsigned i = 0; i < a->plan->step_count; i++) {
        if (step_of(a, i)->part == part && is_open_to(a, i) && may_go(a, i))
            return (int)i;
    }
    return -1;
}

static bool go_to(struct attempts *a, int index)
{
    if (index < 0)
        return false;
    a->at = (unsigned)index;
    a->at_ns = clock_mono_ns();
    return true;
}

static bool go_to_another_key(struct attempts *a, const struct outcome_rule *rule)
{
    return rule->tries_next_key && may_go(a, a->at) && go_to(a, (int)a->at);
}

/* A fault with a list of its own goes there, and nowhere else. */
static bool go_to_own_list(struct attempts *a, const struct outcome_rule *rule)
{
    return rule->has_fallback && go_to(a, next_of_part(a, part_of[rule->fallback]));
}

/* The same once more, or where that is not to be had another that was tried, a little later. */
static bool go_again(struct attempts *a, const struct outcome_rule *rule)
{
    int64_t now_ns = clock_mono_ns();
    int64_t told_ns = rule->retries_same_target ? a->result.retry_after_ns : -1;
    int64_t delay_ns = retry_delay_ns(a->ex->policy, a->retries + 1, told_ns, now_ns,
                                      exchange_deadline(a->ex), random_u64());
    /* Nobody waits longer than in a queue: the client is told when to come back. */
    if (delay_ns < 0 || told_ns > a->ex->policy->queue_wait_ns)
        return false;
    int64_t at_ns = clock_add_ns(now_ns, delay_ns);
    for (unsigned n = 0; n < a->plan->step_count; n++) {
        unsigned i = (a->at + n) % a->plan->step_count;
        struct step_state *state = &a->states[i];
        bool is_same = i == a->at;
        if (step_of(a, i)->part != PLAN_PRIMARY || step_of(a, i)->is_out || state->is_passed_over ||
            (is_same ? !rule->retries_same_target : !rule->tries_next_target))
            continue;
        uint64_t tried_keys = state->tried_keys;
        state->tried_keys = 0;
        if (may_go_at(a, i, at_ns)) {
            a->at = i;
            a->at_ns = at_ns;
            return true;
        }
        state->tried_keys = tried_keys;
    }
    return false;
}

static bool begin_retry(struct attempts *a)
{
    int64_t now_ns = clock_mono_ns();
    if (a->owes_retry)
        health_retry_end(a->route, false, now_ns);
    a->owes_retry = health_retry_begin(a->route, a->ex->policy->retry_budget_percent, now_ns);
    return a->owes_retry;
}

/* Where the outcome's rule leads: another key, another target, the same again a little later, the
 * fallbacks. The policy's retries bound all but the last. */
static bool choose_next(struct attempts *a, const struct outcome_rule *rule)
{
    bool has_retries = a->retries < a->ex->policy->retries;
    bool is_primary = step_of(a, a->at)->part == PLAN_PRIMARY;
    if (go_to_own_list(a, rule))
        return begin_retry(a);
    if (has_retries && is_primary &&
        (go_to_another_key(a, rule) ||
         (rule->tries_next_target && go_to(a, next_of_part(a, PLAN_PRIMARY))) ||
         go_again(a, rule))) {
        a->retries++;
        return begin_retry(a);
    }
    return rule->tries_next_target && go_to(a, next_of_part(a, PLAN_FALLBACK_GENERAL)) &&
           begin_retry(a);
}

/* --- what is told of failures --- */

/* For the log: [{"target":"openai/gpt-4o","status":429,"reason":"throttled"}, ...]; for the client:
 * openai/gpt-4o;429;throttled, ... */
static void note_failed(struct attempts *a, const struct outcome_rule *rule)
{
    struct exchange *ex = a->ex;
    if (a->failed.len > FAILED_BYTES_MAX)
        return;
    struct str target = arena_printf(ex->arena, "%.*s/%.*s", STR_ARG(ex->record.provider),
                                     STR_ARG(ex->record.model));
    if (a->failed.len > 0) {
        BUF_LIT(&a->failed, ",");
        BUF_LIT(&a->failed_header, ", ");
    }
    BUF_LIT(&a->failed, "{\"target\":");
    buf_add_json(&a->failed, target);
    buf_add_str(&a->failed_header, target);
    if (a->result.status != 0) {
        BUF_LIT(&a->failed, ",\"status\":");
        buf_add_u64(&a->failed, a->result.status);
        BUF_LIT(&a->failed_header, ";");
        buf_add_u64(&a->failed_header, a->result.status);
    }
    struct str key = upstream_key_name(ex->upstream, ex->key_index);
    if (key.len > 0) {
        BUF_LIT(&a->failed, ",\"key\":");
        buf_add_json(&a->failed, key);
    }
    BUF_LIT(&a->failed, ",\"reason\":\"");
    buf_add_str(&a->failed, str_c(rule->name));
    BUF_LIT(&a->failed, "\"}");
    BUF_LIT(&a->failed_header, ";");
    buf_add_str(&a->failed_header, str_c(rule->name));
    if (!buf_ok(&a->failed))
        return; /* half of it is no JSON */
    struct str parts[] = {STR("["), buf_str(&a->failed), STR("]")};
    ex->record.failed = arena_concat(ex->arena, parts, ARRAY_LEN(parts));
}

static bool has_sent_nothing(const struct exchange *ex)
{
    bool is_waiting = ex->realtime != NULL && ex->realtime->is_open && !ex->realtime->is_joined;
    return ex->http->status == 0 || ex->is_head_early || is_waiting;
}

static bool fail(struct exchange *ex, enum outcome_class outcome, unsigned status,
                 int64_t retry_after)
{
    struct attempts *a = ex->attempts;
    if (a == NULL || a->is_told)
        return false;
    const struct outcome_rule *rule = &outcome_rules[outcome];
    a->is_told = true;
    a->result.outcome = outcome;
    a->result.status = status;
    a->result.retry_after_ns = retry_after;
    /* The key is benched now, so that the choice of what comes next knows of it. */
    attempts_settle(ex);
    if (outcome == OUTCOME_CANCELLED || outcome == OUTCOME_CLIENT_FAULT)
        return false;
    note_failed(a, rule);
    metrics_count(METRIC_ATTEMPTS_FAILED, 1);
    /* What has begun to leave is continued in another way, or not at all. */
    a->goes_on = has_sent_nothing(ex) && choose_next(a, rule);
    return a->goes_on;
}

bool attempts_error(struct exchange *ex, const struct llm_error *error)
{
    const struct http_headers *headers = ex->has_call ? &ex->call.head.headers : NULL;
    unsigned status = error->status >= 400 ? error->status : ex->record.upstream_status;
    return fail(ex, classify_error(error), status, retry_after_ns(headers, error, clock_wall_ns()));
}

bool attempts_failure(struct exchange *ex, int code)
{
    return fail(ex, classify_failure(code), ex->record.upstream_status, -1);
}

bool attempts_goes_on(const struct exchange *ex)
{
    return ex->attempts != NULL && ex->attempts->goes_on;
}

bool attempts_unfit(struct exchange *ex)
{
    struct attempts *a = ex->attempts;
    int next;
    if (a == NULL)
        return false;
    a->is_told = a->is_unfit = true;
    a->result.outcome = OUTCOME_CANCELLED;
    attempts_settle(ex);
    a->states[a->at].is_passed_over = true;
    /* Within a stream it is attempts_continue that finds the next. */
    if (!has_sent_nothing(ex) || (next = next_of_part(a, step_of(a, a->at)->part)) < 0)
        return false;
    a->at = (unsigned)next;
    a->at_ns = clock_mono_ns();
    a->goes_on = true;
    return true;
}

void attempts_first_token(struct exchange *ex, int64_t now_ns)
{
    struct attempts *a = ex->attempts;
    if (a != NULL && a->lease.entry != NULL)
        health_first(&a->lease, ex->policy, now_ns - a->begun_ns, now_ns, random_u64());
}

void attempts_head(struct exchange *ex)
{
    struct attempts *a = ex->attempts;
    if (a != NULL && a->lease.entry != NULL)
        health_learn(&a->lease, &ex->call.head.headers, clock_mono_ns(), clock_wall_ns());
}

void attempts_settle(struct exchange *ex)
{
    struct attempts *a = ex->attempts;
    if (a == NULL)
        return;
    int64_t now_ns = clock_mono_ns();
    bool is_ok = a->result.outcome == OUTCOME_OK;
    a->result.duration_ns = is_ok && !ex->is_stream ? now_ns - a->begun_ns : -1;
    health_end(&a->lease, ex->policy, &a->result, now_ns, random_u64());
    if (a->owes_retry && (is_ok || a->result.outcome == OUTCOME_CANCELLED)) {
        health_retry_end(a->route, true, now_ns);
        a->owes_retry = false;
    }
}

/* --- beginning a try --- */

YIELDS static int refuse_no_target(struct attempts *a, enum health_verdict verdict,
                                   int64_t until_ns)
{
    struct exchange *ex = a->ex;
    const struct plan_step *step = step_of(a, a->at);
    struct str provider = ex->ts->upstreams[step->provider].provider->name;
    int64_t wait_ns = until_ns - clock_mono_ns();
    bool is_limited = verdict == HEALTH_LIMITED;
    const char *why = is_limited ? "every key is at its limit" : "it failed too often of late";
    if (until_ns != CLOCK_NEVER)
        exchange_answer_header(
            ex, STR("Retry-After"),
            arena_u64(ex->head_arena, (uint64_t)MAX((wait_ns + NS_PER_SEC - 1) / NS_PER_SEC, 1)));
    ex->record.provider = provider;
    ex->record.model = step->model;
    refuse(ex, is_limited ? REFUSE_LIMITED : REFUSE_NO_TARGET, STR_EMPTY,
           "No target of `%.*s` can be asked now. The last, %.*s/%.*s: %s.", STR_ARG(ex->asked),
           STR_ARG(provider), STR_ARG(step->model), why);
    return -ERR_BUSY;
}

/* A shutdown or the client's hang-up ended the wait. */
YIELDS static int end_wait(struct attempts *a, int code)
{
    struct exchange *ex = a->ex;
    if (code == -ERR_CANCELED && task_cancel_reason(ex->task) != ERR_CANCELED) {
        ex->record.outcome = STR("client_gone");
        return code;
    }
    task_shield();
    refuse(ex, REFUSE_DRAINING, STR_EMPTY, "The gateway is shutting down.");
    task_unshield();
    return code;
}

/* Waits for the target's keys in the queue: 0 = try again, else it is not to be waited for. */
YIELDS static int wait_for_key(struct attempts *a, int64_t until_ns)
{
    struct exchange *ex = a->ex;
    const struct plan_step *step = step_of(a, a->at);
    int64_t deadline_ns =
        MIN(clock_add_ns(clock_mono_ns(), ex->policy->queue_wait_ns), exchange_deadline(ex));
    if (a->ticket.is_in)
        deadline_ns = a->queue_until_ns;
    if (until_ns > deadline_ns)
        return -ERR_TIMEOUT;
    if (!a->ticket.is_in) {
        int r = limit_queue_enter(&a->ticket, ex->ts->upstreams[step->provider].provider->name,
                                  step->model, ex->policy->queue_length);
        if (r < 0)
            return r;
        a->queue_until_ns = deadline_ns;
        http_request_watch_hangup(ex->http, ex->task);
        metrics_count(METRIC_LIMIT_WAITS, 1);
    }
    exchange_wait_begins(ex);
    heartbeat_begin(ex);
    int r = limit_queue_turn(&a->ticket, until_ns, deadline_ns);
    heartbeat_end(ex);
    exchange_wait_ended(ex);
    return r;
}

/* What is to be done when health lets the step under way not go: 0 = ask again. */
YIELDS static int on_refusal(struct attempts *a, enum health_verdict verdict, int64_t until_ns)
{
    enum route_when_limited mode = a->ex->policy->when_limited;
    int next = -1;
    if (verdict == HEALTH_LIMITED && mode == LIMITED_WAIT) {
        int r = wait_for_key(a, until_ns);
        if (r == 0 || r == -ERR_CANCELED)
            return r < 0 ? end_wait(a, r) : 0;
    }
    a->states[a->at].is_passed_over = true;
    next = next_of_part(a, step_of(a, a->at)->part);
    if (next < 0)
        next = next_of_part(a, PLAN_FALLBACK_GENERAL);
    if (next >= 0) {
        limit_queue_leave(&a->ticket);
        a->at = (unsigned)next;
        return 0;
    }
    if (verdict == HEALTH_LIMITED && mode == LIMITED_NEXT) {
        int r = wait_for_key(a, until_ns);
        if (r == 0 || r == -ERR_CANCELED)
            return r < 0 ? end_wait(a, r) : 0;
    }
    bool is_told_off = verdict == HEALTH_LIMITED && mode != LIMITED_NEXT;
    if (!a->is_last_resort && !is_told_off) {
        a->is_last_resort = true;
        return 0;
    }
    return refuse_no_target(a, verdict, until_ns);
}

static void take_step(struct attempts *a)
{
    struct exchange *ex = a->ex;
    const struct plan_step *step = step_of(a, a->at);
    a->states[a->at].tries++;
    a->states[a->at].tried_keys |= a->lease.key < 64 ? UINT64_C(1) << a->lease.key : 0;
    planning_take_step(ex, step);
    ex->key_index = a->lease.key;
    ex->record.upstream_key = upstream_key_name(ex->upstream, ex->key_index);
    a->begun_ns = clock_mono_ns();
    a->result = (struct health_result){.outcome = OUTCOME_OK, .retry_after_ns = -1};
    a->is_told = a->is_unfit = a->goes_on = false;
}

/* Where there is nothing to choose from, limits are the provider's to tell: it may have more to
 * give than it said. */
static enum health_lenience lenience(const struct attempts *a)
{
    if (a->plan->step_count == 1 && a->ex->ts->upstreams[step_of(a, 0)->provider].key_count == 1 &&
        a->ex->policy->when_limited == LIMITED_NEXT)
        return HEALTH_ONLY_ONE;
    return a->is_last_resort ? HEALTH_LAST_RESORT : HEALTH_STRICT;
}

YIELDS static int begin_try(struct attempts *a)
{
    for (;;) {
        struct health_ask ask;
        int64_t until_ns = CLOCK_NEVER;
        make_ask(a, a->at, &ask);
        ask.lenience = lenience(a);
        bool is_behind = !a->ticket.is_in && limit_queue_is_busy(ask.provider, ask.model);
        enum health_verdict verdict =
            is_behind ? HEALTH_LIMITED
                      : health_begin(&ask, clock_mono_ns(), random_u64(), &a->lease, &until_ns);
        if (is_behind)
            until_ns = clock_mono_ns();
        if (health_may_go(verdict)) {
            limit_queue_leave(&a->ticket);
            take_step(a);
            return 0;
        }
        int r = on_refusal(a, verdict, until_ns);
        if (r < 0)
            return r;
    }
}

YIELDS static int wait_before_retry(struct attempts *a)
{
    if (a->at_ns <= clock_mono_ns())
        return 0;
    http_request_watch_hangup(a->ex->http, a->ex->task);
    exchange_wait_begins(a->ex);
    heartbeat_begin(a->ex);
    int r = task_sleep_until(a->at_ns);
    heartbeat_end(a->ex);
    exchange_wait_ended(a->ex);
    return r < 0 ? end_wait(a, r) : 0;
}

/* --- streams that broke --- */

int attempts_untried(const struct exchange *ex)
{
    const struct attempts *a = ex->attempts;
    if (a == NULL)
        return -1;
    int next = next_of_part(a, PLAN_PRIMARY);
    return next >= 0 ? next : next_of_part(a, PLAN_FALLBACK_GENERAL);
}

bool attempts_has_more(const struct exchange *ex)
{
    const struct attempts *a = ex->attempts;
    return a->retries < ex->policy->retries || a->plan->in_count > 1;
}

YIELDS bool attempts_continue(struct exchange *ex)
{
    struct attempts *a = ex->attempts;
    const struct outcome_rule *rule = &outcome_rules[a->result.outcome];
    bool has_next = a->is_unfit ? go_to(a, attempts_untried(ex)) : choose_next(a, rule);
    return has_next && wait_before_retry(a) == 0 && begin_try(a) == 0;
}

/* --- the loop --- */

static struct attempts *make(struct exchange *ex)
{
    struct attempts *a = ARENA_NEW(ex->arena, struct attempts);
    if (a == NULL)
        return NULL;
    a->ex = ex;
    a->plan = ex->plan;
    a->states = arena_calloc(ex->arena, ex->plan->step_count * sizeof(*a->states));
    a->route = health_route(ex->plan->route != NULL ? ex->plan->route->name : STR_EMPTY);
    return a->states != NULL ? a : NULL;
}

YIELDS static void try_until_answered(struct attempts *a)
{
    struct exchange *ex = a->ex;
    while (begin_try(a) == 0) {
        bool is_answered = exchange_prepare(ex) == 0 && exchange_attempt(ex) == 0;
        if (is_answered)
            exchange_relay(ex);
        /* What was never asked, or not to its end, has shown neither health nor a fault. */
        if (!a->is_told && (!is_answered || task_cancel_reason(ex->task) != ERR_NONE ||
                            str_eq(ex->record.outcome, STR("client_gone"))))
            a->result.outcome = OUTCOME_CANCELLED;
        attempts_settle(ex);
        if (!a->goes_on || wait_before_retry(a) < 0)
            return;
        if (!exchange_forget_attempt(ex)) {
            refuse_no_memory(ex);
            return;
        }
        ex->record.usage = TOKEN_USAGE_NONE;
        if (a->failed_header.len > 0 && buf_ok(&a->failed_header))
            exchange_answer_header(ex, STR("x-weir-failed"),
                                   arena_dup(ex->head_arena, buf_str(&a->failed_header)));
    }
}

/* Nothing may be tried: when that will be otherwise. */
YIELDS static void refuse_resting(struct attempts *a)
{
    int64_t until_ns = CLOCK_NEVER;
    for (unsigned i = 0; i < a->plan->step_count; i++) {
        int64_t open_until_ns = step_of(a, i)->health.open_until_ns;
        if (open_until_ns > 0)
            until_ns = MIN(until_ns, open_until_ns);
    }
    refuse_no_target(a, HEALTH_OPEN, until_ns);
}

YIELDS void attempts_run(struct exchange *ex)
{
    struct attempts *a = make(ex);
    if (a == NULL) {
        refuse_no_memory(ex);
        return;
    }
    ex->attempts = a;
    a->at = ex->plan_first;
    if (!ex->record.is_extra)
        health_count_request(a->route, clock_mono_ns());
    if (step_of(a, a->at)->is_out)
        refuse_resting(a);
    else
        try_until_answered(a);
    limit_queue_leave(&a->ticket);
    if (a->owes_retry)
        health_retry_end(a->route, false, clock_mono_ns());
    buf_fini(&a->failed);
    buf_fini(&a->failed_header);
}
