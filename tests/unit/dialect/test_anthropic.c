#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/anthropic/betas.h"
#include "dialect/anthropic/count.h"
#include "dialect/narrow.h"
#include "dialect/sequence.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &anthropic_dialect;
static const struct llm_quirks quirks;

struct fixture {
    struct arena *arena;
    struct buf out, dropped, supplied;
    struct llm_notes notes;
    struct llm_request request;
    struct llm_traits traits;
    struct llm_target target;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->arena = arena_new(4096);
    f->notes = (struct llm_notes){&f->dropped, &f->supplied};
    f->target = (struct llm_target){.model = STR("m"), .quirks = &quirks, .traits = &f->traits};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    buf_fini(&f->out);
    buf_fini(&f->dropped);
    buf_fini(&f->supplied);
    arena_free(f->arena);
    free(f);
    return 0;
}

static void expect_json(struct fixture *f, const char *expected)
{
    char where[512] = "";
    if (!json_equal(str_c(expected), buf_str(&f->out), where, sizeof(where)))
        fail_msg("%s\n%.*s", where, STR_ARG(buf_str(&f->out)));
}

static void expect_notes(struct fixture *f, const char *dropped, const char *supplied)
{
    if (!str_eq(buf_str(&f->dropped), str_c(dropped)) ||
        !str_eq(buf_str(&f->supplied), str_c(supplied)))
        fail_msg("dropped %.*s; supplied %.*s", STR_ARG(buf_str(&f->dropped)),
                 STR_ARG(buf_str(&f->supplied)));
}

static void write_it(struct fixture *f)
{
    buf_clear(&f->out);
    if (dialect->write_request(&f->request, &f->target, f->arena, &f->notes, &f->out) != 0)
        fail_msg("%s", err_slot()->message);
}

/* --- requests --- */

/* C9, B-07: hints, thinking and what only this API knows come back as they were. */
static void a_request_comes_back_as_it_was(void **state)
{
    struct fixture *f = *state;
    static const char *const bodies[] = {
        "{\"model\":\"m\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"a\\u00e4\"}],"
        "\"system\":[{\"type\":\"text\",\"text\":\"s\",\"cache_control\":{\"type\":\"ephemeral\","
        "\"ttl\":\"1h\"}}],\"tools\":[{\"name\":\"t\",\"description\":\"d\",\"input_schema\":"
        "{\"type\":\"object\"},\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"5m\"},"
        "\"strict\":true,\"defer_loading\":true},{\"type\":\"web_search_20250305\",\"name\":"
        "\"web_search\"}],\"tool_choice\":{\"type\":\"tool\",\"name\":\"t\","
        "\"disable_parallel_tool_use\":true},\"metadata\":{\"user_id\":\"u\"},\"top_k\":5,"
        "\"container\":\"c\",\"mcp_servers\":[{\"type\":\"url\"}],\"service_tier\":\"auto\"}",
        "{\"model\":\"m\",\"max_tokens\":2048,\"stop_sequences\":[\"x\"],\"thinking\":{\"type\":"
        "\"enabled\",\"budget_tokens\":1024},\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
        "\"image\",\"source\":{\"type\":\"url\",\"url\":\"https://a/b\"}},{\"type\":\"document\","
        "\"source\":{\"type\":\"base64\",\"media_type\":\"application/pdf\",\"data\":\"JVBERi0=\"},"
        "\"title\":\"T\",\"context\":\"C\",\"citations\":{\"enabled\":true}},{\"type\":\"document\","
        "\"source\":{\"type\":\"content\",\"content\":[{\"type\":\"text\",\"text\":\"p\"}]}}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"h\",\"signature\":"
        "\"c2ln\"},{\"type\":\"redacted_thinking\",\"data\":\"ZGF0YQ==\"},{\"type\":\"tool_use\","
        "\"id\":\"toolu_1\",\"name\":\"t\",\"input\":{\"n\":1.0e2}}]},{\"role\":\"user\",\"content\":"
        "[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\",\"is_error\":true,\"content\":["
        "{\"type\":\"text\",\"text\":\"r\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\","
        "\"media_type\":\"image/png\",\"data\":\"iVBO\"}}],\"cache_control\":{\"type\":"
        "\"ephemeral\"}},{\"type\":\"search_result\",\"source\":\"s\",\"title\":\"t\",\"content\":["
        "{\"type\":\"text\",\"text\":\"w\"}]}]}],\"tools\":[{\"name\":\"t\",\"input_schema\":{}}],"
        "\"output_config\":{\"effort\":\"low\",\"format\":{\"type\":\"json_schema\",\"schema\":"
        "{\"type\":\"object\"}}},\"context_management\":{\"edits\":[]}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        assert_int_equal(dialect->read_request(str_c(bodies[i]), f->arena, &f->request), 0);
        write_it(f);
        expect_json(f, bodies[i]);
        expect_notes(f, "", "");
    }
}

