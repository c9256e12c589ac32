/* A body of many small things costs time and memory by its length, not by the square of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <time.h>

#include "dialect/dialect.h"

/*
 * By the square, the lists would take minutes and the members of a message hundreds of gigabytes;
 * as it is, all take less than a second, and some with the sanitizers.
 */
enum { MANY = 200000, SECONDS_MAX = 20, TIMES_THE_BODY_MAX = 64 };

#define CHAT_MESSAGE "\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]"
#define GEMINI_CONTENTS "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"x\"}]}]"

static const struct {
    const char *what;
    enum dialect_id dialect;
    const char *head, *item, *tail; /* one '#' in the item is its number */
} bodies[] = {
    {"members", DIALECT_OPENAI_CHAT, "{" CHAT_MESSAGE ",", "\"k#\":1", "}"},
    {"members", DIALECT_ANTHROPIC, "{\"max_tokens\":1," CHAT_MESSAGE ",", "\"k#\":1", "}"},
    {"members", DIALECT_GEMINI, "{" GEMINI_CONTENTS ",", "\"k#\":1", "}"},
    {"members", DIALECT_BEDROCK,
     "{\"messages\":[{\"role\":\"user\",\"content\":[{\"text\":\"x\"}]}],", "\"k#\":1", "}"},
    {"members", DIALECT_COHERE, "{" CHAT_MESSAGE ",", "\"k#\":1", "}"},
    {"members", DIALECT_OPENAI_RESPONSES, "{\"input\":\"x\",", "\"k#\":1", "}"},
    {"members of a message", DIALECT_OPENAI_CHAT,
     "{\"messages\":[{\"role\":\"user\",\"content\":\"x\",", "\"k#\":1", "}]}"},
    {"members of a message", DIALECT_ANTHROPIC,
     "{\"max_tokens\":1,\"messages\":[{\"role\":\"user\",\"content\":\"x\",", "\"k#\":1", "}]}"},
    {"members of an item", DIALECT_OPENAI_RESPONSES,
     "{\"input\":[{\"role\":\"user\",\"content\":\"x\",", "\"k#\":1", "}]}"},
    {"parts", DIALECT_OPENAI_CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":[",
     "{\"type\":\"text\",\"text\":\"#\"}", "]}]}"},
    {"parts", DIALECT_COHERE, "{\"messages\":[{\"role\":\"user\",\"content\":[",
     "{\"type\":\"text\",\"text\":\"#\"}", "]}]}"},
    {"parts", DIALECT_OPENAI_RESPONSES, "{\"input\":[{\"role\":\"user\",\"content\":[",
     "{\"type\":\"input_text\",\"text\":\"#\"}", "]}]}"},
    {"items", DIALECT_OPENAI_RESPONSES, "{\"input\":[",
     "{\"type\":\"function_call\",\"call_id\":\"#\",\"name\":\"f\",\"arguments\":\"{}\"}", "]}"},
    {"documents", DIALECT_COHERE, "{" CHAT_MESSAGE ",\"documents\":[", "\"#\"", "]}"},
    {"calls", DIALECT_OPENAI_CHAT, "{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[",
     "{\"id\":\"#\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}",
     "]}]}"},
    {"tools", DIALECT_OPENAI_CHAT, "{" CHAT_MESSAGE ",\"tools\":[",
     "{\"type\":\"function\",\"function\":{\"name\":\"f#\"}}", "]}"},
    {"tools", DIALECT_GEMINI, "{" GEMINI_CONTENTS ",\"tools\":[{\"functionDeclarations\":[",
     "{\"name\":\"f#\"}", "]}]}"},
    {"stop words", DIALECT_OPENAI_CHAT, "{" CHAT_MESSAGE ",\"stop\":[", "\"#\"", "]}"},
    {"stop words", DIALECT_COHERE, "{" CHAT_MESSAGE ",\"stop_sequences\":[", "\"#\"", "]}"},
};

static void write_body(struct buf *out, size_t which, unsigned count)
{
    struct str head = str_c(bodies[which].item), number_and_tail = head;
    ptrdiff_t at = str_index(head, '#');
    head = str_head(head, (size_t)at);
    number_and_tail = str_skip(number_and_tail, (size_t)at + 1);
    buf_add_str(out, str_c(bodies[which].head));
    for (unsigned i = 0; i < count; i++) {
        if (i > 0)
            buf_add_char(out, ',');
        buf_add_str(out, head);
        buf_add_u64(out, i);
        buf_add_str(out, number_and_tail);
    }
    buf_add_str(out, str_c(bodies[which].tail));
}

