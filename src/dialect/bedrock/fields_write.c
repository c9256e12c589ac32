#include "dialect/anthropic/betas.h"
#include "dialect/bedrock/request.h"
#include "dialect/bedrock/write.h"
#include "dialect/reasoning.h"

/*
 * What a model takes beyond Converse depends on its maker, which its name tells, or where it is the
 * ARN of a profile, its traits.
 */

enum family { FAMILY_CLAUDE, FAMILY_NOVA, FAMILY_NOVA_2, FAMILY_GPT_OSS, FAMILY_OTHER };

enum {
    BUDGET_MIN = 1024,     /* what Claude takes */
    BUDGET_DEFAULT = 8192, /* for a wish without a number */
};

/* The first that is part of the name counts. */
static const struct {
    const char *part;
    enum family family;
} name_parts[] = {
    {"claude", FAMILY_CLAUDE},  {"anthropic.", FAMILY_CLAUDE}, {"nova-2", FAMILY_NOVA_2},
    {"nova-", FAMILY_NOVA},     {"gpt-oss", FAMILY_GPT_OSS},   {"openai.", FAMILY_GPT_OSS},
    {"amazon.", FAMILY_OTHER},  {"meta.", FAMILY_OTHER},       {"mistral.", FAMILY_OTHER},
    {"cohere.", FAMILY_OTHER},  {"ai21.", FAMILY_OTHER},       {"deepseek.", FAMILY_OTHER},
    {"qwen.", FAMILY_OTHER},    {"writer.", FAMILY_OTHER},     {"google.", FAMILY_OTHER},
    {"minimax.", FAMILY_OTHER}, {"moonshot.", FAMILY_OTHER},   {"nvidia.", FAMILY_OTHER},
    {"zai.", FAMILY_OTHER},     {"moonshotai.", FAMILY_OTHER},
};

static enum family family_of(const struct llm_target *target)
{
    for (size_t i = 0; i < ARRAY_LEN(name_parts); i++) {
        if (str_ifind(target->model, str_c(name_parts[i].part)) >= 0)
            return name_parts[i].family;
    }
    switch (target->traits->thinking) {
    case THINKING_EFFORT:
        return FAMILY_GPT_OSS;
    case THINKING_LEVEL:
        return FAMILY_NOVA_2;
    case THINKING_NONE:
        return FAMILY_OTHER;
    default:
        return FAMILY_CLAUDE;
    }
}

static void drop(const struct llm_request *request, struct llm_notes *notes, enum llm_field field)
{
    llm_note_dropped(notes, "%s", llm_field_name(request, field));
}

/* --- reasoning --- */

/* How Claude calls an effort; NULL when none is told. */
static const char *claude_effort(const struct llm_reasoning *reasoning, struct llm_notes *notes)
{
    static const char *const words[][2] = {
        {"minimal", "low"}, {"low", "low"},   {"medium", "medium"},
        {"high", "high"},   {"xhigh", "max"}, {"max", "max"},
    };
    struct text effort = reasoning_as_effort(reasoning);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!text_eq(effort, str_c(words[i][0])))
            continue;
        if (strcmp(words[i][0], words[i][1]) != 0)
            llm_note_supplied(notes, "output_config.effort=%s", words[i][1]);
        return words[i][1];
    }
    return NULL;
}

/* A budget that fits under max_tokens; 0 when none does. */
static uint32_t claude_budget(const struct llm_request *request, struct llm_notes *notes)
{
    double max = 0;
    uint32_t told = reasoning_as_budget(&request->reasoning);
    uint32_t budget = told == 0 ? BUDGET_DEFAULT : MAX(told, BUDGET_MIN);
    if (llm_number(request->max_tokens, &max) && max <= (double)budget) {
        if (max <= BUDGET_MIN)
            return 0;
        budget = max - 1 >= UINT32_MAX ? UINT32_MAX : (uint32_t)(max - 1);
    }
    if (budget != told)
        llm_note_supplied(notes, "thinking.budget_tokens=%u", budget);
    return budget;
}