static void a_wrong_type_is_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *body, *words;
    } cases[] = {
        {"{\"messages\":1}", "'messages' must be an array"},
        {"{\"model\":\"m\"}", "'messages' is missing"},
        {"{\"messages\":[{\"role\":\"tool\",\"content\":\"\"}]}",
         "'messages[0].role' must be user or assistant"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":1}]}]}",
         "'messages[0].content[0].text' must be a string"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\",\"source\":{\"type\":"
         "\"url\"}}]}]}",
         "'messages[0].content[0].source.url' is missing"},
        {"{\"messages\":[],\"tools\":[{\"name\":\"t\"}]}", "'tools[0].input_schema' is missing"},
        {"{\"messages\":[],\"tool_choice\":{\"type\":\"x\"}}", "'tool_choice.type' must be"},
        {"{\"messages\":[],\"max_tokens\":\"1\"}", "'max_tokens' must be a number"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(dialect->read_request(str_c(cases[i].body), f->arena, &f->request),
                         -ERR_INVALID);
        if (strstr(err_slot()->message, cases[i].words) == NULL)
            fail_msg("%s", err_slot()->message);
    }
}

static void say(struct fixture *f, enum llm_role role, const char *text)
{
    struct llm_message *m = llm_message_add(f->arena, &f->request, role);
    llm_block_add(f->arena, &m->blocks, BLOCK_TEXT)->text = text_plain(str_c(text));
}

static void others_messages_are_made_to_fit(void **state)
{
    struct fixture *f = *state;
    f->request.source = DIALECT_OPENAI_CHAT;
    say(f, ROLE_SYSTEM, "be");
    say(f, ROLE_USER, "a");
    say(f, ROLE_USER, " ");
    struct llm_message *m = llm_message_add(f->arena, &f->request, ROLE_ASSISTANT);
    struct llm_block *b = llm_block_add(f->arena, &m->blocks, BLOCK_TOOL_CALL);
    b->id = TEXT_LIT("call:1");
    b->name = TEXT_LIT("t");
    b->arguments = TEXT_LIT("{\"a\":1}");
    m = llm_message_add(f->arena, &f->request, ROLE_TOOL);
    b = llm_block_add(f->arena, &m->blocks, BLOCK_TOOL_RESULT);
    b->id = TEXT_LIT("call:1");
    say(f, ROLE_USER, "go on");
    say(f, ROLE_ASSISTANT, "well \n");
    f->request.temperature = STR("1.5");
    f->request.seed = STR("7");
    write_it(f);
    struct json_value id, result;
    assert_true(json_find(buf_str(&f->out), "messages[1].content[0].id", &id));
    assert_true(json_find(buf_str(&f->out), "messages[2].content[0].tool_use_id", &result));
    assert_true(str_eq(id.text, result.text));
    assert_true(str_find(id.text, STR(":")) < 0);
    assert_true(json_find(buf_str(&f->out), "messages[2].content[1].text", &id));
    assert_true(str_eq(id.text, STR("\"go on\"")));
    assert_true(json_find(buf_str(&f->out), "messages[3].content[0].text", &id));
    assert_true(str_eq(id.text, STR("\"well\"")));
    assert_true(json_find(buf_str(&f->out), "system[0].text", &id));
    /* A history with calls needs tools (L-09), of which none may be called. */
    assert_true(json_find(buf_str(&f->out), "tools[0].name", &id));
    assert_true(json_find(buf_str(&f->out), "tool_choice.type", &id));
    assert_true(str_eq(id.text, STR("\"none\"")));
    expect_notes(f, "temperature, seed", "max_tokens=4096, tools");
}

