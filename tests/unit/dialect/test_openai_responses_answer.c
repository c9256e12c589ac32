/* Answers of the Responses API: what a stream and a whole answer decode to, what is encoded,
 * errors, and the state that a gateway may keep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/openai_responses/state.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &openai_responses_dialect;
static struct arena *arena;
static struct buf out;
static struct llm_codec_settings settings;

/* A sink that writes down what it is given, a line an event. */
struct log {
    struct llm_sink sink;
    struct buf text;
};
static struct log log_;

static const char *const kinds[] = {"text", "image",       "audio",    "video",   "document",
                                    "call", "tool_result", "thinking", "refusal", "opaque"};

static void log_delta(struct buf *text, const struct llm_event *e)
{
    static const char *const names[] = {"text",     "arguments", "signature",
                                        "citation", "logprobs",  "media"};
    buf_printf(text, "%s %u ", names[e->delta], e->block);
    if (e->delta == DELTA_SIGNATURE)
        buf_add_str(text, text_or(arena, e->signature.data, STR_EMPTY));
    else if (e->delta == DELTA_CITATION)
        buf_add_str(text, text_or(arena, e->citation->url, STR_EMPTY));
    else if (e->delta == DELTA_LOGPROBS)
        buf_add_str(text, e->raw);
    else
        buf_add_str(text, text_or(arena, e->text, STR_EMPTY));
}

static int log_event(struct llm_sink *sink, const struct llm_event *e)
{
    struct buf *text = &CONTAINER_OF(sink, struct log, sink)->text;
    switch (e->kind) {
    case EVENT_START:
        buf_printf(text, "start %.*s %.*s", STR_ARG(e->id.s), STR_ARG(e->model.s));
        break;
    case EVENT_BLOCK_START:
        buf_printf(text, "%s %u", kinds[e->block_kind], e->block);
        if (e->block_kind == BLOCK_TOOL_CALL)
            buf_printf(text, " %.*s %.*s", STR_ARG(e->id.s), STR_ARG(e->name.s));
        break;
    case EVENT_DELTA:
        log_delta(text, e);
        break;
    case EVENT_BLOCK_STOP:
        buf_printf(text, "stop %u", e->block);
        break;
    case EVENT_USAGE:
        buf_printf(text, "usage %lld %lld", (long long)e->usage.input, (long long)e->usage.output);
        break;
    case EVENT_FINISH:
        buf_printf(text, "finish %s %.*s", llm_finish_names[e->finish], STR_ARG(e->raw_finish.s));
        break;
    case EVENT_DONE:
        BUF_LIT(text, "done");
        break;
    case EVENT_ERROR:
        buf_printf(text, "error %s %u %.*s", llm_error_kind_names[e->error.kind], e->error.status,
                   STR_ARG(e->error.message.s));
        break;
    case EVENT_PING:
        BUF_LIT(text, "ping");
        break;
    }
    buf_add_char(text, '\n');
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(4096);
    log_ = (struct log){.sink = {log_event}, .text = BUF_INIT};
    settings = (struct llm_codec_settings){
        .model = STR("asked"), .request_id = STR("77"), .now_s = 1700000000};
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    buf_fini(&log_.text);
    buf_fini(&out);
    return 0;
}

/* --- decoding --- */

/* An event without its "type" and "sequence_number". */
#define E(type, members) "{\"type\":\"" type "\"," members "}"
#define CREATED E("response.created", "\"response\":{\"id\":\"resp_1\",\"model\":\"m\"}")
#define END(type, status, more)                                                                \
    E("response." type, "\"response\":{\"id\":\"resp_1\",\"model\":\"m\",\"status\":\"" status \
                        "\"," more "\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}")
#define COMPLETED END("completed", "completed", "")
#define ADDED(index, item) \
    E("response.output_item.added", "\"output_index\":" index ",\"item\":{" item "}")
#define DONE(index, item) \
    E("response.output_item.done", "\"output_index\":" index ",\"item\":{" item "}")
#define TEXT_DELTA(index, part, text) \
    E("response.output_text.delta",   \
      "\"output_index\":" index ",\"content_index\":" part ",\"delta\":\"" text "\"")

