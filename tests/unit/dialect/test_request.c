#include "dialect/request.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "dialect/target.h"

static struct arena *arena;
static struct llm_request request;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(1024);
    request = (struct llm_request){.source = DIALECT_OPENAI_CHAT};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* A message of the roles' letters and blocks: u user, a assistant, s system, d developer, t tool;
 * a block is a letter too, in capitals where it is a tool's result. */
static void add(char role, const char *blocks)
{
    static const char roles[] = "uasdt";
    struct llm_message *m =
        llm_message_add(arena, &request, (enum llm_role)(strchr(roles, role) - roles));
    for (; *blocks != '\0'; blocks++) {
        bool is_result = *blocks >= 'A' && *blocks <= 'Z';
        struct llm_block *b =
            llm_block_add(arena, &m->blocks, is_result ? BLOCK_TOOL_RESULT : BLOCK_TEXT);
        b->text = text_plain(str_n(blocks, 1));
    }
}

static void expect(const char *text)
{
    static const char roles[] = "uasdt";
    struct buf out = BUF_INIT;
    const struct llm_message *last = NULL;
    for (const struct llm_block *b = request.system; b != NULL; b = b->next)
        buf_add_str(&out, b->text.s);
    for (const struct llm_message *m = request.messages; m != NULL; m = m->next) {
        buf_printf(&out, " %c", roles[m->role]);
        for (const struct llm_block *b = m->blocks; b != NULL; b = b->next)
            buf_add_str(&out, b->text.s);
        last = m;
    }
    if (!str_eq(buf_str(&out), str_c(text)))
        fail_msg("'%.*s' is not '%s'", STR_ARG(buf_str(&out)), text);
    assert_ptr_equal(request.last_message, last);
    buf_fini(&out);
}

static void system_messages_go_to_the_front(void **state)
{
    (void)state;
    add('s', "ab");
    add('d', "c");
    add('u', "d");
    assert_false(llm_request_hoist_system(&request));
    expect("abc ud");
    add('a', "e");
    add('s', "f");
    assert_true(llm_request_hoist_system(&request));
    expect("abcf ud ae");
}

static void turns_alternate_with_results_first(void **state)
{
    (void)state;
    add('u', "a");
    add('u', "b");
    add('a', "c");
    add('a', "d");
    add('t', "E");
    add('t', "F");
    add('u', "gH");
    llm_request_join_turns(&request, true);
    expect(" uab acd uEFHg");
}

static void tools_keep_their_role_where_it_is_one(void **state)
{
    (void)state;
    add('u', "a");
    add('t', "B");
    add('t', "C");
    add('u', "d");
    llm_request_join_turns(&request, false);
    expect(" ua tBC ud");
}

static void calls_are_found_by_id(void **state)
{
    (void)state;
    add('a', "x");
    struct llm_block *call = request.messages->blocks;
    call->kind = BLOCK_TOOL_CALL;
    call->id = (struct text){STR("a\\/b"), true};
    call->name = TEXT_LIT("f");
    struct llm_call_names names = {.arena = arena};
    struct text escaped = {STR("a\\/b"), true};
    assert_true(text_eq(llm_request_call_name(&names, &request, escaped), STR("f")));
    assert_true(text_eq(llm_request_call_name(&names, &request, text_plain(STR("a/b"))), STR("f")));
    assert_false(text_is_some(llm_request_call_name(&names, &request, TEXT_LIT("c"))));
}

static void add_call(struct llm_block **list, unsigned number, const char *name)
{
    struct llm_block *call = llm_block_add(arena, list, BLOCK_TOOL_CALL);
    call->id = text_plain(arena_printf(arena, "call_%u", number));
    call->name = text_plain(str_c(name));
}

static struct str name_of(struct llm_call_names *names, unsigned number)
{
    struct text id = text_plain(arena_printf(arena, "call_%u", number));
    return llm_request_call_name(names, &request, id).s;
}

static void calls_that_come_later_are_found_and_the_first_of_two(void **state)
{
    struct llm_call_names names = {.arena = arena};
    (void)state;
    assert_int_equal(name_of(&names, 1).len, 0);
    add('a', "");
    assert_int_equal(name_of(&names, 1).len, 0);
    add_call(&request.last_message->blocks, 1, "f");
    assert_true(str_eq(name_of(&names, 1), STR("f")));
    add_call(&request.last_message->blocks, 2, "g");
    add('u', "x");
    add('a', "y");
    add_call(&request.last_message->blocks, 1, "late");
    add_call(&request.last_message->blocks, 3, "h");
    assert_true(str_eq(name_of(&names, 1), STR("f")));
    assert_true(str_eq(name_of(&names, 2), STR("g")));
    assert_true(str_eq(name_of(&names, 3), STR("h")));
    assert_int_equal(name_of(&names, 4).len, 0);
}

