#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"
#include "dialect/dialect.h"

static const struct dialect *const dialect = &cohere_dialect;
static const struct llm_codec_settings settings = {
    .model = STR_INIT("m"), .request_id = STR_INIT("r1"), .now_s = 1};

/* --- events as lines ------------------------------------------------------------------------- */

struct log {
    struct llm_sink sink;
    struct buf lines;
    struct arena *arena;
};

static struct str plain(struct log *log, struct text text)
{
    return text_or(log->arena, text, STR_EMPTY);
}

static void log_delta(struct log *log, const struct llm_event *e)
{
    static const char *const names[] = {
        [DELTA_TEXT] = "text", [DELTA_ARGUMENTS] = "arguments", [DELTA_LOGPROBS] = "logprobs"};
    if (e->delta == DELTA_CITATION)
        buf_printf(&log->lines, "%u citation %lld-%lld doc %lld '%.*s' of '%.*s'\n", e->block,
                   (long long)e->citation->start, (long long)e->citation->end,
                   (long long)e->citation->document, STR_ARG(plain(log, e->citation->cited_text)),
                   STR_ARG(plain(log, e->citation->title)));
    else
        buf_printf(&log->lines, "%u %s '%.*s'\n", e->block, names[e->delta],
                   STR_ARG(e->delta == DELTA_LOGPROBS ? e->raw : plain(log, e->text)));
}

static int log_event(struct llm_sink *sink, const struct llm_event *e)
{
    struct log *log = CONTAINER_OF(sink, struct log, sink);
    struct buf *out = &log->lines;
    switch (e->kind) {
    case EVENT_START:
        buf_printf(out, "start %.*s\n", STR_ARG(plain(log, e->id)));
        break;
    case EVENT_BLOCK_START:
        buf_printf(out, "%u begins %d %.*s %.*s\n", e->block, (int)e->block_kind,
                   STR_ARG(plain(log, e->id)), STR_ARG(plain(log, e->name)));
        break;
    case EVENT_DELTA:
        log_delta(log, e);
        break;
    case EVENT_BLOCK_STOP:
        buf_printf(out, "%u stops\n", e->block);
        break;
    case EVENT_USAGE:
        buf_printf(out, "usage %lld %lld\n", (long long)e->usage.input, (long long)e->usage.output);
        break;
    case EVENT_FINISH:
        buf_printf(out, "finish %s %.*s\n", llm_finish_names[e->finish],
                   STR_ARG(plain(log, e->raw_finish)));
        break;
    case EVENT_DONE:
        BUF_LIT(out, "done\n");
        break;
    case EVENT_ERROR:
        buf_printf(out, "error %s '%.*s'\n", llm_error_kind_names[e->error.kind],
                   STR_ARG(plain(log, e->error.message)));
        break;
    case EVENT_PING:
        break;
    }
    return 0;
}

#define TYPE(name, rest) "{\"type\":\"" name "\"" rest "}"
#define DELTA(message) ",\"delta\":{\"message\":" message "}"
#define MESSAGE_START TYPE("message-start", ",\"id\":\"i\",\"delta\":{\"message\":{}}")
#define CONTENT_START(index, kind) \
    TYPE("content-start", ",\"index\":" index DELTA("{\"content\":{\"type\":\"" kind "\"}}"))
#define CONTENT_DELTA(index, kind, text) \
    TYPE("content-delta", ",\"index\":" index DELTA("{\"content\":{\"" kind "\":\"" text "\"}}"))
#define CONTENT_END(index) TYPE("content-end", ",\"index\":" index)
#define CITATION(members) \
    TYPE("citation-start", ",\"index\":0" DELTA("{\"citations\":{" members "}}"))
#define CALL_START(index, call) \
    TYPE("tool-call-start", ",\"index\":" index DELTA("{\"tool_calls\":" call "}"))
#define CALL_DELTA(index, text)                        \
    TYPE("tool-call-delta", ",\"index\":" index DELTA( \
                                "{\"tool_calls\":{\"function\":{\"arguments\":\"" text "\"}}}"))
#define MESSAGE_END(reason) TYPE("message-end", ",\"delta\":{\"finish_reason\":\"" reason "\"}")
#define PLAN(text) TYPE("tool-plan-delta", DELTA("{\"tool_plan\":\"" text "\"}"))

enum { EVENTS_MAX = 12 };

