/* Answers of Converse: what streams and whole answers are decoded to, what is written for them, and
 * errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/bedrock/error.h"
#include "dialect/dialect.h"
#include "support/bedrock_grammar.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &bedrock_dialect;
static const struct llm_codec_settings settings = {.model = STR_INIT("m"),
                                                   .request_id = STR_INIT("req")};
static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(16384);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* --- decoding: events as text --- */

struct trace {
    struct llm_sink sink;
    struct buf out;
};

static struct str plain(struct text text)
{
    return text_or(arena, text, STR_EMPTY);
}

static void trace_delta(struct buf *out, const struct llm_event *e)
{
    static const char *const names[] = {"text", "args", "sig", "cite", "logprobs", "media"};
    buf_printf(out, "%s%u:%.*s", names[e->delta], e->block, STR_ARG(plain(e->text)));
    if (e->delta == DELTA_SIGNATURE)
        buf_printf(out, "%.*s@%s", STR_ARG(plain(e->signature.data)),
                   dialect_names[e->signature.maker]);
    if (e->delta == DELTA_CITATION)
        buf_printf(out, "%.*s|%.*s|%lld|%.*s", STR_ARG(plain(e->citation->title)),
                   STR_ARG(plain(e->citation->url)), (long long)e->citation->document,
                   STR_ARG(plain(e->citation->cited_text)));
}

static int trace_event(struct llm_sink *sink, const struct llm_event *e)
{
    static const char *const kinds[] = {"text", "image",  "audio",    "video",   "document",
                                        "call", "result", "thinking", "refusal", "opaque"};
    struct buf *out = &CONTAINER_OF(sink, struct trace, sink)->out;
    switch (e->kind) {
    case EVENT_START:
        BUF_LIT(out, "start");
        break;
    case EVENT_BLOCK_START:
        buf_printf(out, "%s%s%u(%.*s%s%.*s)%.*s", kinds[e->block_kind], e->is_redacted ? "*" : "",
                   e->block, STR_ARG(plain(e->id)), text_is_some(e->name) ? "," : "",
                   STR_ARG(plain(e->name)), STR_ARG(e->raw));
        break;
    case EVENT_DELTA:
        trace_delta(out, e);
        break;
    case EVENT_BLOCK_STOP:
        buf_printf(out, "stop%u", e->block);
        break;
    case EVENT_USAGE:
        buf_printf(out, "usage %lld+%lld r%lld w%lld/%lld", (long long)e->usage.input,
                   (long long)e->usage.output, (long long)e->usage.cache_read,
                   (long long)e->usage.cache_write_5m, (long long)e->usage.cache_write_1h);
        if (text_is_some(e->service_tier))
            buf_printf(out, " %.*s", STR_ARG(plain(e->service_tier)));
        break;
    case EVENT_FINISH:
        buf_printf(out, "finish %s(%.*s)", llm_finish_names[e->finish],
                   STR_ARG(plain(e->raw_finish)));
        if (text_is_some(e->stop_sequence))
            buf_printf(out, "'%.*s'", STR_ARG(plain(e->stop_sequence)));
        break;
    case EVENT_DONE:
        BUF_LIT(out, "done");
        break;
    case EVENT_ERROR:
        buf_printf(out, "error %s %u %.*s", llm_error_kind_names[e->error.kind], e->error.status,
                   STR_ARG(plain(e->error.message)));
        break;
    case EVENT_PING:
        BUF_LIT(out, "ping");
        break;
    }
    BUF_LIT(out, "; ");
    return 0;
}

/* Lines of "type payload". */
static int decode_lines(const char *lines, struct llm_sink *sink)
{
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    struct str rest = str_c(lines), line;
    assert_non_null(decoder);
    while (str_next(&rest, '\n', &line)) {
        struct str type;
        if (line.len == 0)
            continue;
        str_cut(&line, ' ', &type);
        int r = dialect->decode(decoder, type, line, sink);
        if (r < 0)
            return r;
    }
    return dialect->decode_end(decoder, sink);
}

static void expect_events(const char *lines, int end, const char *events)
{
    struct trace trace = {.sink = {trace_event}};
    int r = decode_lines(lines, &trace.sink);
    if (r != end || !str_eq(buf_str(&trace.out), str_c(events)))
        fail_msg("%s\ngave %d %.*s", lines, r, STR_ARG(buf_str(&trace.out)));
    buf_fini(&trace.out);
}

#define START "messageStart {\"role\":\"assistant\",\"p\":\"abc\"}\n"
#define DELTA(index, delta) \
    "contentBlockDelta {\"contentBlockIndex\":" #index ",\"delta\":{" delta "},\"p\":\"ab\"}\n"
