/*
 * The whole life of a streamed answer in its pure parts: attempts that fail in every way, one after
 * the other, the next target, what the client is sent, and how a stream that broke is gone on with.
 * The order of calls is that of gateway/attempts.c, relay_stream.c and relay_continue.c. Nothing
 * sleeps. Every run has a seed of its own, which a failure tells; WEIR_SEED=n makes that run alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "sim/mixed_run.h"
#include "sim/recorded_errors.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifdef IS_SANITIZED
enum { RUNS = 30000 };
#else
enum { RUNS = 100000 };
#endif

enum {
    EVENT_LIMIT = 1 << 20,
    /* The table of health has a row for every target of every run: a full one is slow. */
    RUNS_OF_A_TABLE = 100,
};

/* --- attempts (gateway/attempts.c) --- */

static struct mixed_target *target_of(struct mixed_run *run)
{
    return &run->targets[run->at];
}

static struct health_ask ask_of(const struct mixed_run *run, unsigned index)
{
    return (struct health_ask){.provider = run->targets[index].name,
                               .model = STR("m"),
                               .key_count = 1,
                               .tokens = 10,
                               .lenience =
                                   run->is_last_resort ? HEALTH_LAST_RESORT : HEALTH_STRICT};
}

static bool may_go_at(const struct mixed_run *run, unsigned index, int64_t at_ns)
{
    struct health_ask ask = ask_of(run, index);
    struct health_view view;
    health_look(&ask, at_ns, &view);
    return health_may_go(view.verdict);
}

static int next_untried(const struct mixed_run *run)
{
    for (unsigned i = 0; i < run->target_count; i++) {
        const struct mixed_target *target = &run->targets[i];
        if (target->tries == 0 && !target->is_passed_over && may_go_at(run, i, run->now_ns))
            return (int)i;
    }
    return -1;
}

static void settle(struct mixed_run *run)
{
    bool is_ok = run->result.outcome == OUTCOME_OK;
    health_end(&run->lease, &run->policy, &run->result, run->now_ns, mixed_random());
    if (run->owes_retry && (is_ok || run->result.outcome == OUTCOME_CANCELLED)) {
        health_retry_end(run->route, true, run->now_ns);
        run->owes_retry = false;
    }
}

static void note_failure(struct mixed_run *run, enum outcome_class outcome, unsigned status,
                         int64_t retry_after)
{
    if (run->is_told)
        return;
    run->is_told = true;
    run->result.outcome = outcome;
    run->result.status = status;
    run->result.retry_after_ns = retry_after;
    settle(run);
}

static void note_error(struct mixed_run *run, const struct llm_error *error)
{
    note_failure(run, classify_error(error), error->status, retry_after_ns(NULL, error, 0));
}

static bool go_again(struct mixed_run *run, const struct outcome_rule *rule)
{
    int64_t told_ns = rule->retries_same_target ? run->result.retry_after_ns : -1;
    int64_t delay_ns = retry_delay_ns(&run->policy, run->retries + 1, told_ns, run->now_ns,
                                      CLOCK_NEVER, mixed_random());
    if (delay_ns < 0)
        return false;
    for (unsigned n = 0; n < run->target_count; n++) {
        unsigned i = (run->at + n) % run->target_count;
        if (run->targets[i].is_passed_over ||
            (n == 0 ? !rule->retries_same_target : !rule->tries_next_target) ||
            !may_go_at(run, i, run->now_ns + delay_ns))
            continue;
        run->at = i;
        run->now_ns += delay_ns;
        return true;
    }
    return false;
}

static bool choose_next(struct mixed_run *run)
{
    const struct outcome_rule *rule = &outcome_rules[run->result.outcome];
    int next = rule->tries_next_target ? next_untried(run) : -1;
    if (run->retries >= run->policy.retries)
        return false;
    if (next >= 0)
        run->at = (unsigned)next;
    else if (!go_again(run, rule))
        return false;
    run->retries++;
    if (run->owes_retry)
        health_retry_end(run->route, false, run->now_ns);
    run->owes_retry = health_retry_begin(run->route, run->policy.retry_budget_percent, run->now_ns);
    return run->owes_retry;
}

