/* Going on with a broken stream: the seam, what cannot be gone on with, what is asked, usage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/err.h"
#include "support/broken_stream.h"

#define LONG_TEXT                                                                                 \
    "The first thing that anybody noticed about the harbour was the silence of it, and then the " \
    "smell of tar. Nobody had told them when the ship would come"

/* A chat stream that was sent so far; each piece is what stands between a JSON string's quotes. */
static void chat_begun(struct buf *out, const char *const *pieces)
{
    BUF_LIT(out, "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                 "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
                 "\"content\":\"\"},\"finish_reason\":null}]}\n\n");
    for (; *pieces != NULL; pieces++)
        buf_printf(out,
                   "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,"
                   "\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},"
                   "\"finish_reason\":null}]}\n\n",
                   *pieces);
}

/* The next model (another dialect) says `words` in pieces of every size: the whole text is
 * `expected`, or the continuation fails where that is NULL. */
static void join(const char *delivered, const char *words, const char *expected, bool takes_prefill,
                 enum llm_prefill prefill)
{
    for (size_t piece = 1; piece < 60; piece = piece * 3 + 1) {
        const char *const pieces[] = {delivered, NULL};
        struct buf sent = BUF_INIT;
        struct told answer;
        struct broken b;
        struct llm_answer read;
        struct tale tale = {.text = words, .piece = piece, .input = 5, .output = 6};
        chat_begun(&sent, pieces);
        broken_read(&b, &openai_chat_dialect, buf_str(&sent));
        assert_int_equal(b.c.verdict, CONTINUATION_TEXT);
        b.quirks.prefill = prefill;
        const struct dialect *provider =
            prefill != PREFILL_NONE ? &openai_chat_dialect : &anthropic_dialect;
        assert_int_equal(broken_ask(&b, provider, takes_prefill, ""), 0);
        assert_int_equal(b.c.is_prefilled, takes_prefill);
        tell(&answer, provider, &tale);
        int r = broken_answer(&b, &answer);
        if (expected == NULL) {
            assert_int_equal(r, -ERR_PROTOCOL);
            assert_true(str_eq(buf_str(&b.stream), buf_str(&sent)));
        } else {
            if (r != 0)
                fail_msg("'%s': %s", words, err_slot()->message);
            /* Half a character alone is no legal JSON to a strict reader. */
            bool is_legal = strstr(delivered, "\\ud") == NULL;
            read_back(b.arena, &openai_chat_dialect, buf_str(&b.stream), &read,
                      is_legal ? words : NULL);
            struct str text = text_of_kind(b.arena, &read, BLOCK_TEXT);
            if (!str_eq(text, str_c(expected)))
                fail_msg("'%s' became '%.*s'", words, STR_ARG(text));
        }
        told_fini(&answer);
        broken_fini(&b);
        buf_fini(&sent);
    }
}

static void test_the_anchor_is_found_and_trimmed(void **state)
{
    (void)state;
    const char *whole = LONG_TEXT ", or from where.";
    /* From the anchor on, from further back, and all again. */
    join(LONG_TEXT, strstr(whole, "about the harbour"), whole, false, PREFILL_NONE);
    join(LONG_TEXT, strstr(whole, "noticed"), whole, false, PREFILL_NONE);
    join(LONG_TEXT, whole, whole, false, PREFILL_NONE);
    /* Quoted, and spoken of before it is begun with. */
    join(LONG_TEXT, "\n\"" LONG_TEXT ", or from where.", whole, false, PREFILL_NONE);
    join(LONG_TEXT, "I go on after '" LONG_TEXT "':\n\n" LONG_TEXT ", or from where.", whole, false,
         PREFILL_NONE);
    join("He", "Hello there", "Hello there", false, PREFILL_NONE);
    join("ha ha ha ha ha ha ha ha ha ha ha ha", "ha ha ha ha ha ha ha ha ha ha ha ha ha!",
         "ha ha ha ha ha ha ha ha ha ha ha ha ha!", false, PREFILL_NONE);
}

