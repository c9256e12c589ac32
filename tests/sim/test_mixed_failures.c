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
#include "route/health.h"
#include "sim/recorded_errors.h"
#include "stream/observer.h"
#include "support/broken_stream.h"
#include "support/json_equal.h"
#include "support/validate.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifdef IS_SANITIZED
enum { RUNS = 2500 };
#else
enum { RUNS = 40000 };
#endif

enum { TARGETS_MAX = 4, EVENT_LIMIT = 1 << 20 };

/* --- chance --- */

static uint64_t random_state;

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static unsigned below(uint64_t n)
{
    return (unsigned)(next_random() % n);
}

/* --- a run --- */

enum fault { FAULT_STATUS, FAULT_CALL, FAULT_CUT, FAULT_EVENT, FAULT_CORRUPT, FAULT_NOTHING };

struct target {
    const struct dialect *dialect;
    struct str name;
    struct llm_traits traits;
    struct llm_quirks quirks;
    unsigned tries;
    bool is_passed_over;
};

struct run {
    uint64_t seed;
    struct arena *arena;
    struct tale tale; /* the whole answer */
    struct route_policy policy;
    int64_t now_ns;
    /* Of the attempts. */
    struct target targets[TARGETS_MAX];
    unsigned target_count, at, retries;
    struct health_lease lease;
    struct health_result result;
    struct health_route *route;
    bool is_told, is_unfit, owes_retry, is_last_resort;
    /* Of the relay. */
    const struct dialect *client;
    struct llm_codec_settings codec;
    struct translation *translation;
    struct stream_observer observer;
    bool has_observer, is_as_is, has_begun, keeps_journal;
    struct frame_writer writer;
    struct buf copied, journal, sent, wire;
    bool resets; /* after the bytes of `wire`: else they end in order */
    bool was_garbled_as_is;
    struct continuation *continuation;
    struct token_usage spent;
    unsigned continued;
    bool is_said_afresh; /* the error, in a dialect that begins anew with it */
    bool is_end_cut;     /* all was told but the last event of its own dialect */
    bool is_whole;       /* ended well, as far as the relay knows */
};

static struct {
    unsigned whole, continued, broken, refused, repeated, probes;
} seen;

/* --- answers --- */

static const char *const words[] = {"the ",
                                    "moon ",
                                    "\xf0\x9f\x8c\x99 ",
                                    "is ",
                                    "far",
                                    ", ",
                                    "caf\xc3\xa9 ",
                                    "\n\n",
                                    "and ",
                                    "\xe2\x80\x94 ",
                                    "so ",
                                    "\"on\" ",
                                    "a ",
                                    "\\ ",
                                    "ha ha ",
                                    "to ",
                                    "\xe6\x97\xa5\xe6\x9c\xac",
                                    "<b>",
                                    "one. ",
                                    "& ",
                                    "\t"};

static const char *random_text(struct run *run)
{
    static const unsigned lengths[] = {3, 12, 40, 120};
    struct buf text = BUF_INIT;
    unsigned count = 1 + below(lengths[below(ARRAY_LEN(lengths))]);
    buf_add_str(&text, STR("I say"));
    for (unsigned i = 0; i < count; i++) {
        if (below(4) == 0)
            buf_printf(&text, " w%u", below(1000));
        buf_add_str(&text, str_c(words[below(ARRAY_LEN(words))]));
    }
    const char *copy = arena_cstr(run->arena, buf_str(&text));
    buf_fini(&text);
    return copy;
}

static const char *const arguments[] = {
    "{}",
    "{\"city\":\"Par\\\"is \xc3\xa9\",\"days\":[1,2],\"deep\":{\"a\":true}}",
    "{\"q\":\"\xf0\x9f\x8c\x99 at night, seen from here\",\"n\":12}",
};

static void make_tale(struct run *run)
{
    struct tale *tale = &run->tale;
    unsigned shape = below(8);
    *tale = (struct tale){.piece = 3 + below(60), .input = 10, .output = 20};
    if (shape == 0)
        return; /* empty */
    if (shape == 2 || below(6) == 0)
        tale->thinking = "Let me think of it, and then once more.";
    if (shape <= 4 || below(2) == 0)
        tale->text = random_text(run);
    if (shape < 5)
        return;
    tale->call = "look";
    tale->arguments = arguments[below(ARRAY_LEN(arguments))];
    if (shape < 7)
        return;
    tale->other_call = "find";
    tale->other_arguments = arguments[below(ARRAY_LEN(arguments))];
}