static const struct {
    const char *name;
    const char *events[16];
    const char *log;
    int end; /* of decode_end */
} streams[] = {
    {"text",
     {CREATED, ADDED("0", "\"type\":\"message\",\"id\":\"msg\",\"content\":[]"),
      E("response.content_part.added", "\"output_index\":0,\"content_index\":0,\"part\":{\"type\":"
                                       "\"output_text\",\"text\":\"\"}"),
      TEXT_DELTA("0", "0", "a"), TEXT_DELTA("0", "0", "b\\n"),
      E("response.output_text.done",
        "\"output_index\":0,\"content_index\":0,\"text\":\"ab\\n\",\"logprobs\":[]"),
      DONE("0", "\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"ab\\n\"}]"),
      COMPLETED},
     "start resp_1 m\ntext 0\ntext 0 a\ntext 0 b\n\nstop 0\nusage 3 2\nfinish stop completed\n"
     "done\n",
     0},
    {"nothing but deltas",
     {CREATED, TEXT_DELTA("0", "0", "a"), COMPLETED},
     "start resp_1 m\ntext 0\ntext 0 a\nstop 0\nusage 3 2\nfinish stop completed\ndone\n",
     0},
    {"nothing but items",
     {CREATED,
      DONE("0", "\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\","
                "\"annotations\":[{\"type\":\"url_citation\",\"url\":\"u\"}]},"
                "{\"type\":\"refusal\",\"refusal\":\"no\"}]"),
      DONE("1", "\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":"
                "\"{}\""),
      COMPLETED},
     "start resp_1 m\ntext 0\ntext 0 a\ncitation 0 u\nstop 0\nrefusal 1\ntext 1 no\nstop 1\n"
     "call 2 c f\narguments 2 {}\nstop 2\nusage 3 2\nfinish tool_calls completed\ndone\n",
     0},
    {"nothing but the end",
     {END("completed", "completed",
          "\"output\":[{\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"text\":\"a\"},"
          "{\"text\":\"b\"}],\"encrypted_content\":\"E\"},{\"type\":\"message\",\"content\":[{"
          "\"type\":\"output_text\",\"text\":\"t\"}]}],")},
     "start resp_1 m\nthinking 0\ntext 0 a\ntext 0 \n\n\ntext 0 b\nsignature 0 E.rs\nstop 0\n"
     "text 1\ntext 1 t\nstop 1\nusage 3 2\nfinish stop completed\ndone\n",
     0},
    {"reasoning in summary parts",
     {CREATED, ADDED("0", "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[]"),
      E("response.reasoning_summary_text.delta",
        "\"output_index\":0,\"summary_index\":0,\"delta\":\"a\""),
      E("response.reasoning_summary_text.delta",
        "\"output_index\":0,\"summary_index\":1,\"delta\":\"b\""),
      DONE("0", "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[{\"text\":\"a\"},{\"text\":"
                "\"b\"}],\"encrypted_content\":\"E=\""),
      COMPLETED},
     "start resp_1 m\nthinking 0\ntext 0 a\ntext 0 \n\n\ntext 0 b\nsignature 0 E=.rs\nstop 0\n"
     "usage 3 2\nfinish stop completed\ndone\n",
     0},
    {"reasoning as it is",
     {CREATED, ADDED("0", "\"type\":\"reasoning\",\"id\":\"rs\""),
      E("response.reasoning_text.delta", "\"output_index\":0,\"content_index\":0,\"delta\":\"hm\""),
      DONE("0", "\"type\":\"reasoning\",\"id\":\"rs\",\"content\":[{\"text\":\"hm\"}]"), COMPLETED},
     "start resp_1 m\nthinking 0\ntext 0 hm\nsignature 0 .rs\nstop 0\nusage 3 2\n"
     "finish stop completed\ndone\n",
     0},
    /* Its id alone would be asked for where nothing is kept. */
    {"reasoning that is not told at all",
     {CREATED, DONE("0", "\"type\":\"reasoning\",\"id\":\"rs\",\"summary\":[]"), COMPLETED},
     "start resp_1 m\nthinking 0\nstop 0\nusage 3 2\nfinish stop completed\ndone\n",
     0},
    {"parallel calls that interleave",
     {CREATED, ADDED("0", "\"type\":\"function_call\",\"call_id\":\"a\",\"name\":\"f\""),
      ADDED("1", "\"type\":\"function_call\",\"call_id\":\"b\",\"name\":\"g\""),
      E("response.function_call_arguments.delta", "\"output_index\":0,\"delta\":\"{\""),
      E("response.function_call_arguments.delta", "\"output_index\":1,\"delta\":\"{}\""),
      E("response.function_call_arguments.delta", "\"output_index\":0,\"delta\":\"}\""),
      DONE("1", "\"type\":\"function_call\",\"arguments\":\"{}\""),
      DONE("0", "\"type\":\"function_call\",\"arguments\":\"{}\""), COMPLETED},
     "start resp_1 m\ncall 0 a f\ncall 1 b g\narguments 0 {\narguments 1 {}\narguments 0 }\n"
     "stop 1\nstop 0\nusage 3 2\nfinish tool_calls completed\ndone\n",
     0},
    {"a call without an id, its arguments only when done",
     {CREATED, ADDED("0", "\"type\":\"function_call\",\"name\":\"f\""),
      E("response.function_call_arguments.done", "\"output_index\":0,\"arguments\":\"{1}\""),
      DONE("0", "\"type\":\"function_call\",\"arguments\":\"{1}\""), COMPLETED},
     "start resp_1 m\ncall 0 call_77_0 f\narguments 0 {1}\nstop 0\nusage 3 2\n"
     "finish tool_calls completed\ndone\n",
     0},
    {"a built-in tool's call, and a ping",
     {CREATED, ADDED("0", "\"type\":\"web_search_call\",\"id\":\"ws\""),
      E("response.web_search_call.searching", "\"output_index\":0"), "{\"type\":\"keepalive\"}",
      DONE("0", "\"type\":\"web_search_call\",\"id\":\"ws\",\"status\":\"completed\""), COMPLETED},
     "start resp_1 m\nping\nopaque 0\nstop 0\nusage 3 2\nfinish stop completed\ndone\n",
     0},
    {"cut", {CREATED, TEXT_DELTA("0", "0", "a")}, "start resp_1 m\ntext 0\ntext 0 a\n", -ERR_RESET},
    {"after the end nothing counts",
     {CREATED, COMPLETED, TEXT_DELTA("0", "0", "a"), "[DONE]", "not json"},
     "start resp_1 m\nusage 3 2\nfinish stop completed\ndone\n",
     0},
    /* B-01: only that it began, then what went wrong: nothing that a client could have seen. */
    {"B-01 created, then an error",
     {CREATED, E("response.in_progress", "\"response\":{\"id\":\"resp_1\"}"),
      ADDED("0", "\"type\":\"message\",\"content\":[]"),
      "{\"type\":\"error\",\"error\":{\"type\":\"insufficient_quota\",\"code\":"
      "\"insufficient_quota\",\"message\":\"pay\",\"param\":null}}",
      END("failed", "failed", "\"error\":{\"code\":\"x\",\"message\":\"y\"},")},
     "start resp_1 m\nerror quota 429 pay\n",
     0},
    {"B-01 a flat error",
     {"{\"type\":\"error\",\"code\":\"server_error\",\"message\":\"oh\",\"param\":null}"},
     "error server 500 oh\n",
     0},
    {"B-06 failed",
     {CREATED, END("failed", "failed",
                   "\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"},")},
     "start resp_1 m\nusage 3 2\nerror rate_limit 429 slow\n",
     0},
    {"B-06 incomplete for its length",
     {CREATED, TEXT_DELTA("0", "0", "a"),
      END("incomplete", "incomplete",
          "\"incomplete_details\":{\"reason\":\"max_output_tokens\"},")},
     "start resp_1 m\ntext 0\ntext 0 a\nstop 0\nusage 3 2\nfinish length max_output_tokens\n"
     "done\n",
     0},
    {"B-06 incomplete by a filter",
     {CREATED,
      END("incomplete", "incomplete", "\"incomplete_details\":{\"reason\":\"content_filter\"},")},
     "start resp_1 m\nusage 3 2\nfinish content_filter content_filter\ndone\n",
     0},
    {"B-06 cancelled",
     {CREATED, END("cancelled", "cancelled", "")},
     "start resp_1 m\nusage 3 2\nerror server 500 the response was cancelled at the provider\n",
     0},
    /* L-04: the call that comes after a text is not lost, and its arguments are byte for byte. */
    {"L-04 text, then a call",
     {CREATED, ADDED("0", "\"type\":\"message\",\"content\":[]"), TEXT_DELTA("0", "0", "I look"),
      DONE("0",
           "\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"I look\"}]"),
      ADDED("1", "\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":\"\""),
      E("response.function_call_arguments.delta",
        "\"output_index\":1,\"delta\":\"{\\\"a\\\" : 1.0\""),
      E("response.function_call_arguments.delta", "\"output_index\":1,\"delta\":\"}\""),
      E("response.function_call_arguments.done",
        "\"output_index\":1,\"arguments\":\"{\\\"a\\\" : 1.0}\""),
      DONE("1", "\"type\":\"function_call\",\"call_id\":\"c\",\"name\":\"f\",\"arguments\":"
                "\"{\\\"a\\\" : 1.0}\""),
      COMPLETED},
     "start resp_1 m\ntext 0\ntext 0 I look\nstop 0\ncall 1 c f\narguments 1 {\"a\" : 1.0\n"
     "arguments 1 }\nstop 1\nusage 3 2\nfinish tool_calls completed\ndone\n",
     0},
};

static void expect_log(const char *name, const char *want)
{
    if (!str_eq(buf_str(&log_.text), str_c(want)))
        fail_msg("%s:\n%.*s--- not ---\n%s", name, STR_ARG(buf_str(&log_.text)), want);
}

static void streams_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
        buf_clear(&log_.text);
        for (size_t k = 0; k < 16 && streams[i].events[k] != NULL; k++) {
            if (dialect->decode(decoder, STR_EMPTY, str_c(streams[i].events[k]), &log_.sink) != 0)
                fail_msg("%s: %s", streams[i].events[k], err_slot()->message);
        }
        assert_int_equal(dialect->decode_end(decoder, &log_.sink), streams[i].end);
        expect_log(streams[i].name, streams[i].log);
    }
}

