/* Answers of chat completions: what is read from streams that are odd, what clients get, and that
 * signatures come back from a client that knows nothing of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/sequence.h"
#include "dialect/signature.h"
#include "support/event_text.h"
#include "support/validate.h"

static const struct dialect *const dialect = &openai_chat_dialect;
static struct llm_codec_settings settings;
static struct arena *arena;
static struct event_log events;

static int set_up(void **state)
{
    (void)state;
    settings = (struct llm_codec_settings){
        .model = STR("m"), .request_id = STR("42"), .now_s = 1700000000};
    arena = arena_new(4096);
    event_log_init(&events, true);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&events.text);
    arena_free(arena);
    return 0;
}

/* What decode_end says; `lines` are the events' data, one a line. */
static int decode(const char *lines)
{
    struct str rest = str_c(lines), line;
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    while (str_next(&rest, '\n', &line)) {
        if (dialect->decode(decoder, STR_EMPTY, line, &events.sink) != 0)
            fail_msg("%.*s: %s", STR_ARG(line), err_slot()->message);
    }
    return dialect->decode_end(decoder, &events.sink);
}

#define DELTA(members) "{\"choices\":[{\"index\":0,\"delta\":{" members "}}]}\n"
#define FINISH(reason) \
    "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" reason "\"}]}\n"
#define CALL(members) DELTA("\"tool_calls\":[{" members "}]")

static void expect_events(const char *want)
{
    const char *got = event_log_text(&events);
    if (strstr(got, want) == NULL)
        fail_msg("want\n%s\ngot\n%s", want, got);
}

static void calls_are_put_together(void **state)
{
    (void)state;
    /* One whole in one delta; no type; no index: by the id, or the last one. */
    assert_int_equal(
        decode(CALL("\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"x\\\":\"}")
                   CALL("\"function\":{\"arguments\":\"1}\"}")
                       CALL("\"id\":\"b\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}")
                           FINISH("tool_calls") "[DONE]\n"),
        0);
    expect_events("block 0.0 tool_call a f\nargs 0.0 {\\\"x\\\":1}\nblock 0.1 tool_call b g\n"
                  "args 0.1 {}\n");
    expect_events("finish 0 tool_calls");
}

static void s_12_arguments_after_the_finish_and_interleaved(void **state)
{
    (void)state;
    struct llm_fold fold;
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    struct arena *own = arena_new(4096);
    static const char lines[] =
        CALL("\"index\":0,\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":\"f\","
             "\"arguments\":\"\"}")
            CALL("\"index\":1,\"id\":\"b\",\"type\":\"function\",\"function\":{\"name\":\"g\","
                 "\"arguments\":\"{\\\"y\"}")
                CALL("\"index\":0,\"function\":{\"arguments\":\"{\\\"x\\\":\"}")
                    FINISH("tool_calls")
                        CALL("\"index\":1,\"function\":{\"arguments\":\"\\\":2}\"}")
                            CALL("\"index\":0,\"function\":{\"arguments\":\" 1}\"}")
                                FINISH("tool_calls") "[DONE]\n";
    struct str rest = str_c(lines), line;
    llm_fold_init(&fold, own);
    while (str_next(&rest, '\n', &line))
        assert_int_equal(dialect->decode(decoder, STR_EMPTY, line, &fold.sink), 0);
    const struct llm_block *b = fold.answer.choices->blocks;
    assert_true(fold.answer.is_done);
    assert_true(text_eq(b->arguments, STR("{\"x\": 1}")));
    assert_true(text_eq(b->next->arguments, STR("{\"y\":2}")));
    arena_free(own);
}

static void s_3_an_error_as_the_first_chunk(void **state)
{
    (void)state;
    decode(
        "{\"error\":{\"message\":\"busy\",\"type\":\"overloaded_error\",\"code\":503}}\n[DONE]\n");
    assert_string_equal(event_log_text(&events), "error overloaded busy\n");
}

