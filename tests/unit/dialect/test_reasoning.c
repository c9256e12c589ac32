#include "dialect/reasoning.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "dialect/error.h"

static void words_and_tokens_are_one_table(void **state)
{
    (void)state;
    static const struct {
        const char *word;
        uint32_t tokens;
    } words[] = {{"none", 0},     {"minimal", 1024}, {"low", 2048}, {"medium", 8192},
                 {"high", 24576}, {"xhigh", 32768},  {"max", 65536}};
    uint32_t tokens = 7;
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        assert_true(reasoning_budget_of(text_plain(str_c(words[i].word)), &tokens));
        assert_int_equal(tokens, words[i].tokens);
        assert_string_equal(reasoning_effort_of(words[i].tokens), words[i].word);
        if (i + 1 < ARRAY_LEN(words) && i > 0)
            assert_string_equal(reasoning_effort_of(words[i + 1].tokens - 1), words[i].word);
    }
    assert_false(reasoning_budget_of(TEXT_LIT("hardest"), &tokens));
    assert_false(reasoning_budget_of(TEXT_NONE, &tokens));
    assert_string_equal(reasoning_effort_of(1), "minimal");
    assert_string_equal(reasoning_effort_of(1e12), "max");
}

static void a_wish_is_said_in_either_form(void **state)
{
    (void)state;
    static const struct {
        enum llm_reasoning_mode mode;
        const char *effort, *budget;
        uint32_t as_budget;
        const char *as_effort;
    } wishes[] = {
        {REASONING_UNSET, NULL, NULL, 0, NULL},
        {REASONING_OFF, NULL, NULL, 0, "none"},
        {REASONING_ON, "low", NULL, 2048, "low"},
        {REASONING_ON, NULL, "9000", 9000, "medium"},
        {REASONING_ON, "high", "3000", 3000, "high"}, /* both told: each says its own */
        {REASONING_ON, NULL, NULL, 8192, "medium"},
        {REASONING_ADAPTIVE, NULL, NULL, 0, NULL},
        {REASONING_ADAPTIVE, "max", NULL, 65536, "max"},
        {REASONING_ON, "hardest", NULL, 8192, "hardest"},
        {REASONING_ON, NULL, "99999999999", UINT32_MAX, "max"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wishes); i++) {
        struct llm_reasoning wish = {.mode = wishes[i].mode,
                                     .effort = text_plain(str_c(wishes[i].effort)),
                                     .budget = str_c(wishes[i].budget)};
        struct text effort = reasoning_as_effort(&wish);
        assert_int_equal(reasoning_as_budget(&wish), wishes[i].as_budget);
        assert_int_equal(text_is_some(effort), wishes[i].as_effort != NULL);
        if (wishes[i].as_effort != NULL)
            assert_true(text_eq(effort, str_c(wishes[i].as_effort)));
    }
}

static void kinds_of_errors_and_statuses_belong_together(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < LLM_ERROR_KIND_COUNT; kind++) {
        unsigned status = llm_error_status_of_kind((enum llm_error_kind)kind);
        assert_in_range(status, 400, 599);
        assert_non_null(llm_error_kind_names[kind]);
        bool is_finer = kind == LLM_ERROR_CONTEXT_LENGTH || kind == LLM_ERROR_CONTENT_POLICY ||
                        kind == LLM_ERROR_QUOTA; /* of what the status alone does not tell */
        if (!is_finer)
            assert_int_equal(llm_error_kind_of_status(status), kind);
    }
    assert_int_equal(llm_error_kind_of_status(422), LLM_ERROR_INVALID_REQUEST);
    assert_int_equal(llm_error_kind_of_status(529), LLM_ERROR_OVERLOADED);
    assert_int_equal(llm_error_kind_of_status(402), LLM_ERROR_QUOTA);
    assert_int_equal(llm_error_kind_of_status(599), LLM_ERROR_SERVER);
    assert_int_equal(llm_error_kind_of_status(0), LLM_ERROR_SERVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_tokens_are_one_table),
        cmocka_unit_test(a_wish_is_said_in_either_form),
        cmocka_unit_test(kinds_of_errors_and_statuses_belong_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
