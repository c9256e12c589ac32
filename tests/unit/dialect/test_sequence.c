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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_come_one_after_the_other),
        cmocka_unit_test(an_order_that_is_strict_is_not_changed),
        cmocka_unit_test(what_waits_has_a_limit),
        cmocka_unit_test(a_sink_that_fails_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