static void s_4_an_error_in_the_middle(void **state)
{
    (void)state;
    decode(DELTA(
        "\"content\":\"a\"") "{\"id\":\"x\",\"choices\":[],\"error\":{\"code\":502,\"message\":\"gone\"}}\n[DONE]\n");
    expect_events("error server gone\n");
    assert_null(strstr(event_log_text(&events), "finish"));
}

static void groqs_error_event(void **state)
{
    (void)state;
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    assert_int_equal(dialect->decode(decoder, STR("error"),
                                     STR("{\"error\":{\"message\":\"bad\",\"status_code\":413}}"),
                                     &events.sink),
                     0);
    expect_events("error too_large bad");
}

static void a_cut_stream_is_told(void **state)
{
    (void)state;
    assert_int_equal(decode(DELTA("\"content\":\"a\"")), -ERR_RESET);
    assert_null(strstr(event_log_text(&events), "done"));
    buf_clear(&events.text);
    /* Perplexity just stops. */
    assert_int_equal(decode(DELTA("\"content\":\"a\"") FINISH("stop")), 0);
    expect_events("done");
}

static void content_may_be_parts(void **state)
{
    (void)state;
    decode(DELTA("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":"
                 "\"t\"}]}]") DELTA("\"content\":[{\"type\":\"text\",\"text\":\"a\"}]")
               FINISH("stop") FINISH("stop") "[DONE]\n");
    expect_events("block 0.0 thinking\ntext 0.0 t\nstop 0.0\nblock 0.1 text\ntext 0.1 a\n"
                  "stop 0.1\nfinish 0 stop\ndone\n");
}

static void usage_may_be_anywhere(void **state)
{
    (void)state;
    decode(DELTA("\"content\":\"a\"") FINISH(
        "stop") "{\"choices\":[],\"x_groq\":{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}}\n"
                "[DONE]\n");
    expect_events("usage 3 4");
}

/* --- what clients get --- */

struct client {
    struct llm_frames frames;
    struct validator validator;
    struct buf event, stream;
};

static struct buf *begin(struct llm_frames *frames, struct str type)
{
    struct client *client = CONTAINER_OF(frames, struct client, frames);
    (void)type;
    buf_clear(&client->event);
    return &client->event;
}

static void end(struct llm_frames *frames)
{
    struct client *client = CONTAINER_OF(frames, struct client, frames);
    struct str event = buf_str(&client->event);
    if (!validator_event(&client->validator, STR_EMPTY, event))
        fail_msg("%s: %.*s", client->validator.why, STR_ARG(event));
    buf_add_str(&client->stream, event);
    buf_add_char(&client->stream, '\n');
}

struct encoding {
    struct llm_sink sink;
    struct llm_encoder *encoder;
    struct client *client;
};

static int encode(struct llm_sink *sink, const struct llm_event *event)
{
    struct encoding *encoding = CONTAINER_OF(sink, struct encoding, sink);
    return dialect->encode(encoding->encoder, event, &encoding->client->frames);
}

static void play(const char *script, struct client *client)
{
    struct encoding encoding = {{encode}, dialect->encoder_new(arena, &settings), client};
    *client = (struct client){.frames = {begin, end}, .event = BUF_INIT, .stream = BUF_INIT};
    validator_init(&client->validator, DIALECT_OPENAI_CHAT);
    assert_int_equal(event_play(script, &encoding.sink), 0);
    if (!validator_end(&client->validator))
        fail_msg("%s", client->validator.why);
}

static void client_fini(struct client *client)
{
    validator_fini(&client->validator);
    buf_fini(&client->event);
    buf_fini(&client->stream);
}

static unsigned count(const struct client *client, const char *what)
{
    struct str rest = buf_str(&client->stream);
    unsigned n = 0;
    for (ptrdiff_t at; (at = str_find(rest, str_c(what))) >= 0; n++)
        rest = str_skip(rest, (size_t)at + 1);
    return n;
}