static void streams_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *events[EVENTS_MAX];
        const char *wanted;
        int end;
    } cases[] = {
        {{MESSAGE_START, CONTENT_START("0", "thinking"), CONTENT_DELTA("0", "thinking", "hm"),
          CONTENT_END("0"), CONTENT_START("1", "text"), CONTENT_DELTA("1", "text", "a\\u00e9"),
          CONTENT_END("1"), MESSAGE_END("COMPLETE"), "[DONE]", MESSAGE_START},
         "start i\n0 begins 7  \n0 text 'hm'\n0 stops\n1 begins 0  \n1 text 'a\xc3\xa9'\n1 stops\n"
         "finish stop COMPLETE\ndone\n",
         0},
        /* A citation comes after the end of its text; the end is told without [DONE]. */
        {{MESSAGE_START, CONTENT_START("0", "text"), CONTENT_DELTA("0", "text", "x"),
          CONTENT_END("0"),
          CITATION(
              "\"start\":0,\"end\":1,\"text\":\"x\",\"content_index\":0,\"sources\":[{\"type\":"
              "\"document\",\"id\":\"doc:3\",\"document\":{\"title\":\"T\",\"snippet\":\"s\"}}]"),
          CITATION("\"text\":\"y\",\"sources\":[{\"type\":\"tool\",\"id\":\"c:0\"}]"),
          MESSAGE_END("MAX_TOKENS")},
         "start i\n0 begins 0  \n0 text 'x'\n0 citation 0-1 doc 3 's' of 'T'\n"
         "0 citation -1--1 doc -1 'y' of ''\n0 stops\nfinish length MAX_TOKENS\ndone\n",
         0},
        /* A plan and two calls, the second without an id and interleaved. */
        {{MESSAGE_START, PLAN("I"), PLAN(" will"),
          CALL_START("0", "{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
                          "\"arguments\":\"\"}}"),
          CALL_START("1", "{\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}"),
          CALL_DELTA("0", "{\\\"a\\\":"), CALL_DELTA("0", "1}"),
          TYPE("tool-call-end", ",\"index\":0"), MESSAGE_END("TOOL_CALL"), "[DONE]"},
         "start i\n0 begins 7  tool_plan\n0 text 'I'\n0 text ' will'\n0 stops\n1 begins 5 c f\n"
         "2 begins 5 call_r1_1 g\n2 arguments '{}'\n1 arguments '{\"a\":'\n1 arguments '1}'\n"
         "1 stops\n2 stops\nfinish tool_calls TOOL_CALL\ndone\n",
         0},
        /* What is not known is passed over; what was not begun is. */
        {{TYPE("debug", ",\"prompt\":\"p\""), "", CONTENT_DELTA("0", "text", "a"),
          TYPE("news", ",\"index\":\"x\""), CALL_DELTA("4", "lost"), CONTENT_END("9"),
          MESSAGE_END("WHATEVER"), "[DONE]"},
         "start \n0 begins 0  \n0 text 'a'\n0 stops\nfinish other WHATEVER\ndone\n",
         0},
        {{MESSAGE_START, CONTENT_DELTA("0", "text", "a"),
          TYPE("message-end",
               ",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"broke\",\"usage\":{\"tokens\":"
               "{\"input_tokens\":3.0,\"output_tokens\":1}}}"),
          "[DONE]"},
         "start i\n0 begins 0  \n0 text 'a'\nusage 3 1\nerror server 'broke'\n",
         0},
        /* A call that the failure cut is not ended by it. */
        {{MESSAGE_START, CALL_START("0", "{\"id\":\"c\",\"function\":{\"name\":\"f\"}}"),
          CALL_DELTA("0", "{\\\"a"), MESSAGE_END("ERROR")},
         "start i\n0 begins 5 c f\n0 arguments '{\"a'\n"
         "error server 'The provider could not finish its answer'\n",
         0},
        {{MESSAGE_START, MESSAGE_END("TIMEOUT")},
         "start i\nerror timeout 'The provider took too long to answer'\n",
         0},
        {{MESSAGE_START, "{\"id\":\"x\",\"message\":\"out of order\"}", "[DONE]"},
         "start i\nerror server 'out of order'\n",
         0},
        {{MESSAGE_START, CONTENT_DELTA("0", "text", "a"), "[DONE]"},
         "start i\n0 begins 0  \n0 text 'a'\n",
         -ERR_RESET},
        {{MESSAGE_START,
          TYPE(
              "content-delta",
              ",\"index\":0" DELTA(
                  "{\"content\":{\"text\":\"ab\"}}") ",\"logprobs\":{\"text\":\"ab\",\"token_ids\":[1,2],\"logprobs\":[-0.5,-0.25]}"),
          MESSAGE_END("COMPLETE")},
         "start i\n0 begins 0  \n0 text 'ab'\n0 logprobs '[{\"token\":\"ab\",\"logprob\":-0.75,"
         "\"bytes\":null,\"top_logprobs\":[]}]'\n0 stops\nfinish stop COMPLETE\ndone\n",
         0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct log log = {{log_event}, BUF_INIT, arena_new(1024)};
        struct llm_decoder *decoder = dialect->decoder_new(log.arena, &settings);
        for (size_t e = 0; e < EVENTS_MAX && cases[i].events[e] != NULL; e++)
            assert_int_equal(
                dialect->decode(decoder, STR_EMPTY, str_c(cases[i].events[e]), &log.sink), 0);
        assert_int_equal(dialect->decode_end(decoder, &log.sink), cases[i].end);
        buf_add_char(&log.lines, '\0');
        assert_string_equal(log.lines.ptr, cases[i].wanted);
        buf_fini(&log.lines);
        arena_free(log.arena);
    }
}

