#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "support/event_text.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &gemini_dialect;
static const struct llm_codec_settings settings = {
    .model = STR_INIT("m"), .request_id = STR_INIT("r1"), .now_s = 1};

#define CHUNK(parts, rest) "{\"candidates\":[{\"content\":{\"parts\":[" parts "]}" rest "}]}"
#define USAGE ",\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2}}"
#define END(reason) "{\"candidates\":[{\"finishReason\":\"" reason "\"}]" USAGE

static void streams_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *chunks[4], *events;
        int end;
    } cases[] = {
        {{CHUNK("{\"text\":\"a\"}", ""), CHUNK("{\"text\":\"b\"}", ""), END("STOP")},
         "text 0.0 a\n|text 0.0 b\n|finish 0 stop\n|done\n",
         0},
        /* A reason without usage may not be the last word. */
        {{CHUNK("{\"text\":\"a\"}", ",\"finishReason\":\"STOP\""),
          CHUNK("{\"text\":\"b\"}", ",\"finishReason\":\"MAX_TOKENS\"")},
         "text 0.0 a\n|text 0.0 b\n|finish 0 length\n|done\n",
         0},
        {{CHUNK("{\"text\":\"a\"}", ",\"finishReason\":1")}, "finish 0 stop\n|done\n", 0},
        {{CHUNK("{\"text\":\"a\"}", "")}, "text 0.0 a\n", -ERR_RESET},
        {{CHUNK("{\"text\":\"h\",\"thought\":true},{\"functionCall\":{\"name\":\"f\",\"args\":{}},"
                "\"thoughtSignature\":\"cw\"}",
                ""),
          END("STOP")},
         "block 0.0 thinking|text 0.0 h\n|stop 0.0\n|block 0.1 tool_call call_r1_0 f|"
         "finish 0 tool_calls\n",
         0},
        {{CHUNK("{\"text\":\"a\"}", ",\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"a\","
                                    "\"logProbability\":-0.5}]}"),
          END("STOP")},
         "logprobs 0.0 [{\"token\":\"a\",\"logprob\":-0.5,\"bytes\":null,\"top_logprobs\":[]}]\n",
         0},
        {{"{\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}"},
         "finish 0 content_filter\n|done\n",
         0},
        {{"{\"error\":{\"code\":503,\"message\":\"busy\",\"status\":\"UNAVAILABLE\"}}"},
         "error overloaded busy",
         0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new(4096);
        struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
        struct event_log log;
        event_log_init(&log, false);
        for (size_t n = 0; n < ARRAY_LEN(cases[i].chunks) && cases[i].chunks[n] != NULL; n++)
            assert_int_equal(
                dialect->decode(decoder, STR_EMPTY, str_c(cases[i].chunks[n]), &log.sink), 0);
        assert_int_equal(dialect->decode_end(decoder, &log.sink), cases[i].end);
        const char *at = event_log_text(&log);
        struct str rest = str_c(cases[i].events), want;
        while (str_next(&rest, '|', &want)) {
            ptrdiff_t found = str_find(str_c(at), want);
            if (found < 0)
                fail_msg("case %zu: no '%.*s' in\n%s", i, STR_ARG(want), event_log_text(&log));
            at += found;
        }
        buf_fini(&log.text);
        arena_free(arena);
    }
}

/* A Gemini answer that is read and written again. */
static void answers_come_back(void **state)
{
    (void)state;
    static const char *const candidates[] = {
        "\"content\":{\"parts\":[{\"text\":\"b\"}],\"role\":\"model\"},\"finishReason\":\"STOP\","
        "\"index\":0,\"groundingMetadata\":{\"groundingChunks\":[{\"web\":{\"uri\":\"https://"
        "a.example\",\"title\":\"A\"}},{\"web\":{\"uri\":\"https://b.example\"}}],"
        "\"groundingSupports\":[{\"segment\":{\"text\":\"b\"},\"groundingChunkIndices\":[0]},"
        "{\"segment\":{\"text\":\"b\"},\"groundingChunkIndices\":[1]},{\"segment\":{\"text\":"
        "\"c\"},\"groundingChunkIndices\":[0]}]}",
        "\"content\":{\"parts\":[{\"text\":\"b\"}],\"role\":\"model\"},\"finishReason\":\"STOP\","
        "\"index\":0,\"citationMetadata\":{\"citationSources\":[{\"uri\":\"https://a.example\","
        "\"startIndex\":3,\"license\":\"x\"}]}",
        "\"content\":{\"parts\":[{\"text\":\"b\"}],\"role\":\"model\"},\"finishReason\":"
        "\"MAX_TOKENS\",\"index\":0,\"logprobsResult\":{\"chosenCandidates\":[{\"token\":\"b\","
        "\"logProbability\":-0.5}],\"topCandidates\":[{\"candidates\":[{\"token\":\"b\","
        "\"logProbability\":-0.5},{\"token\":\"c\",\"logProbability\":-2}]}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(candidates); i++) {
        struct arena *arena = arena_new(4096);
        struct str pieces[] = {
            STR("{\"candidates\":[{"), str_c(candidates[i]),
            STR("}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,"
                "\"totalTokenCount\":5},\"modelVersion\":\"g\",\"responseId\":\"i\"}")};
        struct str body = arena_concat(arena, pieces, ARRAY_LEN(pieces));
        struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
        struct llm_fold fold;
        struct buf out = BUF_INIT;
        char where[512] = "";
        llm_fold_init(&fold, arena);
        assert_int_equal(dialect->decode_whole(decoder, body, &fold.sink), 0);
        dialect->write_answer(&fold.answer, &settings, &out);
        if (!json_equal(body, buf_str(&out), where, sizeof(where)))
            fail_msg("%s\n%.*s", where, STR_ARG(buf_str(&out)));
        buf_fini(&out);
        arena_free(arena);
    }
}

static void errors_are_read_and_written(void **state)
{
    (void)state;
    static const struct {
        enum llm_error_kind kind;
        unsigned status;
        int64_t wait_ms;
        const char *body;
    } cases[] = {
        {LLM_ERROR_RATE_LIMIT, 429, 48000,
         "{\"error\":{\"code\":429,\"message\":\"m\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":"
         "[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"48s\"}]}}"},
        {LLM_ERROR_OVERLOADED, 503, 500,
         "{\"error\":{\"code\":503,\"message\":\"m\",\"status\":\"UNAVAILABLE\",\"details\":"
         "[{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"0.500s\"}]}}"},
        {LLM_ERROR_NOT_FOUND, 404, -1,
         "{\"error\":{\"code\":404,\"message\":\"m\",\"status\":\"NOT_FOUND\"}}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct llm_error error;
        struct buf out = BUF_INIT;
        char where[256] = "";
        assert_true(dialect->read_error(cases[i].status, STR_EMPTY, str_c(cases[i].body), &error));
        assert_int_equal(error.kind, cases[i].kind);
        assert_int_equal(error.retry_after_ms, cases[i].wait_ms);
        dialect->write_error(&error, &out);
        if (!json_equal(str_c(cases[i].body), buf_str(&out), where, sizeof(where)))
            fail_msg("%s\n%.*s", where, STR_ARG(buf_str(&out)));
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_read),
        cmocka_unit_test(answers_come_back),
        cmocka_unit_test(errors_are_read_and_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