static void thinking_is_asked_for_as_the_model_takes_it(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum llm_thinking thinking;
        const char *effort, *max_tokens;
        bool is_forced;
        const char *expected, *dropped, *supplied;
    } cases[] = {
        {THINKING_BUDGET, "low", "9000", false, "{\"type\":\"enabled\",\"budget_tokens\":2048}",
         "temperature", ""},
        {THINKING_BUDGET, "high", "2000", false, "{\"type\":\"enabled\",\"budget_tokens\":1999}",
         "temperature", "thinking.budget_tokens=1999"},
        {THINKING_BUDGET, "high", "500", false, NULL, "reasoning_effort", ""},
        {THINKING_ADAPTIVE, "medium", "500", false, "{\"type\":\"adaptive\"}", "temperature", ""},
        {THINKING_ADAPTIVE, "none", "500", false, "{\"type\":\"disabled\"}", "", ""},
        {THINKING_BUDGET, "low", "9000", true, NULL, "reasoning_effort", ""},
        {THINKING_ADAPTIVE, "low", "9000", true, NULL, "reasoning_effort", ""},
        {THINKING_BUDGET, "medium", NULL, false, "{\"type\":\"enabled\",\"budget_tokens\":8192}",
         "temperature", "max_tokens=12288"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        f->request = (struct llm_request){.source = DIALECT_OPENAI_CHAT};
        say(f, ROLE_USER, "a");
        f->request.temperature = STR("0.5");
        f->request.max_tokens = str_c(cases[i].max_tokens);
        f->request.reasoning.mode =
            strcmp(cases[i].effort, "none") == 0 ? REASONING_OFF : REASONING_ON;
        f->request.reasoning.effort = text_plain(str_c(cases[i].effort));
        if (cases[i].is_forced) {
            struct llm_tool *tool = llm_tool_add(f->arena, &f->request);
            tool->name = TEXT_LIT("t");
            f->request.tool_choice = TOOL_CHOICE_REQUIRED;
        }
        f->traits.thinking = cases[i].thinking;
        buf_clear(&f->dropped);
        buf_clear(&f->supplied);
        write_it(f);
        struct json_value value = {JSON_NONE, STR_EMPTY};
        json_find(buf_str(&f->out), "thinking", &value);
        if (!str_eq(value.text, str_c(cases[i].expected)))
            fail_msg("%zu: %.*s", i, STR_ARG(buf_str(&f->out)));
        expect_notes(f, cases[i].dropped, cases[i].supplied);
    }
}

static void a_model_that_always_thinks_is_not_told_otherwise(void **state)
{
    struct fixture *f = *state;
    say(f, ROLE_USER, "a");
    f->request.max_tokens = STR("9000");
    f->request.reasoning.mode = REASONING_OFF;
    f->traits.thinking = THINKING_ADAPTIVE;
    f->traits.takes_thinking_off = TRI_NO;
    write_it(f);
    expect_notes(f, "reasoning_effort", "");
    assert_true(str_find(buf_str(&f->out), STR("thinking")) < 0);
}