static void an_event_that_is_no_json_is_lost_alone(void **state)
{
    (void)state;
    struct log log = {{log_event}, BUF_INIT, arena_new(1024)};
    struct llm_decoder *decoder = dialect->decoder_new(log.arena, &settings);
    assert_int_equal(dialect->decode(decoder, STR("message-start"), STR("{\"type"), &log.sink),
                     -ERR_INVALID);
    assert_int_equal(dialect->decode(decoder, STR("message-end"),
                                     STR("{\"delta\":{\"finish_reason\":\"COMPLETE\"}}"),
                                     &log.sink),
                     0);
    assert_int_equal(dialect->decode_end(decoder, &log.sink), 0);
    assert_true(str_eq(buf_str(&log.lines), STR("start \nfinish stop COMPLETE\ndone\n")));
    buf_fini(&log.lines);
    arena_free(log.arena);
}

static void whole_answers_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *body, *wanted;
        int r;
    } cases[] = {
        {"{\"id\":\"i\",\"message\":{\"role\":\"assistant\",\"tool_plan\":\"p\",\"content\":[{\"type\":"
         "\"text\",\"text\":\"ab\"},{\"type\":\"odd\",\"x\":1},{\"type\":\"text\",\"text\":\"c\"}],"
         "\"tool_calls\":[{\"id\":\"t\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}],"
         "\"citations\":[{\"start\":0,\"end\":1,\"text\":\"a\"},{\"start\":0,\"end\":1,\"text\":"
         "\"c\",\"content_index\":2},{\"text\":\"p\",\"type\":\"PLAN\"}]},\"finish_reason\":"
         "\"ERROR_TOXIC\",\"usage\":{\"billed_units\":{\"input_tokens\":1,\"output_tokens\":2}},"
         "\"logprobs\":[{\"text\":\"a\",\"logprobs\":[-1]},{\"text\":\"b\",\"logprobs\":[]}]}",
         "start i\n0 begins 7  tool_plan\n0 text 'p'\n0 stops\n1 begins 0  \n1 text 'ab'\n"
         "1 citation 0-1 doc -1 'a' of ''\n1 logprobs '[{\"token\":\"a\",\"logprob\":-1,\"bytes\":"
         "null,\"top_logprobs\":[]},{\"token\":\"b\",\"logprob\":0,\"bytes\":null,"
         "\"top_logprobs\":[]}]'\n1 stops\n2 begins 9  \n2 stops\n3 begins 0  \n3 text 'c'\n"
         "3 citation 0-1 doc -1 'c' of ''\n3 stops\n4 begins 5 t f\n4 arguments '{}'\n4 stops\n"
         "usage 1 2\nfinish content_filter ERROR_TOXIC\ndone\n",
         0},
        {"{\"id\":\"i\",\"message\":{\"role\":\"assistant\"},\"finish_reason\":\"COMPLETE\"}",
         "start i\nfinish stop COMPLETE\ndone\n", 0},
        {"{\"id\":\"i\",\"message\":{},\"finish_reason\":\"ERROR\"}",
         "start i\nerror server 'The provider could not finish its answer'\n", 0},
        {"{\"message\":\"no\"}", "error server 'no'\n", 0},
        {"{\"id\":\"i\"}", "", -ERR_INVALID},
        {"[1]", "", -ERR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct log log = {{log_event}, BUF_INIT, arena_new(1024)};
        struct llm_decoder *decoder = dialect->decoder_new(log.arena, &settings);
        assert_int_equal(dialect->decode_whole(decoder, str_c(cases[i].body), &log.sink),
                         cases[i].r);
        buf_add_char(&log.lines, '\0');
        assert_string_equal(log.lines.ptr, cases[i].wanted);
        buf_fini(&log.lines);
        arena_free(log.arena);
    }
}