static bool begin_try(struct mixed_run *run)
{
    for (;;) {
        struct health_ask ask = ask_of(run, run->at);
        if (health_may_go(health_begin(&ask, run->now_ns, mixed_random(), &run->lease, NULL)))
            break;
        target_of(run)->is_passed_over = true;
        int next = next_untried(run);
        if (next >= 0)
            run->at = (unsigned)next;
        else if (run->is_last_resort)
            return false;
        run->is_last_resort = true;
    }
    mixed_seen.probes += run->lease.is_probe;
    target_of(run)->tries++;
    run->result = (struct health_result){.outcome = OUTCOME_OK, .retry_after_ns = -1};
    run->result.duration_ns = -1;
    run->is_told = run->is_unfit = false;
    return true;
}

/* --- the relay (gateway/relay_stream.c) --- */

static void flush(struct mixed_run *run, bool is_breaking)
{
    buf_add_str(&run->sent, buf_str(&run->copied));
    if (run->keeps_journal)
        buf_add_str(&run->journal, buf_str(&run->copied));
    if (run->journal.len > run->journal_limit && !is_breaking) {
        run->keeps_journal = false;
        buf_clear(&run->journal);
    }
    buf_clear(&run->copied);
}

static int take_event(struct mixed_run *run, const struct stream_event *event)
{
    if (event->kind == STREAM_ERROR) {
        note_error(run, &event->error);
        if (!run->has_begun)
            return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "an error came first");
        if (run->keeps_journal)
            return err_set(ERR_RESET, FAULT_UPSTREAM, "the provider sent an error");
    }
    if (event->is_garbled && (run->keeps_journal || !run->is_as_is))
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "an event of the stream is no JSON");
    if (event->kind == STREAM_CONTENT && run->lease.entry != NULL)
        health_first(&run->lease, &run->policy, NS_PER_MS, run->now_ns, mixed_random());
    run->was_garbled_as_is = run->was_garbled_as_is || event->is_garbled;
    if (run->is_as_is)
        buf_add_str(&run->copied, event->frame.raw);
    if (run->is_as_is && event->frame.has_data)
        assert_int_equal(stream_ending_pass(&run->ending, event), 0);
    if (event->kind != STREAM_COMMENT && event->kind != STREAM_OPENING)
        run->has_begun = true;
    return 0;
}

static int take_bytes(struct mixed_run *run, struct str bytes)
{
    struct stream_event event;
    for (;;) {
        size_t before = run->copied.len;
        int r = stream_observer_next(&run->observer, &bytes, &event);
        if (r == 1)
            r = take_event(run, &event);
        else if (r == 0)
            return 0;
        if (r < 0) {
            if (!run->is_as_is && run->keeps_journal)
                run->copied.len = before;
            return r;
        }
    }
}

/* 1 = the answer was whole, and the client has its end. */
static int complete(struct mixed_run *run)
{
    const struct stream_observer *o = &run->observer;
    bool owes_last = run->is_as_is && !o->is_done && !o->is_broken;
    int r = stream_observer_end(&run->observer);
    if (r < 0)
        return r;
    if (owes_last)
        stream_ending_complete(&run->ending, &o->summary.usage, &run->writer.frames);
    return 1;
}

static int end_failed(struct mixed_run *run, int code)
{
    struct err why = *err_slot();
    size_t before = run->copied.len;
    if (!run->has_begun || run->observer.is_broken)
        return code;
    if (complete(run) == 1)
        return 1;
    if (!run->is_as_is && run->keeps_journal)
        run->copied.len = before;
    *err_slot() = why;
    return code;
}