static void a_call_that_cannot_be_demanded_is_left_to_the_model(void **state)
{
    struct fixture *f = *state;
    static const enum llm_tool_choice choices[] = {TOOL_CHOICE_REQUIRED, TOOL_CHOICE_NAMED};
    for (size_t i = 0; i < ARRAY_LEN(choices); i++) {
        f->request = (struct llm_request){.source = DIALECT_OPENAI_CHAT};
        say(f, ROLE_USER, "a");
        llm_tool_add(f->arena, &f->request)->name = TEXT_LIT("t");
        f->request.max_tokens = STR("9000");
        f->request.tool_choice = choices[i];
        f->request.tool_choice_name = i == 1 ? TEXT_LIT("t") : TEXT_NONE;
        f->request.reasoning = (struct llm_reasoning){.mode = REASONING_ON};
        f->traits.thinking = THINKING_ADAPTIVE;
        f->traits.takes_forced_tools = TRI_NO;
        buf_clear(&f->dropped);
        llm_request_narrow(&f->request, DIALECT_ANTHROPIC, &f->target, &f->notes);
        write_it(f);
        /* Thinking goes with a call that is left to the model: it stays. */
        expect_notes(f, "tool_choice", "");
        struct json_value value;
        assert_true(json_find(buf_str(&f->out), "thinking.type", &value));
        if (json_find(buf_str(&f->out), "tool_choice.type", &value))
            assert_true(str_eq(json_string_raw(value), STR("auto")));
    }
}

static void betas_of_a_translation_stand_where_the_target_takes_them(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *body, *betas, *expected, *dropped;
        enum llm_variant variant;
    } cases[] = {
        {"", "a,b", "[\"a\",\"b\"]", "", VARIANT_BEDROCK},
        {",\"anthropic_beta\":[\"o\",\"b\"]", "a,b", "[\"o\",\"b\",\"a\"]", "", VARIANT_BEDROCK},
        {",\"anthropic_beta\":[\"o\"]", "", "[\"o\"]", "", VARIANT_BEDROCK},
        {"", "", NULL, "", VARIANT_BEDROCK},
        /* A header says it. */
        {",\"anthropic_beta\":[\"o\"]", "o", NULL, "", VARIANT_VERTEX},
        {",\"anthropic_beta\":[\"o\"]", "", NULL, "anthropic_beta", VARIANT_VERTEX},
        {"", "a", NULL, "", VARIANT_NATIVE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str parts[] = {STR("{\"max_tokens\":9,\"messages\":[]"), str_c(cases[i].body),
                              STR("}")};
        struct json_value value = {JSON_NONE, STR_EMPTY};
        assert_int_equal(dialect->read_request(arena_concat(f->arena, parts, ARRAY_LEN(parts)),
                                               f->arena, &f->request),
                         0);
        f->target.variant = cases[i].variant;
        f->target.betas = str_c(cases[i].betas);
        buf_clear(&f->dropped);
        write_it(f);
        json_find(buf_str(&f->out), "anthropic_beta", &value);
        if (!str_eq(value.text, str_c(cases[i].expected)))
            fail_msg("%zu: %.*s", i, STR_ARG(buf_str(&f->out)));
        expect_notes(f, cases[i].dropped, "");
    }
}

static void counting_asks_for_no_answer(void **state)
{
    struct fixture *f = *state;
    int64_t tokens;
    assert_int_equal(
        dialect->read_request(STR("{\"model\":\"x\",\"stream\":true,\"top_p\":1,"
                                  "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}"),
                              f->arena, &f->request),
        0);
    f->target.is_stream = true;
    assert_int_equal(
        anthropic_write_count_request(&f->request, &f->target, f->arena, &f->notes, &f->out), 0);
    expect_json(f, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}");
    expect_notes(f, "", "");
    assert_int_equal(anthropic_read_count(STR("{\"input_tokens\":12}"), &tokens), 0);
    assert_int_equal(tokens, 12);
    assert_int_equal(anthropic_read_count(STR("{}"), &tokens), -ERR_INVALID);
}

/* --- the same-dialect path --- */