static void an_event_that_is_no_json_is_lost_alone(void **state)
{
    (void)state;
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    assert_int_equal(dialect->decode(decoder, STR_EMPTY, STR("{\"type\":"), &log_.sink),
                     -ERR_INVALID);
    assert_int_equal(dialect->decode(decoder, STR("response.completed"),
                                     STR("{\"response\":{\"id\":\"r\",\"model\":\"m\"}}"),
                                     &log_.sink),
                     0);
    expect_log("the name of an event counts where its data has no type",
               "start r m\nfinish stop completed\ndone\n");
}

static const struct {
    const char *body, *log;
} wholes[] = {
    {"{\"id\":\"r\",\"model\":\"m\",\"status\":\"completed\",\"error\":null,\"output\":["
     "{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"a\",\"logprobs\":["
     "{\"token\":\"a\"}]}]}],\"usage\":{\"input_tokens\":9,\"output_tokens\":8}}",
     "start r m\ntext 0\ntext 0 a\nlogprobs 0 [{\"token\":\"a\"}]\nstop 0\nusage 9 8\n"
     "finish stop completed\ndone\n"},
    {"{\"id\":\"r\",\"model\":\"m\",\"status\":\"failed\",\"error\":{\"code\":\"server_error\","
     "\"message\":\"x\"},\"output\":[]}",
     "start r m\nerror server 500 x\n"},
    {"{\"id\":\"r\",\"model\":\"m\",\"status\":\"queued\",\"error\":null,\"output\":[]}",
     "start r m\nfinish other queued\ndone\n"},
    {"{\"error\":{\"message\":\"no\",\"type\":\"invalid_request_error\"}}",
     "error invalid_request 400 no\n"},
    /* A total that has reasoning beside the output. */
    {"{\"id\":\"r\",\"model\":\"m\",\"output\":[],\"usage\":{\"input_tokens\":9,"
     "\"output_tokens\":8,\"output_tokens_details\":{\"reasoning_tokens\":100},"
     "\"total_tokens\":117}}",
     "start r m\nusage 9 108\nfinish stop completed\ndone\n"},
};

