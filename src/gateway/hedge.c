#include "gateway/hedge.h"

#include "base/clock.h"
#include "gateway/attempts.h"
#include "gateway/detached.h"
#include "gateway/exchange.h"
#include "gateway/heartbeat.h"
#include "gateway/planning.h"
#include "gateway/relay_stream.h"
#include "rt/random.h"

/*
 * The first leg goes the usual way through the plan. The second is one try at the step that the
 * first would have gone to next, which is then out of the first one's plan: no target is asked
 * twice. The first bytes of a good answer win; the other leg is cancelled at once. The client's
 * task only copies what the winner writes.
 */

/* What a leg may be ahead of the client. */
enum { PIPE_BYTES_MAX = 64 * 1024 };

/* How long the last words of a shutdown may take. */
#define LAST_WORDS_NS NS_PER_SEC

struct race;

struct leg {
    struct race *race;
    struct detached *detached; /* NULL: not begun, or over */
    struct exchange *ex;       /* of the leg, while it runs */
    struct plan plan;
    struct request_record record; /* once it has ended; its texts are the client's exchange's */
    const struct upstream *upstream;
    const struct dialect *provider;
    struct plan_target target;
    int64_t own_ns;   /* spent in here for it */
    bool has_begun;   /* it was started */
    bool has_settled; /* `record` is complete */
    bool is_failing;  /* its answer is an error, and it waits for what becomes of the other */
};

struct race {
    struct exchange *ex; /* the client's */
    struct leg legs[2];
    struct leg *winner;
    struct health_route *route;
    struct route_policy policies[2]; /* of the legs */
    struct health_route *hedges;     /* the budget that those which win nothing are taken from */
    bool owes_retry;                 /* health_retry_begin wants its end, of both */
    /* From the winner to the client. */
    unsigned status;
    int64_t content_length;
    struct buf pipe;
    struct task *writer; /* waits for room in it */
    bool has_last;       /* nothing follows what is in the pipe */
    bool is_closed;      /* nobody reads it any more */
};

static struct leg *other_of(struct leg *leg)
{
    return leg == &leg->race->legs[0] ? &leg->race->legs[1] : &leg->race->legs[0];
}

static void cancel(struct leg *leg, enum err_code reason)
{
    if (leg->detached != NULL)
        detached_cancel(leg->detached, reason);
}

static void cancel_both(struct race *race, enum err_code reason)
{
    cancel(&race->legs[0], reason);
    cancel(&race->legs[1], reason);
}

static void wake_leg(struct leg *leg)
{
    if (leg->detached != NULL)
        task_wake(leg->detached->task);
}

static void wake_writer(struct race *race)
{
    if (race->writer != NULL)
        task_wake(race->writer);
}

static void wake_client(struct race *race)
{
    task_wake(race->ex->task);
}

/* --- when a second leg may run, and on what --- */

/* How long the first leg has for itself; -1 = nobody can say. */
static int64_t delay_ns(const struct exchange *ex)
{
    const struct route_policy *policy = ex->policy;
    int64_t known_ns = -1;
    if (policy->hedge_percentile > 0)
        known_ns = planning_answer_ns(ex, policy->hedge_percentile);
    if (known_ns >= 0)
        return known_ns;
    return policy->hedge_after_ns > 0 ? policy->hedge_after_ns : -1;
}

static bool is_asked_for(const struct exchange *ex)
{
    return ex->policy->hedge_after_ns > 0 || ex->policy->hedge_percentile > 0;
}

/* Leaves the step to the second leg alone. */
static bool plan_second(struct race *race, unsigned step)
{
    const struct plan *whole = race->ex->plan;
    struct leg *first = &race->legs[0], *second = &race->legs[1];
    struct arena *arena = race->ex->arena;
    second->plan = *whole;
    second->plan.steps = arena_alloc(arena, whole->step_count * sizeof(*whole->steps));
    if (second->plan.steps == NULL)
        return false;
    memcpy(second->plan.steps, whole->steps, whole->step_count * sizeof(*whole->steps));
    for (unsigned i = 0; i < whole->step_count; i++)
        second->plan.steps[i].is_out = i != step;
    second->plan.in_count = 1;
    race->policies[1] = race->policies[0];
    race->policies[1].retries = 0;
    race->policies[1].when_limited = LIMITED_FAIL;
    first->plan.steps[step].is_out = true;
    first->plan.in_count--;
    return true;
}

