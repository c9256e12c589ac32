#include "dialect/translate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "support/event_text.h"

/*
 * What the translation itself does, between a dialect that reads what a test has built and one that
 * writes what reaches it as lines: names of tools, structured answers, what crosses no border, and
 * the life of an answer.
 */

/* --- the fake dialects --- */

typedef void build_fn(struct arena *arena, struct llm_request *request);
static build_fn *build;

static int fake_read(struct str body, struct arena *arena, struct llm_request *request)
{
    *request = (struct llm_request){.source = DIALECT_ANTHROPIC};
    if (str_eq(body, STR("bad")))
        return err_set(ERR_INVALID, FAULT_CLIENT, "'messages' must be an array");
    build(arena, request);
    return 0;
}

static void write_blocks(struct buf *out, const char *place, const struct llm_block *blocks)
{
    static const char *const kinds[] = {"text",     "image",     "audio",       "video",
                                        "document", "tool_call", "tool_result", "thinking",
                                        "refusal",  "opaque"};
    for (const struct llm_block *b = blocks; b != NULL; b = b->next) {
        buf_printf(out, "%s %s %.*s%.*s\n", place, kinds[b->kind], STR_ARG(b->text.s),
                   STR_ARG(b->name.s));
        write_blocks(out, "in result", b->blocks);
    }
}

static int fake_write(struct llm_request *request, const struct llm_target *target,
                      struct arena *arena, struct llm_notes *notes, struct buf *out)
{
    static const char *const choices[] = {"unset", "auto", "none", "required", "named"};
    (void)arena;
    (void)notes;
    buf_printf(out, "to %.*s\n", STR_ARG(target->model));
    write_blocks(out, "system", request->system);
    for (const struct llm_message *m = request->messages; m != NULL; m = m->next)
        write_blocks(out, m->role == ROLE_ASSISTANT ? "assistant" : "user", m->blocks);
    for (const struct llm_tool *t = request->tools; t != NULL; t = t->next)
        buf_printf(out, "tool %.*s %.*s\n", STR_ARG(t->name.s), STR_ARG(t->schema));
    if (request->tool_choice != TOOL_CHOICE_UNSET)
        buf_printf(out, "choice %s %.*s\n", choices[request->tool_choice],
                   STR_ARG(request->tool_choice_name.s));
    if (request->n.len > 0)
        buf_printf(out, "n %.*s\n", STR_ARG(request->n));
    if (text_is_some(request->user))
        buf_printf(out, "user is %.*s\n", STR_ARG(request->user.s));
    if (request->reasoning.mode != REASONING_UNSET)
        BUF_LIT(out, "thinks\n");
    if (request->format.kind != FORMAT_UNSET)
        BUF_LIT(out, "format\n");
    request->model = TEXT_LIT("spoiled by the writer");
    return 0;
}

struct llm_decoder {
    bool unused;
};
struct llm_encoder {
    struct event_log log;
};

static struct llm_decoder *fake_decoder(struct arena *arena, const struct llm_codec_settings *s)
{
    (void)s;
    return ARENA_NEW(arena, struct llm_decoder);
}

static int fake_decode(struct llm_decoder *d, struct str type, struct str data,
                       struct llm_sink *sink)
{
    (void)d;
    (void)type;
    char *script = strndup(data.ptr, data.len);
    int r = event_play(script, sink);
    free(script);
    return r;
}

static int fake_whole(struct llm_decoder *d, struct str body, struct llm_sink *sink)
{
    return fake_decode(d, STR_EMPTY, body, sink);
}

static int fake_end(struct llm_decoder *d, struct llm_sink *sink)
{
    (void)d;
    (void)sink;
    return -ERR_RESET;
}

static struct llm_encoder *fake_encoder(struct arena *arena, const struct llm_codec_settings *s)
{
    struct llm_encoder *e = ARENA_NEW(arena, struct llm_encoder);
    (void)s;
    return e;
}

