#include "base/err.h"
#include "provider/provider.h"

/*
 * What model families can do, by the vendors' model pages. The first row whose pattern fits counts,
 * so what is narrow stands before what is wide. Patterns are compared with an id in its plain form
 * (provider_plain_id): no region, no vendor, no publisher, small letters, "-" for ".".
 * Zero is "not known": then a request goes out as its dialect usually says it.
 */

#define ROW(pattern_, ...)                                             \
    {                                                                  \
        .plain_pattern = STR_INIT(pattern_), .traits = { __VA_ARGS__ } \
    }
#define NO TRI_NO
#define YES TRI_YES

/* What whole families have in common; a later value of the same field in a row wins. */
#define CLAUDE                                                                                 \
    .takes_images = YES, .takes_audio = NO, .takes_video = NO, .takes_documents = YES,         \
    .takes_tools = YES, .takes_sampling = YES, .takes_prefill = YES, .takes_many_choices = NO, \
    .takes_logprobs = NO
#define CLAUDE_OLD                                                                            \
    .takes_images = NO, .takes_audio = NO, .takes_video = NO, .takes_documents = NO,          \
    .takes_tools = NO, .takes_sampling = YES, .takes_prefill = YES, .takes_many_choices = NO, \
    .takes_logprobs = NO
/* From 4.6 a last message of the assistant is refused. */
#define CLAUDE_NEW                                                                            \
    .takes_images = YES, .takes_audio = NO, .takes_video = NO, .takes_documents = YES,        \
    .takes_tools = YES, .takes_sampling = YES, .takes_prefill = NO, .takes_many_choices = NO, \
    .takes_logprobs = NO
/* From Opus 4.7 on temperature, top_p and top_k are refused. */
#define CLAUDE_NEWEST                                                                        \
    .takes_images = YES, .takes_audio = NO, .takes_video = NO, .takes_documents = YES,       \
    .takes_tools = YES, .takes_sampling = NO, .takes_prefill = NO, .takes_many_choices = NO, \
    .takes_logprobs = NO
#define CLAUDE_ALWAYS_THINKS                                                                  \
    .thinking = THINKING_ADAPTIVE, .structured = STRUCTURED_NATIVE, .takes_thinking_off = NO, \
    CLAUDE_NEWEST
#define GEMINI                                                                                    \
    .structured = STRUCTURED_NATIVE, .takes_images = YES, .takes_audio = YES, .takes_video = YES, \
    .takes_documents = YES, .takes_tools = YES, .takes_sampling = YES, .takes_many_choices = YES
#define GPT_REASONING                                                                \
    .thinking = THINKING_EFFORT, .structured = STRUCTURED_NATIVE, .takes_audio = NO, \
    .takes_video = NO, .takes_sampling = NO, .takes_prefill = NO, .takes_logprobs = NO
#define GPT                                                                              \
    .thinking = THINKING_NONE, .takes_audio = NO, .takes_video = NO, .takes_tools = YES, \
    .takes_sampling = YES, .takes_prefill = NO, .takes_many_choices = YES, .takes_logprobs = YES
#define TEXT_ONLY .takes_images = NO, .takes_audio = NO, .takes_video = NO, .takes_documents = NO
#define COMMAND                                                                                   \
    .structured = STRUCTURED_NATIVE, .takes_audio = NO, .takes_video = NO, .takes_documents = NO, \
    .takes_sampling = YES, .takes_many_choices = NO, .takes_logprobs = YES
/* On Bedrock, which is where these are. */
#define NOVA                                                                 \
    .structured = STRUCTURED_BY_TOOL, .takes_audio = NO, .takes_tools = YES, \
    .takes_sampling = YES, .takes_many_choices = NO, .takes_logprobs = NO