static void reading_costs_what_the_body_is_long(void **state)
{
    (void)state;
    clock_t start = clock();
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        const struct dialect *dialect = dialect_of(bodies[i].dialect);
        struct arena *arena = arena_new(4096);
        struct llm_request request;
        struct buf body = BUF_INIT;
        write_body(&body, i, MANY);
        assert_true(buf_ok(&body));
        assert_int_equal(dialect->read_request(buf_str(&body), arena, &request), 0);
        if (arena_bytes(arena) > TIMES_THE_BODY_MAX * body.len)
            fail_msg("%s: %d %s take %zu bytes", dialect->name, (int)MANY, bodies[i].what,
                     arena_bytes(arena));
        if (clock() - start > SECONDS_MAX * CLOCKS_PER_SEC)
            fail_msg("%s: %d %s take too long", dialect->name, (int)MANY, bodies[i].what);
        arena_free(arena);
        buf_fini(&body);
    }
}

static void write_calls(struct buf *out, const char *item, unsigned count, unsigned step)
{
    for (unsigned i = 0; i < count; i++)
        buf_printf(out, item, i * step % count);
}

/* All calls, then all results in another order; for who names the function with the result. */
static void calls_and_results_cost_what_the_body_is_long(void **state)
{
    static const enum dialect_id written[] = {DIALECT_GEMINI, DIALECT_ANTHROPIC, DIALECT_BEDROCK,
                                              DIALECT_OPENAI_CHAT, DIALECT_COHERE};
    enum { CALLS = 100000, STEP = 7 };
    static const struct llm_quirks no_quirks;
    static const struct llm_traits no_traits;
    (void)state;
    struct buf body = BUF_INIT;
    BUF_LIT(&body, "{\"input\":[{\"role\":\"user\",\"content\":\"x\"}");
    write_calls(&body,
                ",{\"type\":\"function_call\",\"call_id\":\"c%u\",\"name\":\"f\","
                "\"arguments\":\"{}\"}",
                CALLS, 1);
    write_calls(&body, ",{\"type\":\"function_call_output\",\"call_id\":\"c%u\",\"output\":\"y\"}",
                CALLS, STEP);
    BUF_LIT(&body, "]}");
    assert_true(buf_ok(&body));
    clock_t start = clock();
    for (size_t i = 0; i < ARRAY_LEN(written); i++) {
        struct arena *arena = arena_new(4096);
        struct llm_request request;
        struct buf dropped = BUF_INIT, supplied = BUF_INIT;
        struct llm_notes notes = {&dropped, &supplied};
        struct llm_target target = {.model = STR("m"), .quirks = &no_quirks, .traits = &no_traits};
        struct buf out = BUF_INIT;
        assert_int_equal(
            dialect_of(DIALECT_OPENAI_RESPONSES)->read_request(buf_str(&body), arena, &request), 0);
        const struct dialect *dialect = dialect_of(written[i]);
        assert_int_equal(dialect->write_request(&request, &target, arena, &notes, &out), 0);
        assert_true(out.len > CALLS * sizeof("{\"id\":\"c1\",\"name\":\"f\"}"));
        if (clock() - start > SECONDS_MAX * CLOCKS_PER_SEC)
            fail_msg("%s: %d calls take too long", dialect->name, (int)CALLS);
        buf_fini(&out);
        buf_fini(&dropped);
        buf_fini(&supplied);
        arena_free(arena);
    }
    buf_fini(&body);
}

/* In their order, and of one name each. */
static void no_unknown_member_gets_lost(void **state)
{
    (void)state;
    for (size_t i = 0; strcmp(bodies[i].what, "members") == 0; i++) {
        const struct dialect *dialect = dialect_of(bodies[i].dialect);
        struct arena *arena = arena_new(4096);
        struct llm_request request;
        struct buf body = BUF_INIT;
        unsigned count = 0;
        write_body(&body, i, 5);
        body.len--;
        BUF_LIT(&body, ",\"k3\":2,\"k4\":null}");
        assert_int_equal(dialect->read_request(buf_str(&body), arena, &request), 0);
        for (const struct llm_extra *e = request.extras; e != NULL; e = e->next, count++) {
            char name[8];
            snprintf(name, sizeof(name), "k%u", count < 5 ? count : 3);
            assert_true(str_eq(e->name, str_c(name)));
            assert_true(str_eq(e->raw, count < 5 ? STR("1") : STR("2")));
            assert_false(e->is_taken);
        }
        assert_int_equal(count, 6);
        arena_free(arena);
        buf_fini(&body);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reading_costs_what_the_body_is_long),
        cmocka_unit_test(calls_and_results_cost_what_the_body_is_long),
        cmocka_unit_test(no_unknown_member_gets_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
