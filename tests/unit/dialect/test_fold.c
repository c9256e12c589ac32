#include "dialect/event.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"
#include "support/event_text.h"

struct fixture {
    struct arena *arena;
    struct llm_fold fold;
    struct event_log log;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->arena = arena_new(1024);
    llm_fold_init(&f->fold, f->arena);
    event_log_init(&f->log, false);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    arena_free(f->arena);
    buf_fini(&f->log.text);
    free(f);
    return 0;
}

static void an_answer_is_replayed_as_it_was_said(void **state)
{
    struct fixture *f = *state;
    const char *script =
        "start m-1\nusage 7 9\n"
        "block 0.0 thinking\ntext 0.0 hm\\n\nsig 0.0 anthropic s1\nstop 0.0\n"
        "block 0.1 text\ntext 0.1 caf\\u00e9\ncite 0.1 https://a\ncite 0.1 https://b\n"
        "logprobs 0.1 [{\"token\":\"c\"}]\nstop 0.1\n"
        "block 0.2 tool_call call_1 get\nargs 0.2 {\\\"a\\\":1}\nstop 0.2\n"
        "block 0.3 image\nmedia 0.3 iVBO\nstop 0.3\nfinish 0 tool_calls\n"
        "block 1.0 refusal\ntext 1.0 no\nstop 1.0\nfinish 1 refusal\ndone\n";
    assert_int_equal(event_play(script, &f->fold.sink), 0);
    assert_int_equal(llm_answer_replay(&f->fold.answer, &f->log.sink), 0);
    assert_string_equal(event_log_text(&f->log), script);
}

static void pieces_of_interleaved_blocks_come_together(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(event_play("start m\nblock 0.0 tool_call a f\nblock 0.1 tool_call b g\n"
                                "args 0.0 {\\\"x\nargs 0.1 {}\nargs 0.0 \\\":1}\nblock 0.2 text\n"
                                "text 0.2 \\ud83d\ntext 0.2 \\ude00\nstop 0.1\nstop 0.0\n"
                                "logprobs 0.2 [1]\nlogprobs 0.2 []\nlogprobs 0.2 [2,3]\nstop 0.2\n"
                                "finish 0 stop\ndone\n",
                                &f->fold.sink),
                     0);
    const struct llm_choice *choice = f->fold.answer.choices;
    const struct llm_block *first = choice->blocks, *second = first->next, *text = second->next;
    assert_true(text_eq(first->arguments, STR("{\"x\":1}")));
    assert_true(text_eq(second->arguments, STR("{}")));
    assert_true(text_eq(text->text, STR("\xf0\x9f\x98\x80")));
    assert_true(str_eq(choice->logprobs, STR("[1,2,3]")));
    assert_true(f->fold.answer.is_done && choice->is_finished);
}

static void plain_and_escaped_pieces_may_be_mixed(void **state)
{
    struct fixture *f = *state;
    struct llm_event event = llm_event_make(EVENT_DELTA);
    assert_int_equal(event_play("start m\nblock 0.0 text\ntext 0.0 a\\n\n", &f->fold.sink), 0);
    event.delta = DELTA_TEXT;
    event.text = text_plain(STR("\"b\"\n"));
    assert_int_equal(llm_sink_put(&f->fold.sink, &event), 0);
    assert_int_equal(event_play("stop 0.0\ndone\n", &f->fold.sink), 0);
    assert_true(text_eq(f->fold.answer.choices->blocks->text, STR("a\n\"b\"\n")));
}

static void what_got_nothing_is_left_out(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(event_play("start m\nblock 0.0 text\nstop 0.0\nblock 0.1 tool_call a f\n"
                                "stop 0.1\nblock 0.2 thinking\ntext 0.2 \nfinish 0 stop\ndone\n",
                                &f->fold.sink),
                     0);
    const struct llm_block *only = f->fold.answer.choices->blocks;
    assert_int_equal(only->kind, BLOCK_TOOL_CALL);
    assert_true(text_is_some(only->arguments));
    assert_null(only->next);
}

static void an_error_is_kept_and_replayed(void **state)
{
    struct fixture *f = *state;
    const char *script = "start m\nusage -1 -1\nblock 0.0 text\ntext 0.0 a\nstop 0.0\n";
    assert_int_equal(event_play(script, &f->fold.sink), 0);
    assert_int_equal(event_play("error rate_limit slowly\n", &f->fold.sink), 0);
    assert_true(f->fold.answer.is_error && !f->fold.answer.is_done);
    assert_int_equal(llm_answer_replay(&f->fold.answer, &f->log.sink), 0);
    assert_non_null(strstr(event_log_text(&f->log), "stop 0.0\nerror rate_limit slowly\n"));
    assert_null(strstr(f->log.text.ptr, "done"));
}

static void a_cut_answer_has_no_end(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(event_play("start m\nblock 0.0 text\ntext 0.0 a\nstop 0.0\n", &f->fold.sink),
                     0);
    assert_int_equal(llm_answer_replay(&f->fold.answer, &f->log.sink), 0);
    assert_null(strstr(event_log_text(&f->log), "finish"));
    assert_null(strstr(f->log.text.ptr, "done"));
}

static void usage_is_put_together_class_by_class(void **state)
{
    (void)state;
    struct token_usage usage = TOKEN_USAGE_NONE, more = TOKEN_USAGE_NONE;
    assert_int_equal(token_usage_input_total(&usage), -1);
    assert_int_equal(token_usage_cache_write(&usage), -1);
    more.input = 10;
    more.cache_read = 4;
    more.cache_write_5m = 3;
    token_usage_merge(&usage, &more);
    more = TOKEN_USAGE_NONE;
    more.output = 2;
    token_usage_merge(&usage, &more);
    assert_int_equal(usage.output, 2);
    /* Anthropic's way: the cached come on top. */
    assert_int_equal(token_usage_input_total(&usage), 17);
    assert_int_equal(token_usage_input_fresh(&usage), 10);
    usage.input_includes_cached = true;
    assert_int_equal(token_usage_input_total(&usage), 10);
    assert_int_equal(token_usage_input_fresh(&usage), 3);
    usage.input = 5;
    assert_int_equal(token_usage_input_fresh(&usage), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_answer_is_replayed_as_it_was_said, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pieces_of_interleaved_blocks_come_together, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(plain_and_escaped_pieces_may_be_mixed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_got_nothing_is_left_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_error_is_kept_and_replayed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_cut_answer_has_no_end, set_up, tear_down),
        cmocka_unit_test(usage_is_put_together_class_by_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
