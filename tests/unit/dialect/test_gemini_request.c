#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "dialect/dialect.h"
#include "dialect/gemini/count.h"
#include "support/json_equal.h"

static const struct dialect *const dialect = &gemini_dialect;
static const struct llm_quirks no_quirks;
static const struct llm_traits no_traits;

struct written {
    struct buf body, dropped, supplied;
};

static void written_fini(struct written *w)
{
    buf_fini(&w->body);
    buf_fini(&w->dropped);
    buf_fini(&w->supplied);
}

static void write_to(struct llm_request *request, const struct llm_traits *traits,
                     struct arena *arena, struct written *w)
{
    struct llm_target target = {.model = STR("m"), .quirks = &no_quirks, .traits = traits};
    struct llm_notes notes = {&w->dropped, &w->supplied};
    *w = (struct written){BUF_INIT, BUF_INIT, BUF_INIT};
    assert_int_equal(dialect->write_request(request, &target, arena, &notes, &w->body), 0);
}

static void assert_same(const struct written *w, const char *wanted)
{
    char where[512] = "";
    if (!json_equal(buf_str(&w->body), str_c(wanted), where, sizeof(where)))
        fail_msg("%s\ngot    %.*s\nwanted %s", where, STR_ARG(buf_str(&w->body)), wanted);
}

#define HI "\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]}]"

static void own_requests_come_back(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "{" HI "}",
        "{" HI ",\"systemInstruction\":{\"role\":\"system\",\"parts\":[{\"text\":\"s\"}]}}",
        "{" HI ",\"generationConfig\":{}}",
        "{" HI ",\"generationConfig\":{\"temperature\":0.50,\"topP\":1,\"topK\":3,\"seed\":7,"
        "\"maxOutputTokens\":9,\"candidateCount\":2,\"stopSequences\":[\"a\"],\"logprobs\":2,"
        "\"responseLogprobs\":true,\"presencePenalty\":1,\"frequencyPenalty\":-1,"
        "\"mediaResolution\":\"MEDIA_RESOLUTION_LOW\",\"responseModalities\":[\"TEXT\"]}}",
        "{" HI ",\"generationConfig\":{\"responseMimeType\":\"text/x.enum\","
        "\"responseJsonSchema\":{\"type\":\"string\",\"enum\":[\"a\",\"b\"]}}}",
        "{" HI ",\"generationConfig\":{\"responseMimeType\":\"text/x.enum\","
        "\"responseSchema\":{\"type\":\"STRING\",\"enum\":[\"a\",\"b\"]}}}",
        "{" HI ",\"generationConfig\":{\"responseMimeType\":\"application/json\","
        "\"responseJsonSchema\":{\"type\":\"object\"}}}",
        "{" HI ",\"generationConfig\":{\"responseMimeType\":\"application/json\","
        "\"responseSchema\":{\"type\":\"OBJECT\"}}}",
        "{" HI ",\"tools\":[{\"functionDeclarations\":[{\"name\":\"f\",\"description\":\"d\","
        "\"parameters\":{\"type\":\"OBJECT\"}}]},{\"googleSearch\":{}}],\"toolConfig\":{"
        "\"functionCallingConfig\":{\"mode\":\"ANY\",\"allowedFunctionNames\":[\"f\"]}}}",
        "{" HI ",\"safetySettings\":[{\"category\":\"C\",\"threshold\":\"OFF\"}],\"cachedContent\":"
        "\"c\",\"labels\":{\"a\":\"b\"}}",
        "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"fileData\":{\"mimeType\":\"video/mp4\","
        "\"fileUri\":\"gs://b/f.mp4\"},\"videoMetadata\":{\"fps\":1}}]},{\"role\":\"model\","
        "\"parts\":[{\"text\":\"hm\",\"thought\":true},{\"functionCall\":{\"name\":\"f\",\"args\":"
        "{\"a\":1}},\"thoughtSignature\":\"c2ln\"}]},{\"role\":\"user\",\"parts\":[{"
        "\"functionResponse\":{\"name\":\"f\",\"response\":{\"result\":\"x\"}}}]}]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        struct arena *arena = arena_new(4096);
        struct llm_request request;
        struct written w;
        if (dialect->read_request(str_c(bodies[i]), arena, &request) != 0)
            fail_msg("%s: %s", bodies[i], err_slot()->message);
        write_to(&request, &no_traits, arena, &w);
        assert_same(&w, bodies[i]);
        assert_int_equal(w.dropped.len, 0);
        assert_int_equal(w.supplied.len, 0);
        written_fini(&w);
        arena_free(arena);
    }
}

/* What is wrong is told by its place. */
static void wrong_requests_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body, *words;
    } cases[] = {
        {"{}", "'contents' is missing"},
        {"{\"contents\":1}", "'contents'"},
        {"{\"contents\":[1]}", "'contents[0]'"},
        {"{\"contents\":[{\"role\":\"x\"}]}", "'contents[0].role'"},
        {"{\"contents\":[{\"parts\":[{\"text\":1}]}]}", "'contents[0].parts[0].text'"},
        {"{\"contents\":[{\"parts\":[{\"functionCall\":{}}]}]}",
         "'contents[0].parts[0].functionCall.name'"},
        {"{\"contents\":[{\"parts\":[{\"inlineData\":{\"mimeType\":\"a/b\"}}]}]}",
         "'contents[0].parts[0].inlineData.data'"},
        {"{" HI ",\"generationConfig\":1}", "'generationConfig'"},
        {"{" HI ",\"generationConfig\":{\"topP\":[]}}", "'generationConfig.topP'"},
        {"{" HI ",\"systemInstruction\":{\"parts\":[1]}}", "'systemInstruction.parts[0]'"},
        {"{" HI ",\"toolConfig\":{\"functionCallingConfig\":{\"mode\":\"X\"}}}",
         "'toolConfig.functionCallingConfig.mode'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new(4096);
        struct llm_request request;
        assert_int_equal(dialect->read_request(str_c(cases[i].body), arena, &request),
                         -ERR_INVALID);
        if (strstr(err_slot()->message, cases[i].words) == NULL)
            fail_msg("%s: %s", cases[i].body, err_slot()->message);
        arena_free(arena);
    }
}