#define BEGIN(index, start) \
    "contentBlockStart {\"contentBlockIndex\":" #index ",\"start\":{" start "}}\n"
#define STOP(index) "contentBlockStop {\"contentBlockIndex\":" #index "}\n"
#define END(reason) "messageStop {\"stopReason\":\"" reason "\"}\n"
#define METADATA                                                                                 \
    "metadata {\"usage\":{\"inputTokens\":1,\"outputTokens\":2,\"totalTokens\":3},\"metrics\":{" \
    "\"latencyMs\":4}}\n"
#define USAGE "usage 1+2 r-1 w-1/-1; "

static void test_decodes_streams(void **state)
{
    (void)state;
    /* Text and reasoning have no start of their own. */
    expect_events(START DELTA(0, "\"reasoningContent\":{\"text\":\"hm\"}")
                      DELTA(0, "\"reasoningContent\":{\"signature\":\"c2ln\"}") STOP(0)
                          DELTA(1, "\"text\":\"a\\n\"") DELTA(1, "\"text\":\"b\"") STOP(1)
                              END("end_turn") METADATA,
                  0,
                  "start; thinking0(); text0:hm; sig0:c2ln@bedrock; stop0; text1(); text1:a\n; "
                  "text1:b; stop1; finish stop(end_turn); " USAGE "done; ");
    expect_events(START BEGIN(0, "\"toolUse\":{\"toolUseId\":\"t1\",\"name\":\"f\",\"type\":"
                                 "\"tool_use\"}") DELTA(0, "\"toolUse\":{\"input\":\"\"}")
                      DELTA(0, "\"toolUse\":{\"input\":\"{\\\"a\\\":\"}")
                          DELTA(0, "\"toolUse\":{\"input\":\"1}\"}") STOP(0)
                              BEGIN(1, "\"toolUse\":{\"toolUseId\":\"t2\",\"name\":\"g\"}") STOP(1)
                                  END("tool_use") METADATA,
                  0,
                  "start; call0(t1,f); args0:{\"a\":; args0:1}; stop0; call1(t2,g); stop1; finish "
                  "tool_calls(tool_use); " USAGE "done; ");
    expect_events(
        START DELTA(0, "\"reasoningContent\":{\"redactedContent\":\"cmVk\"}") STOP(0)
            END("end_turn") METADATA,
        0, "start; thinking*0(); sig0:cmVk@bedrock; stop0; finish stop(end_turn); " USAGE "done; ");
    expect_events(
        START DELTA(0,
                    "\"citation\":{\"title\":\"T\",\"sourceContent\":[{\"text\":\"x\"},{\"text\":"
                    "\"y\"}],\"location\":{\"documentChar\":{\"documentIndex\":2}}}")
            DELTA(0, "\"text\":\"a\"")
                DELTA(0, "\"citation\":{\"location\":{\"web\":{\"url\":\"https://a\"}}}") STOP(0)
                    END("max_tokens") METADATA,
        0,
        "start; text0(); cite0:T||2|xy; text0:a; cite0:|https://a|-1|; stop0; finish "
        "length(max_tokens); " USAGE "done; ");
}

static void test_decodes_what_the_provider_does_itself(void **state)
{
    (void)state;
    expect_events(
        START BEGIN(0,
                    "\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"n\",\"type\":\"server_tool_use\"}")
            DELTA(0, "\"toolUse\":{\"input\":\"{\\\"q\\\"\"}")
                DELTA(0, "\"toolUse\":{\"input\":\":1}\"}") STOP(0)
                    BEGIN(1, "\"toolResult\":{\"toolUseId\":\"t\",\"status\":\"success\"}")
                        DELTA(1, "\"toolResult\":[{\"json\":{\"a\":1}}]")
                            DELTA(1, "\"toolResult\":[{\"text\":\"b\"}]") STOP(1)
                                DELTA(2, "\"text\":\"c\"") STOP(2) END("end_turn") METADATA,
        0,
        "start; opaque0(){\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"n\",\"type\":\"server_tool_use\","
        "\"input\":{\"q\":1}}}; stop0; opaque1(){\"toolResult\":{\"toolUseId\":\"t\",\"status\":\"success\","
        "\"content\":[{\"json\":{\"a\":1}},{\"text\":\"b\"}]}}; stop1; text2(); text2:c; stop2; finish "
        "stop(end_turn); " USAGE "done; ");
}

