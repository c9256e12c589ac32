#include "dialect/sequence.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"
#include "support/event_text.h"

/* What comes out for what goes in. */
static const struct {
    const char *what, *in, *out;
} cases[] = {
    {"what is in order stays as it is",
     "start m\nblock 0.0 thinking\ntext 0.0 hm\nsig 0.0 anthropic s\nstop 0.0\n"
     "block 0.1 text\ntext 0.1 a\ntext 0.1 b\nstop 0.1\nusage 1 2\nfinish 0 stop\ndone\n",
     "start m\nblock 0.0 thinking\ntext 0.0 hm\nsig 0.0 anthropic s\nstop 0.0\n"
     "block 0.1 text\ntext 0.1 a\ntext 0.1 b\nstop 0.1\nusage 1 2\nfinish 0 stop\ndone\n"},
    {"an empty text is left out and the indexes have no gap",
     "start m\nblock 0.0 text\ntext 0.0 \nblock 0.1 tool_call c f\nargs 0.1 {}\n"
     "stop 0.0\nstop 0.1\nfinish 0 tool_calls\ndone\n",
     "start m\nblock 0.0 tool_call c f\nargs 0.0 {}\nstop 0.0\nfinish 0 tool_calls\ndone\n"},
    {"a signature alone is not nothing",
     "start m\nblock 0.0 thinking\nsig 0.0 gemini s\nstop 0.0\nfinish 0 stop\ndone\n",
     "start m\nblock 0.0 thinking\nsig 0.0 gemini s\nstop 0.0\nfinish 0 stop\ndone\n"},
    {"text ends where a call begins",
     "start m\nblock 0.0 text\ntext 0.0 a\nblock 0.1 tool_call c f\nargs 0.1 {\nargs 0.1 }\n"
     "stop 0.0\nstop 0.1\nfinish 0 tool_calls\ndone\n",
     "start m\nblock 0.0 text\ntext 0.0 a\nstop 0.0\nblock 0.1 tool_call c f\nargs 0.1 {\n"
     "args 0.1 }\nstop 0.1\nfinish 0 tool_calls\ndone\n"},
    {"parallel calls, each whole before the next: nothing waits",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\\\"x\\\":\nargs 0.0 \\\"}\\\"}\n"
     "block 0.1 tool_call b g\nargs 0.1 {}\nstop 0.0\nstop 0.1\nfinish 0 tool_calls\ndone\n",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\\\"x\\\":\nargs 0.0 \\\"}\\\"}\nstop 0.0\n"
     "block 0.1 tool_call b g\nargs 0.1 {}\nstop 0.1\nfinish 0 tool_calls\ndone\n"},
    {"interleaved calls: the second waits for the first",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\nblock 0.1 tool_call b g\nargs 0.1 {\\\"y\\\"\n"
     "args 0.0 }\nargs 0.1 :1}\nstop 0.0\nstop 0.1\nfinish 0 tool_calls\ndone\n",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\nargs 0.0 }\nstop 0.0\n"
     "block 0.1 tool_call b g\nargs 0.1 {\\\"y\\\"\nargs 0.1 :1}\nstop 0.1\n"
     "finish 0 tool_calls\ndone\n"},
    {"a call that is never whole ends with its choice",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 [\nblock 0.1 tool_call b g\nargs 0.1 {}\n"
     "usage 3 4\nblock 0.2 text\ntext 0.2 z\nfinish 0 length\ndone\n",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 [\nusage 3 4\nstop 0.0\n"
     "block 0.1 tool_call b g\nargs 0.1 {}\nstop 0.1\nblock 0.2 text\ntext 0.2 z\nstop 0.2\n"
     "finish 0 length\ndone\n"},
    {"a brace in a string, an escaped quote, an escape by number: not the end",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\\\"k\\\":\\\"}\\\\\\\" } \n"
     "block 0.1 tool_call b g\nargs 0.1 {}\nargs 0.0 \\u0022\\u007d\nstop 0.0\nstop 0.1\n"
     "finish 0 tool_calls\ndone\n",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\\\"k\\\":\\\"}\\\\\\\" } \n"
     "args 0.0 \\u0022\\u007d\nstop 0.0\nblock 0.1 tool_call b g\nargs 0.1 {}\nstop 0.1\n"
     "finish 0 tool_calls\ndone\n"},
    {"text that goes on after a call is a new text",
     "start m\nblock 0.0 text\ntext 0.0 a\nblock 0.1 tool_call c f\nargs 0.1 {}\ntext 0.0 b\n"
     "text 0.0 c\nfinish 0 tool_calls\ndone\n",
     "start m\nblock 0.0 text\ntext 0.0 a\nstop 0.0\nblock 0.1 tool_call c f\nargs 0.1 {}\n"
     "stop 0.1\nblock 0.2 text\ntext 0.2 b\ntext 0.2 c\nstop 0.2\nfinish 0 tool_calls\ndone\n"},
    {"held things other than text come after it",
     "start m\nblock 0.0 tool_call a f\nblock 0.1 text\ntext 0.1 a\ncite 0.1 https://x\n"
     "text 0.1 b\nstop 0.1\nargs 0.0 {}\nfinish 0 stop\ndone\n",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {}\nstop 0.0\nblock 0.1 text\ntext 0.1 ab\n"
     "cite 0.1 https://x\nstop 0.1\nfinish 0 stop\ndone\n"},
    {"choices do not wait for one another",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\nblock 1.0 text\ntext 1.0 b\nstop 1.0\n"
     "finish 1 stop\nargs 0.0 }\nstop 0.0\nfinish 0 tool_calls\ndone\n",
     "start m\nblock 0.0 tool_call a f\nargs 0.0 {\nblock 1.0 text\ntext 1.0 b\nstop 1.0\n"
     "finish 1 stop\nargs 0.0 }\nstop 0.0\nfinish 0 tool_calls\ndone\n"},
    {"an error closes nothing and is not kept waiting",
     "start m\nblock 0.0 text\ntext 0.0 a\nping\nerror overloaded busy\n",
     "start m\nblock 0.0 text\ntext 0.0 a\nping\nerror overloaded busy\n"},
    {"what comes after a finish is nothing, a second finish too",
     "start m\nblock 0.0 text\ntext 0.0 a\nfinish 0 stop\ntext 0.0 b\nstop 0.0\nfinish 0 length\n"
     "usage 1 1\ndone\n",
     "start m\nblock 0.0 text\ntext 0.0 a\nstop 0.0\nfinish 0 stop\nusage 1 1\ndone\n"},
    {"the end closes what has no finish", "start m\nblock 0.0 text\ntext 0.0 a\ndone\n",
     "start m\nblock 0.0 text\ntext 0.0 a\nstop 0.0\ndone\n"},
};

static int play(const char *script, struct event_log *log, size_t limit)
{
    struct arena *arena = arena_new(1024);
    struct sequence sequence;
    sequence_init(&sequence, arena, &log->sink, limit);
    int r = event_play(script, &sequence.sink);
    sequence_fini(&sequence);
    arena_free(arena);
    return r;
}

static void blocks_come_one_after_the_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event_log log;
        event_log_init(&log, false);
        assert_int_equal(play(cases[i].in, &log, 1 << 20), 0);
        if (strcmp(event_log_text(&log), cases[i].out) != 0)
            fail_msg("%s:\n%s\nshould be\n%s", cases[i].what, log.text.ptr, cases[i].out);
        buf_fini(&log.text);
    }
}