static void other_requests_are_made_to_fit(void **state)
{
    (void)state;
    static const struct {
        const char *openai, *gemini, *dropped;
    } cases[] = {
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},"
         "{\"role\":\"user\",\"content\":\"hi\"}],\"seed\":3,\"stop\":[\"x\"],\"user\":\"u\"}",
         "{\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]}," HI
         ",\"generationConfig\":{\"seed\":3,\"stopSequences\":[\"x\"]}}",
         "user"},
        /* Two calls of one function, answered the other way round. */
        {"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":"
         "\"assistant\",\"tool_calls\":[{\"id\":\"a\",\"type\":\"function\",\"function\":{\"name\":"
         "\"f\",\"arguments\":\"{\\\"n\\\":1}\"}},{\"id\":\"b\",\"type\":\"function\",\"function\":"
         "{\"name\":\"f\",\"arguments\":\"\"}}]},{\"role\":\"tool\",\"tool_call_id\":\"b\","
         "\"content\":\"of b\"},{\"role\":\"tool\",\"tool_call_id\":\"a\",\"content\":\"of a\"}]}",
         "{\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":\"hi\"}]},{\"role\":\"model\","
         "\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"n\":1}}},{\"functionCall\":"
         "{\"name\":\"f\",\"args\":{}}}]},{\"role\":\"user\",\"parts\":[{\"functionResponse\":"
         "{\"name\":\"f\",\"response\":{\"result\":\"of a\"}}},{\"functionResponse\":{\"name\":"
         "\"f\",\"response\":{\"result\":\"of b\"}}}]}]}",
         ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena *arena = arena_new(4096);
        struct llm_request request;
        struct written w;
        assert_int_equal(openai_chat_dialect.read_request(str_c(cases[i].openai), arena, &request),
                         0);
        write_to(&request, &no_traits, arena, &w);
        assert_same(&w, cases[i].gemini);
        if (!str_eq(buf_str(&w.dropped), str_c(cases[i].dropped)))
            fail_msg("dropped %.*s", STR_ARG(buf_str(&w.dropped)));
        written_fini(&w);
        arena_free(arena);
    }
}

/* A result without an id is of the first call of its name that has none yet. */
static void results_find_their_calls(void **state)
{
    (void)state;
    static const char body[] =
        "{\"contents\":[{\"role\":\"model\",\"parts\":[{\"functionCall\":{\"name\":\"f\"}},"
        "{\"functionCall\":{\"name\":\"g\"}},{\"functionCall\":{\"name\":\"f\"}},"
        "{\"functionCall\":{\"id\":\"x\",\"name\":\"f\"}}]},{\"role\":\"user\",\"parts\":["
        "{\"functionResponse\":{\"id\":\"x\",\"name\":\"f\"}},{\"functionResponse\":{\"name\":"
        "\"f\"}},{\"functionResponse\":{\"name\":\"f\"}},{\"functionResponse\":{\"name\":\"g\"}}]}"
        "]}";
    static const unsigned call_of[] = {3, 0, 2, 1};
    struct arena *arena = arena_new(4096);
    struct llm_request request;
    assert_int_equal(dialect->read_request(str_c(body), arena, &request), 0);
    const struct llm_block *result = request.messages->next->blocks;
    for (size_t i = 0; i < ARRAY_LEN(call_of); i++, result = result->next) {
        const struct llm_block *call = request.messages->blocks;
        for (unsigned n = 0; n < call_of[i]; n++)
            call = call->next;
        assert_true(str_eq(call->id.s, result->id.s));
    }
    arena_free(arena);
}

static void counts_are_asked_and_read(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    struct llm_request request;
    struct written w = {BUF_INIT, BUF_INIT, BUF_INIT};
    struct llm_notes notes = {&w.dropped, &w.supplied};
    struct llm_target target = {.model = STR("m"), .quirks = &no_quirks, .traits = &no_traits};
    int64_t tokens = -1;
    assert_int_equal(
        gemini_read_count_request(STR("{\"generateContentRequest\":{\"model\":\"models/x\"," HI
                                      ",\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]}}}"),
                                  arena, &request),
        0);
    assert_int_equal(gemini_write_count_request(&request, &target, arena, &notes, &w.body), 0);
    assert_same(&w, "{\"generateContentRequest\":{\"model\":\"models/m\"," HI
                    ",\"systemInstruction\":{\"parts\":[{\"text\":\"s\"}]}}}");
    assert_int_equal(gemini_read_count(STR("{\"totalTokens\":12}"), &tokens), 0);
    assert_int_equal(tokens, 12);
    assert_int_equal(gemini_read_count(STR("{}"), &tokens), -ERR_INVALID);
    written_fini(&w);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_requests_come_back),
        cmocka_unit_test(wrong_requests_are_refused),
        cmocka_unit_test(other_requests_are_made_to_fit),
        cmocka_unit_test(results_find_their_calls),
        cmocka_unit_test(counts_are_asked_and_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