static void many_calls_are_not_compared_with_each_other(void **state)
{
    enum { MANY = 100000 };
    struct llm_call_names names = {.arena = arena};
    (void)state;
    for (unsigned i = 0; i < MANY; i++) {
        add('a', "");
        add_call(&request.last_message->blocks, i, "f");
        assert_true(str_eq(name_of(&names, i / 2), STR("f")));
    }
    assert_true(names.compared < 6 * (uint64_t)MANY);
}

static void arguments_are_an_object_whatever_was_said(void **state)
{
    (void)state;
    static const struct {
        struct text in;
        const char *out;
    } cases[] = {
        {{STR_INIT("{\\\"a\\\": 1}"), true}, "{\"a\": 1}"},
        {{STR_INIT(" {} "), false}, "{}"},
        {{STR_INIT(""), false}, "{}"},
        {{{NULL, 0}, false}, "{}"},
        {{STR_INIT("[1]"), false}, "{\"arguments\":\"[1]\"}"},
        {{STR_INIT("{\\\"a\\\":"), true}, "{\"arguments\":\"{\\\"a\\\":\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf out = BUF_INIT;
        llm_arguments_write_object(&out, arena, cases[i].in);
        assert_true(str_eq(buf_str(&out), str_c(cases[i].out)));
        buf_fini(&out);
    }
}

static void extras_are_taken_once_and_by_those_who_know_them(void **state)
{
    (void)state;
    struct buf dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    struct json_value one = {JSON_NUMBER, STR("1")}, nothing = {JSON_NULL, STR("null")};
    assert_true(llm_extra_add(arena, &request, STR_EMPTY, STR("store"), one));
    assert_true(llm_extra_add(arena, &request, STR("a"), STR("b"), one));
    assert_true(llm_extra_add(arena, &request, STR_EMPTY, STR("gone"), nothing));
    assert_null(llm_extra_take(&request, 1u << DIALECT_GEMINI, "store"));
    assert_non_null(llm_extra_take(&request, 1u << DIALECT_OPENAI_CHAT, "store"));
    llm_note_extras(&notes, &request);
    assert_true(str_eq(buf_str(&dropped), STR("a.b")));
    buf_fini(&dropped);
}

static void notes_name_each_thing_once_and_fit_a_header(void **state)
{
    (void)state;
    struct buf dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    llm_note_dropped(&notes, "%s[%u]", "tools", 1u);
    llm_note_dropped(&notes, "seed");
    llm_note_dropped(&notes, "tools[1]");
    llm_note_dropped(&notes, "a,b\r\nc");
    llm_note_supplied(&notes, "max_tokens=%d", 5);
    assert_true(str_eq(buf_str(&dropped), STR("tools[1], seed, a_b__c")));
    assert_true(str_eq(buf_str(&supplied), STR("max_tokens=5")));
    for (unsigned i = 0; i < 500; i++)
        llm_note_dropped(&notes, "messages[%u].content[0]", i);
    assert_in_range(dropped.len, 900, 1100);
    assert_true(str_ends(buf_str(&dropped), STR(", ...")));
    buf_fini(&dropped);
    buf_fini(&supplied);
}

static void refused_parameters_are_noted(void **state)
{
    (void)state;
    static const struct str refused[] = {STR_INIT("seed")};
    static const struct llm_quirks quirks = {.refused_params = refused, .refused_param_count = 1};
    static const struct llm_traits traits;
    struct llm_target target = {.quirks = &quirks, .traits = &traits};
    struct buf dropped = BUF_INIT, supplied = BUF_INIT;
    struct llm_notes notes = {&dropped, &supplied};
    assert_true(llm_target_refuses(&target, &notes, "seed"));
    assert_false(llm_target_refuses(&target, &notes, "stop"));
    assert_true(str_eq(buf_str(&dropped), STR("seed")));
    buf_fini(&dropped);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(system_messages_go_to_the_front),
        TEST(turns_alternate_with_results_first),
        TEST(tools_keep_their_role_where_it_is_one),
        TEST(calls_are_found_by_id),
        TEST(calls_that_come_later_are_found_and_the_first_of_two),
        TEST(many_calls_are_not_compared_with_each_other),
        TEST(arguments_are_an_object_whatever_was_said),
        TEST(extras_are_taken_once_and_by_those_who_know_them),
        TEST(notes_name_each_thing_once_and_fit_a_header),
        TEST(refused_parameters_are_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