static void test_gives_input_to_calls_alone(void **state)
{
    (void)state;
    expect_events(
        START BEGIN(0, "\"toolResult\":{\"toolUseId\":\"t\"}")
            DELTA(0, "\"toolUse\":{\"input\":\"{\"}") DELTA(0, "\"toolResult\":[{\"text\":\"b\"}]")
                STOP(0) DELTA(1, "\"text\":\"c\"") DELTA(1, "\"toolUse\":{\"input\":\"{}\"}")
                    STOP(1) END("end_turn") METADATA,
        0,
        "start; opaque0(){\"toolResult\":{\"toolUseId\":\"t\",\"content\":[{\"text\":\"b\"}]}}; "
        "stop0; text1(); text1:c; stop1; finish stop(end_turn); " USAGE "done; ");
}

static void test_decodes_usage(void **state)
{
    (void)state;
    expect_events(
        START END(
            "end_turn") "metadata {\"usage\":{\"inputTokens\":12,\"outputTokens\":250,\"totalTokens\":1290,"
                        "\"cacheReadInputTokens\":1028,\"cacheReadInputTokenCount\":1028,"
                        "\"cacheWriteInputTokens\":30,\"cacheDetails\":[{\"ttl\":\"1h\",\"inputTokens\":20},"
                        "{\"ttl\":\"5m\",\"inputTokens\":10}]},\"serviceTier\":{\"type\":\"flex\"}}\n",
        0, "start; finish stop(end_turn); usage 12+250 r1028 w10/20 flex; done; ");
}

static void test_decodes_the_end(void **state)
{
    (void)state;
    /* Usage comes after the reason to stop; where it does not come, the end of the stream does. */
    expect_events(START DELTA(0, "\"text\":\"a\"") END("stop_sequence"), 0,
                  "start; text0(); text0:a; stop0; finish stop_sequence(stop_sequence); done; ");
    expect_events(START
                  "messageStop {\"stopReason\":\"stop_sequence\",\"additionalModelResponseFields\":"
                  "{\"stop_sequence\":\"END\"}}\n",
                  0, "start; finish stop_sequence(stop_sequence)'END'; done; ");
    expect_events(START DELTA(0, "\"text\":\"a\""), -ERR_RESET, "start; text0(); text0:a; ");
    expect_events("", -ERR_RESET, "");
    expect_events(START "throttlingException {\"message\":\"slower\"}\n" DELTA(0, "\"text\":\"a\""),
                  0, "start; error rate_limit 429 slower; ");
    expect_events("modelStreamErrorException {\"message\":\"m\",\"originalStatusCode\":500}\n", 0,
                  "error server 424 m; ");
    expect_events("validationException {\"message\":\"Input is too long for requested model.\"}\n",
                  0, "error context_length 400 Input is too long for requested model.; ");
    expect_events(START "novelty {}\n" DELTA(0, "\"novelty\":1") END("novel") METADATA METADATA, 0,
                  "start; finish other(novel); " USAGE "done; ");
    expect_events(START "contentBlockDelta {\"delta\"\n", -ERR_INVALID, "start; ");
}

/* B-06: why it stopped arrives, whatever the reason. */
static void test_b06_every_reason_to_stop(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *events;
    } rows[] = {
        {END("end_turn"), "start; finish stop(end_turn); done; "},
        {END("tool_use"), "start; finish tool_calls(tool_use); done; "},
        {END("max_tokens"), "start; finish length(max_tokens); done; "},
        {END("guardrail_intervened"), "start; finish content_filter(guardrail_intervened); done; "},
        {END("content_filtered"), "start; finish content_filter(content_filtered); done; "},
        {END("model_context_window_exceeded"),
         "start; finish context(model_context_window_exceeded); done; "},
        {END("malformed_tool_use"), "start; finish other(malformed_tool_use); done; "},
        {END("refusal"), "start; finish refusal(refusal); done; "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_events(rows[i].lines, 0, rows[i].events);
}

static void expect_whole(const char *body, const char *events)
{
    struct trace trace = {.sink = {trace_event}};
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    assert_int_equal(dialect->decode_whole(decoder, str_c(body), &trace.sink), 0);
    if (!str_eq(buf_str(&trace.out), str_c(events)))
        fail_msg("%s\ngave %.*s", body, STR_ARG(buf_str(&trace.out)));
    buf_fini(&trace.out);
}

static void test_decodes_whole_answers(void **state)
{
    (void)state;
    expect_whole(
        "{\"metrics\":{\"latencyMs\":1},\"output\":{\"message\":{\"role\":\"assistant\",\"content\":["
        "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"hm\",\"signature\":\"c2ln\"}}},"
        "{\"text\":\"a\"},{\"citationsContent\":{\"content\":[{\"text\":\"b\"}],\"citations\":[{"
        "\"title\":\"T\"}]}},{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{\"x\":1}}},"
        "{\"toolUse\":{\"toolUseId\":\"s\",\"name\":\"n\",\"input\":{},\"type\":\"server_tool_use\"}}"
        "]}},\"stopReason\":\"tool_use\",\"usage\":{\"inputTokens\":1,\"outputTokens\":2,"
        "\"totalTokens\":3}}",
        "start; thinking0(); text0:hm; sig0:c2ln@bedrock; stop0; text1(); text1:a; stop1; "
        "text2(); text2:b; cite2:T||-1|; stop2; call3(t,f); args3:{\"x\":1}; stop3; "
        "opaque4(){\"toolUse\":{\"toolUseId\":\"s\",\"name\":\"n\",\"input\":{},\"type\":"
        "\"server_tool_use\"}}; stop4; finish tool_calls(tool_use); " USAGE "done; ");
    expect_whole("{\"message\":\"no\",\"__type\":\"com.amazon.x#AccessDeniedException\"}",
                 "error permission 403 no; ");
    /* Text for the whole answer, also when it is none. */
    struct trace trace = {.sink = {trace_event}};
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    assert_int_equal(dialect->decode_whole(decoder, STR("<html>"), &trace.sink), -ERR_INVALID);
    buf_fini(&trace.out);
}

/* --- encoding --- */

static void put(struct llm_encoder *encoder, struct bedrock_grammar *g, struct llm_event event)
{
    assert_int_equal(dialect->encode(encoder, &event, &g->frames), 0);
}

static struct llm_event begin(enum llm_block_kind kind, unsigned block)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_START);
    event.block_kind = kind;
    event.block = block;
    return event;
}