static bool plan_first(struct race *race)
{
    const struct plan *whole = race->ex->plan;
    struct plan *plan = &race->legs[0].plan;
    *plan = *whole;
    plan->steps = arena_alloc(race->ex->arena, whole->step_count * sizeof(*whole->steps));
    if (plan->steps == NULL)
        return false;
    memcpy(plan->steps, whole->steps, whole->step_count * sizeof(*whole->steps));
    race->policies[0] = *race->ex->policy;
    /* A head without an answer would win the race; the client's task sends it. */
    race->policies[0].early_head_ns = 0;
    return true;
}

/* --- a leg, in its own task --- */

static struct leg *leg_of(const struct exchange *ex)
{
    return detached_of(ex->http)->owner;
}

/* What the client's exchange knows already. */
static void begin_leg(struct exchange *ex)
{
    struct leg *leg = leg_of(ex);
    const struct exchange *client = leg->race->ex;
    leg->ex = ex;
    ex->record.is_extra = leg == &leg->race->legs[1];
    memcpy(ex->request_id, client->request_id, REQUEST_ID_LEN);
    ex->own_ns = client->own_ns;
    ex->since_ns = clock_mono_ns();
}

YIELDS static void run_leg(struct exchange *ex)
{
    struct leg *leg = leg_of(ex);
    const struct exchange *client = leg->race->ex;
    bool is_second = leg == &leg->race->legs[1];
    ex->plan = &leg->plan;
    ex->policy = &leg->race->policies[is_second];
    ex->record.route = client->record.route;
    ex->plan_first = client->plan_first;
    for (unsigned i = 0; is_second && i < leg->plan.step_count; i++) {
        if (!leg->plan.steps[i].is_out)
            ex->plan_first = i;
    }
    planning_take_step(ex, &leg->plan.steps[ex->plan_first]);
    attempts_run(ex);
}

static bool copy_head(struct race *race, const struct detached *d)
{
    struct exchange *ex = race->ex;
    race->status = d->http.status;
    race->content_length = d->content_length;
    for (uint32_t i = 0; d->headers != NULL && i < d->headers->count; i++) {
        const struct http_header *h = &d->headers->items[i];
        if (str_ieq(h->name, STR("x-weir-attempts")))
            continue; /* of both: the client's task counts them */
        struct str name = arena_dup(ex->head_arena, h->name);
        struct str value = arena_dup(ex->head_arena, h->value);
        if (name.ptr == NULL || value.ptr == NULL ||
            !http_headers_add(&ex->answer, ex->head_arena, name, value))
            return false;
    }
    return true;
}

static int win(struct leg *leg)
{
    struct race *race = leg->race;
    if (!copy_head(race, leg->detached)) {
        race->ex->answer = (struct http_headers){0};
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the head");
    }
    race->winner = leg;
    /* At once: its provider is not to work for nobody. */
    cancel(other_of(leg), ERR_RESET);
    wake_leg(other_of(leg));
    return 0;
}

/* An error waits for the other leg, which may do better; the last of two errors is told. */
YIELDS static void wait_for_other(struct leg *leg)
{
    struct race *race = leg->race;
    struct leg *other = other_of(leg);
    leg->is_failing = true;
    wake_leg(other);
    /* Shielded: at a shutdown both have something to say, and one of them is heard. */
    task_shield();
    while (race->winner == NULL && !race->is_closed && other->detached != NULL &&
           !other->is_failing)
        task_park(CLOCK_NEVER);
    task_unshield();
}

YIELDS static int wait_for_room(struct race *race)
{
    int r = 0;
    while (r == 0 && race->pipe.len >= PIPE_BYTES_MAX && !race->is_closed) {
        race->writer = task_self(); /* also of a leg's heartbeats */
        r = task_park(CLOCK_NEVER);
    }
    race->writer = NULL;
    return r;
}

YIELDS static int write_leg(struct detached *d, const struct iovec *iov, int count, bool is_last)
{
    struct leg *leg = d->owner;
    struct race *race = leg->race;
    int r = 0;
    if (race->winner == NULL && d->http.status >= 400)
        wait_for_other(leg);
    if (race->winner == NULL && !race->is_closed)
        r = win(leg);
    if (r == 0 && (race->winner != leg || race->is_closed))
        r = err_set(ERR_RESET, FAULT_CLIENT, "the other attempt was faster");
    if (r < 0)
        return r;
    /* Copied before anything waits: what is read lasts until then. */
    for (int i = 0; i < count; i++)
        buf_add(&race->pipe, iov[i].iov_base, iov[i].iov_len);
    if (!buf_ok(&race->pipe))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the answer");
    race->has_last = is_last;
    wake_client(race);
    return is_last ? 0 : wait_for_room(race);
}