static int fake_encode(struct llm_encoder *e, const struct llm_event *event,
                       struct llm_frames *frames)
{
    event_log_init(&e->log, false);
    llm_sink_put(&e->log.sink, event);
    buf_add_str(frames->begin(frames, STR_EMPTY), buf_str(&e->log.text));
    frames->end(frames);
    buf_fini(&e->log.text);
    return 0;
}

static void fake_answer(const struct llm_answer *answer, const struct llm_codec_settings *s,
                        struct buf *out)
{
    struct event_log log;
    (void)s;
    event_log_init(&log, true);
    llm_answer_replay(answer, &log.sink);
    buf_add_str(out, buf_str(&log.text));
    buf_fini(&log.text);
}

static const struct dialect client = {
    .id = DIALECT_ANTHROPIC,
    .read_request = fake_read,
    .encoder_new = fake_encoder,
    .encode = fake_encode,
    .write_answer = fake_answer,
};
static const struct dialect provider = {
    .id = DIALECT_BEDROCK,
    .write_request = fake_write,
    .decoder_new = fake_decoder,
    .decode = fake_decode,
    .decode_end = fake_end,
    .decode_whole = fake_whole,
    .tool_name_max = 20,
    .tool_name_extra = "",
};

/* --- one exchange --- */

static struct arena *arena;
static struct translation t;
static struct llm_traits traits;
static struct llm_quirks quirks;
static struct buf out, written;

static struct buf *begin_frame(struct llm_frames *frames, struct str type)
{
    (void)frames;
    (void)type;
    return &written;
}

static void end_frame(struct llm_frames *frames)
{
    (void)frames;
}

static struct llm_frames frames = {begin_frame, end_frame};

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(4096);
    traits = (struct llm_traits){.max_output_tokens = 1000};
    memset(&t, 0, sizeof(t));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    translation_fini(&t);
    buf_fini(&out);
    buf_fini(&written);
    out = written = BUF_INIT;
    arena_free(arena);
    return 0;
}

static int write_to(const struct dialect *to, const char *model)
{
    struct llm_target target = {.model = str_c(model), .quirks = &quirks, .traits = &traits};
    buf_clear(&out);
    return translation_write_request(&t, to, &target, &out);
}

static int start(build_fn *how)
{
    struct llm_codec_settings settings = {.model = STR("m"), .request_id = STR("r")};
    build = how;
    int r = translation_init(&t, arena, &client, &provider, &settings, STR("{}"), STR_EMPTY, false);
    return r == 0 ? write_to(&provider, "claude") : r;
}

static void expect(const struct buf *got, const char *text)
{
    if (!str_eq(buf_str(got), str_c(text)))
        fail_msg("%.*s\nshould be\n%s", STR_ARG(buf_str(got)), text);
}

static void say(const char *script)
{
    assert_int_equal(translation_event(&t, STR_EMPTY, str_c(script), &frames), 0);
}

/* --- names of tools --- */

static struct llm_block *add_block(struct arena *a, struct llm_request *r, enum llm_role role,
                                   enum llm_block_kind kind)
{
    return llm_block_add(a, &llm_message_add(a, r, role)->blocks, kind);
}

