#include "gateway/operation.h"

#include "gateway/inference.h"
#include "gateway/models.h"
#include "gateway/probes.h"

static const struct operation operations[] = {
    {"chat", "openai_chat", METHOD_POST, "/v1/chat/completions", true, OPERATION_CHAT,
     inference_run},
    {"completions", "openai_chat", METHOD_POST, "/v1/completions", true, OPERATION_COMPLETIONS,
     inference_run},
    {"models", "openai_chat", METHOD_GET, "/v1/models", true, OPERATION_MODELS, models_list},
    {"model", "openai_chat", METHOD_GET, "/v1/models/*", true, OPERATION_MODELS, models_get},
    {"health", "", METHOD_GET, "/healthz", false, OPERATION_COUNT, probe_health},
    {"ready", "", METHOD_GET, "/readyz", false, OPERATION_COUNT, probe_ready},
    {"metrics", "", METHOD_GET, "/metrics", false, OPERATION_COUNT, probe_metrics},
};

static bool path_matches(const struct operation *op, struct str path, struct str *tail)
{
    struct str pattern = str_c(op->path);
    *tail = STR_EMPTY;
    if (!str_ends(pattern, STR("*")))
        return str_eq(pattern, path);
    pattern.len--;
    if (!str_starts(path, pattern) || path.len == pattern.len)
        return false;
    *tail = str_skip(path, pattern.len);
    return true;
}

/* HEAD is answered wherever GET is: the server leaves the body out (RFC 9110 section 9.3.2). */
static bool method_matches(const struct operation *op, enum http_method method)
{
    return op->method == method || (op->method == METHOD_GET && method == METHOD_HEAD);
}

const struct operation *operation_find(enum http_method method, struct str path, struct str *tail,
                                       struct str *allow, struct arena *arena)
{
    *allow = STR_EMPTY;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        const struct operation *op = &operations[i];
        if (!path_matches(op, path, tail))
            continue;
        if (method_matches(op, method))
            return op;
        struct str name = http_method_name(op->method);
        struct str parts[] = {*allow, allow->len > 0 ? STR(", ") : STR_EMPTY, name,
                              op->method == METHOD_GET ? STR(", HEAD") : STR_EMPTY};
        *allow = arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    return NULL;
}
