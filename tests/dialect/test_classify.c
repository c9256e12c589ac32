#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dialect/dialect.h"
#include "http/sse.h"
#include "recordings.h"
#include "route/classify.h"

/*
 * What recorded errors of all providers are taken for: as a body with its status, and inside a
 * stream that had begun well. A recording that is in no table fails the test: somebody has to say
 * what it is.
 */

struct expected {
    const char *name;
    enum outcome_class outcome;
};

static const struct expected bodies[] = {
    {"ai-2fd54f2764", OUTCOME_QUOTA},
    {"ai_automation_suggester-d8d14c6da8", OUTCOME_OVERSIZED},
    {"amazon-bedrock-client-for-mac-5f488fb845", OUTCOME_THROTTLED},
    {"anon-kode-f01c44c797", OUTCOME_THROTTLED},
    {"braintrust-5f392d5792", OUTCOME_NO_MODEL},
    {"braintrust-f7332b3be3", OUTCOME_NO_MODEL},
    {"claude-code-56a69e2457", OUTCOME_THROTTLED},
    {"claude-code-70b8dfe69b", OUTCOME_CLIENT_FAULT},
    {"claude-code-8244daa0e7", OUTCOME_THROTTLED},
    {"claude-code-a3f10736c4", OUTCOME_TRANSIENT},
    {"claude-code-e0875dbcde", OUTCOME_CLIENT_FAULT},
    {"compl-ai-6d44eca06a", OUTCOME_CONTENT_POLICY},
    {"continue-7574695b4d", OUTCOME_THROTTLED},
    {"crewai-18219ae333", OUTCOME_CREDENTIAL},
    {"crewai-46e1bd2fd6", OUTCOME_CREDENTIAL},
    {"crewai-ab245c3659", OUTCOME_CREDENTIAL},
    {"crewai-e6e2921fa7", OUTCOME_CREDENTIAL},
    {"crewai-ebb7f26f2b", OUTCOME_THROTTLED},
    {"dd-trace-py-2250592b56", OUTCOME_CREDENTIAL},
    {"dd-trace-py-a06fff48a4", OUTCOME_CREDENTIAL},
    {"elastic-928b870b77", OUTCOME_NO_MODEL},
    {"envoy-09cd0d6659", OUTCOME_CLIENT_FAULT},
    {"extensions-eae5cab3b1", OUTCOME_THROTTLED},
    {"firebase-1ae588f87c", OUTCOME_THROTTLED},
    {"firebase-2bee69f546", OUTCOME_DENIED},
    {"firebase-40b1c7caa8", OUTCOME_DENIED},
    {"firebase-e47e0281b1", OUTCOME_CLIENT_FAULT},
    {"forall-2d32914d0a", OUTCOME_OVERSIZED},
    {"gemini-cli-fe54087171", OUTCOME_THROTTLED},
    {"lobehub-371f585038", OUTCOME_THROTTLED},
    {"nextchat-7bc633e18b", OUTCOME_QUOTA},
    {"openai-cua-sample-app-3fff2d6e82", OUTCOME_TRANSIENT},
    {"openai-python-0a81378deb", OUTCOME_CONTENT_POLICY},
    {"openinference-14f90595ae", OUTCOME_NO_MODEL},
    {"openinference-86aea0267f", OUTCOME_DENIED},
    {"openinference-89f48cd5cb", OUTCOME_CREDENTIAL},
    {"openinference-8e8315482c", OUTCOME_NO_MODEL},
    {"openinference-9dfec6ec86", OUTCOME_NO_MODEL},
    {"openllmetry-1d76e426f7", OUTCOME_NO_MODEL},
    {"openllmetry-229d155dbd", OUTCOME_CLIENT_FAULT},
    {"openllmetry-d0c9f15137", OUTCOME_CREDENTIAL},
    {"openllmetry-ffdbb7ef13", OUTCOME_CLIENT_FAULT},
    {"otel-0acab8d343", OUTCOME_NO_MODEL},
    {"otel-0afdfd3a92", OUTCOME_NO_MODEL},
    {"otel-8a4a51d408", OUTCOME_NO_MODEL},
    {"otel-bd61fdfe6a", OUTCOME_NO_MODEL},
    {"pydantic-ai-11e19e15c8", OUTCOME_NO_MODEL},
    {"pydantic-ai-3a008379d2", OUTCOME_NO_MODEL},
    {"pydantic-ai-9720511d6c", OUTCOME_NO_MODEL},
    {"pydantic-ai-c260ca73a4", OUTCOME_NO_MODEL},
    {"pydantic-ai-ce8ea521e9", OUTCOME_NO_MODEL},
    {"pydantic-ai-f289a61fc3", OUTCOME_CLIENT_FAULT},
    {"rig-5b745f9d16", OUTCOME_CLIENT_FAULT},
    {"rig-68e1e7c207", OUTCOME_CREDENTIAL},
    {"rig-7c0473461c", OUTCOME_CLIENT_FAULT},
    {"rig-7c12827e78", OUTCOME_NO_MODEL},
    {"rig-84609a7a6f", OUTCOME_NO_MODEL},
    {"rig-8b0e575712", OUTCOME_CLIENT_FAULT},
    {"rig-9bb6ccb377", OUTCOME_CLIENT_FAULT},
    {"rig-a311382fa8", OUTCOME_CREDENTIAL},
    {"rig-b035185e23", OUTCOME_CLIENT_FAULT},
    {"rig-c22004804d", OUTCOME_NO_MODEL},
    {"rig-d5c5a893bc", OUTCOME_CREDENTIAL},
    {"ruby-openai-4340323dbc", OUTCOME_CLIENT_FAULT},
    {"ruby_llm-13c24150f2", OUTCOME_CONTEXT_WINDOW},
    {"ruby_llm-28c38799b5", OUTCOME_CREDENTIAL},
    {"ruby_llm-397a798d25", OUTCOME_CLIENT_FAULT},
    {"ruby_llm-45b9eba966", OUTCOME_CREDENTIAL},
    {"ruby_llm-52da82018a", OUTCOME_CREDENTIAL},
    {"ruby_llm-5fee9bcc23", OUTCOME_CREDENTIAL},
    {"ruby_llm-6a869f8d97", OUTCOME_CONTEXT_WINDOW},
    {"ruby_llm-7e2fb11485", OUTCOME_CONTEXT_WINDOW},
    {"ruby_llm-87147b6d3b", OUTCOME_CONTEXT_WINDOW},
    {"ruby_llm-a4bd866e54", OUTCOME_CREDENTIAL},
    {"ruby_llm-ad1c624964", OUTCOME_CONTEXT_WINDOW},
    {"ruby_llm-b0c9bb0682", OUTCOME_CREDENTIAL},
    {"ruby_llm-cfd02e5581", OUTCOME_CONTEXT_WINDOW},
    {"ruby_llm-dbc664762a", OUTCOME_THROTTLED},
    {"ruby_llm-eeca85f5fb", OUTCOME_CREDENTIAL},
    {"shell_gpt-416af74263", OUTCOME_OVERSIZED},
    {"tinyllm-d73a9e7afb", OUTCOME_THROTTLED},
    {"trae-b86c53fa1c", OUTCOME_THROTTLED},
};