/* What the model says that is asked to go on: the rest, more than that, or something else. */
static struct tale make_rest(struct run *run, const struct continuation *c)
{
    struct tale rest = run->tale;
    unsigned way = below(8);
    rest.piece = 3 + below(60);
    rest.id = "resp_second";
    if (c->verdict == CONTINUATION_REPEAT && way == 0) {
        rest.call = rest.other_call = NULL;
        rest.text = "There is nothing to look for.";
    } else if (c->verdict == CONTINUATION_REPEAT && way == 1) {
        rest.call = "other";
    } else if (c->verdict == CONTINUATION_TEXT) {
        size_t from = c->text_sound - (c->is_prefilled ? 0 : c->anchor.len);
        if (!c->is_prefilled && way < 3)
            from = way == 0 ? from - below(MIN(from, 40u) + 1) : 0;
        while (from > 0 && ((unsigned char)run->tale.text[from] & 0xc0) == 0x80)
            from--;
        run->is_unfit = false;
        rest.text = run->tale.text[from] != '\0' ? run->tale.text + from : NULL;
        seen.repeated += !c->is_prefilled && way < 3;
        if (!c->is_prefilled && c->anchor.len > 0 && way == 3)
            rest.text = "\xc2\xa7 What do you mean? I have not said that, and will not.";
    }
    return rest;
}

/* --- the provider's side --- */

static void put_error_event(struct run *run, const struct dialect *dialect, unsigned number)
{
    struct frame_writer writer;
    frame_writer_init(&writer, framing_of(dialect), &run->wire);
    if (dialect->id == DIALECT_OPENAI_RESPONSES) {
        frame_write(&writer, STR("error"),
                    arena_printf(run->arena,
                                 "{\"type\":\"error\",\"sequence_number\":%u,\"code\":"
                                 "\"server_error\",\"message\":\"Sorry\",\"param\":null}",
                                 number));
    } else if (dialect->id == DIALECT_COHERE) {
        frame_write(&writer, STR("message-end"),
                    STR("{\"type\":\"message-end\",\"delta\":{\"error\":\"Sorry\","
                        "\"finish_reason\":\"ERROR\"}}"));
        frame_write(&writer, STR_EMPTY, STR("[DONE]"));
    } else {
        struct llm_event event = llm_event_make(EVENT_ERROR);
        event.error.kind = below(2) == 0 ? LLM_ERROR_OVERLOADED : LLM_ERROR_SERVER;
        event.error.message = TEXT_LIT("Sorry");
        dialect->encode(dialect->encoder_new(run->arena, &run->codec), &event, &writer.frames);
    }
    frame_writer_fini(&writer);
}

/* Of the event that begins there, one byte is wrong: of JSON the first, of a frame any. */
static void corrupt(struct run *run, size_t start, size_t end)
{
    if (end - start < 32)
        return; /* [DONE] */
    if (framing_of(run->targets[run->at].dialect) == FRAMING_EVENT_STREAM) {
        run->wire.ptr[start + 20 + below(end - start - 24)] ^= 0x55;
        return;
    }
    while (start < end && run->wire.ptr[start] != '{')
        start++;
    if (start < end)
        run->wire.ptr[start] = '<';
}

/* What comes of the provider once its stream has begun. */
static void make_wire(struct run *run, enum fault fault, const struct tale *tale)
{
    static struct told told;
    const struct dialect *dialect = run->targets[run->at].dialect;
    tell(&told, dialect, tale);
    unsigned event = below(told.count);
    size_t start = event > 0 ? told.ends[event - 1] : 0, len = told.bytes.len;
    if (fault == FAULT_EVENT || (fault == FAULT_CUT && below(2) == 0))
        len = start;
    else if (fault == FAULT_CUT)
        len = below(len);
    buf_fini(&run->wire);
    buf_add_str(&run->wire, str_head(buf_str(&told.bytes), len));
    run->resets = fault == FAULT_CUT && below(2) == 0;
    bool has_ended = dialect->id == DIALECT_COHERE && event + 1 == told.count;
    if (fault == FAULT_EVENT && !has_ended) /* Cohere tells errors by its last event */
        put_error_event(run, dialect, event);
    else if (fault == FAULT_CORRUPT)
        corrupt(run, start, told.ends[event]);
    told_fini(&told);
}

