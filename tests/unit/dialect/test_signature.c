#include "dialect/signature.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "dialect/target.h"

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(1024);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static void a_mark_comes_back_as_what_it_was(void **state)
{
    (void)state;
    for (unsigned maker = 0; maker < DIALECT_COUNT; maker++) {
        for (unsigned reader = 0; reader < DIALECT_COUNT; reader++) {
            for (unsigned p = SIGNATURE_OF_THINKING; p <= SIGNATURE_OF_CALL; p++) {
                struct llm_signature made = {{STR("AbC+/==\\n:x"), true}, (enum dialect_id)maker};
                enum signature_place place = SIGNATURE_OF_CALL;
                struct text told =
                    signature_mark(arena, &made, (enum signature_place)p, (enum dialect_id)reader);
                struct llm_signature back =
                    signature_unmark(arena, told, (enum dialect_id)reader, &place);
                assert_int_equal(back.maker, maker);
                assert_int_equal(place, p);
                assert_true(str_eq(back.data.s, made.data.s) && back.data.is_escaped);
                bool is_own = maker == reader && p == SIGNATURE_OF_THINKING;
                assert_int_equal(str_eq(told.s, made.data.s), is_own);
                assert_int_equal(signature_is_marked(told.s), !is_own);
            }
        }
    }
}

static void what_has_no_mark_is_the_readers_own(void **state)
{
    (void)state;
    static const char *const unmarked[] = {
        "", "weir:", "weir:nobody:thinking:x", "weir:gemini:elsewhere:x", "weir:gemini", "EqQB"};
    for (size_t i = 0; i < ARRAY_LEN(unmarked); i++) {
        enum signature_place place = SIGNATURE_OF_CALL;
        struct text data = text_plain(str_c(unmarked[i]));
        struct llm_signature got = signature_unmark(arena, data, DIALECT_BEDROCK, &place);
        assert_int_equal(got.maker, DIALECT_BEDROCK);
        assert_int_equal(place, SIGNATURE_OF_THINKING);
        assert_true(str_eq(got.data.s, data.s));
        assert_false(signature_is_marked(data.s));
    }
    struct text escaped = {STR("\\u0077eir:gemini:call:x"), true};
    enum signature_place place = SIGNATURE_OF_THINKING;
    assert_int_equal(signature_unmark(arena, escaped, DIALECT_COHERE, &place).maker,
                     DIALECT_GEMINI);
    assert_int_equal(place, SIGNATURE_OF_CALL);
    struct llm_signature none = {TEXT_NONE, DIALECT_GEMINI};
    assert_false(text_is_some(signature_mark(arena, &none, SIGNATURE_OF_CALL, DIALECT_COHERE)));
}

static void a_mark_is_seen_anywhere_in_a_body(void **state)
{
    (void)state;
    assert_true(signature_is_marked(
        STR("{\"text\":\"weir: is fast\",\"signature\":\"weir:openai_chat:call:zz\"}")));
    /* What a Gemini client sends: base64 of "weir:anthropic:thinking:". */
    assert_true(
        signature_is_marked(STR("{\"thoughtSignature\":\"d2VpcjphbnRocm9waWM6dGhpbmtpbmc6\"}")));
    assert_false(signature_is_marked(STR("{\"text\":\"weir: is fast, weir:ok\"}")));
}

static struct llm_block *add(struct llm_message *message, enum llm_block_kind kind)
{
    return llm_block_add(arena, &message->blocks, kind);
}

static struct llm_block *add_carrier(struct llm_message *message, const char *signature)
{
    struct llm_block *block = add(message, BLOCK_THINKING);
    block->is_for_call = true;
    block->text = TEXT_LIT("");
    block->signature = (struct llm_signature){text_plain(str_c(signature)), DIALECT_GEMINI};
    return block;
}