static void whole_answers_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wholes); i++) {
        struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
        buf_clear(&log_.text);
        assert_int_equal(dialect->decode_whole(decoder, str_c(wholes[i].body), &log_.sink), 0);
        expect_log(wholes[i].body, wholes[i].log);
    }
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    assert_int_equal(dialect->decode_whole(decoder, STR("<html>"), &log_.sink), -ERR_INVALID);
}

/* xAI's own searches come as calls of custom tools that the client does not have. */
static void a_custom_call_is_the_clients_only_when_its_tool_is(void **state)
{
    (void)state;
    static const char done[] =
        DONE("0", "\"type\":\"custom_tool_call\",\"call_id\":\"c\",\"name\":\"p\",\"input\":"
                  "\"a\\\"b\"");
    struct llm_request request;
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    assert_int_equal(dialect->decode(decoder, STR_EMPTY, str_c(done), &log_.sink), 0);
    expect_log("of the provider", "opaque 0\nstop 0\n");
    assert_int_equal(dialect->read_request(
                         STR("{\"model\":\"m\",\"tools\":[{\"type\":\"custom\",\"name\":\"p\"}]}"),
                         arena, &request),
                     0);
    settings.request = &request;
    buf_clear(&log_.text);
    decoder = dialect->decoder_new(arena, &settings);
    assert_int_equal(dialect->decode(decoder, STR_EMPTY, str_c(done), &log_.sink), 0);
    expect_log("of the client", "call 0 c p\narguments 0 {\"input\":\"a\\\"b\"}\nstop 0\n");
}