/* --- attempts (gateway/attempts.c) --- */

static struct target *target_of(struct run *run)
{
    return &run->targets[run->at];
}

static struct health_ask ask_of(const struct run *run, unsigned index)
{
    return (struct health_ask){.provider = run->targets[index].name,
                               .model = STR("m"),
                               .key_count = 1,
                               .tokens = 10,
                               .lenience =
                                   run->is_last_resort ? HEALTH_LAST_RESORT : HEALTH_STRICT};
}

static bool may_go_at(const struct run *run, unsigned index, int64_t at_ns)
{
    struct health_ask ask = ask_of(run, index);
    struct health_view view;
    health_look(&ask, at_ns, &view);
    return health_may_go(view.verdict);
}

static int next_untried(const struct run *run)
{
    for (unsigned i = 0; i < run->target_count; i++) {
        const struct target *target = &run->targets[i];
        if (target->tries == 0 && !target->is_passed_over && may_go_at(run, i, run->now_ns))
            return (int)i;
    }
    return -1;
}

static void settle(struct run *run)
{
    bool is_ok = run->result.outcome == OUTCOME_OK;
    health_end(&run->lease, &run->policy, &run->result, run->now_ns, next_random());
    if (run->owes_retry && (is_ok || run->result.outcome == OUTCOME_CANCELLED)) {
        health_retry_end(run->route, true, run->now_ns);
        run->owes_retry = false;
    }
}