static void carriers_give_their_signature_to_the_call(void **state)
{
    (void)state;
    struct llm_request request = {.source = DIALECT_ANTHROPIC};
    struct llm_message *user = llm_message_add(arena, &request, ROLE_USER);
    add(user, BLOCK_TEXT);
    struct llm_message *first = llm_message_add(arena, &request, ROLE_ASSISTANT);
    struct llm_block *thought = add(first, BLOCK_THINKING);
    thought->text = TEXT_LIT("hm");
    add_carrier(first, "s1");
    struct llm_block *call = add(first, BLOCK_TOOL_CALL);
    struct llm_block *plain = add(first, BLOCK_TOOL_CALL);
    /* Responses: the item before and the call are messages of their own. */
    struct llm_message *alone = llm_message_add(arena, &request, ROLE_ASSISTANT);
    add_carrier(alone, "s2");
    struct llm_message *second = llm_message_add(arena, &request, ROLE_ASSISTANT);
    struct llm_block *later = add(second, BLOCK_TOOL_CALL);
    struct llm_message *lost = llm_message_add(arena, &request, ROLE_ASSISTANT);
    add_carrier(lost, "s3");
    signature_settle(&request);
    assert_true(text_eq(call->signature.data, STR("s1")));
    assert_false(text_is_some(plain->signature.data));
    assert_true(text_eq(later->signature.data, STR("s2")));
    assert_ptr_equal(first->blocks, thought);
    assert_ptr_equal(thought->next, call);
    assert_ptr_equal(first->next, second);
    assert_null(second->next);
    assert_ptr_equal(request.last_message, second);
}

struct stripped {
    enum dialect_id target;
    bool needs_own;
    const char *left; /* of: own signed, foreign signed, foreign bare, unsigned, foreign redacted */
};

static void foreign_signatures_go(void **state)
{
    (void)state;
    static const struct stripped cases[] = {
        {DIALECT_ANTHROPIC, true, "o"},
        {DIALECT_OPENAI_CHAT, false, "ofu"}, /* the texts stay, without their signatures */
        {DIALECT_GEMINI, false, "ofub"},     /* whose own is the one without text */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct llm_request request = {.source = DIALECT_ANTHROPIC};
        struct buf dropped = BUF_INIT, supplied = BUF_INIT, left = BUF_INIT;
        struct llm_notes notes = {&dropped, &supplied};
        struct llm_message *m = llm_message_add(arena, &request, ROLE_ASSISTANT);
        static const char names[] = "ofubr";
        for (const char *name = names; *name != '\0'; name++) {
            struct llm_block *b = add(m, BLOCK_THINKING);
            b->id = text_plain(str_n(name, 1));
            b->text = *name == 'b' || *name == 'r' ? TEXT_NONE : TEXT_LIT("words");
            b->is_redacted = *name == 'r';
            if (*name != 'u')
                b->signature =
                    (struct llm_signature){TEXT_LIT("s"), *name == 'o'   ? cases[i].target
                                                          : *name == 'b' ? DIALECT_GEMINI
                                                                         : DIALECT_BEDROCK};
        }
        struct llm_block *call = add(m, BLOCK_TOOL_CALL);
        call->signature = (struct llm_signature){TEXT_LIT("s"), DIALECT_GEMINI};
        signature_strip(&request, cases[i].target, cases[i].needs_own, &notes);
        for (const struct llm_block *b = m->blocks; b != call; b = b->next) {
            buf_add_str(&left, b->id.s);
            assert_true(!text_is_some(b->signature.data) || b->signature.maker == cases[i].target);
        }
        if (!str_eq(buf_str(&left), str_c(cases[i].left)))
            fail_msg("%s: %.*s", dialect_names[cases[i].target], STR_ARG(buf_str(&left)));
        assert_int_equal(text_is_some(call->signature.data), cases[i].target == DIALECT_GEMINI);
        assert_true(str_eq(buf_str(&dropped), STR("thinking")));
        buf_fini(&dropped);
        buf_fini(&left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_mark_comes_back_as_what_it_was, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_has_no_mark_is_the_readers_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mark_is_seen_anywhere_in_a_body, set_up, tear_down),
        cmocka_unit_test_setup_teardown(carriers_give_their_signature_to_the_call, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(foreign_signatures_go, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