static void a_body_is_fitted_to_where_it_goes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum llm_variant variant;
        bool is_stream;
        const char *body, *expected;
    } cases[] = {
        {VARIANT_NATIVE, false, "{\"model\":\"m\" , \"a\":1}", "{\"model\":\"m\" , \"a\":1}"},
        {VARIANT_NATIVE, false, "{\"model\":\"x\",\"a\":1}", "{\"model\":\"m\",\"a\":1}"},
        {VARIANT_BEDROCK, true, "{\"model\":\"x\",\"stream\":true,\"a\":1}",
         "{\"anthropic_version\":\"bedrock-2023-05-31\",\"a\":1}"},
        {VARIANT_BEDROCK, true, "{\"a\":1,\"stream\":true , \"model\":\"x\"}",
         "{\"a\":1,\"anthropic_version\":\"bedrock-2023-05-31\" }"},
        {VARIANT_BEDROCK, true,
         "{\"anthropic_version\":\"bedrock-9\",\"model\":\"x\", \"stream\":true}",
         "{\"anthropic_version\":\"bedrock-9\"}"},
        {VARIANT_BEDROCK, false, "{\"anthropic_version\":\"vertex-2023-10-16\",\"a\":1}",
         "{\"anthropic_version\":\"bedrock-2023-05-31\",\"a\":1}"},
        {VARIANT_VERTEX, true, "{\"model\":\"x\",\"stream\":true}",
         "{\"anthropic_version\":\"vertex-2023-10-16\",\"stream\":true}"},
        {VARIANT_VERTEX, true, "{\"anthropic_version\":\"bedrock-1\",\"anthropic_beta\":[\"b\"]}",
         "{\"anthropic_version\":\"vertex-2023-10-16\",\"stream\":true}"},
        {VARIANT_NATIVE, true,
         "{\"anthropic_version\":\"bedrock-1\",\"anthropic_beta\":[],\"a\":1}",
         "{\"model\":\"m\",\"stream\":true,\"a\":1}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str body = str_c(cases[i].body);
        struct llm_scan scan;
        struct llm_fit fit;
        struct iovec parts[20];
        f->target.variant = cases[i].variant;
        f->target.is_stream = cases[i].is_stream;
        assert_int_equal(dialect->scan(body, 16, f->arena, &scan), 0);
        dialect->fit(&scan, body, &f->target, false, f->arena, &fit);
        assert_false(fit.no_memory);
        int n = json_splice_iov(body, fit.edits, fit.count, parts, ARRAY_LEN(parts));
        assert_true(n >= 0);
        buf_clear(&f->out);
        for (int k = 0; k < n; k++)
            buf_add(&f->out, parts[k].iov_base, parts[k].iov_len);
        if (!str_eq(buf_str(&f->out), str_c(cases[i].expected)))
            expect_json(f, cases[i].expected);
    }
}

static void betas_go_where_they_are_taken(void **state)
{
    struct fixture *f = *state;
    struct str header = STR("context-1m-2025-08-07, x-2030-01-01,effort-2025-11-24,"
                            "context-1m-2025-08-07");
    struct llm_scan scan;
    assert_true(str_eq(anthropic_betas_for(f->arena, header, VARIANT_NATIVE, NULL),
                       STR("context-1m-2025-08-07,x-2030-01-01,effort-2025-11-24")));
    assert_true(str_eq(anthropic_betas_for(f->arena, header, VARIANT_BEDROCK, &f->dropped),
                       STR("context-1m-2025-08-07,effort-2025-11-24")));
    expect_notes(f, "x-2030-01-01", "");
    assert_true(str_eq(anthropic_betas_for(f->arena, header, VARIANT_VERTEX, &f->dropped),
                       STR("context-1m-2025-08-07")));
    struct str body = STR("{\"anthropic_version\":\"v\",\"anthropic_beta\":[\"a\"]}");
    assert_int_equal(dialect->scan(body, 16, f->arena, &scan), 0);
    struct json_edit edit = anthropic_betas_edit(f->arena, &scan, body, STR("a,b"));
    assert_true(str_eq(edit.insert, STR("[\"a\",\"b\"]")));
    assert_true(str_eq(anthropic_betas_of_body(f->arena, body), STR("a")));
}

/* --- answers --- */

struct writer {
    struct llm_frames frames;
    struct llm_sink sink;
    struct llm_encoder *encoder;
    struct buf event, all;
};

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    buf_printf(&w->all, "%.*s|", STR_ARG(type));
    buf_clear(&w->event);
    return &w->event;
}

