#include "route/classify.h"

#include "base/clock.h"
#include "base/err.h"

#define MINUTES(n) ((n)*60 * NS_PER_SEC)

const struct outcome_rule outcome_rules[OUTCOME_CLASS_COUNT] = {
    [OUTCOME_OK] = {.name = "ok"},
    [OUTCOME_CLIENT_FAULT] = {.name = "client_fault"},
    [OUTCOME_CREDENTIAL] = {.name = "credential",
                            .tries_next_target = true,
                            .tries_next_key = true,
                            .benches = BENCH_KEY,
                            .bench_ns = MINUTES(1),
                            .bench_max_ns = MINUTES(10)},
    [OUTCOME_DENIED] = {.name = "denied",
                        .tries_next_target = true,
                        .tries_next_key = true,
                        .benches = BENCH_TARGET_KEY,
                        .bench_ns = MINUTES(1),
                        .bench_max_ns = MINUTES(10)},
    [OUTCOME_THROTTLED] = {.name = "throttled",
                           .tries_next_target = true,
                           .tries_next_key = true,
                           .retries_same_target = true,
                           .benches = BENCH_TARGET_KEY,
                           .bench_ns = 2 * NS_PER_SEC,
                           .bench_max_ns = MINUTES(1)},
    [OUTCOME_QUOTA] = {.name = "quota",
                       .tries_next_target = true,
                       .tries_next_key = true,
                       .benches = BENCH_TARGET_KEY,
                       .bench_ns = MINUTES(10),
                       .bench_max_ns = MINUTES(60)},
    [OUTCOME_OVERSIZED] = {.name = "oversized", .tries_next_target = true, .tries_next_key = true},
    [OUTCOME_NO_MODEL] = {.name = "no_model", .tries_next_target = true},
    [OUTCOME_TRANSIENT] = {.name = "transient",
                           .tries_next_target = true,
                           .retries_same_target = true,
                           .counts_for_breaker = true},
    [OUTCOME_CONTEXT_WINDOW] = {.name = "context_window",
                                .fallback = FALLBACK_CONTEXT_WINDOW,
                                .has_fallback = true},
    [OUTCOME_CONTENT_POLICY] = {.name = "content_policy",
                                .fallback = FALLBACK_CONTENT_POLICY,
                                .has_fallback = true},
    [OUTCOME_LOCAL] = {.name = "local", .tries_next_target = true},
    [OUTCOME_CANCELLED] = {.name = "cancelled"},
};

/*
 * The table: the first row that fits counts. `kinds` is a set of enum llm_error_kind, status 0 any
 * status, `words` (NULL = any) stand somewhere in the error's type, code or message. The dialects
 * have already turned their providers' codes into kinds; here stand the differences that matter for
 * where to go next, and what OpenAI's imitators say in words only.
 */
#define KIND(name) (1u << LLM_ERROR_##name)
#define ANY_KIND (~0u)
/* What a 4xx without a telling code becomes. */
#define VAGUE (KIND(INVALID_REQUEST) | KIND(NOT_FOUND) | KIND(TOO_LARGE))
#define REFUSED (KIND(INVALID_REQUEST) | KIND(PERMISSION))

struct error_rule {
    unsigned kinds;
    unsigned status;
    const char *words;
    enum outcome_class outcome;
};