static void an_order_that_is_strict_is_not_changed(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct event_log log;
        event_log_init(&log, false);
        assert_int_equal(play(cases[i].out, &log, 0), 0); /* nothing waits */
        assert_string_equal(event_log_text(&log), cases[i].out);
        buf_fini(&log.text);
    }
}

static void what_waits_has_a_limit(void **state)
{
    (void)state;
    struct event_log log;
    event_log_init(&log, false);
    const char *script = "start m\nblock 0.0 tool_call a f\nblock 0.1 text\n"
                         "text 0.1 0123456789012345678901234567890123456789\n";
    assert_int_equal(play(script, &log, 64), -ERR_LIMIT);
    buf_fini(&log.text);
}

static void a_sink_that_fails_ends_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (int at = 1;; at++) {
            struct event_log log;
            event_log_init(&log, false);
            log.fails_at = at;
            int r = play(cases[i].in, &log, 1 << 20);
            bool was_reached = log.seen >= at;
            assert_int_equal(r, was_reached ? -ERR_NOMEM : 0);
            assert_true(!was_reached || log.seen == at);
            buf_fini(&log.text);
            if (!was_reached)
                break;
        }
    }
}

/* --- whatever comes, in whatever order --- */

struct strict {
    struct llm_sink sink;
    bool is_open, is_finished;
    unsigned next, kind;
    struct buf calls[8]; /* what each call got, in the order they began */
    unsigned call_count;
    struct buf text;
};