static void end(struct llm_frames *frames)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    struct json_value index;
    if (json_find(buf_str(&w->event), "index", &index))
        buf_add_str(&w->all, index.text);
    buf_add_str(&w->all, buf_str(&w->event));
    BUF_LIT(&w->all, "\n");
}

static int encode(struct llm_sink *sink, const struct llm_event *event)
{
    struct writer *w = CONTAINER_OF(sink, struct writer, sink);
    return dialect->encode(w->encoder, event, &w->frames);
}

static int put(struct llm_sink *sink, enum llm_event_kind kind, unsigned block,
               enum llm_block_kind block_kind, enum llm_delta_kind delta, const char *text)
{
    struct llm_event event = llm_event_make(kind);
    event.block = block;
    event.block_kind = block_kind;
    event.delta = delta;
    if (kind == EVENT_BLOCK_START)
        event.id = event.name = text_plain(str_c(text));
    else
        event.text = text_plain(str_c(text));
    return llm_sink_put(sink, &event);
}

static void writer_init(struct writer *w, struct fixture *f)
{
    static const struct llm_codec_settings settings = {.model = STR_INIT("asked"),
                                                       .request_id = STR_INIT("42")};
    *w = (struct writer){{begin, end}, {encode}, NULL, BUF_INIT, BUF_INIT};
    w->encoder = dialect->encoder_new(f->arena, &settings);
}

/* L-06, L-07, D13: reasoning, text, two interleaved calls, text again. */
static void a_stream_is_legal_whatever_order_it_came_in(void **state)
{
    struct fixture *f = *state;
    struct writer w;
    struct sequence s;
    struct llm_event event = llm_event_make(EVENT_START);
    writer_init(&w, f);
    sequence_init(&s, f->arena, &w.sink, 1 << 16);
    llm_sink_put(&s.sink, &event);
    put(&s.sink, EVENT_BLOCK_START, 0, BLOCK_THINKING, 0, NULL);
    put(&s.sink, EVENT_DELTA, 0, BLOCK_THINKING, DELTA_TEXT, "hm");
    put(&s.sink, EVENT_BLOCK_START, 1, BLOCK_TEXT, 0, NULL);
    put(&s.sink, EVENT_DELTA, 1, BLOCK_TEXT, DELTA_TEXT, "a");
    put(&s.sink, EVENT_BLOCK_START, 2, BLOCK_TOOL_CALL, 0, "c1");
    put(&s.sink, EVENT_DELTA, 2, BLOCK_TOOL_CALL, DELTA_ARGUMENTS, "{\"x\":");
    put(&s.sink, EVENT_BLOCK_START, 3, BLOCK_TOOL_CALL, 0, "c2");
    put(&s.sink, EVENT_DELTA, 3, BLOCK_TOOL_CALL, DELTA_ARGUMENTS, "{}");
    put(&s.sink, EVENT_DELTA, 2, BLOCK_TOOL_CALL, DELTA_ARGUMENTS, "1}");
    event = llm_event_make(EVENT_FINISH);
    event.finish = FINISH_STOP;
    llm_sink_put(&s.sink, &event);
    event = llm_event_make(EVENT_USAGE);
    event.usage.input = 10;
    event.usage.cache_read = 4;
    event.usage.output = 3;
    event.usage.input_includes_cached = true;
    llm_sink_put(&s.sink, &event);
    event = llm_event_make(EVENT_DONE);
    llm_sink_put(&s.sink, &event);
    sequence_fini(&s);
    static const char *const order[] = {
        "message_start|{\"type\":\"message_start\",\"message\":{\"id\":\"msg_42\"",
        "\"model\":\"asked\"",
        "\"usage\":{\"input_tokens\":0,\"cache_creation_input_tokens\":0,"
        "\"cache_read_input_tokens\":0,",
        "content_block_start|0{",
        "\"type\":\"thinking\"",
        "content_block_delta|0{",
        "thinking_delta",
        "content_block_stop|0{",
        "content_block_start|1{",
        "\"type\":\"text\"",
        "text_delta",
        "content_block_stop|1{",
        "content_block_start|2{",
        "\"id\":\"c1\"",
        "\"partial_json\":\"{\\\"x\\\":\"",
        "\"partial_json\":\"1}\"",
        "content_block_stop|2{",
        "content_block_start|3{",
        "\"id\":\"c2\"",
        "content_block_stop|3{",
        "message_delta|{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"",
        "\"usage\":{\"input_tokens\":6,\"cache_creation_input_tokens\":0,"
        "\"cache_read_input_tokens\":4,",
        "\"output_tokens\":3",
        "message_stop|{\"type\":\"message_stop\"}\n"};
    struct str rest = buf_str(&w.all);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        ptrdiff_t at = str_find(rest, str_c(order[i]));
        if (at < 0)
            fail_msg("no %s in\n%.*s", order[i], STR_ARG(buf_str(&w.all)));
        rest = str_skip(rest, (size_t)at + strlen(order[i]));
    }
    assert_int_equal(rest.len, 0);
    buf_fini(&w.all);
    buf_fini(&w.event);
}