/* The loser's own line: what it has cost is not lost. */
static void settle_loser(struct leg *leg, struct exchange *ex)
{
    struct request_record *rec = &ex->record;
    const struct exchange *client = leg->race->ex;
    rec->pair = client->record.request_id;
    rec->is_extra = true;
    rec->is_hedged = true;
    random_id(ex->request_id + 4, REQUEST_ID_LEN - 4);
    if (str_eq(rec->outcome, STR("client_gone")) && leg->race->winner != NULL)
        rec->outcome = STR("hedge_lost");
    rec->status = 0; /* no client has seen it */
}

static struct str kept(const struct leg *leg, struct str text)
{
    return text.len == 0 ? STR_EMPTY : arena_dup(leg->race->ex->arena, text);
}

static void settle_leg(struct exchange *ex)
{
    struct leg *leg = leg_of(ex);
    struct race *race = leg->race;
    bool is_told = race->winner == leg || (race->winner == NULL && leg == &race->legs[0]);
    leg->record = ex->record;
    leg->record.failed = kept(leg, ex->record.failed);
    leg->record.error = kept(leg, ex->record.error);
    leg->record.error_message = kept(leg, ex->record.error_message);
    leg->record.finish_reason = kept(leg, ex->record.finish_reason);
    leg->record.model_answered = kept(leg, ex->record.model_answered);
    leg->record.upstream_key = kept(leg, ex->record.upstream_key);
    leg->upstream = ex->upstream;
    leg->provider = ex->provider;
    leg->target = ex->target;
    leg->own_ns = ex->own_ns;
    leg->has_settled = true;
    if (is_told)
        ex->is_told_elsewhere = true;
    else
        settle_loser(leg, ex);
}

YIELDS static void end_leg(struct detached *d)
{
    struct leg *leg = d->owner;
    leg->detached = NULL;
    leg->ex = NULL;
    wake_leg(other_of(leg)); /* it may wait with an error */
    wake_client(leg->race);
}

static const struct detached_sink leg_sink = {
    .begun = begin_leg,
    .serve = run_leg,
    .write = write_leg,
    .settled = settle_leg,
    .ended = end_leg,
};

/* `body` is taken over where it begins. */
static bool start_leg(struct leg *leg, struct buf *body)
{
    struct detached *d = detached_new(leg->race->ex, &leg_sink);
    if (d == NULL)
        return false;
    d->owner = leg;
    d->body = *body;
    if (detached_start(d, RUN_NORMAL, "leg of a hedged request") < 0) {
        d->body = BUF_INIT;
        detached_drop(d);
        return false;
    }
    *body = BUF_INIT;
    leg->detached = d;
    leg->has_begun = true;
    return true;
}

/* --- the race, in the client's task --- */

static bool start_first(struct race *race)
{
    struct buf copy = BUF_INIT;
    buf_add_str(&copy, buf_str(&race->ex->body));
    if (buf_ok(&copy) && plan_first(race) && start_leg(&race->legs[0], &copy))
        return true;
    buf_fini(&copy);
    return false;
}

/* The first leg has taken too long: a second one, if the budget of retries and the plan have one.
 */
static void start_second(struct race *race)
{
    struct exchange *ex = race->ex;
    const struct exchange *first = race->legs[0].ex;
    int64_t now_ns = clock_mono_ns();
    int step = first == NULL ? -1 : attempts_untried(first);
    uint32_t percent = ex->policy->retry_budget_percent;
    if (step < 0 || !health_retry_begin(race->route, percent, now_ns))
        return;
    if (!health_retry_begin(race->hedges, percent, now_ns)) {
        health_retry_end(race->route, true, now_ns);
        return;
    }
    race->owes_retry = true;
    if (plan_second(race, (unsigned)step) && start_leg(&race->legs[1], &ex->body))
        metrics_count(METRIC_HEDGES, 1);
}

static bool is_over(const struct race *race)
{
    return race->legs[0].detached == NULL && race->legs[1].detached == NULL;
}