static void test_no_anchor_is_an_error_and_nothing_is_sent(void **state)
{
    (void)state;
    join(LONG_TEXT, "Something else altogether.", NULL, false, PREFILL_NONE);
    join(
        LONG_TEXT,
        "about the harbour was the silence of it, and then the smell of tar. Nobody had told them when the boat would come",
        NULL, false, PREFILL_NONE);
    join("He", "I said: Hello there", NULL, false, PREFILL_NONE);
    /* It comes, but too late. */
    struct buf late = BUF_INIT;
    for (int i = 0; i < 300; i++)
        BUF_LIT(&late, "blah blah ");
    BUF_LIT(&late, LONG_TEXT ", or from where.");
    buf_add_char(&late, '\0');
    join(LONG_TEXT, late.ptr, NULL, false, PREFILL_NONE);
    buf_fini(&late);
}

static void test_white_space_at_the_seam_is_there_once(void **state)
{
    (void)state;
    const char *whole = LONG_TEXT ".\n\nThen it came.";
    join(LONG_TEXT ".\\n", strstr(whole, "about the harbour"), whole, false, PREFILL_NONE);
    join(LONG_TEXT ".\\n\\n", strstr(whole, "about the harbour"), whole, false, PREFILL_NONE);
    join(LONG_TEXT ".\\n\\n", "Then it came.", whole, true, PREFILL_PREFIX);
    join(LONG_TEXT ".\\n\\n", "\n\nThen it came.", whole, true, PREFILL_PREFIX);
    join(LONG_TEXT ".\\n", "\n\nThen it came.", whole, true, PREFILL_PREFIX);
    join("One ", " two", "One two", true, PREFILL_PREFIX);
    join("  ", "  One", "  One", false, PREFILL_NONE);
}

static void test_prefill_goes_on_at_once_or_after_its_echo(void **state)
{
    (void)state;
    const char *whole = LONG_TEXT ", or from where.";
    join(LONG_TEXT, ", or from where.", whole, true, PREFILL_PREFIX);
    join(LONG_TEXT, whole, whole, true, PREFILL_PREFIX);
    join(LONG_TEXT, whole, whole, true, PREFILL_PREFIX_ECHOED);
    join(LONG_TEXT, ", or from where.", whole, true, PREFILL_PREFIX_ECHOED);
    join("H", "Hello", "Hello", true, PREFILL_PREFIX_ECHOED);
    join("ha ", "ha ha", "ha ha ha", true, PREFILL_CONTINUE);
}

static void test_half_a_character_is_made_whole(void **state)
{
    (void)state;
    join(LONG_TEXT " \\ud83c", " \xf0\x9f\x8c\x99 rose", LONG_TEXT " \xf0\x9f\x8c\x99 rose", true,
         PREFILL_PREFIX);
    join(LONG_TEXT " \\ud83c", " sun rose", NULL, true, PREFILL_PREFIX);
}