/* --- encoding --- */

struct frames {
    struct llm_frames frames;
    struct buf event, all;
};

static struct buf *frame_begin(struct llm_frames *frames, struct str type)
{
    struct frames *f = CONTAINER_OF(frames, struct frames, frames);
    (void)type;
    buf_clear(&f->event);
    return &f->event;
}

static void frame_end(struct llm_frames *frames)
{
    struct frames *f = CONTAINER_OF(frames, struct frames, frames);
    assert_true(str_index(buf_str(&f->event), '\n') < 0);
    buf_add_str(&f->all, buf_str(&f->event));
    buf_add_char(&f->all, '\n');
}

static struct llm_event event_of(enum llm_event_kind kind, unsigned block)
{
    struct llm_event event = llm_event_make(kind);
    event.block = block;
    return event;
}

static void put_block(struct llm_encoder *e, struct frames *f, struct llm_event start,
                      enum llm_delta_kind delta, const char *text)
{
    struct llm_event event = event_of(EVENT_DELTA, start.block);
    event.delta = delta;
    event.text = text_plain(str_c(text));
    dialect->encode(e, &start, &f->frames);
    dialect->encode(e, &event, &f->frames);
    event = event_of(EVENT_BLOCK_STOP, start.block);
    dialect->encode(e, &event, &f->frames);
}

static void put_end(struct llm_encoder *e, struct frames *f, enum llm_finish finish)
{
    struct llm_event event = event_of(EVENT_FINISH, 0);
    event.finish = finish;
    dialect->encode(e, &event, &f->frames);
    event = event_of(EVENT_DONE, 0);
    dialect->encode(e, &event, &f->frames);
}

/* The response of the last event. */
static struct str final_of(struct frames *f)
{
    struct json_value response;
    assert_true(json_find(buf_str(&f->event), "response", &response));
    return response.text;
}

static void frames_fini(struct frames *f)
{
    buf_fini(&f->event);
    buf_fini(&f->all);
}

static const struct {
    enum llm_finish finish;
    const char *type, *reason;
} finishes[] = {
    {FINISH_STOP, "response.completed", NULL},
    {FINISH_STOP_SEQUENCE, "response.completed", NULL},
    {FINISH_TOOL_CALLS, "response.completed", NULL},
    {FINISH_LENGTH, "response.incomplete", "max_output_tokens"},
    {FINISH_CONTEXT, "response.incomplete", "max_output_tokens"},
    {FINISH_CONTENT_FILTER, "response.incomplete", "content_filter"},
    {FINISH_REFUSAL, "response.incomplete", "content_filter"},
    {FINISH_PAUSE, "response.completed", NULL},
    {FINISH_OTHER, "response.completed", NULL},
};

/* B-06, the other way: every finish has its end. */
static void B_06_every_finish_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(finishes); i++) {
        struct frames f = {.frames = {frame_begin, frame_end}};
        struct llm_encoder *e = dialect->encoder_new(arena, &settings);
        struct json_value value;
        struct llm_event start = event_of(EVENT_BLOCK_START, 0);
        start.block_kind = BLOCK_TEXT;
        put_block(e, &f, start, DELTA_TEXT, "x");
        put_end(e, &f, finishes[i].finish);
        assert_true(json_find(buf_str(&f.event), "type", &value));
        assert_true(str_eq(json_string_raw(value), str_c(finishes[i].type)));
        assert_true(json_find(final_of(&f), "incomplete_details.reason", &value) ==
                    (finishes[i].reason != NULL));
        if (finishes[i].reason != NULL)
            assert_true(str_eq(json_string_raw(value), str_c(finishes[i].reason)));
        frames_fini(&f);
    }
}

