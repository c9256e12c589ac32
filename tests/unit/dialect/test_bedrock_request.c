/* Requests of Converse: what is read, what comes back as it was, what is refused, and what is
 * written for clients of other dialects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/signature.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &bedrock_dialect;
static struct arena *arena;
static struct buf out, dropped, supplied;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(4096);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    buf_fini(&out);
    buf_fini(&dropped);
    buf_fini(&supplied);
    return 0;
}

static struct llm_request read_body(const char *body)
{
    struct llm_request request;
    if (dialect->read_request(str_c(body), arena, &request) != 0)
        fail_msg("%s: %s", body, err_slot()->message);
    return request;
}

static void write_for(struct llm_request *request, const char *model, enum llm_thinking thinking)
{
    static const struct llm_quirks quirks;
    const struct llm_traits traits = {.thinking = thinking};
    struct llm_target target = {.model = str_c(model), .quirks = &quirks, .traits = &traits};
    struct llm_notes notes = {&dropped, &supplied};
    buf_clear(&out);
    buf_clear(&dropped);
    buf_clear(&supplied);
    assert_int_equal(dialect->write_request(request, &target, arena, &notes, &out), 0);
    struct json_scan scan;
    if (json_scan_object(buf_str(&out), 128, NULL, 0, &scan) != 0)
        fail_msg("no JSON: %.*s", STR_ARG(buf_str(&out)));
}

#define CLAUDE "anthropic.claude-sonnet-4-20250514-v1:0"
#define NOVA_2 "us.amazon.nova-2-lite-v1:0"

static void expect_body(const char *want)
{
    char where[1024];
    if (!json_equal(str_c(want), buf_str(&out), where, sizeof(where)))
        fail_msg("%s\ngot %.*s", where, STR_ARG(buf_str(&out)));
}

static void expect_notes(const char *want_dropped, const char *want_supplied)
{
    if (!str_eq(buf_str(&dropped), str_c(want_dropped)))
        fail_msg("dropped '%.*s', not '%s'", STR_ARG(buf_str(&dropped)), want_dropped);
    if (!str_eq(buf_str(&supplied), str_c(want_supplied)))
        fail_msg("supplied '%.*s', not '%s'", STR_ARG(buf_str(&supplied)), want_supplied);
}

/* --- there and back --- */

#define USER(blocks) "{\"role\":\"user\",\"content\":[" blocks "]}"
#define MODEL(blocks) "{\"role\":\"assistant\",\"content\":[" blocks "]}"
#define MESSAGES(messages) "{\"messages\":[" messages "]}"
#define WITH(rest) "{\"messages\":[" USER("{\"text\":\"hi\"}") "]," rest "}"
#define CACHE "{\"cachePoint\":{\"type\":\"default\"}}"
#define CACHE_LONG "{\"cachePoint\":{\"type\":\"default\",\"ttl\":\"1h\"}}"
#define SPEC(rest) \
    "{\"toolSpec\":{\"name\":\"f\",\"inputSchema\":{\"json\":{\"type\":\"object\"}}" rest "}}"

