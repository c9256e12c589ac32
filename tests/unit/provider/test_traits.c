#include "provider/provider.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Which row of the table a model's id finds, and how a config's row is laid over it. */

static const struct provider anyone;

static const struct {
    const char *id;
    uint32_t max_output_tokens;
    enum llm_thinking thinking;
    enum llm_structured structured;
    enum tri images, documents, sampling, prefill;
} models[] = {
#define U TRI_UNSET
#define N TRI_NO
#define Y TRI_YES
    /* Each spelling of a Claude. */
    {"claude-3-haiku-20240307", 4096, THINKING_NONE, STRUCTURED_BY_TOOL, Y, N, Y, Y},
    {"claude-3-5-sonnet-20241022", 8192, THINKING_NONE, STRUCTURED_BY_TOOL, Y, Y, Y, Y},
    {"anthropic/claude-3.5-haiku", 8192, THINKING_NONE, STRUCTURED_BY_TOOL, Y, Y, Y, Y},
    {"claude-3-7-sonnet@20250219", 64000, THINKING_BUDGET, STRUCTURED_BY_TOOL, Y, Y, Y, Y},
    {"claude-opus-4-20250514", 32000, THINKING_BUDGET, STRUCTURED_BY_TOOL, Y, Y, Y, Y},
    {"claude-opus-4@20250514", 32000, THINKING_BUDGET, STRUCTURED_BY_TOOL, Y, Y, Y, Y},
    {"claude-sonnet-4-0", 64000, THINKING_BUDGET, STRUCTURED_BY_TOOL, Y, Y, Y, Y},
    {"claude-opus-4-1-20250805", 32000, THINKING_BUDGET, STRUCTURED_NATIVE, Y, Y, Y, Y},
    {"us.anthropic.claude-sonnet-4-5-20250929-v1:0", 64000, THINKING_BUDGET, STRUCTURED_NATIVE, Y,
     Y, Y, Y},
    {"anthropic.claude-sonnet-4-20250514-v1:0", 64000, THINKING_BUDGET, STRUCTURED_BY_TOOL, Y, Y, Y,
     Y},
    {"arn:aws:bedrock:eu-west-1:123456789012:inference-profile/"
     "eu.anthropic.claude-haiku-4-5-20251001-v1:0",
     64000, THINKING_BUDGET, STRUCTURED_NATIVE, Y, Y, Y, Y},
    {"anthropic/claude-haiku-4.5", 64000, THINKING_BUDGET, STRUCTURED_NATIVE, Y, Y, Y, Y},
    {"anthropic/claude-4.5-sonnet", 64000, THINKING_BUDGET, STRUCTURED_NATIVE, Y, Y, Y, Y},
    {"global.anthropic.claude-opus-4-6-v1", 128000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, Y,
     N},
    {"Claude-Sonnet-4-6", 64000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, Y, N},
    {"claude-opus-4-7", 128000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, N, N},
    {"anthropic/claude-4.7-opus", 128000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, N, N},
    {"claude-sonnet-5", 128000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, N, N},
    {"claude-fable-5-1", 128000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, N, N},
    {"us.anthropic.claude-sonnet-5-5", 128000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, N, N},
    {"claude-something-9", 64000, THINKING_ADAPTIVE, STRUCTURED_NATIVE, Y, Y, N, N},
    {"anthropic.claude-v2:1", 4096, THINKING_NONE, STRUCTURED_NONE, N, N, Y, Y},
    /* The others. */
    {"models/gemini-1.5-flash", 8192, THINKING_NONE, STRUCTURED_NATIVE, Y, Y, Y, U},
    {"gemini-2.5-flash-lite", 65536, THINKING_BUDGET, STRUCTURED_NATIVE, Y, Y, Y, U},
    {"publishers/google/models/gemini-3.1-pro-preview", 65536, THINKING_LEVEL, STRUCTURED_NATIVE, Y,
     Y, Y, U},
    {"gpt-4.1-mini", 32768, THINKING_NONE, STRUCTURED_NATIVE, Y, Y, Y, N},
    {"openai/gpt-4o-mini", 16384, THINKING_NONE, STRUCTURED_NATIVE, Y, Y, Y, N},
    {"gpt-4o-2024-05-13", 4096, THINKING_NONE, STRUCTURED_BY_TOOL, Y, Y, Y, N},
    {"gpt-4o-mini-search-preview", 16384, THINKING_NONE, STRUCTURED_NATIVE, N, N, N, N},
    {"gpt-4o-audio-preview", 16384, THINKING_NONE, STRUCTURED_NONE, N, N, Y, N},
    {"gpt-5.2_2025-12-11", 128000, THINKING_EFFORT, STRUCTURED_NATIVE, Y, Y, N, N},
    {"openai.gpt-5.6-luna", 128000, THINKING_EFFORT, STRUCTURED_NATIVE, Y, Y, N, N},
    {"gpt-5.2-chat-latest", 16384, THINKING_NONE, STRUCTURED_NATIVE, Y, U, U, N},
    {"o3-mini", 100000, THINKING_EFFORT, STRUCTURED_NATIVE, N, N, N, N},
    {"o4-mini", 100000, THINKING_EFFORT, STRUCTURED_NATIVE, Y, Y, N, N},
    {"openai/gpt-oss-120b", 131072, THINKING_EFFORT, STRUCTURED_UNKNOWN, N, N, Y, U},
    {"command-r-plus", 4096, THINKING_NONE, STRUCTURED_NATIVE, N, N, Y, U},
    {"command-a-reasoning-08-2025", 32768, THINKING_BUDGET, STRUCTURED_NATIVE, N, N, Y, U},
    {"us.amazon.nova-2-lite-v1:0", 65536, THINKING_EFFORT, STRUCTURED_BY_TOOL, Y, Y, Y, U},
    {"amazon.nova-micro-v1:0", 10000, THINKING_NONE, STRUCTURED_BY_TOOL, N, N, Y, U},
    {"us.meta.llama4-maverick-17b-instruct-v1:0", 8192, THINKING_NONE, STRUCTURED_BY_TOOL, Y, U, Y,
     U},
    {"meta-llama/Llama-3.3-70B-Instruct-Turbo", 0, THINKING_NONE, STRUCTURED_UNKNOWN, N, U, Y, U},
    {"deepseek-reasoner", 65536, THINKING_UNKNOWN, STRUCTURED_UNKNOWN, N, N, U, U},
    {"grok-3-mini", 0, THINKING_EFFORT, STRUCTURED_NATIVE, N, N, Y, U},
    {"us.mistral.pixtral-large-2502-v1:0", 0, THINKING_UNKNOWN, STRUCTURED_UNKNOWN, Y, U, Y, U},
    /* Nothing is known. */
    {"my-finetune", 0, THINKING_UNKNOWN, STRUCTURED_UNKNOWN, U, U, U, U},
    {"arn:aws:bedrock:us-east-1:1:application-inference-profile/abc123", 0, THINKING_UNKNOWN,
     STRUCTURED_UNKNOWN, U, U, U, U},
    {"", 0, THINKING_UNKNOWN, STRUCTURED_UNKNOWN, U, U, U, U},
    {"/", 0, THINKING_UNKNOWN, STRUCTURED_UNKNOWN, U, U, U, U},
    {"...", 0, THINKING_UNKNOWN, STRUCTURED_UNKNOWN, U, U, U, U},
};

