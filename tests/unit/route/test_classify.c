/* What an error means, and when a provider wants to be asked again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/err.h"
#include "dialect/dialect.h"
#include "route/classify.h"

static void expect(const struct dialect *dialect, unsigned status, const char *type,
                   const char *body, enum outcome_class wanted)
{
    struct llm_error error;
    dialect->read_error(status, str_c(type), str_c(body), &error);
    enum outcome_class outcome = classify_error(&error);
    if (outcome != wanted)
        fail_msg("%u %s is taken for %s, not %s", status, body, outcome_rules[outcome].name,
                 outcome_rules[wanted].name);
}

static void errors_of_servers_that_imitate_openai(void **state)
{
    static const struct {
        unsigned status;
        const char *body;
        enum outcome_class outcome;
    } rows[] = {
        /* vLLM, SGLang, llama.cpp, TGI */
        {400,
         "{\"object\":\"error\",\"message\":\"This model's maximum context length is 4096 tokens. "
         "However, you requested 5000 tokens\",\"type\":\"BadRequestError\",\"code\":400}",
         OUTCOME_CONTEXT_WINDOW},
        {400,
         "{\"object\":\"error\",\"message\":\"The input (9000 tokens) is longer than the model's "
         "context length (8192 tokens).\",\"type\":\"BadRequestError\",\"code\":400}",
         OUTCOME_CONTEXT_WINDOW},
        {400,
         "{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size\","
         "\"type\":\"exceed_context_size_error\"}}",
         OUTCOME_CONTEXT_WINDOW},
        {422,
         "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."
         " Given: 5000 `inputs` tokens\",\"error_type\":\"validation\"}",
         OUTCOME_CONTEXT_WINDOW},
        {404,
         "{\"object\":\"error\",\"message\":\"The model `x` does not exist.\","
         "\"type\":\"NotFoundError\",\"code\":404}",
         OUTCOME_NO_MODEL},
        {400, "{\"error\":{\"message\":\"x is not a valid model ID\",\"code\":400}}",
         OUTCOME_NO_MODEL},
        {400,
         "{\"error\":{\"message\":\"The model `x` has been decommissioned\","
         "\"type\":\"invalid_request_error\",\"code\":\"model_decommissioned\"}}",
         OUTCOME_NO_MODEL},
        {404,
         "{\"error\":{\"message\":\"Previous response with id 'resp_1' not found.\","
         "\"type\":\"invalid_request_error\",\"code\":\"previous_response_not_found\"}}",
         OUTCOME_CLIENT_FAULT},
        /* said of the text: never of the key */
        {403,
         "{\"error\":{\"message\":\"openai/gpt-4o requires moderation. Your input was flagged\","
         "\"code\":403}}",
         OUTCOME_CONTENT_POLICY},
        {400,
         "{\"error\":{\"message\":\"Your request was rejected as a result of our safety system.\","
         "\"type\":\"image_generation_user_error\",\"code\":\"moderation_blocked\"}}",
         OUTCOME_CONTENT_POLICY},
        {400,
         "{\"error\":{\"message\":\"Content Exists Risk\",\"type\":\"invalid_request_error\"}}",
         OUTCOME_CONTENT_POLICY},
        {403,
         "{\"error\":{\"message\":\"Country, region, or territory not supported\","
         "\"type\":\"request_forbidden\"}}",
         OUTCOME_DENIED},
        {429,
         "{\"error\":{\"message\":\"Rate limit reached for gpt-4o. Please try again in 7.66s.\","
         "\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}",
         OUTCOME_THROTTLED},
        {402, "{\"error\":{\"message\":\"Insufficient Balance\"}}", OUTCOME_CREDENTIAL},
        {503,
         "{\"error\":{\"message\":\"That model is currently overloaded with other requests\","
         "\"type\":\"server_error\"}}",
         OUTCOME_THROTTLED},
        {503, "{\"error\":{\"message\":\"Slow Down\",\"type\":\"server_error\",\"code\":null}}",
         OUTCOME_THROTTLED},
        {503,
         "{\"error\":{\"message\":\"The service is unavailable.\",\"type\":\"server_error\","
         "\"param\":null,\"code\":null}}",
         OUTCOME_TRANSIENT},
        {503, "<html>Service Unavailable</html>", OUTCOME_TRANSIENT},
        {502, "", OUTCOME_TRANSIENT},
        {504, "{}", OUTCOME_TRANSIENT},
        {408, "{}", OUTCOME_TRANSIENT},
        {422, "{}", OUTCOME_CLIENT_FAULT},
        {413, "{}", OUTCOME_CLIENT_FAULT},
        {405, "", OUTCOME_CLIENT_FAULT},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect(&openai_chat_dialect, rows[i].status, "", rows[i].body, rows[i].outcome);
}