static struct llm_event delta(enum llm_delta_kind kind, unsigned block, const char *text)
{
    struct llm_event event = llm_event_make(EVENT_DELTA);
    event.delta = kind;
    event.block = block;
    event.text = text_plain(str_c(text));
    return event;
}

static struct llm_event signature(unsigned block, const char *data, enum dialect_id maker)
{
    struct llm_event event = delta(DELTA_SIGNATURE, block, "");
    event.signature = (struct llm_signature){text_plain(str_c(data)), maker};
    return event;
}

static struct llm_event stop(unsigned block)
{
    struct llm_event event = llm_event_make(EVENT_BLOCK_STOP);
    event.block = block;
    return event;
}

static struct llm_event finish(enum llm_finish reason)
{
    struct llm_event event = llm_event_make(EVENT_FINISH);
    event.finish = reason;
    return event;
}

static void expect_frames(struct bedrock_grammar *g, const char *want)
{
    bedrock_grammar_end(g);
    if (!str_eq(bedrock_grammar_text(g), str_c(want)))
        fail_msg("%.*s", STR_ARG(bedrock_grammar_text(g)));
    bedrock_grammar_fini(g);
}

static void test_encodes_streams(void **state)
{
    (void)state;
    struct bedrock_grammar g;
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    struct llm_event event;
    bedrock_grammar_init(&g, "stream");
    put(e, &g, llm_event_make(EVENT_START));
    put(e, &g, llm_event_make(EVENT_PING));
    put(e, &g, begin(BLOCK_THINKING, 0));
    put(e, &g, delta(DELTA_TEXT, 0, "hm"));
    put(e, &g, signature(0, "c2ln", DIALECT_ANTHROPIC));
    put(e, &g, stop(0));
    event = begin(BLOCK_THINKING, 1);
    event.is_redacted = true;
    put(e, &g, event);
    put(e, &g, signature(1, "UkVE", DIALECT_ANTHROPIC));
    put(e, &g, stop(1));
    put(e, &g, begin(BLOCK_TEXT, 2));
    put(e, &g, delta(DELTA_TEXT, 2, "a\n\"b\""));
    struct llm_citation citation = {.url = TEXT_LIT("https://a"),
                                    .title = TEXT_LIT("T"),
                                    .start = -1,
                                    .end = -1,
                                    .document = -1};
    event = delta(DELTA_CITATION, 2, "");
    event.citation = &citation;
    put(e, &g, event);
    put(e, &g, stop(2));
    event = begin(BLOCK_TOOL_CALL, 3);
    event.id = TEXT_LIT("call_1");
    event.name = TEXT_LIT("f");
    event.signature = (struct llm_signature){TEXT_LIT("R0VN"), DIALECT_GEMINI};
    put(e, &g, event);
    put(e, &g, delta(DELTA_ARGUMENTS, 3, "{\"a\":"));
    put(e, &g, delta(DELTA_ARGUMENTS, 3, "1}"));
    put(e, &g, stop(3));
    event = begin(BLOCK_TOOL_CALL, 4);
    event.id = TEXT_LIT("call_2");
    event.name = TEXT_LIT("g");
    put(e, &g, event);
    put(e, &g, stop(4));
    put(e, &g, finish(FINISH_TOOL_CALLS));
    event = llm_event_make(EVENT_USAGE);
    event.usage.input = 100;
    event.usage.cache_read = 60;
    event.usage.cache_write_1h = 10;
    event.usage.output = 5;
    event.usage.input_includes_cached = true;
    put(e, &g, event);
    put(e, &g, llm_event_make(EVENT_DONE));
    expect_frames(
        &g,
        "messageStart {\"role\":\"assistant\"}\n"
        "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"reasoningContent\":{\"text\":\"hm\"}}}\n"
        "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"reasoningContent\":{\"signature\":"
        "\"weir:anthropic:thinking:c2ln\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":0}\n"
        "contentBlockDelta {\"contentBlockIndex\":1,\"delta\":{\"reasoningContent\":{\"redactedContent\":"
        "\"d2VpcjphbnRocm9waWM6dGhpbmtpbmc6VWtWRQ==\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":1}\n"
        "contentBlockDelta {\"contentBlockIndex\":2,\"delta\":{\"text\":\"a\\n\\\"b\\\"\"}}\n"
        "contentBlockDelta {\"contentBlockIndex\":2,\"delta\":{\"citation\":{\"title\":\"T\",\"location\":{"
        "\"web\":{\"url\":\"https://a\"}}}}}\n"
        "contentBlockStop {\"contentBlockIndex\":2}\n"
        "contentBlockDelta {\"contentBlockIndex\":3,\"delta\":{\"reasoningContent\":{\"signature\":"
        "\"weir:gemini:call:R0VN\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":3}\n"
        "contentBlockStart {\"contentBlockIndex\":4,\"start\":{\"toolUse\":{\"toolUseId\":\"call_1\",\"name\":"
        "\"f\"}}}\n"
        "contentBlockDelta {\"contentBlockIndex\":4,\"delta\":{\"toolUse\":{\"input\":\"{\\\"a\\\":\"}}}\n"
        "contentBlockDelta {\"contentBlockIndex\":4,\"delta\":{\"toolUse\":{\"input\":\"1}\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":4}\n"
        "contentBlockStart {\"contentBlockIndex\":5,\"start\":{\"toolUse\":{\"toolUseId\":\"call_2\",\"name\":"
        "\"g\"}}}\n"
        "contentBlockDelta {\"contentBlockIndex\":5,\"delta\":{\"toolUse\":{\"input\":\"{}\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":5}\n"
        "messageStop {\"stopReason\":\"tool_use\"}\n"
        "metadata {\"usage\":{\"inputTokens\":30,\"outputTokens\":5,\"totalTokens\":105,"
        "\"cacheReadInputTokens\":60,\"cacheWriteInputTokens\":10,\"cacheDetails\":[{\"ttl\":\"1h\","
        "\"inputTokens\":10}]},\"metrics\":{\"latencyMs\":0}}\n");
}