static bool is_forced(const struct llm_request *request)
{
    return request->tool_choice == TOOL_CHOICE_REQUIRED ||
           request->tool_choice == TOOL_CHOICE_NAMED;
}

static void plan_claude(const struct llm_request *request, const struct llm_target *target,
                        struct llm_notes *notes, struct bedrock_plan *plan)
{
    bool is_adaptive = target->traits->thinking == THINKING_ADAPTIVE;
    if (is_forced(request)) {
        drop(request, notes, FIELD_REASONING);
        return;
    }
    if (is_adaptive) {
        plan->thinking = "adaptive";
        plan->claude_effort = claude_effort(&request->reasoning, notes);
    } else {
        plan->budget = claude_budget(request, notes);
        if (plan->budget == 0) {
            drop(request, notes, FIELD_REASONING);
            return;
        }
        plan->thinking = "enabled";
    }
    double n;
    if (llm_number(plan->temperature, &n) && n != 1) {
        drop(request, notes, FIELD_TEMPERATURE);
        plan->temperature = STR_EMPTY;
    }
    if (llm_number(plan->top_p, &n) && n < 0.95) {
        drop(request, notes, FIELD_TOP_P);
        plan->top_p = STR_EMPTY;
    }
    if (plan->top_k.len > 0) {
        drop(request, notes, FIELD_TOP_K);
        plan->top_k = STR_EMPTY;
    }
}

/* Nova knows three efforts, and with the highest takes no sampling parameters. */
static void plan_nova(const struct llm_request *request, struct llm_notes *notes,
                      struct bedrock_plan *plan)
{
    struct text effort = reasoning_as_effort(&request->reasoning);
    plan->nova_effort = "medium";
    if (text_eq(effort, STR("minimal")) || text_eq(effort, STR("low")))
        plan->nova_effort = "low";
    else if (text_is_some(effort) && !text_eq(effort, STR("medium")))
        plan->nova_effort = "high";
    if (!text_eq(effort, str_c(plan->nova_effort)))
        llm_note_supplied(notes, "reasoningConfig.maxReasoningEffort=%s", plan->nova_effort);
    if (strcmp(plan->nova_effort, "high") != 0)
        return;
    if (plan->temperature.len > 0)
        drop(request, notes, FIELD_TEMPERATURE);
    if (plan->top_p.len > 0)
        drop(request, notes, FIELD_TOP_P);
    if (plan->top_k.len > 0)
        drop(request, notes, FIELD_TOP_K);
    plan->temperature = plan->top_p = plan->top_k = STR_EMPTY;
}

static void plan_reasoning(const struct llm_request *request, const struct llm_target *target,
                           enum family family, struct llm_notes *notes, struct bedrock_plan *plan)
{
    const struct llm_reasoning *reasoning = &request->reasoning;
    bool is_off = reasoning->mode == REASONING_OFF || text_eq(reasoning->effort, STR("none"));
    bool is_told = reasoning->mode != REASONING_UNSET || text_is_some(reasoning->effort) ||
                   reasoning->budget.len > 0;
    /* Those that can be told to think do not unless they are told. */
    if (!is_told || (is_off && family != FAMILY_GPT_OSS))
        return;
    if (is_off) {
        drop(request, notes, FIELD_REASONING);
        return;
    }
    switch (family) {
    case FAMILY_CLAUDE:
        plan_claude(request, target, notes, plan);
        break;
    case FAMILY_NOVA_2:
        plan_nova(request, notes, plan);
        break;
    case FAMILY_GPT_OSS:
        plan->reasoning_effort = reasoning_as_effort(reasoning);
        break;
    case FAMILY_NOVA:
    case FAMILY_OTHER:
        drop(request, notes, FIELD_REASONING);
        break;
    }
}

static struct str unless_refused(const struct llm_request *request, const struct llm_target *target,
                                 struct llm_notes *notes, struct str number, enum llm_field field)
{
    const char *name = llm_field_name(request, field);
    return number.len > 0 && llm_target_refuses(target, notes, name) ? STR_EMPTY : number;
}