static void l_04_text_and_a_call_in_one_turn(void **state)
{
    (void)state;
    struct client client;
    play("start m\nblock 0.0 text\ntext 0.0 hello\nstop 0.0\nblock 0.1 tool_call c f\n"
         "args 0.1 {\\\"a\\\": \nargs 0.1 1}\nstop 0.1\nfinish 0 tool_calls\ndone",
         &client);
    assert_int_equal(count(&client, "\"content\":\"hello\""), 1);
    assert_int_equal(count(&client, "\"arguments\":\"{\\\"a\\\": \""), 1);
    assert_int_equal(count(&client, "\"finish_reason\":\"tool_calls\""), 1);
    client_fini(&client);
}

static void d_9_usage_is_told_once_where_asked_for(void **state)
{
    (void)state;
    static const char script[] = "start m\nusage 3 0\nblock 0.0 text\ntext 0.0 a\nstop 0.0\n"
                                 "usage 3 4\nfinish 0 stop\ndone";
    struct client client;
    play(script, &client);
    assert_int_equal(count(&client, "\"usage\""), 0);
    client_fini(&client);
    settings.includes_usage = true;
    play(script, &client);
    assert_int_equal(count(&client, "\"usage\""), 1);
    assert_int_equal(count(&client, "\"choices\":[],\"usage\":{\"prompt_tokens\":3,"
                                    "\"completion_tokens\":4,\"total_tokens\":7"),
                     1);
    client_fini(&client);
}

static void d_12_a_name_comes_once_and_indexes_count(void **state)
{
    (void)state;
    struct client client;
    play("start m\nblock 0.0 tool_call a f\nargs 0.0 {\nargs 0.0 }\nstop 0.0\n"
         "block 0.1 tool_call b g\nargs 0.1 {}\nstop 0.1\nfinish 0 tool_calls\ndone",
         &client);
    assert_int_equal(count(&client, "\"name\":\"f\""), 1);
    assert_int_equal(count(&client, "\"tool_calls\":[{\"index\":0,"), 3);
    assert_int_equal(count(&client, "\"tool_calls\":[{\"index\":1,"), 2);
    client_fini(&client);
}

static void b_06_every_end_has_its_word(void **state)
{
    (void)state;
    static const char *const ends[][2] = {
        {"stop", "stop"},
        {"length", "length"},
        {"tool_calls", "tool_calls"},
        {"content_filter", "content_filter"},
        {"refusal", "content_filter"},
        {"stop_sequence", "stop"},
    };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct client client;
        char script[256], want[64];
        snprintf(script, sizeof(script),
                 "start m\nblock 0.0 text\ntext 0.0 a\nstop 0.0\nfinish 0 %s\ndone", ends[i][0]);
        snprintf(want, sizeof(want), "\"finish_reason\":\"%s\"", ends[i][1]);
        play(script, &client);
        assert_int_equal(count(&client, want), 1);
        client_fini(&client);
    }
}