static const struct error_rule error_rules[] = {
    {KIND(CONTEXT_LENGTH), 0, NULL, OUTCOME_CONTEXT_WINDOW},
    {KIND(CONTENT_POLICY), 0, NULL, OUTCOME_CONTENT_POLICY},

    /* One request that is alone more than the key's limit of a minute: to wait mends nothing, and
     * smaller ones may use the key at once. */
    {KIND(RATE_LIMIT) | KIND(TOO_LARGE), 0, "request too large for", OUTCOME_OVERSIZED},
    {KIND(RATE_LIMIT) | KIND(TOO_LARGE), 0, "tokens must be reduced", OUTCOME_OVERSIZED},

    {KIND(QUOTA), 402, "fewer max_tokens", OUTCOME_OVERSIZED},
    {KIND(QUOTA), 402, NULL, OUTCOME_CREDENTIAL},
    {KIND(QUOTA), 0, NULL, OUTCOME_QUOTA},
    {KIND(RATE_LIMIT), 0, NULL, OUTCOME_THROTTLED},
    {ANY_KIND, 529, NULL, OUTCOME_THROTTLED},
    {ANY_KIND, 429, NULL, OUTCOME_THROTTLED},
    /* A 503 that says no more than that is a failure, and counts for the breaker. */
    {KIND(OVERLOADED) | KIND(SERVER), 0, "overloaded", OUTCOME_THROTTLED},
    {KIND(OVERLOADED) | KIND(SERVER), 0, "slow_down", OUTCOME_THROTTLED},
    {KIND(OVERLOADED) | KIND(SERVER), 0, "slow down", OUTCOME_THROTTLED},

    {KIND(AUTHENTICATION), 0, NULL, OUTCOME_CREDENTIAL},
    {KIND(INVALID_REQUEST), 402, NULL, OUTCOME_CREDENTIAL},
    {VAGUE, 0, "api key not valid", OUTCOME_CREDENTIAL},
    {VAGUE, 0, "api key expired", OUTCOME_CREDENTIAL},
    {VAGUE, 0, "incorrect api key", OUTCOME_CREDENTIAL},
    {VAGUE, 0, "invalid api key", OUTCOME_CREDENTIAL},
    {VAGUE, 0, "credit balance is too low", OUTCOME_QUOTA},

    /* Said of the text, though some say it with a 403: it must not bench the key. */
    {REFUSED, 0, "content_filter", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "content_policy", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "content policy", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "content filter", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "content management policy", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "content safety", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "safety system", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "usage polic", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "requires moderation", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "was flagged", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "content exists risk", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "data_inspection_failed", OUTCOME_CONTENT_POLICY},
    {REFUSED, 0, "inappropriate content", OUTCOME_CONTENT_POLICY},

    {VAGUE, 0, "context_length", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "context length", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "context window", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "context size", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "context limit", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "maximum context", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "maximum model length", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "input is too long", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "prompt is too long", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "prompt too long", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "too many tokens", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "too many input tokens", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "input token count", OUTCOME_CONTEXT_WINDOW},
    {VAGUE, 0, "max_new_tokens` must be <=", OUTCOME_CONTEXT_WINDOW},

    /* Not there is not the same as wrong: what the client stored elsewhere no other target has
     * either, and of a model that is not here another may know. */
    {KIND(NOT_FOUND), 0, "previous_response", OUTCOME_CLIENT_FAULT},
    {KIND(NOT_FOUND), 0, "previous response", OUTCOME_CLIENT_FAULT},
    {KIND(NOT_FOUND), 0, "response with id", OUTCOME_CLIENT_FAULT},
    {KIND(NOT_FOUND), 0, "item with id", OUTCOME_CLIENT_FAULT},
    {KIND(NOT_FOUND), 0, "no such file", OUTCOME_CLIENT_FAULT},
    {KIND(NOT_FOUND), 0, "file_id", OUTCOME_CLIENT_FAULT},
    {KIND(NOT_FOUND), 0, "files/", OUTCOME_CLIENT_FAULT},
    {KIND(NOT_FOUND), 0, NULL, OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "model_not_found", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "model_decommissioned", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "model_not_active", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "invalid_model", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "invalid model", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "model not exist", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "model identifier is invalid", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "not a valid model", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "on-demand throughput", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "is not supported. supported models", OUTCOME_NO_MODEL},
    {KIND(INVALID_REQUEST), 0, "deployment for this resource does not exist", OUTCOME_NO_MODEL},
    {KIND(PERMISSION), 0, NULL, OUTCOME_DENIED},

    {KIND(TIMEOUT) | KIND(SERVER) | KIND(OVERLOADED), 0, NULL, OUTCOME_TRANSIENT},
    /* A proxy on the way, a replay guard, a call that the provider itself cancelled. */
    {KIND(INVALID_REQUEST), 407, NULL, OUTCOME_TRANSIENT},
    {KIND(INVALID_REQUEST), 425, NULL, OUTCOME_TRANSIENT},
    {KIND(INVALID_REQUEST), 499, NULL, OUTCOME_TRANSIENT},
    {ANY_KIND, 0, NULL, OUTCOME_CLIENT_FAULT},
};

static bool says(const struct llm_error *error, const char *words)
{
    struct str wanted = str_c(words);
    return str_ifind(error->message.s, wanted) >= 0 || str_ifind(error->code.s, wanted) >= 0 ||
           str_ifind(error->type.s, wanted) >= 0;
}

enum outcome_class classify_error(const struct llm_error *error)
{
    const struct error_rule *rule = error_rules;
    while ((rule->kinds & (1u << error->kind)) == 0 ||
           (rule->status != 0 && rule->status != error->status) ||
           (rule->words != NULL && !says(error, rule->words)))
        rule++; /* the last row fits everything */
    return rule->outcome;
}

enum outcome_class classify_status(unsigned status)
{
    if (status >= 200 && status < 300)
        return OUTCOME_OK;
    struct llm_error error = LLM_ERROR_NONE;
    error.status = status;
    error.kind = llm_error_kind_of_status(status);
    return classify_error(&error);
}

static const enum outcome_class failures[ERR_CODE_COUNT] = {
    [ERR_NONE] = OUTCOME_OK,
    [ERR_NOMEM] = OUTCOME_LOCAL,
    [ERR_TIMEOUT] = OUTCOME_TRANSIENT,
    [ERR_CANCELED] = OUTCOME_CANCELLED,
    [ERR_CLOSED] = OUTCOME_TRANSIENT,
    [ERR_RESET] = OUTCOME_TRANSIENT,
    [ERR_IO] = OUTCOME_TRANSIENT,
    [ERR_PROTOCOL] = OUTCOME_TRANSIENT,
    [ERR_LIMIT] = OUTCOME_LOCAL,
    [ERR_DNS] = OUTCOME_TRANSIENT,
    [ERR_CONNECT] = OUTCOME_TRANSIENT,
    [ERR_TLS] = OUTCOME_TRANSIENT,
    [ERR_FORBIDDEN] = OUTCOME_LOCAL,
    [ERR_INVALID] = OUTCOME_TRANSIENT, /* what a decoder says of bytes that it cannot read */
    [ERR_BUSY] = OUTCOME_LOCAL,
};

enum outcome_class classify_failure(int err_code)
{
    unsigned code = err_code < 0 ? 0u - (unsigned)err_code : (unsigned)err_code;
    return code < ERR_CODE_COUNT ? failures[code] : OUTCOME_TRANSIENT;
}