/* --- writing --------------------------------------------------------------------------------- */

struct writer {
    struct llm_frames frames;
    struct buf stream;
};

static struct buf *frame_begin(struct llm_frames *frames, struct str type)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    buf_printf(&w->stream, "%.*s ", STR_ARG(type));
    return &w->stream;
}

static void frame_end(struct llm_frames *frames)
{
    struct writer *w = CONTAINER_OF(frames, struct writer, frames);
    buf_add_char(&w->stream, '\n');
}

static struct llm_event block_start(enum llm_block_kind kind, const char *name)
{
    struct llm_event e = llm_event_make(EVENT_BLOCK_START);
    e.block_kind = kind;
    e.id = kind == BLOCK_TOOL_CALL ? TEXT_LIT("c") : TEXT_NONE;
    e.name = name != NULL ? text_plain(str_c(name)) : TEXT_NONE;
    return e;
}

static struct llm_event delta(enum llm_delta_kind kind, const char *text)
{
    struct llm_event e = llm_event_make(EVENT_DELTA);
    e.delta = kind;
    e.text = text_plain(str_c(text));
    return e;
}

static struct llm_event finish(enum llm_finish reason)
{
    struct llm_event e = llm_event_make(EVENT_FINISH);
    e.finish = reason;
    return e;
}

static struct llm_event usage(int64_t input, int64_t output, int64_t cached)
{
    struct llm_event e = llm_event_make(EVENT_USAGE);
    e.usage.input = input;
    e.usage.output = output;
    e.usage.cache_read = cached;
    return e;
}

static void assert_stream(const struct llm_event *events, size_t count, const char *wanted)
{
    struct arena *arena = arena_new(1024);
    struct writer w = {{frame_begin, frame_end}, BUF_INIT};
    struct llm_encoder *encoder = dialect->encoder_new(arena, &settings);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(dialect->encode(encoder, &events[i], &w.frames), 0);
    buf_add_char(&w.stream, '\0');
    assert_string_equal(w.stream.ptr, wanted);
    buf_fini(&w.stream);
    arena_free(arena);
}

#define STARTED                                                                                 \
    "message-start {\"type\":\"message-start\",\"id\":\"r1\",\"delta\":{\"message\":{\"role\":" \
    "\"assistant\",\"content\":[],\"tool_plan\":\"\",\"tool_calls\":[],\"citations\":[]}}}\n"

