/* A stream of every dialect, cut after each event and gone on with by every other: the client reads
 * the answer as if nothing had happened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/err.h"
#include "support/broken_stream.h"
#include "support/json_equal.h"

#define TEXT                                                                                  \
    "Here it is: the moon \xf0\x9f\x8c\x99 is far.\n\nIt takes three days \"or so\" to get "  \
    "there, and nobody \xe2\x80\x94 not even the best \xe2\x80\x94 has done it in two. Then " \
    "we go home, and sleep well in our own beds for a while; nobody asks where we have been.\n"
#define ARGUMENTS "{\"city\": \"Par\\\"is \xc3\xa9\", \"days\": [1, 2], \"deep\": {\"a\": true}}"

static const struct tale tales[] = {
    {.text = TEXT, .piece = 7, .input = 10, .output = 20},
    {.thinking = "Let me think of the moon.", .text = TEXT, .piece = 9, .input = 10, .output = 20},
    {.text = "I look.",
     .call = "look",
     .arguments = ARGUMENTS,
     .piece = 5,
     .input = 10,
     .output = 20},
    {.thinking = "Hm, hm.",
     .call = "look",
     .arguments = ARGUMENTS,
     .piece = 6,
     .input = 10,
     .output = 20},
};

/* What the next model says: all again, or the rest, as it was asked. */
static void say_rest(const struct broken *b, const struct tale *tale, struct told *answer,
                     struct arena *arena)
{
    struct tale rest = *tale;
    rest.piece = 4;
    rest.id = "resp_second";
    if (b->c.verdict == CONTINUATION_TEXT) {
        size_t from = b->c.text_sound - (b->c.is_prefilled ? 0 : b->c.anchor.len);
        struct str text = str_skip(str_c(tale->text), from);
        /* As a model says it when it is told not to think. */
        rest.text = text.len > 0 ? arena_cstr(arena, text) : NULL;
    }
    tell(answer, b->provider, &rest);
}

static void expect_same(const struct dialect *client, const struct tale *tale, struct str stream,
                        bool has_begun, const char *label)
{
    struct arena *arena = arena_new(4096);
    struct llm_answer answer;
    read_back(arena, client, stream, &answer, label);
    assert_false(answer.is_error);
    assert_non_null(answer.choices);
    assert_true(answer.choices->is_finished);
    assert_int_equal(answer.choices->finish, tale->call != NULL ? FINISH_TOOL_CALLS : FINISH_STOP);
    struct str text = text_of_kind(arena, &answer, BLOCK_TEXT);
    if (!str_eq(text, str_c(tale->text)))
        fail_msg("%s: the text is\n%.*s\n%.*s", label, STR_ARG(text), STR_ARG(stream));
    struct str arguments = text_of_kind(arena, &answer, BLOCK_TOOL_CALL);
    char where[200];
    if (tale->call != NULL && !json_equal(arguments, str_c(tale->arguments), where, sizeof(where)))
        fail_msg("%s: the arguments are\n%.*s\n%.*s", label, STR_ARG(arguments), STR_ARG(stream));
    bool is_told = client->id != DIALECT_OPENAI_RESPONSES && client->id != DIALECT_BEDROCK;
    if (has_begun && is_told)
        assert_true(text_eq(answer.id, STR("resp_first")));
    arena_free(arena);
}

static void break_and_go_on(const struct dialect *client, const struct dialect *provider,
                            const struct tale *tale, bool takes_prefill, unsigned *went_on)
{
    struct told first;
    tell(&first, client, tale);
    expect_same(client, tale, buf_str(&first.bytes), true, "unbroken");
    for (unsigned cut = 0; cut < first.count; cut++) {
        struct broken b;
        struct told answer;
        char label[160];
        size_t len = cut > 0 ? first.ends[cut - 1] : 0;
        broken_read(&b, client, str_head(buf_str(&first.bytes), len));
        snprintf(label, sizeof(label), "%s, then %s%s, tale %d, after %u of %u, verdict %d",
                 client->name, provider->name, takes_prefill ? " with prefill" : "",
                 (int)(tale - tales), cut, first.count, b.c.verdict);
        if (b.c.verdict == CONTINUATION_COMPLETE) {
            struct frame_writer writer;
            frame_writer_init(&writer, framing_of(client), &b.stream);
            assert_int_equal(continuation_complete(&b.c, &writer.frames), 0);
            frame_writer_fini(&writer);
        } else if (b.c.verdict != CONTINUATION_OVER) {
            if (b.c.verdict == CONTINUATION_CANNOT)
                fail_msg("%s: %s", label, b.c.reason);
            if (broken_ask(&b, provider, takes_prefill, "") != 0)
                fail_msg("%s: %s", label, err_slot()->message);
            say_rest(&b, tale, &answer, b.arena);
            if (broken_answer(&b, &answer) != 0)
                fail_msg("%s: %s\n%.*s", label, err_slot()->message, STR_ARG(buf_str(&b.stream)));
            told_fini(&answer);
            (*went_on)++;
        }
        expect_same(client, tale, buf_str(&b.stream), b.c.has_begun, label);
        broken_fini(&b);
    }
    told_fini(&first);
}

static void each(bool takes_prefill)
{
    unsigned went_on = 0;
    for (int client = 0; client < DIALECT_COUNT; client++) {
        for (int provider = 0; provider < DIALECT_COUNT; provider++) {
            for (size_t i = 0; i < ARRAY_LEN(tales); i++)
                break_and_go_on(dialect_of((enum dialect_id)client),
                                dialect_of((enum dialect_id)provider), &tales[i], takes_prefill,
                                &went_on);
        }
    }
    print_message("%u streams were gone on with\n", went_on);
    assert_true(went_on > 1000);
}

static void test_by_the_last_words(void **state)
{
    (void)state;
    each(false);
}

static void test_by_prefill(void **state)
{
    (void)state;
    each(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_the_last_words),
        cmocka_unit_test(test_by_prefill),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