static int end_in_order(struct mixed_run *run)
{
    struct stream_event event;
    int r = stream_observer_finish(&run->observer, &event);
    if (r < 0)
        return r;
    if (r == 1 && !event.is_garbled) {
        r = take_event(run, &event);
        if (r < 0)
            return r;
        if (run->is_as_is)
            buf_add_str(&run->copied, STR("\n\n"));
    }
    return complete(run);
}

/* All that the provider sends, in pieces. 1 = the stream is over. */
static int relay_wire(struct mixed_run *run)
{
    struct str rest = buf_str(&run->wire);
    while (rest.len > 0) {
        struct str piece = str_head(rest, 1 + mixed_below(mixed_below(3) == 0 ? 40 : 2000));
        int r = take_bytes(run, piece);
        if (r < 0)
            return r;
        rest = str_skip(rest, piece.len);
        if (run->observer.is_done) {
            run->has_begun = true;
            return 1;
        }
        if (run->has_begun)
            flush(run, false);
    }
    if (run->resets)
        return end_failed(run, err_set(ERR_RESET, FAULT_UPSTREAM, "the connection was reset"));
    int r = end_in_order(run);
    run->has_begun = run->has_begun || r == 1;
    return r;
}

static void set_up_relay(struct mixed_run *run)
{
    const struct mixed_target *target = target_of(run);
    run->is_as_is = run->translation == NULL;
    stream_ending_init(&run->ending, run->client, &run->codec, run->arena);
    if (run->writer.out == NULL)
        frame_writer_init(&run->writer, framing_of(run->client), &run->copied);
    struct stream_observer_settings settings = {
        .dialect = target->dialect,
        .framing = framing_of(target->dialect),
        .event_limit = EVENT_LIMIT,
        .arena = run->arena,
        .codec = &run->codec,
        .translation = run->translation,
        .frames = &run->writer.frames,
    };
    assert_int_equal(stream_observer_init(&run->observer, &settings), 0);
    run->has_observer = true;
}

static void leave_observer(struct mixed_run *run)
{
    if (run->has_observer)
        stream_observer_fini(&run->observer);
    run->has_observer = false;
}

/* --- asking --- */

static void forget_attempt(struct mixed_run *run)
{
    if (run->translation != NULL)
        translation_fini(run->translation);
    run->translation = NULL;
}

/* Writes the request: for the rest, or the whole. */
static int write_request(struct mixed_run *run, struct continuation *c)
{
    const struct mixed_target *target = target_of(run);
    bool has_path = run->client->id == DIALECT_GEMINI || run->client->id == DIALECT_BEDROCK;
    struct llm_target asked = {.model = STR("n"),
                               .is_stream = true,
                               .wants_usage = true,
                               .quirks = &target->quirks,
                               .traits = &target->traits};
    struct buf body = BUF_INIT;
    struct translation *t = ARENA_NEW(run->arena, struct translation);
    run->translation = t;
    int r = translation_init(t, run->arena, run->client, target->dialect, &run->codec,
                             request_of(run->arena, run->client, ""),
                             has_path ? STR("m") : STR_EMPTY, true);
    assert_int_equal(r, 0);
    r = c != NULL ? continuation_request(c, t, target->dialect, &asked, &body)
                  : translation_write_request(t, target->dialect, &asked, &body);
    buf_fini(&body);
    return r;
}