/* A call whose signature is Gemini's: an item before it carries it, marked. */
static void a_calls_signature_has_its_carrier(void **state)
{
    (void)state;
    struct frames f = {.frames = {frame_begin, frame_end}};
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    struct llm_event start = event_of(EVENT_BLOCK_START, 0);
    struct json_value value;
    start.block_kind = BLOCK_TOOL_CALL;
    start.id = text_plain(STR("c"));
    start.name = text_plain(STR("f"));
    start.signature = (struct llm_signature){text_plain(STR("SIG")), DIALECT_GEMINI};
    put_block(e, &f, start, DELTA_ARGUMENTS, "{}");
    put_end(e, &f, FINISH_TOOL_CALLS);
    assert_true(json_find(final_of(&f), "output[0].type", &value));
    assert_true(str_eq(json_string_raw(value), STR("reasoning")));
    assert_true(json_find(final_of(&f), "output[0].encrypted_content", &value));
    assert_true(str_find(value.text, STR("SIG")) > 0);
    assert_true(json_find(final_of(&f), "output[1].call_id", &value));
    /* What the client sends back is that signature again, for the call. */
    buf_clear(&out);
    BUF_LIT(&out, "{\"model\":\"m\",\"input\":");
    assert_true(json_find(final_of(&f), "output", &value));
    buf_add_str(&out, value.text);
    buf_add_char(&out, '}');
    struct llm_request request;
    assert_int_equal(dialect->read_request(buf_str(&out), arena, &request), 0);
    assert_true(request.messages->blocks->is_for_call);
    assert_int_equal(request.messages->blocks->signature.maker, DIALECT_GEMINI);
    assert_true(text_eq(request.messages->blocks->signature.data, STR("SIG")));
    frames_fini(&f);
}

/* A redacted thought (Anthropic's) is one again when it comes back. */
static void a_redacted_thought_stays_redacted(void **state)
{
    (void)state;
    struct frames f = {.frames = {frame_begin, frame_end}};
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    struct llm_event event = event_of(EVENT_BLOCK_START, 0);
    struct llm_request request;
    struct json_value value;
    event.block_kind = BLOCK_THINKING;
    event.is_redacted = true;
    dialect->encode(e, &event, &f.frames);
    event = event_of(EVENT_DELTA, 0);
    event.delta = DELTA_SIGNATURE;
    event.signature = (struct llm_signature){text_plain(STR("DATA==")), DIALECT_ANTHROPIC};
    dialect->encode(e, &event, &f.frames);
    event = event_of(EVENT_BLOCK_STOP, 0);
    dialect->encode(e, &event, &f.frames);
    put_end(e, &f, FINISH_STOP);
    BUF_LIT(&out, "{\"model\":\"m\",\"input\":");
    assert_true(json_find(final_of(&f), "output", &value));
    buf_add_str(&out, value.text);
    buf_add_char(&out, '}');
    assert_int_equal(dialect->read_request(buf_str(&out), arena, &request), 0);
    const struct llm_block *block = request.messages->blocks;
    assert_true(block->is_redacted);
    assert_int_equal(block->signature.maker, DIALECT_ANTHROPIC);
    assert_true(text_eq(block->signature.data, STR("DATA==")));
    frames_fini(&f);
}

/* A client's tool of free text gets its text, though the model was told of a function. */
static void a_custom_tool_gets_its_text(void **state)
{
    (void)state;
    static const struct {
        const char *arguments, *input;
    } cases[] = {{"{\"input\":\"*** \\\"x\\\"\\n\"}", "\"*** \\\"x\\\"\\n\""},
                 {"not an object", "\"not an object\""}};
    struct llm_request request;
    assert_int_equal(dialect->read_request(
                         STR("{\"model\":\"m\",\"tools\":[{\"type\":\"custom\",\"name\":\"p\"}]}"),
                         arena, &request),
                     0);
    settings.request = &request;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct frames f = {.frames = {frame_begin, frame_end}};
        struct llm_encoder *e = dialect->encoder_new(arena, &settings);
        struct llm_event start = event_of(EVENT_BLOCK_START, 0);
        struct json_value value;
        start.block_kind = BLOCK_TOOL_CALL;
        start.id = text_plain(STR("c"));
        start.name = text_plain(STR("p"));
        put_block(e, &f, start, DELTA_ARGUMENTS, cases[i].arguments);
        put_end(e, &f, FINISH_TOOL_CALLS);
        assert_true(json_find(final_of(&f), "output[0].type", &value));
        assert_true(str_eq(json_string_raw(value), STR("custom_tool_call")));
        assert_true(json_find(final_of(&f), "output[0].input", &value));
        assert_true(str_eq(value.text, str_c(cases[i].input)));
        frames_fini(&f);
    }
}