static void build_tools(struct arena *a, struct llm_request *r)
{
    static const char *const names[] = {"short", "mcp.files/read it all", "mcp.files/read it now"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        llm_tool_add(a, r)->name = text_plain(str_c(names[i]));
    r->tool_choice = TOOL_CHOICE_NAMED;
    r->tool_choice_name = (struct text){STR("mcp.files\\/read it all"), true};
    add_block(a, r, ROLE_ASSISTANT, BLOCK_TOOL_CALL)->name =
        text_plain(STR("mcp.files/read it now"));
    add_block(a, r, ROLE_USER, BLOCK_TOOL_RESULT)->name = text_plain(STR("mcp.files/read it now"));
}

static void names_are_mapped_and_mapped_back(void **state)
{
    (void)state;
    assert_int_equal(start(build_tools), 0);
    const struct llm_tool *first = t.request.tools, *second = first->next, *third = second->next;
    assert_true(text_eq(first->name, STR("short")));
    assert_int_equal(second->name.s.len, 20);
    assert_true(str_starts(second->name.s, STR("mcp_files_r_")));
    assert_false(str_eq(second->name.s, third->name.s));
    assert_true(str_eq(t.request.tool_choice_name.s, second->name.s));
    assert_true(str_eq(t.request.messages->blocks->name.s, third->name.s));
    assert_true(str_eq(t.request.last_message->blocks->name.s, third->name.s));
    struct str other = str_n(third->name.s.ptr, third->name.s.len);
    char script[400];
    snprintf(script, sizeof(script),
             "start m\nblock 0.0 tool_call a %.*s\nargs 0.0 {}\nstop 0.0\n"
             "block 0.1 tool_call b short\nstop 0.1\nfinish 0 tool_calls\ndone\n",
             STR_ARG(other));
    say(script);
    expect(&written, "start m\nblock 0.0 tool_call a mcp.files/read it now\nargs 0.0 {}\nstop 0.0\n"
                     "block 0.1 tool_call b short\nstop 0.1\nfinish 0 tool_calls\ndone\n");
}

static void names_are_the_same_in_every_turn(void **state)
{
    (void)state;
    assert_int_equal(start(build_tools), 0);
    struct str first = arena_dup(arena, buf_str(&out));
    assert_int_equal(write_to(&provider, "claude"), 0);
    assert_true(str_eq(first, buf_str(&out)));
}

/* --- structured answers --- */

static void build_form(struct arena *a, struct llm_request *r)
{
    add_block(a, r, ROLE_USER, BLOCK_TEXT)->text = TEXT_LIT("hi");
    r->format.kind = FORMAT_JSON_SCHEMA;
    r->format.schema = STR("{\"type\":\"object\"}");
}

static void build_form_and_tools(struct arena *a, struct llm_request *r)
{
    build_form(a, r);
    llm_tool_add(a, r)->name = TEXT_LIT("json_answer");
}

static void a_tool_is_the_answer(void **state)
{
    (void)state;
    traits.structured = STRUCTURED_BY_TOOL;
    assert_int_equal(start(build_form), 0);
    expect(&out, "to claude\nuser text hi\ntool json_answer {\"type\":\"object\"}\n"
                 "choice named json_answer\n");
    say("start m\nblock 0.0 tool_call a json_answer\nargs 0.0 {\\\"n\\\":\nargs 0.0 1}\nstop 0.0\n"
        "block 0.1 tool_call b json_answer\nargs 0.1 {}\nstop 0.1\nfinish 0 tool_calls\ndone\n");
    expect(&written, "start m\nblock 0.0 text\ntext 0.0 {\\\"n\\\":\ntext 0.0 1}\nstop 0.0\n"
                     "finish 0 stop\ndone\n");
    assert_int_equal(t.finish, FINISH_STOP);
}

static void a_tool_of_that_name_keeps_it(void **state)
{
    (void)state;
    traits.structured = STRUCTURED_BY_TOOL;
    assert_int_equal(start(build_form_and_tools), 0);
    expect(&out, "to claude\nuser text hi\ntool json_answer \n"
                 "tool json_answer_2 {\"type\":\"object\"}\nchoice required \n");
    say("start m\nblock 0.0 tool_call a json_answer\nstop 0.0\nfinish 0 tool_calls\ndone\n");
    expect(&written, "start m\nblock 0.0 tool_call a json_answer\nstop 0.0\n"
                     "finish 0 tool_calls\ndone\n");
}

static void build_list(struct arena *a, struct llm_request *r)
{
    build_form(a, r);
    r->format.schema = STR("{\"type\":\"array\",\"items\":{}}");
}

static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    traits.structured = STRUCTURED_NONE;
    assert_int_equal(start(build_form), -ERR_INVALID);
    assert_non_null(strstr(err_slot()->message, "no structured answers"));
    assert_non_null(strstr(err_slot()->message, "claude"));
    traits.structured = STRUCTURED_NATIVE;
    assert_int_equal(write_to(&provider, "nova"), 0);
    expect(&out, "to nova\nuser text hi\nformat\n");
    translation_fini(&t);
    traits.structured = STRUCTURED_BY_TOOL;
    assert_int_equal(start(build_list), -ERR_INVALID);
    assert_non_null(strstr(err_slot()->message, "must be an object's"));
}