static void test_encodes_errors(void **state)
{
    (void)state;
    static const char *const types[LLM_ERROR_KIND_COUNT] = {
        [LLM_ERROR_INVALID_REQUEST] = "validationException",
        [LLM_ERROR_AUTHENTICATION] = "validationException",
        [LLM_ERROR_PERMISSION] = "validationException",
        [LLM_ERROR_NOT_FOUND] = "validationException",
        [LLM_ERROR_TOO_LARGE] = "validationException",
        [LLM_ERROR_CONTEXT_LENGTH] = "validationException",
        [LLM_ERROR_CONTENT_POLICY] = "validationException",
        [LLM_ERROR_RATE_LIMIT] = "throttlingException",
        [LLM_ERROR_QUOTA] = "throttlingException",
        [LLM_ERROR_TIMEOUT] = "modelStreamErrorException",
        [LLM_ERROR_OVERLOADED] = "serviceUnavailableException",
        [LLM_ERROR_SERVER] = "internalServerException",
    };
    for (int kind = 0; kind < LLM_ERROR_KIND_COUNT; kind++) {
        struct bedrock_grammar g;
        char want[128];
        struct llm_encoder *e = dialect->encoder_new(arena, &settings);
        struct llm_event event = llm_event_make(EVENT_ERROR);
        event.error.kind = (enum llm_error_kind)kind;
        event.error.message = TEXT_LIT("words");
        bedrock_grammar_init(&g, types[kind]);
        put(e, &g, event);
        snprintf(want, sizeof(want), "%s {\"message\":\"words\"}\n", types[kind]);
        expect_frames(&g, want);
    }
}