/* What the client's body had on several lines is told on one. */
static void the_request_is_repeated_on_one_line(void **state)
{
    (void)state;
    struct frames f = {.frames = {frame_begin, frame_end}};
    struct llm_request request;
    struct json_value value;
    assert_int_equal(dialect->read_request(STR("{\"model\":\"m\",\n\"metadata\":{\n\"a\":\"b\"},"
                                               "\"temperature\":0.25,\"instructions\":\"i\"}"),
                                           arena, &request),
                     0);
    settings.request = &request;
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    put_end(e, &f, FINISH_STOP);
    assert_true(json_find(final_of(&f), "metadata.a", &value));
    assert_true(json_find(final_of(&f), "temperature", &value));
    assert_true(str_eq(value.text, STR("0.25")));
    assert_true(json_find(final_of(&f), "instructions", &value));
    assert_true(str_eq(value.text, STR("\"i\"")));
    frames_fini(&f);
}

/* Where a source tells no places, a citation is of all the text so far: characters, not bytes. */
static void a_citation_spans_the_text_so_far(void **state)
{
    (void)state;
    struct frames f = {.frames = {frame_begin, frame_end}};
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    struct llm_citation citation = {.url = text_plain(STR("https://a")),
                                    .start = -1,
                                    .end = -1,
                                    .document = -1,
                                    .maker = DIALECT_ANTHROPIC};
    struct llm_event event = event_of(EVENT_BLOCK_START, 0);
    struct json_value value;
    event.block_kind = BLOCK_TEXT;
    dialect->encode(e, &event, &f.frames);
    event = event_of(EVENT_DELTA, 0);
    event.delta = DELTA_TEXT;
    event.text = (struct text){STR("\\u00e9\xc3\xa9\\n\\ud83d\\ude00"), true};
    dialect->encode(e, &event, &f.frames);
    event = event_of(EVENT_DELTA, 0);
    event.delta = DELTA_CITATION;
    event.citation = &citation;
    dialect->encode(e, &event, &f.frames);
    assert_true(json_find(buf_str(&f.event), "annotation.end_index", &value));
    assert_true(str_eq(value.text, STR("4")));
    frames_fini(&f);
}

static void an_error_ends_a_stream(void **state)
{
    (void)state;
    struct frames f = {.frames = {frame_begin, frame_end}};
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    struct llm_event event = event_of(EVENT_ERROR, 0);
    struct json_value value;
    event.error.kind = LLM_ERROR_CONTEXT_LENGTH;
    event.error.message = text_plain(STR("too long"));
    event.error.code = text_plain(STR("ValidationException"));
    dialect->encode(e, &event, &f.frames);
    assert_true(json_find(final_of(&f), "error.code", &value));
    assert_true(str_eq(json_string_raw(value), STR("context_length_exceeded")));
    assert_true(str_find(buf_str(&f.all), STR("{\"type\":\"error\",\"sequence_number\":2")) > 0);
    event = event_of(EVENT_DONE, 0);
    buf_clear(&f.all);
    dialect->encode(e, &event, &f.frames);
    assert_int_equal(f.all.len, 0);
    frames_fini(&f);
}

/* --- errors --- */

static const struct {
    unsigned status;
    const char *body;
    enum llm_error_kind kind;
    const char *message;
} errors[] = {
    {401, "{\"error\":{\"message\":\"m\",\"code\":\"invalid_api_key\"}}", LLM_ERROR_AUTHENTICATION,
     "m"},
    {400, "{\"error\":{\"message\":\"m\",\"code\":\"context_length_exceeded\"}}",
     LLM_ERROR_CONTEXT_LENGTH, "m"},
    {429, "{\"error\":{\"message\":\"m\",\"type\":\"insufficient_quota\"}}", LLM_ERROR_QUOTA, "m"},
    {429, "{\"error\":{\"message\":\"m\",\"code\":\"429\"}}", LLM_ERROR_RATE_LIMIT, "m"},
    {400, "{\"error\":{\"message\":\"m\",\"code\":\"content_filter\",\"param\":null}}",
     LLM_ERROR_CONTENT_POLICY, "m"},
    {404, "{\"error\":{\"message\":\"m\",\"code\":\"invalid\"}}", LLM_ERROR_NOT_FOUND, "m"},
    {400, "{\"code\":\"c\",\"error\":\"Incorrect API key\"}", LLM_ERROR_AUTHENTICATION,
     "Incorrect API key"},
    {500, "{\"message\":\"m\"}", LLM_ERROR_SERVER, "m"},
    {500, "{\"detail\":\"m\"}", LLM_ERROR_SERVER, "m"},
};