static void note_failure(struct run *run, enum outcome_class outcome, unsigned status,
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

static void note_error(struct run *run, const struct llm_error *error)
{
    note_failure(run, classify_error(error), error->status, retry_after_ns(NULL, error, 0));
}

static bool go_again(struct run *run, const struct outcome_rule *rule)
{
    int64_t told_ns = rule->retries_same_target ? run->result.retry_after_ns : -1;
    int64_t delay_ns = retry_delay_ns(&run->policy, run->retries + 1, told_ns, run->now_ns,
                                      CLOCK_NEVER, next_random());
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

static bool choose_next(struct run *run)
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

static bool begin_try(struct run *run)
{
    for (;;) {
        struct health_ask ask = ask_of(run, run->at);
        if (health_may_go(health_begin(&ask, run->now_ns, next_random(), &run->lease, NULL)))
            break;
        target_of(run)->is_passed_over = true;
        int next = next_untried(run);
        if (next >= 0)
            run->at = (unsigned)next;
        else if (run->is_last_resort)
            return false;
        run->is_last_resort = true;
    }
    seen.probes += run->lease.is_probe;
    target_of(run)->tries++;
    run->result = (struct health_result){.outcome = OUTCOME_OK, .retry_after_ns = -1};
    run->result.duration_ns = -1;
    run->is_told = run->is_unfit = false;
    return true;
}

/* --- the relay (gateway/relay_stream.c) --- */

static void flush(struct run *run)
{
    buf_add_str(&run->sent, buf_str(&run->copied));
    if (run->keeps_journal)
        buf_add_str(&run->journal, buf_str(&run->copied));
    buf_clear(&run->copied);
}

static int take_event(struct run *run, const struct stream_event *event)
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
        health_first(&run->lease, &run->policy, NS_PER_MS, run->now_ns, next_random());
    run->was_garbled_as_is = run->was_garbled_as_is || event->is_garbled;
    if (run->is_as_is)
        buf_add_str(&run->copied, event->frame.raw);
    if (event->kind != STREAM_COMMENT && event->kind != STREAM_OPENING)
        run->has_begun = true;
    return 0;
}

static int take_bytes(struct run *run, struct str bytes)
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

static int end_in_order(struct run *run)
{
    struct stream_event event;
    int r = stream_observer_finish(&run->observer, &event);
    bool is_unterminated = r == 1 && !event.is_garbled;
    if (r >= 0 && is_unterminated)
        r = take_event(run, &event);
    if (r < 0)
        return r;
    bool was_done = run->observer.is_done || run->observer.is_broken;
    r = stream_observer_end(&run->observer);
    bool owes_done = !was_done && run->is_as_is && run->observer.dialect->id == DIALECT_OPENAI_CHAT;
    if (is_unterminated && run->is_as_is && (r < 0 || owes_done))
        buf_add_str(&run->copied, STR("\n\n"));
    if (r < 0)
        return r;
    run->is_end_cut = run->is_as_is && !owes_done && (!was_done || is_unterminated);
    if (owes_done)
        buf_add_str(&run->copied, STR("data: [DONE]\n\n"));
    return 1;
}

/* All that the provider sends, in pieces. 1 = the stream is over. */
static int relay_wire(struct run *run)
{
    struct str rest = buf_str(&run->wire);
    while (rest.len > 0) {
        struct str piece = str_head(rest, 1 + below(below(3) == 0 ? 40 : 2000));
        int r = take_bytes(run, piece);
        if (r < 0)
            return r;
        rest = str_skip(rest, piece.len);
        if (run->observer.is_done) {
            run->has_begun = true;
            return 1;
        }
        if (run->has_begun)
            flush(run);
    }
    if (run->resets)
        return err_set(ERR_RESET, FAULT_UPSTREAM, "the connection was reset");
    int r = end_in_order(run);
    run->has_begun = run->has_begun || r == 1;
    return r;
}

static void set_up_relay(struct run *run)
{
    const struct target *target = target_of(run);
    run->is_as_is = run->translation == NULL;
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

static void leave_observer(struct run *run)
{
    if (run->has_observer)
        stream_observer_fini(&run->observer);
    run->has_observer = false;
}

/* --- asking --- */

static void forget_attempt(struct run *run)
{
    if (run->translation != NULL)
        translation_fini(run->translation);
    run->translation = NULL;
}

static enum fault choose_fault(void)
{
    static const enum fault faults[] = {FAULT_STATUS,  FAULT_CALL,    FAULT_CUT,     FAULT_CUT,
                                        FAULT_CUT,     FAULT_CUT,     FAULT_EVENT,   FAULT_EVENT,
                                        FAULT_CORRUPT, FAULT_NOTHING, FAULT_NOTHING, FAULT_NOTHING};
    return faults[below(ARRAY_LEN(faults))];
}

/* Writes the request: for the rest, or the whole. */
static int write_request(struct run *run, struct continuation *c)
{
    const struct target *target = target_of(run);
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
static int ask(struct run *run, struct continuation *c)
{
    static const int codes[] = {-ERR_RESET, -ERR_TIMEOUT, -ERR_PROTOCOL};
    const struct dialect *dialect = target_of(run)->dialect;
    enum fault fault = choose_fault();
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
        int code = codes[below(ARRAY_LEN(codes))];
        note_failure(run, classify_failure(code), 0, -1);
        return code;
    }
    if (fault == FAULT_STATUS) {
        const struct recorded_error *e = &recorded_errors[dialect->id][below(ERRORS_OF_DIALECT)];
        struct llm_error error = LLM_ERROR_NONE;
        dialect->read_error(e->status, STR_EMPTY, str_c(e->body), &error);
        note_error(run, &error);
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "it answered %u", e->status);
    }
    struct tale tale = c != NULL ? make_rest(run, c) : run->tale;
    make_wire(run, fault, &tale);
    if (c != NULL)
        assert_int_equal(continuation_start(c, run->translation), 0);
    set_up_relay(run);
    return 0;
}

/* --- going on (gateway/relay_continue.c) --- */

static bool has_more(const struct run *run)
{
    return run->policy.mid_stream == MID_STREAM_CONTINUE &&
           (run->retries < run->policy.retries || run->target_count > 1);
}

static int go_on(struct run *run, struct continuation *c, int code)
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

static void drop_continuation(struct run *run)
{
    if (run->continuation != NULL)
        continuation_fini(run->continuation);
    run->continuation = NULL;
}

/* 0: another provider's stream has begun; 1: the stream is over. */
static int continue_stream(struct run *run, int code)
{
    struct continuation *c = ARENA_NEW(run->arena, struct continuation);
    struct llm_codec_settings *codec = ARENA_NEW(run->arena, struct llm_codec_settings);
    *codec = run->codec;
    note_failure(run, classify_failure(code), 0, -1);
    flush(run);
    struct continuation_settings settings = {
        .client = run->client, .framing = framing_of(run->client), .codec = codec};
    assert_int_equal(continuation_read(c, &settings, buf_str(&run->journal)), 0);
    leave_observer(run);
    if (c->verdict == CONTINUATION_COMPLETE) {
        assert_int_equal(continuation_complete(c, &run->writer.frames), 0);
        code = 1;
    } else if (c->verdict != CONTINUATION_OVER && c->verdict != CONTINUATION_CANNOT) {
        code = go_on(run, c, code);
    }
    drop_continuation(run);
    run->continuation = c;
    run->keeps_journal = code == 0 && has_more(run);
    return code;
}

/* The client is told that it broke off. */
static void end_with_error(struct run *run)
{
    struct llm_error error = LLM_ERROR_NONE;
    error.status = 502;
    error.message = TEXT_LIT("The stream broke off.");
    error.is_own = true;
    if (run->continuation != NULL && continuation_is_waiting(run->continuation)) {
        continuation_fail(run->continuation, &error, &run->writer.frames);
        return;
    }
    if (!run->is_as_is && run->translation != NULL) {
        translation_fail(run->translation, &error, &run->writer.frames);
        return;
    }
    /* Its sequence goes on only where what was sent is known: not under this policy. */
    run->is_said_afresh = run->client->follows_alone || run->client->id == DIALECT_COHERE;
    struct llm_event event = llm_event_make(EVENT_ERROR);
    event.error = error;
    run->client->encode(run->client->encoder_new(run->arena, &run->codec), &event,
                        &run->writer.frames);
}

/* --- what must hold --- */

#define FAIL(run, ...)                                                                         \
    do {                                                                                       \
        print_error("seed %llu, %s, %u targets, continued %u times\n%.*s\n",                   \
                    (unsigned long long)(run)->seed, (run)->client->name, (run)->target_count, \
                    (run)->continued, STR_ARG(buf_str(&(run)->sent)));                         \
        fail_msg(__VA_ARGS__);                                                                 \
    } while (0)

static void check_call(struct run *run, const struct llm_block *block, unsigned number,
                       bool is_whole)
{
    const char *name = number == 0 ? run->tale.call : number == 1 ? run->tale.other_call : NULL;
    const char *whole = number == 0 ? run->tale.arguments : run->tale.other_arguments;
    char where[200];
    if (name == NULL || !text_eq(block->name, str_c(name)))
        FAIL(run, "call %u is another", number);
    struct str got = text_or(run->arena, block->arguments, STR_EMPTY);
    bool is_same = got.len > 0 && json_equal(got, str_c(whole), where, sizeof(where));
    if (got.len == 0 && strcmp(whole, "{}") == 0)
        is_same = true;
    if (!is_same && (is_whole || !str_starts(str_c(whole), got)))
        FAIL(run, "call %u has the arguments %.*s", number, STR_ARG(got));
}

static void check_sent(struct run *run)
{
    struct llm_answer answer;
    unsigned calls = 0;
    char label[80];
    snprintf(label, sizeof(label), "seed %llu, %s", (unsigned long long)run->seed,
             run->client->name);
    read_back(run->arena, run->client, buf_str(&run->sent), &answer, label);
    bool is_whole = !answer.is_error;
    if (answer.is_error == answer.is_done)
        FAIL(run, "there are two ends, or none");
    if (!run->is_whole && is_whole)
        FAIL(run, "a good end after a failure");
    struct str whole = run->tale.text != NULL ? str_c(run->tale.text) : STR_EMPTY;
    struct str text = text_of_kind(run->arena, &answer, BLOCK_TEXT);
    if (is_whole ? !str_eq(text, whole) : !str_starts(whole, text))
        FAIL(run, "the text is not\n%.*s\nbut\n%.*s", STR_ARG(whole), STR_ARG(text));
    const struct llm_choice *choice = answer.choices;
    for (const struct llm_block *b = choice != NULL ? choice->blocks : NULL; b != NULL;
         b = b->next) {
        if (b->kind == BLOCK_TOOL_CALL)
            check_call(run, b, calls++, is_whole);
    }
    unsigned wanted = (run->tale.call != NULL) + (run->tale.other_call != NULL);
    if (is_whole && calls != wanted)
        FAIL(run, "%u calls instead of %u", calls, wanted);
    seen.whole += is_whole;
    seen.broken += !is_whole;
    seen.continued += is_whole && run->continued > 0;
}

static void check_health(struct run *run)
{
    assert_false(run->owes_retry);
    for (unsigned i = 0; i < run->target_count; i++) {
        struct health_ask ask = ask_of(run, i);
        struct health_view view;
        health_look(&ask, run->now_ns, &view);
        if (view.in_flight != 0 || view.verdict == HEALTH_PROBING)
            FAIL(run, "a lease of target %u was not given back", i);
    }
}

/* --- the life of an answer --- */

static void make_run(struct run *run, uint64_t number)
{
    *run = (struct run){.seed = number,
                        .arena = arena_new(16384),
                        .client = dialect_of((enum dialect_id)below(DIALECT_COUNT)),
                        .policy = route_policy_default,
                        .now_ns = 1000 * NS_PER_SEC,
                        .route = health_route(STR("mixed")),
                        .target_count = 1 + below(TARGETS_MAX)};
    assert_non_null(run->arena);
    run->policy.retries = below(4);
    run->policy.retry_budget_percent = 100;
    run->policy.breaker_failures = 1 + below(4);
    run->policy.mid_stream = below(4) == 0 ? MID_STREAM_TERMINATE : MID_STREAM_CONTINUE;
    run->codec = (struct llm_codec_settings){.model = STR("m"),
                                             .request_id = STR("0190f0a1"),
                                             .now_s = 1700000000,
                                             .includes_usage = true};
    run->copied = run->journal = run->sent = run->wire = BUF_INIT;
    for (unsigned i = 0; i < run->target_count; i++) {
        struct target *target = &run->targets[i];
        target->dialect =
            below(3) == 0 ? run->client : dialect_of((enum dialect_id)below(DIALECT_COUNT));
        target->name = arena_printf(run->arena, "p%llu-%u", (unsigned long long)number, i);
        target->traits.max_output_tokens = 1000;
        target->traits.takes_prefill = below(2) == 0 ? TRI_YES : TRI_UNSET;
        target->quirks.prefill =
            target->traits.takes_prefill == TRI_YES ? PREFILL_PREFIX : PREFILL_NONE;
    }
    make_tale(run);
}

/* Some targets have failed before; some of these may be probed again. */
static void make_history(struct run *run)
{
    for (unsigned i = 0; i < run->target_count; i++) {
        struct health_ask ask = ask_of(run, i);
        for (unsigned n = below(6) == 0 ? run->policy.breaker_failures : 0; n > 0; n--) {
            struct health_lease lease = {0};
            if (!health_may_go(health_begin(&ask, run->now_ns, next_random(), &lease, NULL)))
                break;
            struct health_result result = {.outcome = OUTCOME_TRANSIENT, .retry_after_ns = -1};
            health_end(&lease, &run->policy, &result, run->now_ns, next_random());
        }
    }
    run->now_ns += below(2) == 0 ? 0 : 60 * NS_PER_SEC;
}

/* Until a stream has begun, or nobody is left to ask. */
static int try_until_begun(struct run *run)
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

static void live(struct run *run)
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
        flush(run);
    }
    settle(run);
    if (run->owes_retry)
        health_retry_end(run->route, false, run->now_ns);
    run->owes_retry = false;
}

static void fini_run(struct run *run)
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
    struct run run;
    random_state = number;
    make_run(&run, number);
    make_history(&run);
    live(&run);
    if (!run.has_begun)
        assert_int_equal(run.sent.len, 0);
    /* What the provider garbled itself its own client gets as it came. */
    else if (!run.was_garbled_as_is && !run.is_said_afresh && !run.is_end_cut)
        check_sent(&run);
    seen.refused += !run.has_begun;
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
    for (unsigned i = 0; i < runs; i++)
        one_run(first + i);
    check_table();
    print_message("%u whole, %u of them gone on with; %u broken; %u refused; %u said more than "
                  "they were asked for; %u probes\n",
                  seen.whole, seen.continued, seen.broken, seen.refused, seen.repeated,
                  seen.probes);
    if (one != NULL)
        return;
    assert_true(seen.whole > runs / 3 && seen.continued > runs / 20 && seen.broken > runs / 20);
    assert_true(seen.refused > runs / 100 && seen.repeated > runs / 100 && seen.probes > 0);
}

static int set_up(void **state)
{
    (void)state;
    health_init(0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    health_fini();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_whole_or_told_to_be_broken),
    };
    return cmocka_run_group_tests_name("sim/mixed_failures", tests, set_up, tear_down);
}