/* Until one has won or both have ended; the second one begins at its time. */
YIELDS static int wait_for_winner(struct race *race, int64_t hedge_ns)
{
    int r = 0;
    while (race->winner == NULL && !is_over(race) && (r == 0 || r == -ERR_TIMEOUT)) {
        bool is_due = clock_mono_ns() >= hedge_ns;
        if (is_due && !race->legs[0].is_failing)
            start_second(race);
        if (is_due)
            hedge_ns = CLOCK_NEVER;
        r = task_park(hedge_ns);
    }
    return race->winner != NULL || r == -ERR_TIMEOUT ? 0 : r;
}

YIELDS static int send_head(struct race *race)
{
    struct exchange *ex = race->ex;
    unsigned attempts = 0;
    for (unsigned i = 0; i < ARRAY_LEN(race->legs); i++) {
        const struct leg *leg = &race->legs[i];
        if (leg->has_begun)
            attempts += leg->ex != NULL ? leg->ex->record.attempts : leg->record.attempts;
    }
    exchange_answer_header(ex, STR("x-weir-attempts"), arena_u64(ex->head_arena, attempts));
    if (race->legs[1].has_begun)
        exchange_answer_header(ex, STR("x-weir-hedged"), STR("true"));
    return http_response_start(ex->http, race->status, &ex->answer, race->content_length);
}

/* Does the winner's answer go on where an early head has left off: is it a stream like that? */
static bool is_stream_answer(const struct race *race)
{
    struct str type = http_headers_get(&race->ex->answer, STR("content-type"));
    return race->status == 200 && str_eq(type, stream_framing_type(relay_client_framing(race->ex)));
}

/* The head left early and no stream follows: the winner's error, as an event. */
YIELDS static int tell_error(struct race *race, int64_t deadline_ns)
{
    struct exchange *ex = race->ex;
    int r = 0;
    while (r == 0 && race->status >= 400 && !race->has_last && race->pipe.len < PIPE_BYTES_MAX &&
           race->winner->detached != NULL)
        r = task_park(deadline_ns);
    struct llm_error error =
        refusal_error(REFUSE_UPSTREAM_BROKEN, STR_EMPTY, STR("An answer came that is no stream."));
    struct str kind = http_headers_get(&ex->answer, STR("x-amzn-errortype"));
    if (race->status >= 400)
        dialect_of(ex->error_dialect)->read_error(race->status, kind, buf_str(&race->pipe), &error);
    if (r == 0)
        heartbeat_fail(ex, &error);
    return r;
}

/* What the winner writes goes to the client, until the end or `deadline_ns`. */
YIELDS static int copy_answer(struct race *race, int64_t deadline_ns)
{
    struct exchange *ex = race->ex;
    bool is_last = false;
    if (ex->is_head_early && !is_stream_answer(race))
        return tell_error(race, deadline_ns);
    ex->is_head_early = false;
    int r = ex->http->status == 0 ? send_head(race) : 0;
    while (r == 0 && !is_last) {
        if (race->pipe.len == 0 && !race->has_last) {
            if (race->winner->detached == NULL)
                return err_set(ERR_RESET, FAULT_UPSTREAM, "the answer was cut");
            r = task_park(deadline_ns);
            continue;
        }
        struct buf bytes = race->pipe;
        struct iovec iov = {bytes.ptr, bytes.len};
        race->pipe = BUF_INIT;
        is_last = race->has_last;
        wake_writer(race);
        r = http_response_write(ex->http, &iov, bytes.len > 0, is_last, CLOCK_NEVER);
        buf_fini(&bytes);
        if (r == 0 && ex->head_arena != NULL && ex->http->head_sent)
            exchange_forget_head(ex);
    }
    return r;
}

/* A shutdown: both legs are told, and one of them says so to the client. */
YIELDS static int say_last_words(struct race *race)
{
    int64_t deadline_ns = clock_add_ns(loop_now_ns(), LAST_WORDS_NS);
    int r = 0;
    cancel_both(race, ERR_CANCELED);
    task_shield();
    while (race->winner == NULL && !is_over(race) && r == 0)
        r = task_park(deadline_ns);
    if (race->winner != NULL)
        r = copy_answer(race, deadline_ns);
    task_unshield();
    return r;
}