void bedrock_plan(const struct llm_request *request, const struct llm_target *target,
                  struct llm_notes *notes, struct bedrock_plan *plan)
{
    enum family family = family_of(target);
    *plan = (struct bedrock_plan){
        .temperature =
            unless_refused(request, target, notes, request->temperature, FIELD_TEMPERATURE),
        .top_p = unless_refused(request, target, notes, request->top_p, FIELD_TOP_P),
        .is_nova = family == FAMILY_NOVA || family == FAMILY_NOVA_2,
    };
    /* Its own form of both is among the extras. */
    if (request->source == DIALECT_BEDROCK)
        return;
    if (family == FAMILY_CLAUDE)
        plan->betas = target->betas;
    plan->top_k = unless_refused(request, target, notes, request->top_k, FIELD_TOP_K);
    if (plan->top_k.len > 0 && (family == FAMILY_GPT_OSS || family == FAMILY_OTHER)) {
        drop(request, notes, FIELD_TOP_K);
        plan->top_k = STR_EMPTY;
    }
    plan_reasoning(request, target, family, notes, plan);
}

/* --- writing --- */

void bedrock_write_extras(struct buf *out, struct llm_request *request, const char *prefix)
{
    struct str head = str_c(prefix);
    if (request->source != DIALECT_BEDROCK)
        return;
    for (struct llm_extra *extra = request->extras; extra != NULL; extra = extra->next) {
        if (!str_starts(extra->name, head))
            continue;
        struct str key = str_skip(extra->name, head.len);
        bool is_below = str_index(key, '.') >= 0 || str_index(key, '[') >= 0;
        if (head.len > 0 || !is_below)
            extra->is_taken = true;
        if (is_below || key.len == 0)
            continue;
        if (out->len > 0 && out->ptr[out->len - 1] != '{')
            buf_add_char(out, ',');
        text_write(out, (struct text){key, true});
        buf_add_char(out, ':');
        buf_add_str(out, extra->raw);
    }
}

static void write_planned(struct buf *out, const struct bedrock_plan *plan)
{
    if (plan->thinking != NULL) {
        bedrock_key(out, "thinking");
        buf_printf(out, "{\"type\":\"%s\"", plan->thinking);
        if (plan->budget > 0)
            buf_printf(out, ",\"budget_tokens\":%u", plan->budget);
        BUF_LIT(out, "}");
    }
    if (plan->claude_effort != NULL) {
        bedrock_key(out, "output_config");
        buf_printf(out, "{\"effort\":\"%s\"}", plan->claude_effort);
    }
    if (plan->nova_effort != NULL) {
        bedrock_key(out, "reasoningConfig");
        buf_printf(out, "{\"type\":\"enabled\",\"maxReasoningEffort\":\"%s\"}", plan->nova_effort);
    }
    if (plan->betas.len > 0) {
        bedrock_key(out, "anthropic_beta");
        anthropic_betas_write(out, plan->betas);
    }
    if (text_is_some(plan->reasoning_effort)) {
        bedrock_key(out, "reasoning_effort");
        text_write(out, plan->reasoning_effort);
    }
    if (plan->top_k.len > 0) {
        bedrock_key(out, plan->is_nova ? "inferenceConfig" : "top_k");
        if (plan->is_nova)
            BUF_LIT(out, "{\"topK\":");
        buf_add_str(out, plan->top_k);
        if (plan->is_nova)
            BUF_LIT(out, "}");
    }
}

void bedrock_write_fields(struct buf *out, struct llm_request *request,
                          const struct bedrock_plan *plan)
{
    size_t start = out->len;
    bedrock_key(out, "additionalModelRequestFields");
    BUF_LIT(out, "{");
    size_t inside = out->len;
    bedrock_write_extras(out, request, "additionalModelRequestFields.");
    write_planned(out, plan);
    if (out->len == inside)
        out->len = start;
    else
        BUF_LIT(out, "}");
}