static const char *const round_trips[] = {
    MESSAGES(USER("{\"text\":\"h\\u00e9 \\\"q\\\" \\ud83d\\ude00\"}")),
    /* Two turns of one side, which only some models take: nothing is joined in the own dialect. */
    MESSAGES(USER("{\"text\":\"a\"}") "," USER("{\"text\":\"b\"}")),
    MESSAGES(USER("{\"text\":\"a\"}," CACHE ",{\"text\":\"b\"}," CACHE_LONG)),
    MESSAGES(USER(CACHE ",{\"text\":\"a\"}," CACHE "," CACHE)),
    MESSAGES(
        USER("{\"image\":{\"format\":\"jpeg\",\"source\":{\"bytes\":\"AAAA\"}}},"
             "{\"image\":{\"format\":\"png\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/k\"}}}},"
             "{\"image\":{\"format\":\"heic\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/k\","
             "\"bucketOwner\":\"111122223333\"}}}}")),
    MESSAGES(
        USER("{\"document\":{\"format\":\"pdf\",\"name\":\"a\",\"source\":{\"bytes\":\"JVBE\"}}},"
             "{\"document\":{\"format\":\"txt\",\"name\":\"b\",\"source\":{\"text\":\"t\"},"
             "\"citations\":{\"enabled\":true}}},"
             "{\"document\":{\"format\":\"txt\",\"name\":\"c\",\"source\":{\"content\":[{\"text\":"
             "\"x\"},{\"text\":\"y\"}]},\"context\":\"z\",\"citations\":{\"enabled\":false}}},"
             "{\"document\":{\"format\":\"md\",\"name\":\"d\",\"source\":{\"s3Location\":{\"uri\":"
             "\"s3://b/d.md\"}}}}")),
    MESSAGES(USER(
        "{\"video\":{\"format\":\"three_gp\",\"source\":{\"bytes\":\"AAAA\"}}},"
        "{\"audio\":{\"format\":\"x-aac\",\"source\":{\"bytes\":\"AAAA\"}}},"
        "{\"audio\":{\"format\":\"mp3\",\"source\":{\"s3Location\":{\"uri\":\"s3://b/a\"}}}}")),
    MESSAGES(USER("{\"text\":\"q\"}") "," MODEL(
        "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"hm\",\"signature\":\"c2ln\"}}},"
        "{\"reasoningContent\":{\"redactedContent\":\"cmVk\"}},"
        "{\"toolUse\":{\"toolUseId\":\"tooluse_1\",\"name\":\"f\",\"input\":{\"a\":[1.50,null]}}},"
        "{\"toolUse\":{\"toolUseId\":\"t:2\",\"name\":\"g\",\"input\":{}}}") "," USER("{\"toolResult\":{\"toolUseId\":\"tooluse_1\",\"content\":[{\"text\":\"ok\"},{\"json\":{\"x\":1}},"
                                                                                      "{\"image\":{\"format\":\"png\",\"source\":{\"bytes\":\"AAAA\"}}}],\"status\":\"success\"}},"
                                                                                      "{\"toolResult\":{\"toolUseId\":\"t:2\",\"content\":[{\"json\":[]}],\"status\":\"error\"}}," CACHE)),
    MESSAGES(USER("{\"text\":\"q\"}") "," MODEL(
        "{\"text\":\"a \"},{\"citationsContent\":{\"content\":[{\"text\":\"b\"}],\"citations\":[{\"title\":"
        "\"T\",\"source\":\"s\",\"sourceContent\":[{\"text\":\"c\"}],\"location\":{\"documentPage\":{"
        "\"documentIndex\":1,\"start\":2,\"end\":3}}}]}},"
        "{\"citationsContent\":{\"citations\":[{\"location\":{\"web\":{\"url\":\"https://a\",\"domain\":"
        "\"a\"}}}]}},"
        "{\"citationsContent\":{\"content\":[{\"text\":\"x\"},{\"text\":\"y\"}],\"citations\":[]}}")),
    MESSAGES(MODEL(
        "{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"nova_grounding\",\"input\":{\"query\":\"q\"},\"type\":"
        "\"server_tool_use\"}},{\"toolResult\":{\"toolUseId\":\"t\",\"content\":[{\"text\":\"[HIDDEN]\"}],"
        "\"status\":\"success\",\"type\":\"nova_grounding_result\"}}")),
    MESSAGES(USER(
        "{\"guardContent\":{\"text\":{\"text\":\"g\",\"qualifiers\":[\"query\"]}}},"
        "{\"guardContent\":{\"image\":{\"format\":\"png\",\"source\":{\"bytes\":\"AAAA\"}}}},"
        "{\"searchResult\":{\"source\":\"https://s\",\"title\":\"t\",\"content\":[{\"text\":\"x\"}],"
        "\"citations\":{\"enabled\":true}}},{\"hologram\":{\"bytes\":\"AAAA\"}},"
        "{\"text\":\"a\",\"novelty\":1}")),
    WITH("\"system\":[{\"text\":\"s\"}," CACHE ",{\"guardContent\":{\"text\":{\"text\":\"g\"}}}]"),
    WITH(
        "\"inferenceConfig\":{\"maxTokens\":10,\"temperature\":0.70,\"topP\":1e-1,\"stopSequences\":["
        "\"|\",\"\\n\"],\"novelty\":true}"),
    WITH("\"toolConfig\":{\"tools\":[" SPEC("") "," SPEC(",\"description\":\"d\",\"strict\":true") "," CACHE "," SPEC(
        ",\"strict\":false,\"novelty\":{}") ",{\"systemTool\":{\"name\":\"nova_grounding\"}}],\"toolChoice\":{\"auto\":{}}}"),
    WITH("\"toolConfig\":{\"tools\":[" SPEC("") "],\"toolChoice\":{\"any\":{}}}"),
    WITH("\"toolConfig\":{\"tools\":[" SPEC("") "],\"toolChoice\":{\"tool\":{\"name\":\"f\"}}}"),
    WITH("\"toolConfig\":{\"tools\":[" SPEC("") "],\"toolChoice\":{\"some\":{}},\"novelty\":1}"),
    WITH(
        "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":1024,"
        "\"display\":\"omitted\"},\"top_k\":5,\"anthropic_beta\":[\"b\"]}"),
    WITH("\"additionalModelRequestFields\":{\"reasoning_config\":{\"type\":\"disabled\"}}"),
    WITH(
        "\"additionalModelRequestFields\":{\"inferenceConfig\":{\"topK\":10,\"x\":1},\"reasoningConfig\":{"
        "\"type\":\"enabled\",\"maxReasoningEffort\":\"low\"}}"),
    WITH("\"additionalModelRequestFields\":{\"thinking\":true,\"reasoning_effort\":\"low\"}"),
    WITH(
        "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"adaptive\"},\"output_config\":{"
        "\"effort\":\"high\"}}"),
    WITH("\"additionalModelRequestFields\":\"anything\""),
    WITH(
        "\"outputConfig\":{\"textFormat\":{\"type\":\"json_schema\",\"structure\":{\"jsonSchema\":{\"name\":"
        "\"n\",\"description\":\"d\",\"schema\":\"{\\\"type\\\": \\\"object\\\"}\"}}}}"),
    WITH(
        "\"guardrailConfig\":{\"guardrailIdentifier\":\"g\",\"guardrailVersion\":\"1\",\"trace\":\"enabled\","
        "\"streamProcessingMode\":\"async\"},\"additionalModelResponseFieldPaths\":[\"/stop_sequence\"],"
        "\"promptVariables\":{\"a\":{\"text\":\"b\"}},\"requestMetadata\":{\"k\":\"v\"},"
        "\"performanceConfig\":{\"latency\":\"optimized\"},\"serviceTier\":{\"type\":\"flex\"},"
        "\"novelty\":[1]"),
};

