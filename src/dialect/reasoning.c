#include "dialect/reasoning.h"

static const struct {
    const char *word;
    uint32_t tokens;
} efforts[] = {
    {"none", 0},     {"minimal", 1024}, {"low", 2048},  {"medium", 8192},
    {"high", 24576}, {"xhigh", 32768},  {"max", 65536},
};
enum { MINIMAL = 1, MEDIUM = 3 };

bool reasoning_budget_of(struct text effort, uint32_t *tokens)
{
    for (size_t i = 0; i < ARRAY_LEN(efforts); i++) {
        if (text_eq(effort, str_c(efforts[i].word))) {
            *tokens = efforts[i].tokens;
            return true;
        }
    }
    return false;
}

const char *reasoning_effort_of(double tokens)
{
    size_t at = tokens > 0 ? MINIMAL : 0;
    while (at + 1 < ARRAY_LEN(efforts) && tokens >= efforts[at + 1].tokens)
        at++;
    return efforts[at].word;
}

uint32_t reasoning_as_budget(const struct llm_reasoning *reasoning)
{
    uint32_t tokens = 0;
    double told;
    if (reasoning->mode == REASONING_UNSET || reasoning->mode == REASONING_OFF)
        return 0;
    if (llm_number(reasoning->budget, &told) && told > 0)
        return told < UINT32_MAX ? (uint32_t)told : UINT32_MAX;
    if (text_is_some(reasoning->effort) && reasoning_budget_of(reasoning->effort, &tokens))
        return tokens;
    return reasoning->mode == REASONING_ON ? efforts[MEDIUM].tokens : 0;
}

struct text reasoning_as_effort(const struct llm_reasoning *reasoning)
{
    double told;
    if (text_is_some(reasoning->effort))
        return reasoning->effort;
    if (reasoning->mode == REASONING_OFF)
        return TEXT_LIT("none");
    if (llm_number(reasoning->budget, &told) && told >= 0)
        return text_plain(str_c(reasoning_effort_of(told)));
    return reasoning->mode == REASONING_ON ? TEXT_LIT("medium") : TEXT_NONE;
}