static void test_the_request_has_the_partial_answer(void **state)
{
    static const struct {
        enum llm_prefill prefill;
        const char *has, *has_not;
    } rows[] = {
        {PREFILL_NONE, "<last_words>", "\"prefix\":true"},
        {PREFILL_LAST_MESSAGE, LONG_TEXT "\"}]", "<last_words>"},
        {PREFILL_PREFIX, "\"prefix\":true}]", "<last_words>"},
        {PREFILL_CONTINUE, "\"add_generation_prompt\":false,\"continue_final_message\":true",
         "<last_words>"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *const pieces[] = {LONG_TEXT " ", NULL};
        struct buf sent = BUF_INIT;
        struct broken b;
        chat_begun(&sent, pieces);
        broken_read(&b, &openai_chat_dialect, buf_str(&sent));
        b.quirks.prefill = rows[i].prefill;
        b.quirks.prefill_path = STR("/beta");
        assert_int_equal(broken_ask(&b, &openai_chat_dialect, rows[i].prefill != PREFILL_NONE, ""),
                         0);
        struct str body = buf_str(&b.request);
        assert_true(str_find(body, STR("\"role\":\"assistant\",\"content\":\"The first")) > 0);
        if (str_find(body, str_c(rows[i].has)) < 0 || str_find(body, str_c(rows[i].has_not)) >= 0)
            fail_msg("row %zu: %.*s", i, STR_ARG(body));
        assert_int_equal(b.c.path.len > 0, rows[i].prefill != PREFILL_NONE);
        broken_fini(&b);
        buf_fini(&sent);
    }
}

static void expect_verdict(const char *stream, enum continuation_verdict verdict,
                           const char *reason)
{
    struct broken b;
    broken_read(&b, &openai_chat_dialect, str_c(stream));
    if (b.c.verdict != verdict)
        fail_msg("%d (%s) for %s", b.c.verdict, b.c.reason != NULL ? b.c.reason : "", stream);
    if (reason != NULL)
        assert_non_null(strstr(b.c.reason, reason));
    broken_fini(&b);
}

#define FINAL(inside)                                                                   \
    "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":" \
    "\"m\",\"choices\":[{" inside "}]}\n\n"
#define CHUNK(inside) FINAL(inside ",\"finish_reason\":null")

static void test_what_cannot_be_gone_on_with_is_said(void **state)
{
    (void)state;
    expect_verdict("", CONTINUATION_REPLAY, NULL);
    expect_verdict(": heartbeat\n\n", CONTINUATION_REPLAY, NULL);
    expect_verdict(CHUNK("\"index\":0,\"delta\":{\"reasoning_content\":\"Hm\"}"),
                   CONTINUATION_REPLAY, NULL);
    expect_verdict(CHUNK("\"index\":0,\"delta\":{\"content\":\"a\"}")
                       CHUNK("\"index\":1,\"delta\":{\"content\":\"b\"}"),
                   CONTINUATION_CANNOT, "several choices");
    expect_verdict(CHUNK("\"index\":0,\"delta\":{\"refusal\":\"No\"}"), CONTINUATION_CANNOT,
                   "refused");
    expect_verdict(CHUNK("\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":{\"content\":[{"
                         "\"token\":\"a\",\"logprob\":-1,\"bytes\":null,\"top_logprobs\":[]}]}"),
                   CONTINUATION_CANNOT, "probabilities");
    expect_verdict(CHUNK("\"index\":0,\"delta\":{\"content\":\"a\"}") "data: {\"id\"",
                   CONTINUATION_CANNOT, "half an event");
    expect_verdict(FINAL("\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\""),
                   CONTINUATION_COMPLETE, NULL);
    expect_verdict(
        CHUNK(
            "\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"") "data: [DONE]\n\n",
        CONTINUATION_OVER, NULL);
    expect_verdict("data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n",
                   CONTINUATION_OVER, NULL);
}

static void test_requests_that_cannot_be_gone_on_with(void **state)
{
    static const char *const more[] = {",\"n\":2", ",\"logprobs\":true"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        struct broken b;
        broken_read(&b, &openai_chat_dialect,
                    STR(CHUNK("\"index\":0,\"delta\":{\"content\":\"Hello\"}")));
        assert_int_equal(broken_ask(&b, &openai_chat_dialect, false, more[i]), -ERR_INVALID);
        assert_int_equal(b.c.verdict, CONTINUATION_CANNOT);
        assert_non_null(b.c.reason);
        broken_fini(&b);
    }
}

/* Delivered, then what the next model says; NULL = it does not join. */
static void repeat(const char *delivered, const char *more_members, const struct tale *tale,
                   const char *text, const char *arguments)
{
    struct broken b;
    struct told answer;
    struct llm_answer read;
    broken_read(&b, &openai_chat_dialect, str_c(delivered));
    assert_int_equal(broken_ask(&b, &anthropic_dialect, false, more_members), 0);
    assert_int_equal(b.c.verdict, CONTINUATION_REPEAT);
    assert_true(str_find(buf_str(&b.request), STR("last_words")) < 0);
    tell(&answer, &anthropic_dialect, tale);
    int r = broken_answer(&b, &answer);
    if (arguments == NULL && text == NULL) {
        assert_int_equal(r, -ERR_PROTOCOL);
        assert_int_equal(b.stream.len, strlen(delivered));
    } else {
        if (r != 0)
            fail_msg("%s", err_slot()->message);
        read_back(b.arena, &openai_chat_dialect, buf_str(&b.stream), &read, delivered);
        if (arguments != NULL)
            assert_true(str_eq(text_of_kind(b.arena, &read, BLOCK_TOOL_CALL), str_c(arguments)));
        if (text != NULL)
            assert_true(str_eq(text_of_kind(b.arena, &read, BLOCK_TEXT), str_c(text)));
    }
    told_fini(&answer);
    broken_fini(&b);
}

#define CALL(name, arguments)                                                                  \
    CHUNK("\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":0,\"id\":" \
          "\"c7\",\"type\":\"function\",\"function\":{\"name\":\"" name                        \
          "\",\"arguments\":\"" arguments "\"}}]}")

static void test_a_call_is_repeated_or_not_gone_on_with(void **state)
{
    struct tale same = {.text = "Other words.",
                        .call = "look",
                        .arguments = "{\"a\":\"xyz\"}",
                        .piece = 2,
                        .input = 1,
                        .output = 1};
    (void)state;
    repeat(CALL("look", ""), "", &same, NULL, "{\"a\":\"xyz\"}");
    repeat(CALL("look", "{\\\"a\\\": \\\"x"), "", &same, NULL, "{\"a\": \"xyz\"}");
    repeat(CALL("look", "{\\\"a\\\":\\\"xyz\\\"}"), "", &same, NULL, "{\"a\":\"xyz\"}");
    repeat(CHUNK("\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"I look.\"}")
               CALL("look", "{\\\"a"),
           "", &same, "I look.", "{\"a\":\"xyz\"}");
    repeat(CALL("find", "{"), "", &same, NULL, NULL);
    repeat(CALL("look", "{\\\"a\\\":\\\"z"), "", &same, NULL, NULL);
    repeat(CALL("look", "{\\\"a\\\":\\\"xyz 1"), "", &same, NULL, NULL);
    struct tale none = {.text = "No call.", .piece = 3, .input = 1, .output = 1};
    repeat(CALL("look", "{\\\"a"), "", &none, NULL, NULL);
}

static void test_a_demanded_form_is_repeated(void **state)
{
    const char *begun = CHUNK("\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":"
                              "\"{\\\"a\\\":1,\"}");
    const char *more = ",\"response_format\":{\"type\":\"json_object\"}";
    struct tale same = {.text = "{\"a\":1,\"b\":2}", .piece = 2, .input = 1, .output = 1};
    struct tale other = {.text = "{\"b\":2,\"a\":1}", .piece = 2, .input = 1, .output = 1};
    (void)state;
    repeat(begun, more, &same, "{\"a\":1,\"b\":2}", NULL);
    repeat(begun, more, &other, NULL, NULL);
}

static void test_usage_is_the_sum(void **state)
{
    struct token_usage spent = TOKEN_USAGE_NONE;
    struct broken b;
    struct told answer;
    struct llm_answer read;
    struct tale tale = {.text = "Hello there", .piece = 3, .input = 30, .output = 4};
    (void)state;
    broken_read(&b, &openai_chat_dialect,
                STR(CHUNK("\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hello\"}")));
    continuation_fini(&b.c);
    spent.input = 12;
    spent.cache_read = 2;
    spent.input_includes_cached = true;
    spent.is_partial = true;
    struct continuation_settings settings = {
        .client = &openai_chat_dialect, .framing = FRAMING_SSE, .codec = &b.codec, .spent = &spent};
    assert_int_equal(continuation_read(&b.c, &settings, buf_str(&b.stream)), 0);
    assert_int_equal(broken_ask(&b, &anthropic_dialect, false, ""), 0);
    tell(&answer, &anthropic_dialect, &tale);
    assert_int_equal(broken_answer(&b, &answer), 0);
    assert_int_equal(b.c.attempt.input, 30);
    assert_int_equal(b.c.usage.input, 40); /* fresh ones: 10 and 30 */
    assert_int_equal(b.c.usage.cache_read, 2);
    assert_int_equal(b.c.usage.output, 4);
    assert_true(b.c.usage.is_partial);
    read_back(b.arena, &openai_chat_dialect, buf_str(&b.stream), &read, "usage");
    assert_int_equal(read.usage.input, 42); /* as this dialect counts */
    assert_int_equal(read.usage.output, 4);
    told_fini(&answer);
    broken_fini(&b);
}

/* Broken twice: read again from all that was sent. */
static void test_a_second_break_is_the_same_again(void **state)
{
    struct broken first, second;
    struct told answer;
    struct llm_answer read;
    const char *whole = LONG_TEXT ", or from where, or with whom on board.";
    struct tale cut = {
        .text = NULL, .piece = 5, .input = 3, .output = 4, .is_cut_after_text = true};
    struct tale rest = {.text = NULL, .piece = 5, .input = 3, .output = 4};
    (void)state;
    const char *const pieces[] = {LONG_TEXT, NULL};
    struct buf sent = BUF_INIT;
    chat_begun(&sent, pieces);
    broken_read(&first, &openai_chat_dialect, buf_str(&sent));
    assert_int_equal(broken_ask(&first, &gemini_dialect, false, ""), 0);
    cut.text = LONG_TEXT ", or from where";
    tell(&answer, &gemini_dialect, &cut);
    assert_int_equal(broken_answer(&first, &answer), -ERR_RESET);
    told_fini(&answer);
    broken_read(&second, &openai_chat_dialect, buf_str(&first.stream));
    assert_int_equal(second.c.verdict, CONTINUATION_TEXT);
    assert_int_equal(broken_ask(&second, &cohere_dialect, false, ""), 0);
    rest.text = strstr(whole, "about the harbour");
    tell(&answer, &cohere_dialect, &rest);
    assert_int_equal(broken_answer(&second, &answer), 0);
    read_back(second.arena, &openai_chat_dialect, buf_str(&second.stream), &read, "twice");
    assert_true(str_eq(text_of_kind(second.arena, &read, BLOCK_TEXT), str_c(whole)));
    told_fini(&answer);
    broken_fini(&first);
    broken_fini(&second);
    buf_fini(&sent);
}

/* A thought without its signature is refused by Claude's APIs when it comes back: it is marked as
 * a stranger's, and so taken out before they see it. */
static void test_a_thought_that_broke_off_is_marked(void **state)
{
    struct tale begun = {.thinking = "Let me see", .piece = 4, .input = 1, .output = 1};
    struct tale all = {
        .thinking = "Now then.", .text = "Hello.", .piece = 4, .input = 1, .output = 1};
    struct told first, answer;
    struct broken b;
    struct llm_answer read;
    (void)state;
    tell(&first, &anthropic_dialect, &begun);
    broken_read(&b, &anthropic_dialect, str_head(buf_str(&first.bytes), first.ends[2]));
    assert_int_equal(b.c.verdict, CONTINUATION_REPLAY);
    assert_int_equal(broken_ask(&b, &anthropic_dialect, false, ""), 0);
    tell(&answer, &anthropic_dialect, &all);
    assert_int_equal(broken_answer(&b, &answer), 0);
    read_back(b.arena, &anthropic_dialect, buf_str(&b.stream), &read, "thought");
    const struct llm_block *block = read.choices->blocks;
    assert_true(text_eq(block->signature.data, STR("weir:cohere:thinking:cut")));
    assert_true(text_eq(block->next->signature.data, STR("c2ln")));
    assert_true(text_eq(block->next->text, STR("Now then.")));
    assert_true(text_eq(block->next->next->text, STR("Hello.")));
    told_fini(&first);
    told_fini(&answer);
    broken_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_anchor_is_found_and_trimmed),
        cmocka_unit_test(test_no_anchor_is_an_error_and_nothing_is_sent),
        cmocka_unit_test(test_white_space_at_the_seam_is_there_once),
        cmocka_unit_test(test_prefill_goes_on_at_once_or_after_its_echo),
        cmocka_unit_test(test_half_a_character_is_made_whole),
        cmocka_unit_test(test_the_request_has_the_partial_answer),
        cmocka_unit_test(test_what_cannot_be_gone_on_with_is_said),
        cmocka_unit_test(test_requests_that_cannot_be_gone_on_with),
        cmocka_unit_test(test_a_call_is_repeated_or_not_gone_on_with),
        cmocka_unit_test(test_a_demanded_form_is_repeated),
        cmocka_unit_test(test_usage_is_the_sum),
        cmocka_unit_test(test_a_second_break_is_the_same_again),
        cmocka_unit_test(test_a_thought_that_broke_off_is_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