/* The provider answers with an error, or not at all, or its stream begins (0). */
static int ask(struct mixed_run *run, struct continuation *c)
{
    static const int codes[] = {-ERR_RESET, -ERR_TIMEOUT, -ERR_PROTOCOL};
    const struct dialect *dialect = target_of(run)->dialect;
    enum mixed_fault fault = mixed_choose_fault();
    forget_attempt(run);
    run->now_ns += NS_PER_MS;
    if (c != NULL || dialect != run->client) {
        int r = write_request(run, c);
        if (r < 0) {
            assert_int_equal(r, -ERR_INVALID);
            run->is_told = run->is_unfit = true;
            run->result.outcome = OUTCOME_CANCELLED;
            settle(run);
            target_of(run)->is_passed_over = true;
            return r;
        }
    }
    if (fault == FAULT_CALL) {
        int code = codes[mixed_below(ARRAY_LEN(codes))];
        note_failure(run, classify_failure(code), 0, -1);
        return code;
    }
    if (fault == FAULT_STATUS) {
        const struct recorded_error *e =
            &recorded_errors[dialect->id][mixed_below(ERRORS_OF_DIALECT)];
        struct llm_error error = LLM_ERROR_NONE;
        dialect->read_error(e->status, STR_EMPTY, str_c(e->body), &error);
        note_error(run, &error);
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "it answered %u", e->status);
    }
    struct tale tale = c != NULL ? mixed_make_rest(run, c) : run->tale;
    mixed_make_wire(run, fault, &tale);
    if (c != NULL)
        assert_int_equal(continuation_start(c, run->translation), 0);
    set_up_relay(run);
    return 0;
}

/* --- going on (gateway/relay_continue.c) --- */

static bool has_more(const struct mixed_run *run)
{
    return run->policy.mid_stream == MID_STREAM_CONTINUE &&
           (run->retries < run->policy.retries || run->target_count > 1);
}

static int go_on(struct mixed_run *run, struct continuation *c, int code)
{
    struct err why = *err_slot();
    for (;;) {
        int next = -1;
        bool has_next = run->is_unfit ? (next = next_untried(run)) >= 0 : choose_next(run);
        if (next >= 0)
            run->at = (unsigned)next;
        if (!has_next || !begin_try(run))
            break;
        int r = ask(run, c);
        if (r == 0) {
            run->continued++;
            return 0;
        }
        note_failure(run, classify_failure(r), 0, -1);
    }
    *err_slot() = why;
    return code;
}

static void drop_continuation(struct mixed_run *run)
{
    if (run->continuation != NULL)
        continuation_fini(run->continuation);
    run->continuation = NULL;
}

/* What the client has is forgotten: another answer from its first token. */
static int restart(struct mixed_run *run, int code)
{
    buf_clear(&run->journal);
    int r = go_on(run, NULL, code);
    if (r < 0)
        return r;
    frame_write(&run->writer, STR("weir.reset"), STR("{\"type\":\"weir.reset\"}"));
    run->keeps_journal = false;
    flush(run, true);
    run->sent_before = run->sent.len;
    mixed_seen.restarted++;
    return 0;
}

/* 0: another provider's stream has begun; 1: the stream is over. */
static int continue_stream(struct mixed_run *run, int code)
{
    struct continuation *c = ARENA_NEW(run->arena, struct continuation);
    struct llm_codec_settings *codec = ARENA_NEW(run->arena, struct llm_codec_settings);
    bool restarts = run->wants_restart && framing_of(run->client) == FRAMING_SSE;
    *codec = run->codec;
    note_failure(run, classify_failure(code), 0, -1);
    flush(run, true);
    struct continuation_settings settings = {
        .client = run->client, .framing = framing_of(run->client), .codec = codec};
    assert_int_equal(continuation_read(c, &settings, buf_str(&run->journal)), 0);
    leave_observer(run);
    if (c->verdict == CONTINUATION_COMPLETE) {
        assert_int_equal(continuation_complete(c, &run->writer.frames), 0);
        code = 1;
    } else if (c->verdict != CONTINUATION_OVER && (c->verdict != CONTINUATION_CANNOT || restarts)) {
        code = restarts ? restart(run, code) : go_on(run, c, code);
    }
    drop_continuation(run);
    if (code == 0 && restarts)
        continuation_fini(c);
    else
        run->continuation = c;
    run->keeps_journal = code == 0 && has_more(run);
    return code;
}

/* The client is told that it broke off. */
static void end_with_error(struct mixed_run *run)
{
    struct llm_error error = LLM_ERROR_NONE;
    error.status = 502;
    error.message = TEXT_LIT("The stream broke off.");
    error.is_own = true;
    if (run->continuation != NULL && continuation_is_waiting(run->continuation))
        continuation_fail(run->continuation, &error, &run->writer.frames);
    else if (!run->is_as_is && run->translation != NULL)
        translation_fail(run->translation, &error, &run->writer.frames);
    else
        stream_ending_fail(&run->ending, &error, &run->writer.frames);
}