static void errors_of_the_other_dialects(void **state)
{
    static const struct {
        const struct dialect *dialect;
        unsigned status;
        const char *type, *body;
        enum outcome_class outcome;
    } rows[] = {
        {&bedrock_dialect, 400, "ValidationException",
         "{\"message\":\"Input is too long for requested model.\"}", OUTCOME_CONTEXT_WINDOW},
        {&bedrock_dialect, 400, "ValidationException",
         "{\"message\":\"Invocation of model ID x with on-demand throughput isn't supported.\"}",
         OUTCOME_NO_MODEL},
        {&bedrock_dialect, 429, "ThrottlingException", "{\"message\":\"Too many tokens\"}",
         OUTCOME_THROTTLED},
        {&bedrock_dialect, 429, "ModelNotReadyException", "{\"message\":\"not ready\"}",
         OUTCOME_THROTTLED},
        {&bedrock_dialect, 503, "ServiceUnavailableException", "{\"message\":\"later\"}",
         OUTCOME_TRANSIENT},
        {&bedrock_dialect, 424, "ModelErrorException", "{\"message\":\"it failed\"}",
         OUTCOME_TRANSIENT},
        {&bedrock_dialect, 408, "ModelTimeoutException", "{\"message\":\"slow\"}",
         OUTCOME_TRANSIENT},
        {&bedrock_dialect, 403, "ExpiredTokenException", "{\"message\":\"expired\"}",
         OUTCOME_CREDENTIAL},
        {&bedrock_dialect, 0, "throttlingException", "{\"message\":\"Too many requests\"}",
         OUTCOME_THROTTLED},
        {&bedrock_dialect, 0, "internalServerException", "{\"message\":\"unexpected\"}",
         OUTCOME_TRANSIENT},
        {&anthropic_dialect, 400, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
         "\"Your credit balance is too low to access the Anthropic API.\"}}",
         OUTCOME_QUOTA},
        {&anthropic_dialect, 400, "",
         "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":"
         "\"Output blocked by content filtering policy\"}}",
         OUTCOME_CONTENT_POLICY},
        {&gemini_dialect, 0, "",
         "{\"error\":{\"code\":499,\"message\":\"The operation was cancelled.\","
         "\"status\":\"CANCELLED\"}}",
         OUTCOME_TRANSIENT},
        {&gemini_dialect, 500, "",
         "{\"error\":{\"code\":500,\"message\":\"Internal\",\"status\":\"INTERNAL\"}}",
         OUTCOME_TRANSIENT},
        {&cohere_dialect, 429, "",
         "{\"message\":\"You are using a Trial key, which is limited to 1000 API calls / month\"}",
         OUTCOME_QUOTA},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect(rows[i].dialect, rows[i].status, rows[i].type, rows[i].body, rows[i].outcome);
}

static void failures_of_our_own_calls(void **state)
{
    (void)state;
    assert_int_equal(classify_failure(0), OUTCOME_OK);
    assert_int_equal(classify_failure(-ERR_CONNECT), OUTCOME_TRANSIENT);
    assert_int_equal(classify_failure(ERR_TLS), OUTCOME_TRANSIENT);
    assert_int_equal(classify_failure(-ERR_RESET), OUTCOME_TRANSIENT);
    assert_int_equal(classify_failure(-ERR_CLOSED), OUTCOME_TRANSIENT);
    assert_int_equal(classify_failure(-ERR_TIMEOUT), OUTCOME_TRANSIENT);
    assert_int_equal(classify_failure(-ERR_PROTOCOL), OUTCOME_TRANSIENT);
    assert_int_equal(classify_failure(-ERR_CANCELED), OUTCOME_CANCELLED);
    /* What weir itself refuses says nothing of the provider. */
    assert_int_equal(classify_failure(-ERR_FORBIDDEN), OUTCOME_LOCAL);
    assert_int_equal(classify_failure(-ERR_NOMEM), OUTCOME_LOCAL);
    assert_int_equal(classify_failure(-ERR_BUSY), OUTCOME_LOCAL);
    assert_int_equal(classify_failure(-12345), OUTCOME_TRANSIENT);
    assert_false(outcome_rules[OUTCOME_LOCAL].counts_for_breaker);
}

static void a_status_alone_says_enough(void **state)
{
    (void)state;
    assert_int_equal(classify_status(200), OUTCOME_OK);
    assert_int_equal(classify_status(204), OUTCOME_OK);
    assert_int_equal(classify_status(302), OUTCOME_TRANSIENT);
    assert_int_equal(classify_status(400), OUTCOME_CLIENT_FAULT);
    assert_int_equal(classify_status(401), OUTCOME_CREDENTIAL);
    assert_int_equal(classify_status(402), OUTCOME_CREDENTIAL);
    assert_int_equal(classify_status(403), OUTCOME_DENIED);
    assert_int_equal(classify_status(404), OUTCOME_NO_MODEL);
    assert_int_equal(classify_status(422), OUTCOME_CLIENT_FAULT);
    assert_int_equal(classify_status(429), OUTCOME_THROTTLED);
    assert_int_equal(classify_status(500), OUTCOME_TRANSIENT);
    assert_int_equal(classify_status(529), OUTCOME_THROTTLED);
    assert_int_equal(classify_status(599), OUTCOME_TRANSIENT);
}

/* Properties that the loop of attempts relies on. */
static void what_follows_from_a_class(void **state)
{
    (void)state;
    for (int i = 0; i < OUTCOME_CLASS_COUNT; i++) {
        const struct outcome_rule *rule = &outcome_rules[i];
        assert_non_null(rule->name);
        if (rule->benches != BENCH_NOTHING)
            assert_true(rule->bench_ns > 0 && rule->bench_max_ns >= rule->bench_ns);
        if (rule->retries_same_target)
            assert_true(rule->tries_next_target);
    }
    assert_false(outcome_rules[OUTCOME_CLIENT_FAULT].tries_next_target);
    assert_false(outcome_rules[OUTCOME_CANCELLED].tries_next_target);
    assert_int_equal(outcome_rules[OUTCOME_CREDENTIAL].benches, BENCH_KEY);
    assert_int_equal(outcome_rules[OUTCOME_NO_MODEL].benches, BENCH_NOTHING);
    assert_true(outcome_rules[OUTCOME_QUOTA].bench_ns > outcome_rules[OUTCOME_THROTTLED].bench_ns);
}

/* --- when to come back --- */

/* 2026-11-21T03:58:20Z */
#define NOW_WALL (INT64_C(1795233500) * NS_PER_SEC)

static int64_t asked(const char *name, const char *value)
{
    struct http_header header = {str_c(name), str_c(value)};
    struct http_headers headers = {&header, 1, 1};
    return retry_after_ns(&headers, NULL, NOW_WALL);
}

static void every_form_of_retry_after(void **state)
{
    (void)state;
    assert_int_equal(asked("Retry-After", "7"), 7 * NS_PER_SEC);
    assert_int_equal(asked("retry-after", "0"), 0);
    assert_int_equal(asked("retry-after", "1.5"), 1500 * NS_PER_MS);
    assert_int_equal(asked("retry-after", "Sat, 21 Nov 2026 03:58:23 GMT"), 3 * NS_PER_SEC);
    assert_int_equal(asked("retry-after", "Sat, 21 Nov 2026 03:58:00 GMT"), 0);
    assert_int_equal(asked("retry-after-ms", "250"), 250 * NS_PER_MS);
    assert_int_equal(asked("retry-after-ms", "250.5"), 250500 * NS_PER_US);
    assert_int_equal(asked("x-ms-retry-after-ms", "1200"), 1200 * NS_PER_MS);
    assert_int_equal(asked("retry-after", "9999999"), RETRY_AFTER_MAX_NS);
    assert_int_equal(asked("retry-after", "999999999999"), -1);
    assert_int_equal(asked("retry-after", "soon"), -1);
    assert_int_equal(asked("retry-after", "-1"), -1);
    assert_int_equal(asked("retry-after", ""), -1);
    assert_int_equal(asked("x-other", "7"), -1);
}

static void milliseconds_are_more_exact_than_seconds(void **state)
{
    struct http_header items[] = {
        {STR("retry-after"), STR("1")},
        {STR("retry-after-ms"), STR("450")},
    };
    struct http_headers headers = {items, 2, 2};
    (void)state;
    assert_int_equal(retry_after_ns(&headers, NULL, NOW_WALL), 450 * NS_PER_MS);
}

static int64_t said(const char *message)
{
    struct llm_error error = LLM_ERROR_NONE;
    error.message = text_plain(str_c(message));
    return retry_after_ns(NULL, &error, NOW_WALL);
}

static void a_body_may_say_it_too(void **state)
{
    struct llm_error error = LLM_ERROR_NONE;
    (void)state;
    error.retry_after_ms = 48000;
    assert_int_equal(retry_after_ns(NULL, &error, NOW_WALL), 48 * NS_PER_SEC);
    error.retry_after_ms = INT64_MAX;
    assert_int_equal(retry_after_ns(NULL, &error, NOW_WALL), RETRY_AFTER_MAX_NS);
    assert_int_equal(said("Rate limit reached. Please try again in 7.66s. Visit"),
                     7660 * NS_PER_MS);
    assert_int_equal(said("Please try again in 20ms."), 20 * NS_PER_MS);
    assert_int_equal(said("Please try again in 6m0s."), 360 * NS_PER_SEC);
    assert_int_equal(said("Please retry after 86400 seconds. Please contact"), 86400 * NS_PER_SEC);
    assert_int_equal(said("please try again in 2 minutes"), 120 * NS_PER_SEC);
    assert_int_equal(said("try again in a while"), -1);
    assert_int_equal(said("try again in 5"), -1);
    assert_int_equal(said("try again in "), -1);
    assert_int_equal(said("retry after 3 attempts"), -1);
    assert_int_equal(said(""), -1);
    assert_int_equal(retry_after_ns(NULL, NULL, NOW_WALL), -1);
}

static void durations_as_providers_write_them(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"2", 2 * NS_PER_SEC},       {"0.5", NS_PER_SEC / 2},
        {"6m0s", 360 * NS_PER_SEC},  {"1h2m3.5s", 3723500 * NS_PER_MS},
        {"20ms", 20 * NS_PER_MS},    {"0s", 0},
        {"1d", 86400 * NS_PER_SEC},  {"1.5d", 129600 * NS_PER_SEC},
        {"250us", 250 * NS_PER_US},  {" 3 ", 3 * NS_PER_SEC},
        {"1.5ms", 1500 * NS_PER_US}, {"33011.382867", INT64_C(33011382867000)},
    };
    static const char *const bad[] = {
        "", " ", "s", "1x", "1m2", "-1s", "1e3", ".5", "1s ago", "9999999999999999999s", "99999d"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ns = -7;
        assert_true(duration_read(str_c(rows[i].text), &ns));
        assert_int_equal(ns, rows[i].ns);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ns = -7;
        if (duration_read(str_c(bad[i]), &ns) || ns != -7)
            fail_msg("\"%s\" was read as %lld", bad[i], (long long)ns);
    }
}