/* After a 200. Those of Bedrock's frames have bodies like their whole answers. */
static const struct expected streams[] = {
    {"ai-3fe2716533", OUTCOME_QUOTA},
    {"helicone-18b938ad1d", OUTCOME_THROTTLED},
    {"prism-73e3582100", OUTCOME_OVERSIZED},
    {"pydantic-ai-45a187f404", OUTCOME_CLIENT_FAULT},
    {"pydantic-ai-bffc60e8b7", OUTCOME_CLIENT_FAULT},
    {"pydantic-ai-ef64a52fa7", OUTCOME_TRANSIENT},
};

static const struct {
    const char *api;
    const struct dialect *dialect;
} dialects[] = {
    {"anthropic.*", &anthropic_dialect}, {"gemini.*", &gemini_dialect},
    {"vertex.*", &gemini_dialect},       {"bedrock.*", &bedrock_dialect},
    {"cohere.*", &cohere_dialect},       {"*.responses", &openai_responses_dialect},
    {"*", &openai_chat_dialect},
};

static const struct dialect *dialect_of_api(struct str api)
{
    size_t i = 0;
    while (!str_glob(str_c(dialects[i].api), api))
        i++;
    return dialects[i].dialect;
}

static void expect(const struct recording *rec, const struct expected *table, size_t count,
                   enum outcome_class outcome)
{
    struct str path = str_c(rec->path);
    struct str name = str_skip(path, (size_t)(str_rindex(path, '/') + 1));
    name.len -= strlen(".json");
    for (size_t i = 0; i < count; i++) {
        if (!str_eq(name, str_c(table[i].name)))
            continue;
        if (outcome != table[i].outcome)
            fail_msg("%s is taken for %s", rec->path, outcome_rules[outcome].name);
        return;
    }
    fail_msg("%s is in no table; it is taken for %s", rec->path, outcome_rules[outcome].name);
}