static void streams_are_written(void **state)
{
    (void)state;
    struct llm_citation citation = {
        .start = 0, .end = 2, .document = 1, .title = TEXT_LIT("T"), .cited_text = TEXT_LIT("q")};
    struct llm_event cites = llm_event_make(EVENT_DELTA);
    struct llm_event signature = llm_event_make(EVENT_DELTA);
    struct llm_event second = delta(DELTA_TEXT, "of another choice");
    cites.delta = DELTA_CITATION;
    cites.citation = &citation;
    signature.delta = DELTA_SIGNATURE;
    signature.signature.data = TEXT_LIT("sig");
    second.choice = 1;
    const struct llm_event stop = llm_event_make(EVENT_BLOCK_STOP);
    const struct llm_event events[] = {
        llm_event_make(EVENT_START),
        usage(5, -1, 2),
        block_start(BLOCK_THINKING, NULL), /* a signature and nothing else */
        signature,
        stop,
        block_start(BLOCK_THINKING, NULL),
        delta(DELTA_TEXT, "h\n"),
        signature,
        stop,
        block_start(BLOCK_TEXT, NULL),
        delta(DELTA_TEXT, "ab"),
        second,
        cites,
        stop,
        llm_event_make(EVENT_PING),
        block_start(BLOCK_TOOL_CALL, "f"),
        delta(DELTA_ARGUMENTS, "{\"a\""),
        delta(DELTA_ARGUMENTS, ":1}"),
        stop,
        block_start(BLOCK_TOOL_CALL, "g"),
        stop,
        finish(FINISH_TOOL_CALLS),
        usage(-1, 7, -1),
        llm_event_make(EVENT_DONE),
        delta(DELTA_TEXT, "after the end"),
    };
    assert_stream(
        events, ARRAY_LEN(events),
        STARTED
        "content-start {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":"
        "{\"type\":\"thinking\",\"thinking\":\"\"}}}}\n"
        "content-delta {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":"
        "{\"thinking\":\"h\\n\"}}}}\n"
        "content-end {\"type\":\"content-end\",\"index\":0}\n"
        "content-start {\"type\":\"content-start\",\"index\":1,\"delta\":{\"message\":{\"content\":"
        "{\"type\":\"text\",\"text\":\"\"}}}}\n"
        "content-delta {\"type\":\"content-delta\",\"index\":1,\"delta\":{\"message\":{\"content\":"
        "{\"text\":\"ab\"}}}}\n"
        "citation-start {\"type\":\"citation-start\",\"index\":0,\"delta\":{\"message\":"
        "{\"citations\":{\"start\":0,\"end\":2,\"sources\":[{\"type\":\"document\",\"id\":\"doc:1\","
        "\"document\":{\"id\":\"doc:1\",\"title\":\"T\",\"text\":\"q\"}}],\"type\":"
        "\"TEXT_CONTENT\",\"content_index\":1}}}}\n"
        "citation-end {\"type\":\"citation-end\",\"index\":0}\n"
        "content-end {\"type\":\"content-end\",\"index\":1}\n"
        "tool-call-start {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":"
        "{\"tool_calls\":{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"arguments\":\"\"}}}}}\n"
        "tool-call-delta {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":"
        "{\"tool_calls\":{\"function\":{\"arguments\":\"{\\\"a\\\"\"}}}}}\n"
        "tool-call-delta {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":"
        "{\"tool_calls\":{\"function\":{\"arguments\":\":1}\"}}}}}\n"
        "tool-call-end {\"type\":\"tool-call-end\",\"index\":0}\n"
        "tool-call-start {\"type\":\"tool-call-start\",\"index\":1,\"delta\":{\"message\":"
        "{\"tool_calls\":{\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"g\","
        "\"arguments\":\"\"}}}}}\n"
        "tool-call-end {\"type\":\"tool-call-end\",\"index\":1}\n"
        "message-end {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"TOOL_CALL\","
        "\"usage\":{\"billed_units\":{\"input_tokens\":7,\"output_tokens\":7},\"tokens\":"
        "{\"input_tokens\":7,\"output_tokens\":7},\"cached_tokens\":2}}}\n"
        " [DONE]\n");
}

static void plans_logprobs_and_errors_are_written(void **state)
{
    (void)state;
    struct llm_event logprobs = llm_event_make(EVENT_DELTA);
    struct llm_event error = llm_event_make(EVENT_ERROR);
    logprobs.delta = DELTA_LOGPROBS;
    logprobs.raw = STR("[{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":[97]},{\"token\":\"b\"}]");
    error.error.kind = LLM_ERROR_OVERLOADED;
    error.error.message = TEXT_LIT("busy");
    const struct llm_event events[] = {
        llm_event_make(EVENT_START),
        block_start(BLOCK_THINKING, "tool_plan"),
        delta(DELTA_TEXT, "I will"),
        llm_event_make(EVENT_BLOCK_STOP),
        block_start(BLOCK_REFUSAL, NULL),
        delta(DELTA_TEXT, "no"),
        logprobs,
        error,
        llm_event_make(EVENT_DONE),
    };
    assert_stream(
        events, ARRAY_LEN(events),
        STARTED
        "tool-plan-delta {\"type\":\"tool-plan-delta\",\"delta\":{\"message\":{\"tool_plan\":"
        "\"I will\"}}}\n"
        "content-start {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":"
        "{\"type\":\"text\",\"text\":\"\"}}}}\n"
        "content-delta {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":"
        "{\"text\":\"no\"}}}}\n"
        "content-delta {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":"
        "{\"text\":\"\"}}},\"logprobs\":{\"text\":\"a\",\"token_ids\":[],\"logprobs\":[-0.5]}}\n"
        "content-delta {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":"
        "{\"text\":\"\"}}},\"logprobs\":{\"text\":\"b\",\"token_ids\":[],\"logprobs\":[]}}\n"
        "message-end {\"type\":\"message-end\",\"delta\":{\"error\":\"busy\",\"finish_reason\":"
        "\"ERROR\"}}\n"
        " [DONE]\n");
}