static void test_its_own_requests_come_back_as_they_were(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(round_trips); i++) {
        struct llm_request request = read_body(round_trips[i]);
        assert_int_equal(request.source, DIALECT_BEDROCK);
        write_for(&request, CLAUDE, THINKING_UNKNOWN);
        expect_body(round_trips[i]);
        expect_notes("", "");
    }
}

/* --- what is read --- */

static void test_reads_blocks(void **state)
{
    (void)state;
    struct llm_request request = read_body(MESSAGES(USER(
        "{\"text\":\"a\"}," CACHE_LONG
        ",{\"image\":{\"format\":\"jpeg\",\"source\":{\"bytes\":\"AAAA\"}}},"
        "{\"document\":{\"format\":\"txt\",\"name\":\"c\",\"source\":{\"content\":[{\"text\":\"x\"},"
        "{\"text\":\"y\"}]}}},{\"guardContent\":{\"text\":{\"text\":\"g\"}}}") "," MODEL("{\"reasoningContent\":{\"redactedContent\":\"cmVk\"}},"
                                                                                         "{\"citationsContent\":{\"content\":[{\"text\":\"b\"}],\"citations\":[{\"title\":\"T\","
                                                                                         "\"sourceContent\":[{\"text\":\"c\"}],\"location\":{\"documentChar\":{\"documentIndex\":4}}}]}},"
                                                                                         "{\"toolUse\":{\"toolUseId\":\"t\",\"name\":\"f\",\"input\":{\"a\":1}}}")));
    struct llm_block *b = request.messages->blocks;
    assert_true(text_eq(b->text, STR("a")));
    assert_int_equal(b->cache, CACHE_1H);
    b = b->next;
    assert_int_equal(b->kind, BLOCK_IMAGE);
    assert_true(text_eq(b->media.type, STR("image/jpeg")));
    b = b->next;
    assert_int_equal(b->kind, BLOCK_DOCUMENT);
    assert_true(text_eq(b->text, STR("x\ny")));
    assert_true(text_eq(b->media.type, STR("text/plain")));
    b = b->next;
    assert_int_equal(b->kind, BLOCK_TEXT);
    assert_true(text_eq(b->text, STR("g")));
    assert_true(str_eq(request.extras->name, STR("messages[0].content[4].guardContent")));
    b = request.messages->next->blocks;
    assert_true(b->is_redacted);
    assert_int_equal(b->signature.maker, DIALECT_BEDROCK);
    b = b->next;
    assert_int_equal(b->citations->document, 4);
    assert_true(text_eq(b->citations->title, STR("T")));
    assert_true(text_eq(b->citations->cited_text, STR("c")));
    b = b->next;
    assert_true(text_eq(b->arguments, STR("{\"a\":1}")));
}