static const struct provider_traits_row known[] = {
    /* Anthropic: https://docs.claude.com/en/docs/about-claude/models/overview */
    ROW("claude-instant*", .max_output_tokens = 4096, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, CLAUDE_OLD),
    ROW("claude-v2*", .max_output_tokens = 4096, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, CLAUDE_OLD),
    ROW("claude-2*", .max_output_tokens = 4096, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, CLAUDE_OLD),
    ROW("claude-3-5-*", .max_output_tokens = 8192, .thinking = THINKING_NONE,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-3-7-*", .max_output_tokens = 64000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-3-*", .max_output_tokens = 4096, .thinking = THINKING_NONE,
        .structured = STRUCTURED_BY_TOOL, .takes_images = YES, .takes_audio = NO, .takes_video = NO,
        .takes_documents = NO, .takes_tools = YES, .takes_sampling = YES, .takes_prefill = YES,
        .takes_many_choices = NO, .takes_logprobs = NO),
    ROW("claude-opus-4-1*", .max_output_tokens = 32000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_NATIVE, CLAUDE),
    ROW("claude-*-4-5*", .max_output_tokens = 64000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_NATIVE, CLAUDE),
    ROW("claude-opus-4-6*", .max_output_tokens = 128000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEW),
    ROW("claude-*-4-6*", .max_output_tokens = 64000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEW),
    ROW("claude-*-4-7*", .max_output_tokens = 128000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEWEST),
    ROW("claude-*-4-8*", .max_output_tokens = 128000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEWEST),
    /* As OpenRouter names them: claude-4.7-opus. */
    ROW("claude-4-7-*", .max_output_tokens = 128000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEWEST),
    ROW("claude-4-6-*", .max_output_tokens = 64000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEW),
    ROW("claude-4-5-*", .max_output_tokens = 64000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_NATIVE, CLAUDE),
    ROW("claude-4*", .max_output_tokens = 32000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    /* Fable and Mythos always think; from 5.1 on a forced call is refused. */
    ROW("claude-fable-5-v*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS),
    ROW("claude-fable-5-20*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS),
    ROW("claude-fable-5-*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS,
        .takes_forced_tools = NO),
    ROW("claude-mythos-5-v*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS),
    ROW("claude-mythos-5-20*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS),
    ROW("claude-mythos-5-*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS,
        .takes_forced_tools = NO),
    ROW("claude-fable-*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS),
    ROW("claude-mythos-*", .max_output_tokens = 128000, CLAUDE_ALWAYS_THINKS),
    ROW("claude-haiku-5*", .max_output_tokens = 128000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEW),
    ROW("claude-*-5", .max_output_tokens = 128000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEWEST),
    ROW("claude-*-5-*", .max_output_tokens = 128000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEWEST),
    /* Claude 4: claude-opus-4-20250514, claude-opus-4-0, claude-opus-4@20250514, claude-opus-4. */
    ROW("claude-opus-4", .max_output_tokens = 32000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-opus-4-0*", .max_output_tokens = 32000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-opus-4-2*", .max_output_tokens = 32000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-opus-4@*", .max_output_tokens = 32000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-sonnet-4", .max_output_tokens = 64000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-sonnet-4-0*", .max_output_tokens = 64000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-sonnet-4-2*", .max_output_tokens = 64000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    ROW("claude-sonnet-4@*", .max_output_tokens = 64000, .thinking = THINKING_BUDGET,
        .structured = STRUCTURED_BY_TOOL, CLAUDE),
    /* What comes next is taken to be as the newest, with a bound that all of them have. */
    ROW("claude-*", .max_output_tokens = 64000, .thinking = THINKING_ADAPTIVE,
        .structured = STRUCTURED_NATIVE, CLAUDE_NEWEST),

    /* Google: https://ai.google.dev/gemini-api/docs/models */
    ROW("gemini-1-*", .max_output_tokens = 8192, .thinking = THINKING_NONE, GEMINI),
    ROW("gemini-2-0-*", .max_output_tokens = 8192, .thinking = THINKING_NONE, GEMINI),
    ROW("gemini-2-5-*-image*", .max_output_tokens = 32768, .thinking = THINKING_NONE,
        .takes_images = YES, .takes_audio = NO, .takes_video = NO, .takes_tools = NO,
        .takes_sampling = YES),
    ROW("gemini-2-5-*", .max_output_tokens = 65536, .thinking = THINKING_BUDGET, GEMINI),
    ROW("gemini-3*-image*", .max_output_tokens = 32768, .takes_images = YES, .takes_audio = NO,
        .takes_video = NO, .takes_tools = NO, .takes_sampling = YES),
    ROW("gemini-*-latest", .max_output_tokens = 65536, .thinking = THINKING_LEVEL, GEMINI),
    ROW("gemini-3*", .max_output_tokens = 65536, .thinking = THINKING_LEVEL, GEMINI),
    ROW("gemini-*", .max_output_tokens = 65536, GEMINI),
    ROW("gemma-3-1b*", .max_output_tokens = 8192, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, TEXT_ONLY, .takes_tools = NO, .takes_sampling = YES),
    ROW("gemma-*", .max_output_tokens = 8192, .takes_audio = NO, .takes_video = NO,
        .takes_sampling = YES),

    /* OpenAI: https://platform.openai.com/docs/models */
    ROW("o1-mini*", .max_output_tokens = 65536, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, TEXT_ONLY, .takes_tools = NO, .takes_sampling = NO,
        .takes_prefill = NO, .takes_logprobs = NO),
    ROW("o1-preview*", .max_output_tokens = 32768, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, TEXT_ONLY, .takes_tools = NO, .takes_sampling = NO,
        .takes_prefill = NO, .takes_logprobs = NO),
    ROW("o3-mini*", .max_output_tokens = 100000, GPT_REASONING, .takes_images = NO,
        .takes_documents = NO, .takes_tools = YES),
    ROW("o1*", .max_output_tokens = 100000, GPT_REASONING, .takes_images = YES,
        .takes_documents = YES, .takes_tools = YES),
    ROW("o3*", .max_output_tokens = 100000, GPT_REASONING, .takes_images = YES,
        .takes_documents = YES, .takes_tools = YES),
    ROW("o4*", .max_output_tokens = 100000, GPT_REASONING, .takes_images = YES,
        .takes_documents = YES, .takes_tools = YES),
    ROW("codex-mini*", .max_output_tokens = 100000, GPT_REASONING, .takes_images = YES,
        .takes_tools = YES),
    ROW("gpt-5*-chat*", .max_output_tokens = 16384, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NATIVE, .takes_images = YES, .takes_audio = NO, .takes_video = NO,
        .takes_prefill = NO),
    ROW("gpt-5-pro*", .max_output_tokens = 272000, GPT_REASONING, .takes_images = YES,
        .takes_documents = YES, .takes_tools = YES),
    ROW("gpt-5*", .max_output_tokens = 128000, GPT_REASONING, .takes_images = YES,
        .takes_documents = YES, .takes_tools = YES),
    ROW("gpt-oss*", .max_output_tokens = 131072, .thinking = THINKING_EFFORT, TEXT_ONLY,
        .takes_tools = YES, .takes_sampling = YES),
    ROW("gpt-4-1*", .max_output_tokens = 32768, .structured = STRUCTURED_NATIVE,
        .takes_images = YES, .takes_documents = YES, GPT),
    ROW("gpt-4-5*", .max_output_tokens = 16384, .structured = STRUCTURED_NATIVE,
        .takes_images = YES, .takes_documents = YES, GPT),
    ROW("gpt-4o*-search*", .max_output_tokens = 16384, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NATIVE, TEXT_ONLY, .takes_tools = NO, .takes_sampling = NO,
        .takes_prefill = NO, .takes_many_choices = NO, .takes_logprobs = NO),
    ROW("gpt-4o*-audio*", .max_output_tokens = 16384, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, .takes_images = NO, .takes_audio = YES, .takes_video = NO,
        .takes_documents = NO, .takes_tools = YES, .takes_sampling = YES, .takes_prefill = NO),
    ROW("gpt-audio*", .max_output_tokens = 16384, .thinking = THINKING_NONE,
        .structured = STRUCTURED_NONE, .takes_images = NO, .takes_audio = YES, .takes_video = NO,
        .takes_documents = NO, .takes_tools = YES, .takes_sampling = YES, .takes_prefill = NO),
    ROW("gpt-4o-2024-05-13", .max_output_tokens = 4096, .structured = STRUCTURED_BY_TOOL,
        .takes_images = YES, .takes_documents = YES, GPT),
    ROW("gpt-4o*", .max_output_tokens = 16384, .structured = STRUCTURED_NATIVE, .takes_images = YES,
        .takes_documents = YES, GPT),
    ROW("chatgpt-4o*", .max_output_tokens = 16384, .structured = STRUCTURED_NATIVE,
        .takes_images = YES, .takes_documents = NO, GPT),
    ROW("gpt-4-turbo*", .max_output_tokens = 4096, .structured = STRUCTURED_BY_TOOL,
        .takes_images = YES, .takes_documents = NO, GPT),
    ROW("gpt-4-vision*", .max_output_tokens = 4096, .structured = STRUCTURED_BY_TOOL,
        .takes_images = YES, .takes_documents = NO, GPT),
    ROW("gpt-4*", .max_output_tokens = 8192, .structured = STRUCTURED_BY_TOOL, .takes_images = NO,
        .takes_documents = NO, GPT),
    ROW("gpt-3-5*", .max_output_tokens = 4096, .structured = STRUCTURED_BY_TOOL, .takes_images = NO,
        .takes_documents = NO, GPT),

    /* Cohere: https://docs.cohere.com/docs/models */
    ROW("command-a-reasoning*", .max_output_tokens = 32768, .thinking = THINKING_BUDGET,
        .takes_images = NO, .takes_tools = YES, COMMAND),
    ROW("command-a-plus*", .max_output_tokens = 32768, .thinking = THINKING_BUDGET,
        .takes_tools = YES, COMMAND),
    ROW("command-a-vision*", .max_output_tokens = 8192, .thinking = THINKING_NONE,
        .takes_images = YES, .takes_tools = NO, COMMAND),
    ROW("command-a*", .max_output_tokens = 8192, .thinking = THINKING_NONE, .takes_images = NO,
        .takes_tools = YES, COMMAND),
    ROW("command-r*", .max_output_tokens = 4096, .thinking = THINKING_NONE, .takes_images = NO,
        .takes_tools = YES, COMMAND),
    ROW("command*", .max_output_tokens = 4096, .thinking = THINKING_NONE, .takes_images = NO,
        .takes_tools = NO, COMMAND),
    ROW("c4ai-aya-vision*", .max_output_tokens = 4096, .thinking = THINKING_NONE,
        .takes_images = YES, .takes_tools = NO, COMMAND),

    /* Amazon: https://docs.aws.amazon.com/nova/latest/userguide/what-is-nova.html */
    ROW("nova-micro*", .max_output_tokens = 10000, .thinking = THINKING_NONE, .takes_images = NO,
        .takes_video = NO, .takes_documents = NO, NOVA),
    ROW("nova-premier*", .max_output_tokens = 32000, .thinking = THINKING_NONE, .takes_images = YES,
        .takes_video = YES, .takes_documents = YES, NOVA),
    ROW("nova-2-*", .max_output_tokens = 65536, .thinking = THINKING_EFFORT, .takes_images = YES,
        .takes_video = YES, .takes_documents = YES, NOVA),
    ROW("nova-lite*", .max_output_tokens = 10000, .thinking = THINKING_NONE, .takes_images = YES,
        .takes_video = YES, .takes_documents = YES, NOVA),
    ROW("nova-pro*", .max_output_tokens = 10000, .thinking = THINKING_NONE, .takes_images = YES,
        .takes_video = YES, .takes_documents = YES, NOVA),
    ROW("titan-text*", .thinking = THINKING_NONE, .structured = STRUCTURED_NONE, TEXT_ONLY,
        .takes_tools = NO, .takes_sampling = YES, .takes_many_choices = NO, .takes_logprobs = NO),

    /* Meta. How much they write is for whoever serves them to say. */
    ROW("llama-4*", .thinking = THINKING_NONE, .takes_images = YES, .takes_audio = NO,
        .takes_video = NO, .takes_sampling = YES),
    ROW("llama4*", .max_output_tokens = 8192, .thinking = THINKING_NONE,
        .structured = STRUCTURED_BY_TOOL, .takes_images = YES, .takes_audio = NO, .takes_video = NO,
        .takes_tools = YES, .takes_sampling = YES),
    ROW("llama*3-2-11b*", .thinking = THINKING_NONE, .takes_images = YES, .takes_audio = NO,
        .takes_video = NO, .takes_sampling = YES),
    ROW("llama*3-2-90b*", .thinking = THINKING_NONE, .takes_images = YES, .takes_audio = NO,
        .takes_video = NO, .takes_sampling = YES),
    ROW("llama*", .thinking = THINKING_NONE, .takes_images = NO, .takes_audio = NO,
        .takes_video = NO, .takes_sampling = YES),

    /* Mistral: https://docs.mistral.ai/getting-started/models/ */
    ROW("voxtral*", .takes_audio = YES, .takes_video = NO, .takes_sampling = YES,
        .takes_logprobs = NO),
    ROW("pixtral*", .takes_images = YES, .takes_audio = NO, .takes_video = NO, .takes_tools = YES,
        .takes_sampling = YES, .takes_logprobs = NO),
    ROW("codestral*", .thinking = THINKING_NONE, TEXT_ONLY, .takes_tools = YES,
        .takes_sampling = YES, .takes_logprobs = NO),
    ROW("mistral-7b*", .thinking = THINKING_NONE, TEXT_ONLY, .takes_sampling = YES,
        .takes_logprobs = NO),
    ROW("mixtral*", .thinking = THINKING_NONE, TEXT_ONLY, .takes_sampling = YES,
        .takes_logprobs = NO),
    ROW("mistral*", .takes_audio = NO, .takes_video = NO, .takes_tools = YES, .takes_sampling = YES,
        .takes_logprobs = NO),

    /* DeepSeek: https://api-docs.deepseek.com/quick_start/pricing */
    ROW("deepseek-reasoner*", .max_output_tokens = 65536, TEXT_ONLY, .takes_tools = YES,
        .takes_many_choices = NO),
    ROW("deepseek-chat*", .max_output_tokens = 8192, TEXT_ONLY, .takes_tools = YES,
        .takes_sampling = YES, .takes_many_choices = NO, .takes_logprobs = YES),
    ROW("deepseek-*", TEXT_ONLY, .takes_sampling = YES),

    /* xAI: https://docs.x.ai/docs/models */
    ROW("grok-3-mini*", .thinking = THINKING_EFFORT, .structured = STRUCTURED_NATIVE, TEXT_ONLY,
        .takes_tools = YES, .takes_sampling = YES),
    ROW("grok-3*", .thinking = THINKING_NONE, .structured = STRUCTURED_NATIVE, TEXT_ONLY,
        .takes_tools = YES, .takes_sampling = YES),
    ROW("grok-code*", .structured = STRUCTURED_NATIVE, TEXT_ONLY, .takes_tools = YES,
        .takes_sampling = YES),
    ROW("grok-4*", .structured = STRUCTURED_NATIVE, .takes_images = YES, .takes_audio = NO,
        .takes_video = NO, .takes_tools = YES, .takes_sampling = YES),

    /* Others, as their vendors' pages tell. */
    ROW("jamba*", .thinking = THINKING_NONE, TEXT_ONLY, .takes_tools = YES, .takes_sampling = YES,
        .takes_logprobs = NO),
    ROW("sonar*", .takes_audio = NO, .takes_video = NO, .takes_tools = NO, .takes_sampling = YES,
        .takes_many_choices = NO, .takes_logprobs = NO),
    ROW("*-vl-*", .takes_images = YES),
    ROW("*-vision*", .takes_images = YES),
};

/* "us.", "anthropic.", "us-gov.": a word before a dot that has no digit. A version ("gpt-4.1") has
 * one; AI21 is the vendor that has one too. */
static bool is_label(struct str head)
{
    for (size_t i = 0; i < head.len; i++) {
        if (!((head.ptr[i] | 32) >= 'a' && (head.ptr[i] | 32) <= 'z') && head.ptr[i] != '-')
            return str_ieq(head, STR("ai21"));
    }
    return head.len > 0;
}

struct str provider_plain_id(struct str model, char out[PROVIDER_PLAIN_ID_BYTES])
{
    ptrdiff_t slash = str_rindex(model, '/');
    ptrdiff_t dot;
    model = str_skip(model, (size_t)(slash + 1));
    while ((dot = str_index(model, '.')) > 0 && is_label(str_head(model, (size_t)dot)))
        model = str_skip(model, (size_t)dot + 1);
    size_t len = MIN(model.len, (size_t)PROVIDER_PLAIN_ID_BYTES);
    for (size_t i = 0; i < len; i++) {
        char c = model.ptr[i];
        out[i] = c == '.' ? '-' : c >= 'A' && c <= 'Z' ? (char)(c | 32) : c;
    }
    return str_n(out, len);
}

/* Where the row says nothing, what is known holds. */
static struct llm_traits merged(const struct llm_traits *said, const struct llm_traits *otherwise)
{
    struct llm_traits t = *said;
#define OTHERWISE(field) t.field = t.field != 0 ? t.field : otherwise->field
    OTHERWISE(max_output_tokens);
    OTHERWISE(thinking);
    OTHERWISE(structured);
    OTHERWISE(takes_images);
    OTHERWISE(takes_audio);
    OTHERWISE(takes_video);
    OTHERWISE(takes_documents);
    OTHERWISE(takes_tools);
    OTHERWISE(takes_forced_tools);
    OTHERWISE(takes_thinking_off);
    OTHERWISE(takes_sampling);
    OTHERWISE(takes_prefill);
    OTHERWISE(takes_many_choices);
    OTHERWISE(takes_logprobs);
#undef OTHERWISE
    return t;
}

int provider_merge_traits(struct provider *provider, struct arena *arena)
{
    unsigned per_row = ARRAY_LEN(known) + 1;
    if (provider->trait_count == 0)
        return 0;
    size_t count = (size_t)provider->trait_count * per_row;
    struct provider_traits_row *all = arena_calloc(arena, count * sizeof(*all));
    if (all == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    struct provider_traits_row *row = all;
    for (unsigned i = 0; i < provider->trait_count; i++) {
        const struct provider_traits_row *said = &provider->traits[i];
        for (unsigned k = 0; k < ARRAY_LEN(known); k++, row++)
            *row = (struct provider_traits_row){said->pattern, known[k].plain_pattern,
                                                merged(&said->traits, &known[k].traits)};
        *row++ = (struct provider_traits_row){said->pattern, STR("*"), said->traits};
    }
    provider->traits = all;
    provider->trait_count = (unsigned)count;
    return 0;
}

const struct llm_traits *provider_traits(const struct provider *provider, struct str model)
{
    static const struct llm_traits nothing;
    char buffer[PROVIDER_PLAIN_ID_BYTES];
    struct str plain = provider_plain_id(model, buffer);
    for (unsigned i = 0; i < provider->trait_count; i++) {
        const struct provider_traits_row *row = &provider->traits[i];
        if ((str_glob(row->pattern, model) || str_glob(row->pattern, plain)) &&
            str_glob(row->plain_pattern, plain))
            return &row->traits;
    }
    for (size_t i = 0; i < ARRAY_LEN(known) && plain.len > 0; i++) {
        char first = known[i].plain_pattern.ptr[0]; /* most rows are out with this */
        if ((first == plain.ptr[0] || first == '*') && str_glob(known[i].plain_pattern, plain))
            return &known[i].traits;
    }
    return &nothing;
}