/* C19, L-01: what fails after it began ends with an event that SDKs know. */
static void a_failure_ends_the_stream(void **state)
{
    struct fixture *f = *state;
    struct llm_codec_settings settings = {.model = STR("m")};
    struct writer w;
    writer_init(&w, f);
    struct llm_decoder *d = dialect->decoder_new(f->arena, &settings);
    assert_int_equal(dialect->decode(d, STR_EMPTY,
                                     STR("{\"type\":\"message_start\",\"message\":{\"id\":\"i\"}}"),
                                     &w.sink),
                     0);
    /* Nothing is said before the provider says something: another may still answer. */
    assert_int_equal(w.all.len, 0);
    assert_int_equal(dialect->decode(d, STR("error"),
                                     STR("{\"type\":\"error\",\"error\":{\"type\":"
                                         "\"overloaded_error\",\"message\":\"O\"}}"),
                                     &w.sink),
                     0);
    assert_true(str_eq(buf_str(&w.all), STR("error|{\"type\":\"error\",\"error\":{\"type\":"
                                            "\"overloaded_error\",\"message\":\"O\"}}\n")));
    assert_int_equal(dialect->decode_end(d, &w.sink), 0);
    buf_fini(&w.all);
    buf_fini(&w.event);
}

/* B-06: each way to end has its word, both ways. */
static void reasons_to_stop_are_kept(void **state)
{
    static const char *const reasons[] = {"end_turn",
                                          "max_tokens",
                                          "stop_sequence",
                                          "tool_use",
                                          "pause_turn",
                                          "refusal",
                                          "model_context_window_exceeded"};
    struct fixture *f = *state;
    struct llm_codec_settings settings = {.model = STR("m")};
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        struct llm_fold fold;
        struct json_value value;
        struct buf body = BUF_INIT;
        buf_printf(&body, "{\"content\":[],\"stop_reason\":\"%s\"}", reasons[i]);
        llm_fold_init(&fold, f->arena);
        struct llm_decoder *d = dialect->decoder_new(f->arena, &settings);
        assert_int_equal(dialect->decode_whole(d, buf_str(&body), &fold.sink), 0);
        buf_clear(&f->out);
        dialect->write_answer(&fold.answer, &settings, &f->out);
        assert_true(json_find(buf_str(&f->out), "stop_reason", &value));
        assert_true(json_string_eq(json_string_raw(value), str_c(reasons[i])));
        buf_fini(&body);
    }
}

/* L-13, T1: the classes of input are apart from one another, and told once. */
static void usage_has_disjoint_classes(void **state)
{
    struct token_usage usage = TOKEN_USAGE_NONE;
    (void)state;
    dialect->read_usage(STR("{\"input_tokens\":3,\"cache_creation_input_tokens\":12304,"
                            "\"cache_read_input_tokens\":0,\"cache_creation\":{"
                            "\"ephemeral_5m_input_tokens\":4,\"ephemeral_1h_input_tokens\":12300},"
                            "\"output_tokens\":1}"),
                        &usage);
    dialect->read_usage(STR("{\"cache_creation_input_tokens\":12304,\"output_tokens\":550}"),
                        &usage);
    assert_int_equal(usage.cache_write_5m, 4);
    assert_int_equal(usage.cache_write_1h, 12300);
    assert_int_equal(usage.output, 550);
    assert_int_equal(token_usage_input_total(&usage), 12307);
    assert_false(usage.input_includes_cached);
}