static void finish_reasons_go_both_ways(void **state)
{
    (void)state;
    static const char *const names[FINISH_COUNT] = {
        [FINISH_STOP] = "COMPLETE",        [FINISH_STOP_SEQUENCE] = "STOP_SEQUENCE",
        [FINISH_LENGTH] = "MAX_TOKENS",    [FINISH_CONTEXT] = "MAX_TOKENS",
        [FINISH_TOOL_CALLS] = "TOOL_CALL", [FINISH_CONTENT_FILTER] = "ERROR",
        [FINISH_REFUSAL] = "COMPLETE",     [FINISH_PAUSE] = "COMPLETE",
        [FINISH_OTHER] = "COMPLETE"};
    for (unsigned i = 0; i < FINISH_COUNT; i++) {
        struct llm_choice choice = {.is_finished = true, .finish = (enum llm_finish)i};
        struct llm_answer answer = {.choices = &choice, .usage = TOKEN_USAGE_NONE};
        struct buf out = BUF_INIT;
        struct json_value value;
        dialect->write_answer(&answer, &settings, &out);
        assert_true(json_find(buf_str(&out), "finish_reason", &value));
        assert_true(json_string_eq(json_string_raw(value), str_c(names[i])));
        assert_false(json_find(buf_str(&out), "usage", &value));
        buf_fini(&out);
    }
}

static void whole_answers_are_written(void **state)
{
    (void)state;
    struct llm_citation citation = {.start = 1,
                                    .end = 3,
                                    .document = -1,
                                    .url = TEXT_LIT("https://x/"),
                                    .maker = DIALECT_OPENAI_CHAT};
    struct llm_block call = {.kind = BLOCK_TOOL_CALL,
                             .id = TEXT_LIT("c"),
                             .name = TEXT_LIT("f"),
                             .arguments = TEXT_LIT("{}")};
    struct llm_block text = {.next = &call,
                             .kind = BLOCK_TEXT,
                             /* An e with an accent, a wave as a pair of surrogates, an a. */
                             .text = {STR("\\u00e9\\ud83c\\udf0aa"), true},
                             .citations = &citation};
    struct llm_block secret = {
        .next = &text, .kind = BLOCK_THINKING, .is_redacted = true, .text = TEXT_NONE};
    struct llm_choice choice = {.blocks = &secret,
                                .finish = FINISH_TOOL_CALLS,
                                .logprobs = STR("[{\"token\":\"a\",\"logprob\":-1}]")};
    struct llm_answer answer = {.id = TEXT_LIT("a1"),
                                .choices = &choice,
                                .usage = {10, 4, 3, 6, -1, -1, -1, -1, 2, true, false}};
    struct buf out = BUF_INIT;
    dialect->write_answer(&answer, &settings, &out);
    buf_add_char(&out, '\0');
    assert_string_equal(
        out.ptr,
        "{\"id\":\"a1\",\"message\":{\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":"
        "\"\\u00e9\\ud83c\\udf0aa\"}],\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","
        "\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}],\"citations\":[{\"start\":1,\"end\":3,"
        "\"text\":\"\\ud83c\\udf0aa\",\"sources\":[{\"type\":\"document\",\"id\":\"https://x/\","
        "\"document\":{\"id\":\"https://x/\",\"url\":\"https://x/\"}}],\"type\":\"TEXT_CONTENT\","
        "\"content_index\":0}]},\"finish_reason\":\"TOOL_CALL\",\"usage\":{\"billed_units\":"
        "{\"input_tokens\":10,\"output_tokens\":4},\"tokens\":{\"input_tokens\":8,"
        "\"output_tokens\":4,\"reasoning_tokens\":3,\"image_tokens\":2},\"cached_tokens\":6},"
        "\"logprobs\":[{\"text\":\"a\",\"token_ids\":[],\"logprobs\":[-1]}]}");
    buf_fini(&out);
}