/* --- what crosses no border --- */

static void build_private(struct arena *a, struct llm_request *r)
{
    struct llm_block *billing = llm_block_add(a, &r->system, BLOCK_TEXT);
    billing->text = TEXT_LIT("x-anthropic-billing-header: cc_version=2");
    llm_block_add(a, &r->system, BLOCK_TEXT)->text = TEXT_LIT("Be brief.");
    r->user = TEXT_LIT("user_1f_account_2e_session_3d");
    r->n = STR("1");
    struct llm_message *m = llm_message_add(a, r, ROLE_USER);
    llm_block_add(a, &m->blocks, BLOCK_TEXT)->text = TEXT_LIT("hi");
    llm_block_add(a, &m->blocks, BLOCK_IMAGE);
    llm_block_add(a, &m->blocks, BLOCK_OPAQUE)->maker = DIALECT_ANTHROPIC;
    struct llm_block *result = llm_block_add(a, &m->blocks, BLOCK_TOOL_RESULT);
    llm_block_add(a, &result->blocks, BLOCK_IMAGE);
    llm_block_add(a, &result->blocks, BLOCK_TEXT)->text = TEXT_LIT("18 C");
    struct llm_tool *search = llm_tool_add(a, r);
    search->kind = TOOL_BUILTIN;
    search->maker = DIALECT_ANTHROPIC;
    search->name = TEXT_LIT("web_search");
    r->tool_choice = TOOL_CHOICE_NAMED;
    r->tool_choice_name = TEXT_LIT("web_search");
    struct llm_message *last = llm_message_add(a, r, ROLE_ASSISTANT);
    llm_block_add(a, &last->blocks, BLOCK_OPAQUE)->maker = DIALECT_ANTHROPIC;
}

static void what_is_one_vendors_stays_with_it(void **state)
{
    (void)state;
    traits.takes_images = TRI_NO;
    assert_int_equal(start(build_private), 0);
    expect(&out, "to claude\nsystem text Be brief.\nuser text hi\nuser tool_result \n"
                 "in result text 18 C\n");
    expect(&t.dropped,
           "system[0], messages[0].content[1], messages[0].content[2], "
           "messages[0].content[3].content[0], messages[1].content[0], tools[0], tool_choice, "
           "metadata.user_id");
    /* Another try, at its maker: all of it is there again. */
    struct dialect maker = provider;
    maker.id = DIALECT_ANTHROPIC;
    traits.takes_images = TRI_UNSET;
    assert_int_equal(write_to(&maker, "claude"), 0);
    assert_true(str_find(buf_str(&out), STR("billing-header")) >= 0);
    assert_true(str_find(buf_str(&out), STR("user is user_1f_account")) >= 0);
    assert_true(str_find(buf_str(&out), STR("tool web_search")) >= 0);
    assert_true(str_find(buf_str(&out), STR("assistant opaque")) >= 0);
    assert_int_equal(t.dropped.len, 0);
}

static void build_loop(struct arena *a, struct llm_request *r)
{
    r->reasoning.mode = REASONING_ON;
    r->n = STR("3");
    add_block(a, r, ROLE_USER, BLOCK_TEXT)->text = TEXT_LIT("hi");
    struct llm_message *m = llm_message_add(a, r, ROLE_ASSISTANT);
    struct llm_block *thought = llm_block_add(a, &m->blocks, BLOCK_THINKING);
    thought->text = TEXT_LIT("hm");
    thought->signature = (struct llm_signature){TEXT_LIT("s"), DIALECT_GEMINI};
    llm_block_add(a, &m->blocks, BLOCK_TOOL_CALL)->name = TEXT_LIT("f");
    add_block(a, r, ROLE_USER, BLOCK_TOOL_RESULT)->name = TEXT_LIT("f");
}