static void test_reads_what_is_the_models_own(void **state)
{
    (void)state;
    struct llm_request r = read_body(WITH(
        "\"additionalModelRequestFields\":{\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2048},"
        "\"top_k\":7,\"anthropic_beta\":[\"b\"]}"));
    assert_int_equal(r.reasoning.mode, REASONING_ON);
    assert_true(str_eq(r.reasoning.budget, STR("2048")));
    assert_true(str_eq(r.top_k, STR("7")));
    const struct llm_extra *beta =
        llm_extra_take(&r, 1u << DIALECT_BEDROCK, "additionalModelRequestFields.anthropic_beta");
    assert_non_null(beta);
    r = read_body(
        WITH("\"additionalModelRequestFields\":{\"reasoningConfig\":{\"type\":\"enabled\","
             "\"maxReasoningEffort\":\"low\"},\"inferenceConfig\":{\"topK\":3}}"));
    assert_true(text_eq(r.reasoning.effort, STR("low")));
    assert_true(str_eq(r.top_k, STR("3")));
}

/* --- what is refused --- */

static const struct {
    const char *body, *words;
} refused[] = {
    {"{\"messages\":{}}", "'messages' must be an array"},
    {"{\"messages\":[1]}", "'messages[0]' must be an object"},
    {MESSAGES("{\"content\":[]}"), "'messages[0].role' is missing"},
    {MESSAGES("{\"role\":\"system\",\"content\":[]}"),
     "'messages[0].role' must be \"user\" or \"assistant\""},
    {MESSAGES("{\"role\":\"user\",\"content\":\"hi\"}"), "'messages[0].content' must be an array"},
    {MESSAGES(USER("{\"text\":\"a\"},{\"text\":1}")),
     "'messages[0].content[1].text' must be a string"},
    {MESSAGES(USER("{}")), "'messages[0].content[0]' must be an object with one of"},
    {MESSAGES(USER("{\"toolUse\":{\"name\":\"f\",\"input\":{}}}")),
     "'messages[0].content[0].toolUse.toolUseId' is missing"},
    {MESSAGES(USER("{\"toolResult\":{\"content\":[]}}")),
     "'messages[0].content[0].toolResult.toolUseId' is missing"},
    {MESSAGES(USER("{\"toolResult\":{\"toolUseId\":\"t\",\"content\":[],\"status\":\"so\"}}")),
     "status' must be \"success\" or \"error\""},
    {MESSAGES(USER("{\"image\":{\"format\":\"png\",\"source\":{\"bytes\":[]}}}")),
     "'messages[0].content[0].image.source.bytes' must be a string"},
    {WITH("\"system\":\"s\""), "'system' must be an array"},
    {WITH("\"inferenceConfig\":{\"maxTokens\":\"1\"}"),
     "'inferenceConfig.maxTokens' must be a number"},
    {WITH("\"inferenceConfig\":{\"stopSequences\":[1]}"),
     "'inferenceConfig.stopSequences[0]' must be a string"},
    {WITH("\"toolConfig\":{\"tools\":[{\"toolSpec\":{}}]}"),
     "'toolConfig.tools[0].toolSpec.name' is missing"},
    {WITH("\"toolConfig\":{\"toolChoice\":{\"tool\":{}}}"),
     "'toolConfig.toolChoice.tool.name' is missing"},
    {WITH("\"outputConfig\":{\"textFormat\":{\"type\":\"xml\"}}"), "must be \"json_schema\""},
    {WITH("\"outputConfig\":{\"textFormat\":{\"structure\":{\"jsonSchema\":{\"schema\":\"{\"}}}}"),
     "schema' must be the text of a JSON object"},
};