static void errors_are_read(void **state)
{
    (void)state;
    struct llm_error error;
    for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
        assert_true(
            dialect->read_error(errors[i].status, STR_EMPTY, str_c(errors[i].body), &error));
        if (error.kind != errors[i].kind)
            fail_msg("%s: %s", errors[i].body, llm_error_kind_names[error.kind]);
        assert_true(text_eq(error.message, str_c(errors[i].message)));
        assert_int_equal(error.status, errors[i].status);
    }
    assert_false(dialect->read_error(502, STR_EMPTY, STR("<html>"), &error));
    assert_int_equal(error.status, 502);
    assert_int_equal(error.kind, llm_error_kind_of_status(502));
}

static void errors_are_written(void **state)
{
    (void)state;
    struct llm_error error = LLM_ERROR_NONE;
    char where[256];
    error.kind = LLM_ERROR_OVERLOADED;
    error.message = text_plain(STR("busy \"now\""));
    error.code = text_plain(STR("overloaded_error"));
    dialect->write_error(&error, &out);
    assert_true(json_equal(buf_str(&out),
                           STR("{\"error\":{\"message\":\"busy \\\"now\\\"\",\"type\":"
                               "\"server_error\",\"code\":\"overloaded_error\"}}"),
                           where, sizeof(where)));
}

/* --- state --- */

static const struct {
    const char *stored, *body, *expanded;
} expansions[] = {
    {"[{\"a\":1}]", "{\"model\":\"m\",\"previous_response_id\":\"r\",\"input\":\"hi\"}",
     "{\"model\":\"m\",\"input\":[{\"a\":1},{\"role\":\"user\",\"content\":\"hi\"}]}"},
    {"[{\"a\":1}]", "{\"input\":[{\"b\":2}], \"previous_response_id\" : \"r\" }",
     "{\"input\":[{\"a\":1},{\"b\":2}]}"},
    {"[]", "{\"previous_response_id\":\"r\",\"input\":[],\"instructions\":\"i\"}",
     "{\"input\":[],\"instructions\":\"i\"}"},
    {"[1,2]", "{\"previous_response_id\":\"r\"}", "{\"input\":[1,2]}"},
    {"[1]", "{\"model\":\"m\"}", "{\"input\":[1],\"model\":\"m\"}"},
    {"[1]", "{\"input\":null,\"previous_response_id\":null}", "{\"input\":[1]}"},
};

static void earlier_turns_come_first(void **state)
{
    (void)state;
    char where[512];
    for (size_t i = 0; i < ARRAY_LEN(expansions); i++) {
        buf_clear(&out);
        assert_int_equal(openai_responses_expand(str_c(expansions[i].stored),
                                                 str_c(expansions[i].body), arena, &out),
                         0);
        assert_true(str_find(buf_str(&out), STR("previous_response_id")) < 0);
        if (!json_equal(buf_str(&out), str_c(expansions[i].expanded), where, sizeof(where)))
            fail_msg("%s: %s", where, expansions[i].body);
    }
    buf_clear(&out);
    assert_int_equal(openai_responses_expand(STR("[]"), STR("{\"input\":5}"), arena, &out),
                     -ERR_INVALID);
}

static void a_turn_is_kept_as_items(void **state)
{
    (void)state;
    assert_int_equal(openai_responses_items_of(
                         STR("{\"input\":\"q\"}"),
                         STR("{\"id\":\"r\",\"output\":[{\"type\":\"message\"},{\"c\": 1}]}"),
                         &out),
                     0);
    assert_true(str_eq(buf_str(&out), STR("[{\"role\":\"user\",\"content\":\"q\"},"
                                          "{\"type\":\"message\"},{\"c\": 1}]")));
    buf_clear(&out);
    assert_int_equal(
        openai_responses_items_of(STR("{\"input\":[{\"a\":1}]}"), STR("{\"output\":[]}"), &out), 0);
    assert_true(str_eq(buf_str(&out), STR("[{\"a\":1}]")));
    assert_int_equal(openai_responses_items_of(STR("{}"), STR("{}"), &out), -ERR_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(streams_decode),
        TEST(an_event_that_is_no_json_is_lost_alone),
        TEST(whole_answers_decode),
        TEST(a_custom_call_is_the_clients_only_when_its_tool_is),
        TEST(B_06_every_finish_is_told),
        TEST(a_calls_signature_has_its_carrier),
        TEST(a_redacted_thought_stays_redacted),
        TEST(a_custom_tool_gets_its_text),
        TEST(the_request_is_repeated_on_one_line),
        TEST(a_citation_spans_the_text_so_far),
        TEST(an_error_ends_a_stream),
        TEST(errors_are_read),
        TEST(errors_are_written),
        TEST(earlier_turns_come_first),
        TEST(a_turn_is_kept_as_items),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
