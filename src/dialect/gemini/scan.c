#include "dialect/gemini/codec.h"

/* The same-dialect path. Model and stream stand in the path of the URL: the body stays as it is. */

int gemini_scan(struct str body, unsigned max_depth, struct arena *arena, struct llm_scan *scan)
{
    (void)arena;
    *scan = (struct llm_scan){.includes_usage = true};
    return json_scan_object(body, max_depth, llm_wants_shared, LLM_WANT_OWN, &scan->json);
}

void gemini_fit(const struct llm_scan *scan, struct str body, const struct llm_target *target,
                bool wants_usage, struct arena *arena, struct llm_fit *fit)
{
    (void)scan;
    (void)body;
    (void)target;
    (void)wants_usage;
    (void)arena;
    *fit = (struct llm_fit){.count = 0};
}