/* The order that encoders rely on. */
static int strict_event(struct llm_sink *sink, const struct llm_event *event)
{
    struct strict *strict = CONTAINER_OF(sink, struct strict, sink);
    assert_false(strict->is_finished && event->kind != EVENT_DONE);
    switch (event->kind) {
    case EVENT_BLOCK_START:
        assert_false(strict->is_open);
        assert_int_equal(event->block, strict->next);
        strict->is_open = true;
        strict->kind = event->block_kind;
        strict->call_count += event->block_kind == BLOCK_TOOL_CALL;
        break;
    case EVENT_DELTA:
        assert_true(strict->is_open && event->block == strict->next);
        assert_int_equal(event->delta == DELTA_ARGUMENTS, strict->kind == BLOCK_TOOL_CALL);
        text_append_plain(strict->kind == BLOCK_TOOL_CALL ? &strict->calls[strict->call_count - 1]
                                                          : &strict->text,
                          event->text);
        break;
    case EVENT_BLOCK_STOP:
        assert_true(strict->is_open && event->block == strict->next);
        strict->is_open = false;
        strict->next++;
        break;
    case EVENT_FINISH:
        assert_false(strict->is_open);
        strict->is_finished = true;
        break;
    default:
        break;
    }
    return 0;
}

enum { BLOCKS = 5 };

/* Blocks of text and calls whose pieces come in any order; every call gets {"a":"N"} or {}. */
static void play_at_random(unsigned seed, struct llm_sink *sink, struct str *said)
{
    static const char *const whole[] = {"{\"a\":\"}1\"}", "{}", "{\"b\":[{}]}"};
    struct llm_event event = llm_event_make(EVENT_START);
    struct str left[BLOCKS];
    bool is_call[BLOCKS], has_begun[BLOCKS] = {false}, has_stopped[BLOCKS] = {false};
    unsigned begun = 0, stopped = 0;
    assert_int_equal(llm_sink_put(sink, &event), 0);
    for (unsigned b = 0; b < BLOCKS; b++) {
        is_call[b] = rand_r(&seed) % 3 != 0;
        left[b] = is_call[b] ? str_c(whole[rand_r(&seed) % 3]) : STR("some words");
        said[b] = is_call[b] ? left[b] : STR_EMPTY;
    }
    while (stopped < BLOCKS) {
        unsigned b = (unsigned)rand_r(&seed) % BLOCKS;
        event = llm_event_make(EVENT_DELTA);
        event.block = b;
        if (!has_begun[b]) {
            if (b != begun)
                continue;
            has_begun[b] = true;
            begun++;
            event.kind = EVENT_BLOCK_START;
            event.block_kind = is_call[b] ? BLOCK_TOOL_CALL : BLOCK_TEXT;
        } else if (left[b].len > 0) {
            event.delta = is_call[b] ? DELTA_ARGUMENTS : DELTA_TEXT;
            event.text = text_plain(str_head(left[b], 1 + (size_t)rand_r(&seed) % 4));
            left[b] = str_skip(left[b], event.text.s.len);
        } else if (!has_stopped[b]) {
            has_stopped[b] = true;
            stopped++;
            event.kind = EVENT_BLOCK_STOP;
        } else {
            continue;
        }
        assert_int_equal(llm_sink_put(sink, &event), 0);
    }
    event = llm_event_make(EVENT_FINISH);
    assert_int_equal(llm_sink_put(sink, &event), 0);
    event = llm_event_make(EVENT_DONE);
    assert_int_equal(llm_sink_put(sink, &event), 0);
}

static void any_order_becomes_strict_and_loses_nothing(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 3000; seed++) {
        struct arena *arena = arena_new(1024);
        struct strict strict = {.sink = {strict_event}};
        struct sequence sequence;
        struct str said[BLOCKS];
        size_t words = 0;
        unsigned call = 0;
        sequence_init(&sequence, arena, &strict.sink, 1 << 20);
        play_at_random(seed, &sequence.sink, said);
        assert_true(strict.is_finished);
        for (unsigned b = 0; b < BLOCKS; b++) {
            words += said[b].len == 0 ? STR("some words").len : 0;
            if (said[b].len > 0 && !str_eq(buf_str(&strict.calls[call++]), said[b]))
                fail_msg("seed %u: call %u", seed, call - 1);
        }
        assert_int_equal(call, strict.call_count);
        assert_int_equal(strict.text.len, words);
        for (unsigned c = 0; c < ARRAY_LEN(strict.calls); c++)
            buf_fini(&strict.calls[c]);
        buf_fini(&strict.text);
        sequence_fini(&sequence);
        assert_int_equal(sequence.held_bytes, 0);
        arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_one_after_the_other),
        cmocka_unit_test(an_order_that_is_strict_is_not_changed),
        cmocka_unit_test(what_waits_has_a_limit),
        cmocka_unit_test(a_sink_that_fails_ends_it),
        cmocka_unit_test(any_order_becomes_strict_and_loses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