static void check_body(const struct recording *rec, void *ctx)
{
    unsigned *count = ctx;
    struct llm_error error;
    if (rec->status < 400)
        return;
    dialect_of_api(rec->api)->read_error(rec->status, rec->error_type, rec->body, &error);
    expect(rec, bodies, ARRAY_LEN(bodies), classify_error(&error));
    (*count)++;
}

struct catcher {
    struct llm_sink sink;
    bool is_caught;
    enum outcome_class outcome;
};

static int catch_error(struct llm_sink *sink, const struct llm_event *event)
{
    struct catcher *c = CONTAINER_OF(sink, struct catcher, sink);
    if (event->kind == EVENT_ERROR) {
        c->is_caught = true;
        c->outcome = classify_error(&event->error);
    }
    return 0;
}

static void check_stream(const struct recording *rec, void *ctx)
{
    static const struct llm_quirks quirks;
    const struct llm_codec_settings settings = {.quirks = &quirks};
    struct catcher catcher = {.sink = {catch_error}};
    struct sse_splitter splitter;
    struct sse_event event;
    struct str input = rec->body;
    unsigned *count = ctx;
    if (!recording_has(rec, "midstream_error") || !str_eq(rec->framing, STR("sse")) ||
        recording_has(rec, "sse_raw_json_tail"))
        return;
    const struct dialect *dialect = dialect_of_api(rec->api);
    struct arena *arena = arena_new(4096);
    struct llm_decoder *decoder = dialect->decoder_new(arena, &settings);
    sse_splitter_init(&splitter, 1 << 20);
    while (sse_next(&splitter, &input, &event) == 1) {
        if (event.has_data)
            dialect->decode(decoder, event.type, event.data, &catcher.sink);
    }
    if (sse_finish(&splitter, &event) == 1 && event.has_data)
        dialect->decode(decoder, event.type, event.data, &catcher.sink);
    sse_splitter_fini(&splitter);
    arena_free(arena);
    if (!catcher.is_caught)
        fail_msg("%s: no error was found in it", rec->path);
    expect(rec, streams, ARRAY_LEN(streams), catcher.outcome);
    (*count)++;
}

static void skip_without_recordings(void)
{
    if (!recordings_are_here()) {
        print_message("no recorded traffic here (WEIR_WIRE_DIR): skipped\n");
        skip();
    }
}

static void recorded_errors_are_what_they_are(void **state)
{
    static const char *const apis[] = {"*", NULL};
    unsigned count = 0;
    (void)state;
    skip_without_recordings();
    recordings_each(apis, check_body, &count);
    assert_true(count > 50);
}

static void an_error_inside_a_good_stream_counts_like_its_status(void **state)
{
    static const char *const apis[] = {"*", NULL};
    unsigned count = 0;
    (void)state;
    skip_without_recordings();
    recordings_each(apis, check_stream, &count);
    assert_true(count >= 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_errors_are_what_they_are),
        cmocka_unit_test(an_error_inside_a_good_stream_counts_like_its_status),
    };
    return cmocka_run_group_tests_name("dialect/classify", tests, NULL, NULL);
}