/* T4: thinking that others have signed is shown with a mark and read back as theirs. */
static void foreign_signatures_come_home(void **state)
{
    struct fixture *f = *state;
    struct writer w;
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    writer_init(&w, f);
    event.block_kind = BLOCK_TOOL_CALL;
    event.id = event.name = TEXT_LIT("c");
    event.signature = (struct llm_signature){TEXT_LIT("sig"), DIALECT_GEMINI};
    llm_sink_put(&w.sink, &event);
    assert_true(str_find(buf_str(&w.all), STR("\"signature\":\"weir:gemini:call:sig\"")) > 0);
    assert_true(str_find(buf_str(&w.all), STR("content_block_start|1{")) > 0);
    assert_int_equal(
        dialect->read_request(
            STR("{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\","
                "\"thinking\":\"\",\"signature\":\"weir:gemini:call:sig\"}]}]}"),
            f->arena, &f->request),
        0);
    const struct llm_block *b = f->request.messages->blocks;
    assert_true(b->is_for_call);
    assert_int_equal(b->signature.maker, DIALECT_GEMINI);
    assert_true(text_eq(b->signature.data, STR("sig")));
    buf_fini(&w.all);
    buf_fini(&w.event);
}

static void errors_have_their_kind_both_ways(void **state)
{
    struct fixture *f = *state;
    struct llm_error error;
    static const struct {
        unsigned status;
        const char *header, *body;
        enum llm_error_kind kind;
    } cases[] = {
        {400, "",
         "{\"error\":{\"type\":\"invalid_request_error\",\"message\":\"prompt is too "
         "long: 5 tokens > 4 maximum\"}}",
         LLM_ERROR_CONTEXT_LENGTH},
        {529, "", "{\"error\":{\"type\":\"overloaded_error\",\"message\":\"O\"}}",
         LLM_ERROR_OVERLOADED},
        {429, "ThrottlingException", "{\"message\":\"slow\"}", LLM_ERROR_RATE_LIMIT},
        {404, "", "[{\"error\":{\"code\":404,\"message\":\"no\",\"status\":\"NOT_FOUND\"}}]",
         LLM_ERROR_NOT_FOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(dialect->read_error(cases[i].status, str_c(cases[i].header),
                                        str_c(cases[i].body), &error));
        assert_int_equal(error.kind, cases[i].kind);
        assert_int_equal(error.status, cases[i].status);
        buf_clear(&f->out);
        dialect->write_error(&error, &f->out);
        struct json_value value;
        assert_true(json_find(buf_str(&f->out), "error.message", &value));
    }
    assert_false(dialect->read_error(502, STR_EMPTY, STR("<html>"), &error));
    assert_int_equal(error.kind, LLM_ERROR_SERVER);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_request_comes_back_as_it_was),
        TEST(a_wrong_type_is_named),
        TEST(others_messages_are_made_to_fit),
        TEST(thinking_is_asked_for_as_the_model_takes_it),
        TEST(a_model_that_always_thinks_is_not_told_otherwise),
        TEST(a_body_is_fitted_to_where_it_goes),
        TEST(betas_of_a_translation_stand_where_the_target_takes_them),
        TEST(a_call_that_cannot_be_demanded_is_left_to_the_model),
        TEST(a_body_is_fitted_to_where_it_goes),
        TEST(counting_asks_for_no_answer),
        TEST(a_body_is_fitted_to_where_it_goes),
        TEST(betas_go_where_they_are_taken),
        TEST(a_stream_is_legal_whatever_order_it_came_in),
        TEST(a_failure_ends_the_stream),
        TEST(reasons_to_stop_are_kept),
        TEST(usage_has_disjoint_classes),
        TEST(foreign_signatures_come_home),
        TEST(errors_have_their_kind_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