static void each_model_finds_its_family(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        const struct llm_traits *t = provider_traits(&anyone, str_c(models[i].id));
        if (t->max_output_tokens != models[i].max_output_tokens ||
            t->thinking != models[i].thinking || t->structured != models[i].structured ||
            t->takes_images != models[i].images || t->takes_documents != models[i].documents ||
            t->takes_sampling != models[i].sampling || t->takes_prefill != models[i].prefill)
            fail_msg("%s: %u tokens, %s, %s, images %d, documents %d, sampling %d, prefill %d",
                     models[i].id, t->max_output_tokens, llm_thinking_names[t->thinking],
                     llm_structured_names[t->structured], t->takes_images, t->takes_documents,
                     t->takes_sampling, t->takes_prefill);
    }
}

static void claude_may_think_always_and_not_be_forced(void **state)
{
    (void)state;
    static const struct {
        const char *id;
        enum tri forced_tools, thinking_off;
    } rows[] = {
        {"claude-fable-5", U, N},
        {"claude-fable-5@20260609", U, N},
        {"claude-fable-5-20260609", U, N},
        {"global.anthropic.claude-fable-5-v1:0", U, N},
        {"claude-fable-5-1", N, N},
        {"anthropic/claude-fable-5.2", N, N},
        {"us.anthropic.claude-mythos-5-1-v1:0", N, N},
        {"claude-sonnet-5-5", U, U},
        {"claude-opus-4-7", U, U},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct llm_traits *t = provider_traits(&anyone, str_c(rows[i].id));
        if (t->takes_forced_tools != rows[i].forced_tools ||
            t->takes_thinking_off != rows[i].thinking_off)
            fail_msg("%s: %d %d", rows[i].id, t->takes_forced_tools, t->takes_thinking_off);
        assert_int_equal(t->thinking, THINKING_ADAPTIVE);
        assert_int_equal(t->max_output_tokens, 128000);
        assert_int_equal(t->takes_sampling, TRI_NO);
    }
}

static void a_long_id_is_no_harm(void **state)
{
    (void)state;
    char id[600];
    memset(id, 'x', sizeof(id));
    memcpy(id, "claude-3-opus-", 14);
    assert_int_equal(provider_traits(&anyone, str_n(id, sizeof(id)))->max_output_tokens, 4096);
}

static void the_operators_rows_are_laid_over_what_is_known(void **state)
{
    (void)state;
    struct arena *arena = arena_new(4096);
    struct provider_traits_row said[] = {
        {.pattern = STR_INIT("team/gpt-5*"), .traits = {.max_output_tokens = 1000}},
        {.pattern = STR_INIT("claude-*"), .traits = {.takes_images = TRI_NO}},
        {.pattern = STR_INIT("mine-*"), .traits = {.thinking = THINKING_EFFORT}},
    };
    struct provider p = {.traits = said, .trait_count = ARRAY_LEN(said)};
    assert_int_equal(provider_merge_traits(&p, arena), 0);
    const struct llm_traits *t = provider_traits(&p, STR("team/gpt-5-mini"));
    assert_int_equal(t->max_output_tokens, 1000);
    assert_int_equal(t->takes_sampling, TRI_NO); /* what was not said */
    assert_int_equal(provider_traits(&p, STR("gpt-5-mini"))->max_output_tokens, 128000);
    /* By the plain form as well. */
    t = provider_traits(&p, STR("us.anthropic.claude-3-5-haiku-20241022-v1:0"));
    assert_int_equal(t->takes_images, TRI_NO);
    assert_int_equal(t->max_output_tokens, 8192);
    t = provider_traits(&p, STR("mine-7"));
    assert_int_equal(t->thinking, THINKING_EFFORT);
    assert_int_equal(t->max_output_tokens, 0);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_model_finds_its_family),
        cmocka_unit_test(claude_may_think_always_and_not_be_forced),
        cmocka_unit_test(a_long_id_is_no_harm),
        cmocka_unit_test(the_operators_rows_are_laid_over_what_is_known),
    };
    return cmocka_run_group_tests_name("provider/traits", tests, NULL, NULL);
}