/* B-06, the other way: each reason has a name here. */
static void test_b06_every_finish_is_written(void **state)
{
    (void)state;
    static const struct {
        enum llm_finish finish;
        const char *raw, *reason;
    } rows[] = {
        {FINISH_STOP, "stop", "end_turn"},
        {FINISH_STOP_SEQUENCE, "stop_sequence", "stop_sequence"},
        {FINISH_LENGTH, "length", "max_tokens"},
        {FINISH_CONTEXT, "model_context_window_exceeded", "model_context_window_exceeded"},
        {FINISH_TOOL_CALLS, "tool_calls", "tool_use"},
        {FINISH_CONTENT_FILTER, "SAFETY", "content_filtered"},
        {FINISH_CONTENT_FILTER, "guardrail_intervened", "guardrail_intervened"},
        {FINISH_REFUSAL, "refusal", "content_filtered"},
        {FINISH_PAUSE, "pause_turn", "end_turn"},
        {FINISH_OTHER, "malformed_tool_use", "malformed_tool_use"},
        {FINISH_OTHER, "MALFORMED_FUNCTION_CALL", "end_turn"},
        /* What was made of it counts, not what it was. */
        {FINISH_STOP, "tool_use", "end_turn"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct bedrock_grammar g;
        struct llm_encoder *e = dialect->encoder_new(arena, &settings);
        struct llm_event event = finish(rows[i].finish);
        event.raw_finish = text_plain(str_c(rows[i].raw));
        bedrock_grammar_init(&g, rows[i].raw);
        put(e, &g, llm_event_make(EVENT_START));
        put(e, &g, event);
        put(e, &g, llm_event_make(EVENT_DONE));
        bedrock_grammar_end(&g);
        assert_string_equal(g.stop_reason, rows[i].reason);
        bedrock_grammar_fini(&g);
    }
}

/* Only the first of several choices has a form, and what only others understand has none. */
static void test_what_a_stream_has_no_form_for(void **state)
{
    (void)state;
    struct bedrock_grammar g;
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    struct llm_event event;
    bedrock_grammar_init(&g, "stream");
    put(e, &g, llm_event_make(EVENT_START));
    event = begin(BLOCK_TEXT, 0);
    event.choice = 1;
    put(e, &g, event);
    event = begin(BLOCK_OPAQUE, 0);
    event.maker = DIALECT_ANTHROPIC;
    event.raw = STR("{\"type\":\"x\"}");
    put(e, &g, event);
    put(e, &g, stop(0));
    event = begin(BLOCK_OPAQUE, 1);
    event.maker = DIALECT_BEDROCK;
    event.raw =
        STR("{\"toolResult\":{\"toolUseId\":\"t\",\"content\":[{\"text\":\"x\"}],\"type\":\"r\"}}");
    put(e, &g, event);
    put(e, &g, stop(1));
    event = begin(BLOCK_IMAGE, 2);
    event.media_type = TEXT_LIT("image/webp");
    put(e, &g, event);
    put(e, &g, delta(DELTA_MEDIA, 2, "AAA"));
    put(e, &g, delta(DELTA_MEDIA, 2, "A"));
    put(e, &g, stop(2));
    put(e, &g, begin(BLOCK_REFUSAL, 3));
    put(e, &g, delta(DELTA_TEXT, 3, "no"));
    put(e, &g, stop(3));
    put(e, &g, finish(FINISH_REFUSAL));
    put(e, &g, llm_event_make(EVENT_DONE));
    expect_frames(
        &g,
        "messageStart {\"role\":\"assistant\"}\n"
        "contentBlockStart {\"contentBlockIndex\":0,\"start\":{\"toolResult\":{\"toolUseId\":\"t\",\"type\":\"r\""
        "}}}\n"
        "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"toolResult\":[{\"text\":\"x\"}]}}\n"
        "contentBlockStop {\"contentBlockIndex\":0}\n"
        "contentBlockStart {\"contentBlockIndex\":1,\"start\":{\"image\":{\"format\":\"webp\"}}}\n"
        "contentBlockDelta {\"contentBlockIndex\":1,\"delta\":{\"image\":{\"source\":{\"bytes\":\"AAAA\"}}}}\n"
        "contentBlockStop {\"contentBlockIndex\":1}\n"
        "contentBlockDelta {\"contentBlockIndex\":2,\"delta\":{\"text\":\"no\"}}\n"
        "contentBlockStop {\"contentBlockIndex\":2}\n"
        "messageStop {\"stopReason\":\"content_filtered\"}\n"
        "metadata {\"usage\":{\"inputTokens\":0,\"outputTokens\":0,\"totalTokens\":0},\"metrics\":{"
        "\"latencyMs\":0}}\n");
}

/* The provider's own calls may lack their input, its results their content. */
static void test_encodes_what_the_provider_left_bare(void **state)
{
    (void)state;
    struct bedrock_grammar g;
    struct llm_encoder *e = dialect->encoder_new(arena, &settings);
    static const char *const blocks[] = {
        "{\"toolResult\":{\"toolUseId\":\"t\",\"content\":[{\"text\":\"x\"}]}}",
        "{\"toolResult\":{\"toolUseId\":\"u\"}}",
        "{\"toolResult\":{\"toolUseId\":\"v\",\"content\":\"text\"}}",
        "{\"toolUse\":{\"toolUseId\":\"w\",\"name\":\"n\"}}",
    };
    bedrock_grammar_init(&g, "stream");
    put(e, &g, llm_event_make(EVENT_START));
    for (unsigned i = 0; i < ARRAY_LEN(blocks); i++) {
        struct llm_event event = begin(BLOCK_OPAQUE, i);
        event.maker = DIALECT_BEDROCK;
        event.raw = str_c(blocks[i]);
        put(e, &g, event);
        put(e, &g, stop(i));
    }
    put(e, &g, finish(FINISH_STOP));
    put(e, &g, llm_event_make(EVENT_DONE));
    expect_frames(
        &g,
        "messageStart {\"role\":\"assistant\"}\n"
        "contentBlockStart {\"contentBlockIndex\":0,\"start\":{\"toolResult\":{\"toolUseId\":\"t\"}}}\n"
        "contentBlockDelta {\"contentBlockIndex\":0,\"delta\":{\"toolResult\":[{\"text\":\"x\"}]}}\n"
        "contentBlockStop {\"contentBlockIndex\":0}\n"
        "contentBlockStart {\"contentBlockIndex\":1,\"start\":{\"toolResult\":{\"toolUseId\":\"u\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":1}\n"
        "contentBlockStart {\"contentBlockIndex\":2,\"start\":{\"toolResult\":{\"toolUseId\":\"v\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":2}\n"
        "contentBlockStart {\"contentBlockIndex\":3,\"start\":{\"toolUse\":{\"toolUseId\":\"w\",\"name\":"
        "\"n\"}}}\n"
        "contentBlockStop {\"contentBlockIndex\":3}\n"
        "messageStop {\"stopReason\":\"end_turn\"}\n"
        "metadata {\"usage\":{\"inputTokens\":0,\"outputTokens\":0,\"totalTokens\":0},\"metrics\":{"
        "\"latencyMs\":0}}\n");
}