/* --- errors ---------------------------------------------------------------------------------- */

static void errors_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        unsigned status;
        const char *body;
        enum llm_error_kind kind;
        bool is_known;
    } cases[] = {
        {401, "{\"id\":\"x\",\"message\":\"invalid api token\"}", LLM_ERROR_AUTHENTICATION, true},
        {498, "{\"message\":\"invalid token\"}", LLM_ERROR_AUTHENTICATION, true},
        {404, "{\"message\":\"model 'x' not found\"}", LLM_ERROR_NOT_FOUND, true},
        {400, "{\"message\":\"Too many tokens: total\"}", LLM_ERROR_CONTEXT_LENGTH, true},
        {400, "{\"error_type\":\"TOO_MANY_TOKENS\",\"message\":\"m\"}", LLM_ERROR_CONTEXT_LENGTH,
         true},
        {429, "{\"message\":\"limited to 40 API calls / minute\"}", LLM_ERROR_RATE_LIMIT, true},
        {429, "{\"message\":\"a Trial key, which is limited to 1000 API calls / month\"}",
         LLM_ERROR_QUOTA, true},
        {500, "{\"message\":\"too many tokens\"}", LLM_ERROR_SERVER, true},
        {503, "<html>", LLM_ERROR_OVERLOADED, false},
        {422, "{\"message\":3}", LLM_ERROR_INVALID_REQUEST, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct llm_error error;
        assert_int_equal(
            dialect->read_error(cases[i].status, STR_EMPTY, str_c(cases[i].body), &error),
            cases[i].is_known);
        assert_int_equal(error.kind, cases[i].kind);
        assert_int_equal(error.status, cases[i].status);
    }
    struct llm_error error = LLM_ERROR_NONE;
    struct buf out = BUF_INIT;
    error.message = TEXT_LIT("no \"way\"");
    dialect->write_error(&error, &out);
    assert_true(str_eq(buf_str(&out), STR("{\"message\":\"no \\\"way\\\"\"}")));
    buf_clear(&out);
    error.kind = LLM_ERROR_CONTEXT_LENGTH;
    dialect->write_error(&error, &out);
    assert_true(str_eq(buf_str(&out),
                       STR("{\"error_type\":\"TOO_MANY_TOKENS\",\"message\":\"no \\\"way\\\"\"}")));
    buf_fini(&out);
}

static void running_out_of_memory_is_told(void **state)
{
    (void)state;
    static const char *const events[] = {
        MESSAGE_START, PLAN("p"),
        CALL_START("0", "{\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}}"),
        TYPE(
            "content-delta",
            ",\"index\":0" DELTA(
                "{\"content\":{\"text\":\"ab\"}}") ",\"logprobs\":{\"text\":\"ab\",\"logprobs\":[-0.5]}"),
        MESSAGE_END("COMPLETE")};
    unsigned failures = 0;
    for (unsigned nth = 1; nth < 40; nth++) {
        struct log log = {{log_event}, BUF_INIT, arena_new(512)};
        int r = 0;
        mem_fail_at(nth);
        struct llm_decoder *decoder = dialect->decoder_new(log.arena, &settings);
        for (size_t i = 0; i < ARRAY_LEN(events) && decoder != NULL && r == 0; i++)
            r = dialect->decode(decoder, STR_EMPTY, str_c(events[i]), &log.sink);
        mem_fail_at(0);
        assert_true(r == 0 || r == -ERR_NOMEM);
        failures += r != 0 || decoder == NULL;
        buf_fini(&log.lines);
        arena_free(log.arena);
    }
    assert_true(failures > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_read),
        cmocka_unit_test(an_event_that_is_no_json_is_lost_alone),
        cmocka_unit_test(whole_answers_are_read),
        cmocka_unit_test(streams_are_written),
        cmocka_unit_test(plans_logprobs_and_errors_are_written),
        cmocka_unit_test(finish_reasons_go_both_ways),
        cmocka_unit_test(whole_answers_are_written),
        cmocka_unit_test(errors_are_read_and_written),
        cmocka_unit_test(running_out_of_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