/* The legs work with this task's memory: it stays until they have ended. */
YIELDS static void join(struct race *race)
{
    race->is_closed = true;
    wake_writer(race);
    wake_leg(&race->legs[0]);
    wake_leg(&race->legs[1]);
    task_shield();
    while (!is_over(race))
        task_park(CLOCK_NEVER);
    task_unshield();
}

/* One request, two attempts: the record of the one that was told, and what the other one adds. */
static void take_record(struct race *race)
{
    struct exchange *ex = race->ex;
    struct leg *told = race->winner != NULL ? race->winner : &race->legs[0];
    struct leg *other = other_of(told);
    const struct request_record own = ex->record;
    if (!told->has_settled)
        return;
    ex->record = told->record;
    ex->record.start_wall_ns = own.start_wall_ns;
    ex->record.request_id = own.request_id;
    ex->record.client_ip = own.client_ip;
    ex->record.method = own.method;
    ex->record.path = own.path;
    ex->record.operation = own.operation;
    ex->record.dialect = own.dialect;
    ex->record.key_name = own.key_name;
    ex->record.model_asked = own.model_asked;
    ex->record.route = own.route;
    ex->record.pair = own.pair;
    ex->record.is_extra = own.is_extra;
    ex->upstream = told->upstream;
    ex->provider = told->provider;
    ex->target = told->target;
    ex->own_ns = told->own_ns;
    if (race->legs[1].has_begun) {
        ex->record.is_hedged = true;
        ex->record.hedge_winner = race->winner == NULL ? 0 : 1 + (race->winner == &race->legs[1]);
        ex->record.pair = own.request_id;
        ex->record.attempts += other->record.attempts;
        if (ex->record.failed.len == 0)
            ex->record.failed = other->record.failed;
    }
}

/* In an outage hedges fail like any retry. One that only was slower is no failure, but it was for
 * nothing: of these, too, there may be only so many. */
static void give_back_budget(struct race *race)
{
    int64_t now_ns = clock_mono_ns();
    bool has_won = race->winner == &race->legs[1];
    if (!race->owes_retry)
        return;
    health_retry_end(race->route, has_won || !race->legs[1].is_failing, now_ns);
    health_retry_end(race->hedges, has_won, now_ns);
    if (has_won)
        metrics_count(METRIC_HEDGES_WON, 1);
}

YIELDS static void run_race(struct race *race, int64_t hedge_ns)
{
    struct exchange *ex = race->ex;
    http_request_watch_hangup(ex->http, ex->task);
    exchange_wait_begins(ex);
    heartbeat_begin(ex);
    int r = wait_for_winner(race, hedge_ns);
    heartbeat_end(ex);
    if (race->winner != NULL)
        buf_fini(&ex->body);
    if (r == 0 && race->winner != NULL)
        r = copy_answer(race, CLOCK_NEVER);
    if (r < 0 && task_cancel_reason(ex->task) == ERR_CANCELED)
        r = say_last_words(race);
    if (r < 0)
        cancel_both(race, ERR_RESET);
    join(race);
    if (r < 0 && ex->http->status != 0)
        http_response_abort(ex->http);
    give_back_budget(race);
    take_record(race);
    bool owes_answer = ex->http->status == 0 || ex->is_head_early;
    if (owes_answer && task_cancel_reason(ex->task) == ERR_NONE)
        refuse_no_memory(ex);
    buf_fini(&race->pipe);
}

YIELDS bool hedge_run(struct exchange *ex)
{
    if (!is_asked_for(ex) || ex->plan->in_count < 2 || ex->plan->steps[ex->plan_first].is_out)
        return false;
    int64_t wait_ns = delay_ns(ex);
    struct race *race = wait_ns < 0 ? NULL : ARENA_NEW(ex->arena, struct race);
    if (race == NULL)
        return false;
    race->ex = ex;
    race->legs[0].race = race->legs[1].race = race;
    struct str name = ex->plan->route != NULL ? ex->plan->route->name : STR_EMPTY;
    struct str parts[] = {name, STR(" hedges")}; /* no route is called so: names have no blanks */
    race->route = health_route(name);
    race->hedges = health_route(arena_concat(ex->arena, parts, ARRAY_LEN(parts)));
    health_count_request(race->hedges, clock_mono_ns());
    /* The scan's texts lie in the body, which the second leg takes. */
    ex->asked = ex->record.model_asked = arena_dup(ex->arena, ex->asked);
    if (!start_first(race))
        return false;
    run_race(race, clock_add_ns(clock_mono_ns(), wait_ns));
    return true;
}
