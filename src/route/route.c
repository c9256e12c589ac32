#include "route/route.h"

#include "base/clock.h"

const char *const route_strategy_names[ROUTE_STRATEGY_COUNT + 1] = {
    "priority", "round_robin", "weighted", "least_latency", "least_busy",
    "cost",     "conditional", "hash",     "sticky",        NULL,
};

const char *const route_key_names[ROUTE_KEY_COUNT + 1] = {"session", "user", "prompt", "header",
                                                          NULL};

const char *const route_mid_stream_names[MID_STREAM_COUNT + 1] = {"continue", "terminate", NULL};

const char *const route_resume_names[RESUME_COUNT + 1] = {"on_request", "always", "never", NULL};

const char *const route_when_limited_names[LIMITED_COUNT + 1] = {"next", "wait", "fail", NULL};

const char *const route_fallback_names[FALLBACK_COUNT + 1] = {"general", "context_window",
                                                              "content_policy", NULL};

const struct route_policy route_policy_default = {
    .retries = 2,
    .backoff_ns = 200 * NS_PER_MS,
    .backoff_max_ns = 5 * NS_PER_SEC,
    .retry_budget_percent = 20,
    .breaker_failures = 5,
    .breaker_percent = 50,
    .breaker_least = 20,
    .breaker_window_ns = 30 * NS_PER_SEC,
    .breaker_open_ns = 15 * NS_PER_SEC,
    .resume_grace_ns = 30 * NS_PER_SEC,
    .queue_length = 100,
    .queue_wait_ns = 10 * NS_PER_SEC,
};