static void a_turn_without_its_thinking_goes_on_without(void **state)
{
    (void)state;
    assert_int_equal(start(build_loop), 0);
    expect(&out, "to claude\nuser text hi\nassistant tool_call f\nuser tool_result f\n");
    expect(&t.dropped, "n, thinking");
    traits.thinking = THINKING_ADAPTIVE;
    assert_int_equal(write_to(&provider, "claude"), 0);
    assert_true(str_find(buf_str(&out), STR("thinks\n")) >= 0);
    traits.thinking = THINKING_UNKNOWN;
    assert_int_equal(write_to(&provider, "nova"), 0);
    assert_true(str_find(buf_str(&out), STR("thinks\n")) >= 0);
}

/* --- the life of an answer --- */

static void what_was_seen_is_told(void **state)
{
    (void)state;
    assert_int_equal(start(build_form), 0);
    assert_false(t.has_begun);
    say("start -\nstart claude-4\nstart other\nusage 5 1\n");
    assert_true(t.has_begun && !t.has_content);
    say("block 0.0 text\ntext 0.0 a\n");
    assert_true(t.has_content && t.content_events == 1);
    say("text 0.0 b\nstop 0.0\nusage -1 7\nfinish 0 length\n");
    assert_true(t.is_finished && !t.is_done);
    assert_int_equal(t.content_events, 2);
    assert_int_equal(t.finish, FINISH_LENGTH);
    assert_true(t.usage.input == 5 && t.usage.output == 7);
    assert_true(text_eq(t.model, STR("claude-4")));
    assert_int_equal(translation_end(&t, &frames), -ERR_RESET);
    say("done\n");
    assert_int_equal(translation_end(&t, &frames), 0);
    assert_true(str_starts(buf_str(&written), STR("start -\nusage 5 1\n")));
}

static void last_words_are_said_once(void **state)
{
    (void)state;
    struct llm_error error = LLM_ERROR_NONE;
    error.message = TEXT_LIT("broken");
    assert_int_equal(start(build_form), 0);
    assert_int_equal(translation_ping(&t, &frames), 0);
    say("start m\nblock 0.0 text\ntext 0.0 a\nerror overloaded busy\n");
    assert_true(t.is_error);
    assert_true(text_eq(t.error.message, STR("busy")));
    assert_int_equal(translation_fail(&t, &error, &frames), 0);
    assert_int_equal(translation_ping(&t, &frames), 0);
    assert_int_equal(translation_end(&t, &frames), 0);
    expect(&written, "ping\nstart m\nblock 0.0 text\ntext 0.0 a\nerror overloaded busy\n");
    /* The next try begins anew. */
    buf_clear(&written);
    assert_int_equal(write_to(&provider, "nova"), 0);
    assert_false(t.is_error || t.has_begun);
    assert_int_equal(translation_fail(&t, &error, &frames), 0);
    expect(&written, "error server broken\n");
}

