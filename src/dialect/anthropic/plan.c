#include "dialect/anthropic/codec.h"
#include "dialect/field.h"
#include "dialect/reasoning.h"

enum {
    BUDGET_MIN = 1024,
    BUDGET_DEFAULT = 8192, /* for a wish without a number */
    MAX_TOKENS_DEFAULT = 4096,
};

static void drop(const struct llm_request *request, struct llm_notes *notes, enum llm_field field)
{
    llm_note_dropped(notes, "%s", llm_field_name(request, field));
}

/* How Claude calls an effort; NULL when none is told. */
static const char *effort_of(const struct llm_reasoning *reasoning, struct llm_notes *notes)
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

/* One that fits under what the client lets the answer have; 0 when none does. */
static uint32_t budget_of(const struct llm_request *request, const struct llm_traits *traits,
                          struct llm_notes *notes)
{
    double max = traits->max_output_tokens > 0 ? traits->max_output_tokens : UINT32_MAX;
    uint32_t told = reasoning_as_budget(&request->reasoning);
    uint32_t budget = told == 0 ? BUDGET_DEFAULT : MAX(told, BUDGET_MIN);
    (void)llm_number(request->max_tokens, &max);
    if (max <= BUDGET_MIN)
        return 0;
    if (max <= (double)budget)
        budget = (uint32_t)(max - 1);
    if (budget != told)
        llm_note_supplied(notes, "thinking.budget_tokens=%u", budget);
    return budget;
}

/* What thinking does not go with. */
static void settle_sampling(const struct llm_request *request, struct llm_notes *notes,
                            struct anthropic_plan *plan)
{
    double n;
    if (llm_number(plan->temperature, &n) && n != 1) {
        drop(request, notes, FIELD_TEMPERATURE);
        plan->temperature = STR_EMPTY;
    }
    if (llm_number(plan->top_p, &n) && n < 0.95) {
        drop(request, notes, FIELD_TOP_P);
        plan->top_p = STR_EMPTY;
    }
    if (plan->top_k.len > 0)
        drop(request, notes, FIELD_TOP_K);
    plan->top_k = STR_EMPTY;
}

static void plan_thinking(const struct llm_request *request, const struct llm_target *target,
                          struct llm_notes *notes, struct anthropic_plan *plan)
{
    const struct llm_reasoning *reasoning = &request->reasoning;
    bool is_adaptive = target->traits->thinking == THINKING_ADAPTIVE;
    bool is_off = reasoning->mode == REASONING_OFF || text_eq(reasoning->effort, STR("none"));
    bool is_told = reasoning->mode != REASONING_UNSET || text_is_some(reasoning->effort) ||
                   reasoning->budget.len > 0;
    bool is_forced =
        request->tool_choice == TOOL_CHOICE_REQUIRED || request->tool_choice == TOOL_CHOICE_NAMED;
    if (!is_told)
        return;
    if (is_off) {
        /* Those that take a budget do not think unless they are told. */
        if (target->traits->takes_thinking_off == TRI_NO)
            drop(request, notes, FIELD_REASONING);
        else
            plan->thinking = is_adaptive ? "disabled" : NULL;
        return;
    }
    if (is_forced || target->traits->thinking == THINKING_NONE) {
        drop(request, notes, FIELD_REASONING);
        return;
    }
    if (is_adaptive) {
        plan->thinking = "adaptive";
        plan->effort = effort_of(reasoning, notes);
    } else {
        plan->budget = budget_of(request, target->traits, notes);
        if (plan->budget == 0) {
            drop(request, notes, FIELD_REASONING);
            return;
        }
        plan->thinking = "enabled";
    }
    settle_sampling(request, notes, plan);
}

static struct str unless_refused(const struct llm_request *request, const struct llm_target *target,
                                 struct llm_notes *notes, struct str number, enum llm_field field)
{
    const char *name = llm_field_name(request, field);
    return number.len > 0 && llm_target_refuses(target, notes, name) ? STR_EMPTY : number;
}

/* Other dialects' temperature goes to 2, and may stand beside top_p. */
static void plan_sampling(const struct llm_request *request, const struct llm_target *target,
                          struct llm_notes *notes, struct anthropic_plan *plan)
{
    double n;
    plan->temperature =
        unless_refused(request, target, notes, request->temperature, FIELD_TEMPERATURE);
    plan->top_p = unless_refused(request, target, notes, request->top_p, FIELD_TOP_P);
    plan->top_k = unless_refused(request, target, notes, request->top_k, FIELD_TOP_K);
    if (request->source == DIALECT_ANTHROPIC)
        return;
    if (llm_number(plan->temperature, &n) && n > 1) {
        drop(request, notes, FIELD_TEMPERATURE);
        plan->temperature = STR_EMPTY;
    }
    if (plan->temperature.len > 0 && llm_number(plan->top_p, &n)) {
        if (n != 1)
            drop(request, notes, FIELD_TOP_P);
        plan->top_p = STR_EMPTY;
    }
}

static int plan_max_tokens(const struct llm_request *request, const struct llm_target *target,
                           struct arena *arena, struct llm_notes *notes,
                           struct anthropic_plan *plan)
{
    uint32_t most = target->traits->max_output_tokens;
    uint32_t budget = plan->thinking != NULL ? plan->budget : 0;
    uint64_t max = most > 0 ? most : (uint64_t)MAX_TOKENS_DEFAULT + budget;
    plan->max_tokens = request->max_tokens;
    if (request->max_tokens.len > 0)
        return 0;
    plan->max_tokens = arena_u64(arena, max);
    llm_note_supplied(notes, "max_tokens=%llu", (unsigned long long)max);
    return plan->max_tokens.ptr != NULL ? 0 : anthropic_no_memory();
}

int anthropic_plan(const struct llm_request *request, const struct llm_target *target,
                   struct arena *arena, struct llm_notes *notes, struct anthropic_plan *plan)
{
    *plan = (struct anthropic_plan){.budget = 0};
    plan_sampling(request, target, notes, plan);
    /* What was said in this dialect is passed on as it was said. */
    if (request->source != DIALECT_ANTHROPIC)
        plan_thinking(request, target, notes, plan);
    return plan_max_tokens(request, target, arena, notes, plan);
}