/* --- what must hold of health --- */

static void check_health(struct mixed_run *run)
{
    assert_false(run->owes_retry);
    for (unsigned i = 0; i < run->target_count; i++) {
        struct health_ask ask = ask_of(run, i);
        struct health_view view;
        health_look(&ask, run->now_ns, &view);
        if (view.in_flight != 0 || view.verdict == HEALTH_PROBING)
            mixed_fail(run, "a lease of target %u was not given back", i);
    }
}

/* --- the life of an answer --- */

static void make_run(struct mixed_run *run, uint64_t number)
{
    *run = (struct mixed_run){.seed = number,
                              .arena = arena_new(16384),
                              .client = dialect_of((enum dialect_id)mixed_below(DIALECT_COUNT)),
                              .policy = route_policy_default,
                              .now_ns = 1000 * NS_PER_SEC,
                              .route = health_route(STR("mixed")),
                              .target_count = 1 + mixed_below(MIXED_TARGETS_MAX)};
    assert_non_null(run->arena);
    run->policy.retries = mixed_below(4);
    run->policy.retry_budget_percent = 100;
    run->policy.breaker_failures = 1 + mixed_below(4);
    run->policy.mid_stream = mixed_below(4) == 0 ? MID_STREAM_TERMINATE : MID_STREAM_CONTINUE;
    run->codec = (struct llm_codec_settings){.model = STR("m"),
                                             .request_id = STR("0190f0a1"),
                                             .now_s = 1700000000,
                                             .includes_usage = true};
    run->copied = run->journal = run->sent = run->wire = BUF_INIT;
    run->journal_limit = mixed_below(8) == 0 ? mixed_below(4000) : SIZE_MAX;
    run->wants_restart = mixed_below(8) == 0;
    for (unsigned i = 0; i < run->target_count; i++) {
        struct mixed_target *target = &run->targets[i];
        target->dialect = mixed_below(3) == 0
                              ? run->client
                              : dialect_of((enum dialect_id)mixed_below(DIALECT_COUNT));
        target->name = arena_printf(run->arena, "p%llu-%u", (unsigned long long)number, i);
        target->traits.max_output_tokens = 1000;
        target->traits.takes_prefill = mixed_below(2) == 0 ? TRI_YES : TRI_UNSET;
        target->quirks.prefill =
            target->traits.takes_prefill == TRI_YES ? PREFILL_PREFIX : PREFILL_NONE;
    }
    mixed_make_tale(run);
}

/* Some targets have failed before; some of these may be probed again. */
static void make_history(struct mixed_run *run)
{
    for (unsigned i = 0; i < run->target_count; i++) {
        struct health_ask ask = ask_of(run, i);
        for (unsigned n = mixed_below(6) == 0 ? run->policy.breaker_failures : 0; n > 0; n--) {
            struct health_lease lease = {0};
            if (!health_may_go(health_begin(&ask, run->now_ns, mixed_random(), &lease, NULL)))
                break;
            struct health_result result = {.outcome = OUTCOME_TRANSIENT, .retry_after_ns = -1};
            health_end(&lease, &run->policy, &result, run->now_ns, mixed_random());
        }
    }
    run->now_ns += mixed_below(2) == 0 ? 0 : 60 * NS_PER_SEC;
}

/* Until a stream has begun, or nobody is left to ask. */
static int try_until_begun(struct mixed_run *run)
{
    while (begin_try(run)) {
        run->keeps_journal = has_more(run);
        int r = ask(run, NULL);
        if (r == 0)
            r = relay_wire(run);
        if (run->has_begun)
            return r;
        leave_observer(run);
        buf_clear(&run->copied);
        frame_writer_fini(&run->writer);
        run->writer = (struct frame_writer){0};
        note_failure(run, classify_failure(r), 0, -1);
        if (run->is_unfit || !choose_next(run))
            break;
    }
    return -ERR_RESET;
}