static void a_whole_answer_is_folded(void **state)
{
    (void)state;
    bool is_error = true;
    struct buf body = BUF_INIT;
    assert_int_equal(start(build_form), 0);
    const char *script = "start m\nusage 3 4\nblock 0.0 text\ntext 0.0 a\nblock 0.1 tool_call c f\n"
                         "args 0.1 {}\ntext 0.0 b\nstop 0.0\nstop 0.1\nfinish 0 tool_calls\ndone\n";
    assert_int_equal(translation_whole(&t, str_c(script), &body, &is_error), 0);
    assert_false(is_error);
    expect(&body, "start m\nusage 3 4\nblock 0.0 text\ntext 0.0 ab\nstop 0.0\n"
                  "block 0.1 tool_call c f\nargs 0.1 {}\nstop 0.1\nfinish 0 tool_calls\ndone\n");
    assert_true(t.is_done && t.finish == FINISH_TOOL_CALLS && t.usage.output == 4);
    buf_clear(&body);
    assert_int_equal(translation_whole(&t, STR("error rate_limit slowly\n"), &body, &is_error), 0);
    assert_true(is_error && body.len == 0);
    assert_int_equal(t.error.kind, LLM_ERROR_RATE_LIMIT);
    assert_int_equal(translation_whole(&t, STR("done\n"), &body, &is_error), -ERR_INVALID);
    buf_fini(&body);
}

static void build_nothing(struct arena *a, struct llm_request *r)
{
    (void)a;
    r->user = TEXT_LIT("me");
}

static void a_bad_request_is_refused_with_its_words(void **state)
{
    (void)state;
    struct llm_codec_settings settings = {.model = STR("m"), .request_id = STR("r")};
    assert_int_equal(
        translation_init(&t, arena, &client, &provider, &settings, STR("bad"), STR_EMPTY, false),
        -ERR_INVALID);
    assert_string_equal(err_slot()->message, "'messages' must be an array");
    assert_int_equal(start(build_nothing), -ERR_INVALID);
    assert_non_null(strstr(err_slot()->message, "holds no message"));
    translation_fini(&t);
    build = build_form;
    assert_int_equal(
        translation_init(&t, arena, &client, &provider, &settings, STR("{}"), STR("path"), true),
        0);
    assert_true(text_eq(t.request.model, STR("path")) && t.request.is_stream);
}

/* --- no memory --- */

static void each_allocation_may_fail(void **state)
{
    (void)state;
    static const char script[] =
        "start m\nusage 1 1\nblock 0.0 tool_call a json_answer\nargs 0.0 {\nblock 0.1 text\n"
        "text 0.1 held back\ncite 0.1 https://a\nargs 0.0 }\nstop 0.0\nstop 0.1\n"
        "finish 0 stop\ndone\n";
    unsigned failures = 0;
    for (uint64_t n = 1;; n++) {
        bool is_error = false;
        traits.structured = STRUCTURED_BY_TOOL;
        struct llm_codec_settings settings = {.model = STR("m"), .request_id = STR("r")};
        struct llm_target target = {.model = STR("x"), .quirks = &quirks, .traits = &traits};
        mem_blocks_trim();
        arena_free(arena);
        arena = arena_new(512);
        build = build_form;
        assert_int_equal(
            translation_init(&t, arena, &client, &provider, &settings, STR("{}"), STR_EMPTY, false),
            0);
        mem_fail_at(n);
        int r = translation_write_request(&t, &provider, &target, &out);
        if (r == 0)
            r = translation_event(&t, STR_EMPTY, str_c(script), &frames);
        if (r == 0)
            r = translation_whole(&t, str_c(script), &written, &is_error);
        bool was_reached = mem_count() >= n;
        mem_fail_at(0);
        translation_fini(&t);
        memset(&t, 0, sizeof(t));
        buf_fini(&out);
        buf_fini(&written);
        if (!was_reached)
            break;
        failures += r == -ERR_NOMEM;
        assert_true(r == 0 || r == -ERR_NOMEM);
    }
    assert_true(failures >= 5);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_are_mapped_and_mapped_back),
        TEST(names_are_the_same_in_every_turn),
        TEST(a_tool_is_the_answer),
        TEST(a_tool_of_that_name_keeps_it),
        TEST(what_cannot_be_is_refused),
        TEST(what_is_one_vendors_stays_with_it),
        TEST(a_turn_without_its_thinking_goes_on_without),
        TEST(what_was_seen_is_told),
        TEST(last_words_are_said_once),
        TEST(a_whole_answer_is_folded),
        TEST(a_bad_request_is_refused_with_its_words),
        TEST(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