static void t_1_all_classes_of_input_are_prompt_tokens(void **state)
{
    (void)state;
    struct llm_answer answer = {.usage = TOKEN_USAGE_NONE};
    struct buf out = BUF_INIT;
    struct llm_choice choice = {.finish = FINISH_STOP};
    struct json_value value;
    answer.choices = &choice;
    answer.usage.input = 10;
    answer.usage.output = 5;
    answer.usage.cache_read = 100;
    answer.usage.cache_write_5m = 20;
    answer.usage.cache_write_1h = 3;
    dialect->write_answer(&answer, &settings, &out);
    static const struct {
        const char *path, *number;
    } cases[] = {
        {"usage.prompt_tokens", "133"},
        {"usage.total_tokens", "138"},
        {"usage.prompt_tokens_details.cached_tokens", "100"},
        {"usage.prompt_tokens_details.cache_write_tokens", "23"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(json_find(buf_str(&out), cases[i].path, &value));
        assert_true(str_eq(value.text, str_c(cases[i].number)));
    }
    buf_fini(&out);
}

/* --- signatures through a client that only keeps what it was given --- */

/* The client's next turn: the message as it was answered. */
static struct llm_request next_turn(const struct llm_answer *answer)
{
    struct buf out = BUF_INIT, body = BUF_INIT;
    struct json_value message;
    struct llm_request request;
    dialect->write_answer(answer, &settings, &out);
    assert_true(json_find(buf_str(&out), "choices[0].message", &message));
    BUF_LIT(&body, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"},");
    buf_add_str(&body, message.text);
    BUF_LIT(&body, "]}");
    struct str copy = arena_dup(arena, buf_str(&body));
    assert_int_equal(dialect->read_request(copy, arena, &request), 0);
    signature_settle(&request);
    buf_fini(&out);
    buf_fini(&body);
    return request;
}

static void t_3_a_calls_signature_comes_back(void **state)
{
    (void)state;
    struct llm_block call = {.kind = BLOCK_TOOL_CALL,
                             .id = TEXT_LIT("c1"),
                             .name = TEXT_LIT("f"),
                             .arguments = TEXT_LIT("{}"),
                             .signature = {TEXT_LIT("c2ln"), DIALECT_GEMINI}};
    struct llm_choice choice = {.blocks = &call, .finish = FINISH_TOOL_CALLS};
    struct llm_answer answer = {.choices = &choice, .usage = TOKEN_USAGE_NONE};
    struct llm_request request = next_turn(&answer);
    const struct llm_block *b = request.messages->next->blocks;
    while (b != NULL && b->kind != BLOCK_TOOL_CALL) {
        assert_int_not_equal(b->kind, BLOCK_THINKING);
        b = b->next;
    }
    assert_non_null(b);
    assert_true(text_eq(b->signature.data, STR("c2ln")));
    assert_int_equal(b->signature.maker, DIALECT_GEMINI);
}

static void t_3_details_stand_before_the_call(void **state)
{
    (void)state;
    struct client client;
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    play("start m\nblock 0.0 thinking\ntext 0.0 why\nsig 0.0 anthropic s1\nstop 0.0\n"
         "block 0.1 tool_call c f\nsig 0.1 gemini s2\nargs 0.1 {}\nstop 0.1\n"
         "finish 0 tool_calls\ndone",
         &client);
    assert_int_equal(count(&client, "\"reasoning_content\":\"why\""), 1);
    assert_int_equal(count(&client, "weir:anthropic:thinking:s1"), 1);
    assert_int_equal(count(&client, "weir:gemini:call:s2"), 1);
    client_fini(&client);
    /* Gemini tells it with the call. */
    struct encoding encoding = {{encode}, dialect->encoder_new(arena, &settings), &client};
    client = (struct client){.frames = {begin, end}, .event = BUF_INIT, .stream = BUF_INIT};
    validator_init(&client.validator, DIALECT_OPENAI_CHAT);
    event.block_kind = BLOCK_TOOL_CALL;
    event.id = TEXT_LIT("c");
    event.name = TEXT_LIT("f");
    event.signature = (struct llm_signature){TEXT_LIT("s3"), DIALECT_GEMINI};
    assert_int_equal(event_play("start m", &encoding.sink), 0);
    assert_int_equal(llm_sink_put(&encoding.sink, &event), 0);
    ptrdiff_t details = str_find(buf_str(&client.stream), STR("weir:gemini:call:s3"));
    ptrdiff_t calls = str_find(buf_str(&client.stream), STR("\"tool_calls\""));
    assert_true(details > 0 && calls > details);
    client_fini(&client);
}

static void b_07_thoughts_come_back_with_their_signature(void **state)
{
    (void)state;
    struct llm_block text = {.kind = BLOCK_TEXT, .text = TEXT_LIT("b")};
    struct llm_block redacted = {.next = &text,
                                 .kind = BLOCK_THINKING,
                                 .is_redacted = true,
                                 .signature = {TEXT_LIT("secret"), DIALECT_ANTHROPIC}};
    struct llm_block thought = {.next = &redacted,
                                .kind = BLOCK_THINKING,
                                .text = TEXT_LIT("why\n"),
                                .signature = {TEXT_LIT("s+/="), DIALECT_ANTHROPIC}};
    struct llm_choice choice = {.blocks = &thought, .finish = FINISH_STOP};
    struct llm_answer answer = {.choices = &choice, .usage = TOKEN_USAGE_NONE};
    struct llm_request request = next_turn(&answer);
    const struct llm_block *b = request.messages->next->blocks;
    assert_int_equal(b->kind, BLOCK_THINKING);
    assert_true(text_eq(b->text, STR("why\n")));
    assert_true(text_eq(b->signature.data, STR("s+/=")));
    assert_int_equal(b->signature.maker, DIALECT_ANTHROPIC);
    assert_false(b->is_redacted);
    assert_true(b->next->is_redacted);
    assert_true(text_eq(b->next->signature.data, STR("secret")));
    assert_int_equal(b->next->next->kind, BLOCK_TEXT);
    assert_null(b->next->next->next);
}

/* --- errors --- */

static void errors_of_all_shapes_are_read(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *body;
        enum llm_error_kind kind;
        const char *message;
    } cases[] = {
        {429, "{\"error\":{\"message\":\"m\",\"type\":\"insufficient_quota\"}}", LLM_ERROR_QUOTA,
         "m"},
        {429, "{\"error\":{\"message\":\"m\",\"code\":\"429\"}}", LLM_ERROR_RATE_LIMIT, "m"},
        {400, "{\"code\":\"x\",\"error\":\"Incorrect API key provided\"}", LLM_ERROR_AUTHENTICATION,
         "Incorrect API key provided"},
        {400, "{\"object\":\"error\",\"message\":\"m\",\"type\":\"invalid_request\"}",
         LLM_ERROR_INVALID_REQUEST, "m"},
        {422, "{\"detail\":[{\"msg\":\"m\",\"loc\":[]}]}", LLM_ERROR_INVALID_REQUEST, "m"},
        {401, "{\"message\":\"Unauthorized\"}", LLM_ERROR_AUTHENTICATION, "Unauthorized"},
        {400, "{\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}",
         LLM_ERROR_CONTEXT_LENGTH, "m"},
    };
    struct llm_error error;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(dialect->read_error(cases[i].status, STR_EMPTY, str_c(cases[i].body), &error));
        if (error.kind != cases[i].kind || !text_eq(error.message, str_c(cases[i].message)))
            fail_msg("%s: %s", cases[i].body, llm_error_kind_names[error.kind]);
    }
    assert_false(dialect->read_error(503, STR_EMPTY, STR("<html>"), &error));
    assert_int_equal(error.kind, LLM_ERROR_OVERLOADED);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(calls_are_put_together),
        CASE(s_12_arguments_after_the_finish_and_interleaved),
        CASE(s_3_an_error_as_the_first_chunk),
        CASE(s_4_an_error_in_the_middle),
        CASE(groqs_error_event),
        CASE(a_cut_stream_is_told),
        CASE(content_may_be_parts),
        CASE(usage_may_be_anywhere),
        CASE(l_04_text_and_a_call_in_one_turn),
        CASE(d_9_usage_is_told_once_where_asked_for),
        CASE(d_12_a_name_comes_once_and_indexes_count),
        CASE(b_06_every_end_has_its_word),
        CASE(t_1_all_classes_of_input_are_prompt_tokens),
        CASE(t_3_a_calls_signature_comes_back),
        CASE(t_3_details_stand_before_the_call),
        CASE(b_07_thoughts_come_back_with_their_signature),
        CASE(errors_of_all_shapes_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