static void test_writes_whole_answers(void **state)
{
    (void)state;
    static const char body[] =
        "{\"output\":{\"message\":{\"role\":\"assistant\",\"content\":["
        "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"hm\",\"signature\":\"c2ln\"}}},"
        "{\"reasoningContent\":{\"redactedContent\":\"cmVk\"}},"
        "{\"text\":\"a\\u00e9\"},{\"citationsContent\":{\"content\":[{\"text\":\"b\"}],\"citations\":[{\"title\":"
        "\"T\",\"novelty\":1}]}},{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{\"x\":1}}},"
        "{\"toolUse\":{\"toolUseId\":\"s\",\"name\":\"n\",\"input\":{},\"type\":\"server_tool_use\"}},"
        "{\"image\":{\"format\":\"png\",\"source\":{\"bytes\":\"AAAA\"}}}"
        "]}},\"stopReason\":\"guardrail_intervened\",\"usage\":{\"inputTokens\":1,\"outputTokens\":2,"
        "\"totalTokens\":6,\"cacheReadInputTokens\":3,\"cacheWriteInputTokens\":0},\"metrics\":{"
        "\"latencyMs\":0},\"serviceTier\":{\"type\":\"flex\"},\"additionalModelResponseFields\":{"
        "\"stop_sequence\":\"END\"}}";
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    struct llm_fold fold;
    struct buf out = BUF_INIT;
    char where[1024];
    llm_fold_init(&fold, arena);
    assert_int_equal(dialect->decode_whole(decoder, str_c(body), &fold.sink), 0);
    dialect->write_answer(&fold.answer, &settings, &out);
    if (!json_equal(str_c(body), buf_str(&out), where, sizeof(where)))
        fail_msg("%s\n%.*s", where, STR_ARG(buf_str(&out)));
    buf_fini(&out);
}

/* --- T1: tokens of the cache are beside the input, and totals hold all of them --- */

static void test_t1_cache_tokens_count_once(void **state)
{
    (void)state;
    struct token_usage usage = TOKEN_USAGE_NONE;
    dialect->read_usage(STR("{\"inputTokens\":12,\"outputTokens\":250,\"totalTokens\":1290,"
                            "\"cacheReadInputTokens\":1000,\"cacheWriteInputTokens\":28}"),
                        &usage);
    assert_false(usage.input_includes_cached);
    assert_int_equal(token_usage_input_total(&usage), 1040);
    assert_int_equal(token_usage_input_fresh(&usage), 12);
    assert_int_equal(token_usage_cache_write(&usage), 28);
    assert_int_equal(usage.reasoning, -1);
}