static void dates_as_providers_write_them(void **state)
{
    static const struct {
        const char *text;
        int64_t ns;
    } rows[] = {
        {"2026-11-21T03:58:20Z", NOW_WALL},
        {"2026-11-21t03:58:20.25z", NOW_WALL + 250 * NS_PER_MS},
        {"2026-11-21T04:58:20+01:00", NOW_WALL},
        {"2026-11-20T22:28:20-05:30", NOW_WALL},
        {"Sat, 21 Nov 2026 03:58:20 GMT", NOW_WALL},
        {"1970-01-01T00:00:00Z", 0},
        {"2024-02-29T00:00:00Z", INT64_C(1709164800) * NS_PER_SEC},
        {"2000-03-01T00:00:00Z", INT64_C(951868800) * NS_PER_SEC},
    };
    static const char *const bad[] = {"",
                                      "2026-11-21",
                                      "2026-13-21T03:58:20Z",
                                      "2026-11-21T25:58:20Z",
                                      "2026-11-21T03:58:20",
                                      "2026-11-21T03:58:20Zx",
                                      "Sat, 21 Foo 2026 03:58:20 GMT",
                                      "Sat, 21 ovD 2026 03:58:20 GMT",
                                      "Sat, 21 Nov 2026 03:58:20 CET"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t ns = -7;
        if (!date_read(str_c(rows[i].text), &ns) || ns != rows[i].ns)
            fail_msg("\"%s\" was read as %lld", rows[i].text, (long long)ns);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ns = -7;
        if (date_read(str_c(bad[i]), &ns) || ns != -7)
            fail_msg("\"%s\" was read as %lld", bad[i], (long long)ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_of_servers_that_imitate_openai),
        cmocka_unit_test(errors_of_the_other_dialects),
        cmocka_unit_test(failures_of_our_own_calls),
        cmocka_unit_test(a_status_alone_says_enough),
        cmocka_unit_test(what_follows_from_a_class),
        cmocka_unit_test(every_form_of_retry_after),
        cmocka_unit_test(milliseconds_are_more_exact_than_seconds),
        cmocka_unit_test(a_body_may_say_it_too),
        cmocka_unit_test(durations_as_providers_write_them),
        cmocka_unit_test(dates_as_providers_write_them),
    };
    return cmocka_run_group_tests_name("route/classify", tests, NULL, NULL);
}