static void test_what_is_wrong_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct llm_request request;
        int r = dialect->read_request(str_c(refused[i].body), arena, &request);
        if (r != -ERR_INVALID || strstr(err_slot()->message, refused[i].words) == NULL)
            fail_msg("%s: %d %s", refused[i].body, r, err_slot()->message);
    }
}

/* B-07: thinking goes back as it came, in its place; of other makers it is marked for the client
 * and does not reach the model. */
static void test_b07_thinking_is_replayed_in_its_place(void **state)
{
    (void)state;
    static const char body[] = MESSAGES(USER("{\"text\":\"q\"}") "," MODEL(
        "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"a\\u0062\",\"signature\":\"U0lH\"}}},"
        "{\"reasoningContent\":{\"redactedContent\":\"UkVE\"}},{\"text\":\"t\"},"
        "{\"toolUse\":{\"toolUseId\":\"x\",\"name\":\"f\",\"input\":{}}}") "," USER("{\"toolResult\":{\"toolUseId\":\"x\",\"content\":[{\"text\":\"r\"}]}}"));
    struct llm_request request = read_body(body);
    signature_settle(&request);
    struct llm_notes notes = {&dropped, &supplied};
    buf_clear(&dropped);
    signature_strip(&request, DIALECT_BEDROCK, true, &notes);
    assert_int_equal(dropped.len, 0);
    write_for(&request, CLAUDE, THINKING_BUDGET);
    expect_body(body);
}

static void test_b07_marked_signatures_are_known_again(void **state)
{
    (void)state;
    struct llm_request request = read_body(MESSAGES(USER("{\"text\":\"q\"}") "," MODEL(
        "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"a\",\"signature\":"
        "\"weir:anthropic:thinking:U0lH\"}}},"
        /* base64 of "weir:anthropic:thinking:UkVE" */
        "{\"reasoningContent\":{\"redactedContent\":\"d2VpcjphbnRocm9waWM6dGhpbmtpbmc6VWtWRQ==\"}},"
        "{\"reasoningContent\":{\"reasoningText\":{\"text\":\"\",\"signature\":"
        "\"weir:gemini:call:R0VN\"}}},"
        "{\"toolUse\":{\"toolUseId\":\"x\",\"name\":\"f\",\"input\":{}}}")));
    struct llm_block *b = request.messages->next->blocks;
    assert_int_equal(b->signature.maker, DIALECT_ANTHROPIC);
    assert_true(text_eq(b->signature.data, STR("U0lH")));
    b = b->next;
    assert_true(b->is_redacted);
    assert_int_equal(b->signature.maker, DIALECT_ANTHROPIC);
    assert_true(text_eq(b->signature.data, STR("UkVE")));
    b = b->next;
    assert_true(b->is_for_call);
    signature_settle(&request);
    for (b = request.messages->next->blocks; b->kind != BLOCK_TOOL_CALL; b = b->next)
        assert_non_null(b->next);
    assert_int_equal(b->signature.maker, DIALECT_GEMINI);
    assert_true(text_eq(b->signature.data, STR("R0VN")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_its_own_requests_come_back_as_they_were, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_reads_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_reads_what_is_the_models_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_wrong_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_b07_thinking_is_replayed_in_its_place, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_b07_marked_signatures_are_known_again, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