static void live(struct mixed_run *run)
{
    health_count_request(run->route, run->now_ns);
    int r = try_until_begun(run);
    while (r < 0 && run->has_begun && run->keeps_journal) {
        r = continue_stream(run, r);
        if (r == 0)
            r = relay_wire(run);
    }
    run->is_whole = r == 1;
    if (run->has_begun && r < 0) {
        note_failure(run, classify_failure(r), 0, -1);
        end_with_error(run);
    }
    if (run->has_begun) {
        frame_write_end(&run->writer);
        flush(run, true);
    }
    settle(run);
    if (run->owes_retry)
        health_retry_end(run->route, false, run->now_ns);
    run->owes_retry = false;
}

static void fini_run(struct mixed_run *run)
{
    leave_observer(run);
    forget_attempt(run);
    drop_continuation(run);
    frame_writer_fini(&run->writer);
    buf_fini(&run->copied);
    buf_fini(&run->journal);
    buf_fini(&run->sent);
    buf_fini(&run->wire);
    arena_free(run->arena);
}

static void one_run(uint64_t number)
{
    struct mixed_run run;
    mixed_seed(number);
    make_run(&run, number);
    make_history(&run);
    live(&run);
    mixed_judge(&run);
    check_health(&run);
    fini_run(&run);
}

/* Attempts that began have all come out, once. */
static void check_table(void)
{
    struct arena *arena = arena_new(4096);
    for (unsigned i = 0; i < health_rows(); i++) {
        struct health_row row;
        uint64_t outcomes = 0;
        if (!health_row(i, 2000 * NS_PER_SEC, arena, &row))
            continue;
        for (unsigned k = 0; k < OUTCOME_CLASS_COUNT; k++)
            outcomes += row.outcomes[k];
        assert_int_equal(row.in_flight, 0);
        assert_false(row.breaker.is_probe_out);
        assert_int_equal(outcomes, row.attempts);
    }
    arena_free(arena);
}

static void every_answer_is_whole_or_told_to_be_broken(void **state)
{
    const char *one = getenv("WEIR_SEED");
    struct timespec now;
    (void)state;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t first = one != NULL ? strtoull(one, NULL, 10)
                                 : (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    unsigned runs = one != NULL ? 1 : RUNS;
    print_message("seed %llu, %u runs\n", (unsigned long long)first, runs);
    for (unsigned i = 0; i < runs; i++) {
        if (i % RUNS_OF_A_TABLE == 0)
            health_init(0);
        one_run(first + i);
        if ((i + 1) % RUNS_OF_A_TABLE == 0 || i + 1 == runs) {
            check_table();
            health_fini();
        }
    }
    print_message("%u whole, %u of them gone on with; %u broken; %u garbled; %u refused; %u "
                  "begun anew; %u said more than they were asked for; %u probes\n",
                  mixed_seen.whole, mixed_seen.continued, mixed_seen.broken, mixed_seen.garbled,
                  mixed_seen.refused, mixed_seen.restarted, mixed_seen.repeated, mixed_seen.probes);
    if (one != NULL)
        return;
    assert_true(mixed_seen.whole > runs / 3 && mixed_seen.continued > runs / 20 &&
                mixed_seen.broken > runs / 20);
    assert_true(mixed_seen.refused > runs / 100 && mixed_seen.repeated > runs / 100 &&
                mixed_seen.restarted > runs / 500 && mixed_seen.garbled > runs / 2000 &&
                mixed_seen.probes > 0);
    assert_int_equal(mixed_seen.whole + mixed_seen.broken + mixed_seen.garbled + mixed_seen.refused,
                     runs); /* none was left out */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_whole_or_told_to_be_broken),
    };
    return cmocka_run_group_tests_name("sim/mixed_failures", tests, NULL, NULL);
}