/* --- errors --- */

static const struct {
    unsigned status;
    const char *header, *body;
    bool is_known;
    enum llm_error_kind kind;
    unsigned want_status;
    const char *message;
} error_rows[] = {
    {400, "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/",
     "{\"message\":\"The provided model identifier is invalid.\"}", true, LLM_ERROR_INVALID_REQUEST,
     400, "The provided model identifier is invalid."},
    {400, "ValidationException", "{\"message\":\"Input is too long for requested model.\"}", true,
     LLM_ERROR_CONTEXT_LENGTH, 400, "Input is too long for requested model."},
    {429, "ThrottlingException:http://x/",
     "{\"message\":\"Too many tokens, please wait before trying again.\"}", true,
     LLM_ERROR_RATE_LIMIT, 429, "Too many tokens, please wait before trying again."},
    {403, "UnrecognizedClientException:http://x/", "{\"message\":\"m\"}", true,
     LLM_ERROR_AUTHENTICATION, 403, "m"},
    {403, "", "{\"Message\":\"User is not authorized\"}", true, LLM_ERROR_PERMISSION, 403,
     "User is not authorized"},
    {403, "", "{\"__type\":\"com.amazon.coral.service#ExpiredTokenException\",\"message\":\"m\"}",
     true, LLM_ERROR_AUTHENTICATION, 403, "m"},
    {404, "ResourceNotFoundException", "{\"message\":\"m\"}", true, LLM_ERROR_NOT_FOUND, 404, "m"},
    {429, "ModelNotReadyException", "{\"message\":\"m\"}", true, LLM_ERROR_OVERLOADED, 429, "m"},
    {408, "ModelTimeoutException", "{\"message\":\"m\"}", true, LLM_ERROR_TIMEOUT, 408, "m"},
    {424, "ModelErrorException", "{\"message\":\"m\"}", true, LLM_ERROR_SERVER, 424, "m"},
    {503, "ServiceUnavailableException", "{}", true, LLM_ERROR_OVERLOADED, 503, ""},
    {500, "", "<html>", false, LLM_ERROR_SERVER, 500, ""},
    {502, "", "", false, LLM_ERROR_SERVER, 502, ""},
};

static void test_reads_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(error_rows); i++) {
        struct llm_error error;
        bool is_known = dialect->read_error(error_rows[i].status, str_c(error_rows[i].header),
                                            str_c(error_rows[i].body), &error);
        if (is_known != error_rows[i].is_known || error.kind != error_rows[i].kind ||
            error.status != error_rows[i].want_status ||
            !str_eq(plain(error.message), str_c(error_rows[i].message)))
            fail_msg("row %zu: %d %s %u", i, is_known, llm_error_kind_names[error.kind],
                     error.status);
    }
}

static void test_writes_errors(void **state)
{
    (void)state;
    struct llm_error error = LLM_ERROR_NONE, again;
    struct buf out = BUF_INIT;
    error.message = TEXT_LIT("say \"please\"");
    error.kind = LLM_ERROR_RATE_LIMIT;
    dialect->write_error(&error, &out);
    assert_true(str_eq(buf_str(&out), STR("{\"message\":\"say \\\"please\\\"\",\"__type\":"
                                          "\"ThrottlingException\"}")));
    assert_string_equal(bedrock_error_type(&error), "ThrottlingException");
    for (int kind = 0; kind < LLM_ERROR_KIND_COUNT; kind++) {
        error.kind = (enum llm_error_kind)kind;
        buf_clear(&out);
        dialect->write_error(&error, &out);
        assert_true(dialect->read_error(llm_error_status_of_kind(error.kind),
                                        str_c(bedrock_error_type(&error)), buf_str(&out), &again));
        bool is_merged = kind == LLM_ERROR_TOO_LARGE || kind == LLM_ERROR_CONTEXT_LENGTH ||
                         kind == LLM_ERROR_CONTENT_POLICY;
        assert_int_equal(again.kind, is_merged ? LLM_ERROR_INVALID_REQUEST : error.kind);
    }
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_decodes_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_decodes_what_the_provider_does_itself, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_gives_input_to_calls_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_decodes_usage, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_decodes_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_b06_every_reason_to_stop, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_decodes_whole_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_encodes_streams, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_encodes_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_b06_every_finish_is_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_stream_has_no_form_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_encodes_what_the_provider_left_bare, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_writes_whole_answers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_t1_cache_tokens_count_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reads_errors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_writes_errors, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
