#include "gateway/operation.h"

#include "gateway/admin.h"
#include "gateway/bridge.h"
#include "gateway/capabilities.h"
#include "gateway/count_tokens.h"
#include "gateway/inference.h"
#include "gateway/models.h"
#include "gateway/probes.h"
#include "gateway/realtime.h"
#include "gateway/responses.h"
#include "gateway/resume.h"

#define CHAT(dialect_, path_, stream_, framing_)                                            \
    {                                                                                       \
        "chat", dialect_, METHOD_POST, path_, true, OPERATION_CHAT, inference_run, stream_, \
            framing_                                                                        \
    }
#define COUNT(dialect_, path_)                                                      \
    {                                                                               \
        "count_tokens", dialect_, METHOD_POST, path_, true, OPERATION_COUNT_TOKENS, \
            count_tokens_run, STREAM_NEVER, FRAMING_SSE                             \
    }
#define LIST(dialect_, path_)                                                                     \
    {                                                                                             \
        "models", dialect_, METHOD_GET, path_, true, OPERATION_MODELS, models_list, STREAM_NEVER, \
            FRAMING_SSE                                                                           \
    }
#define ITEM(dialect_, path_)                                                                   \
    {                                                                                           \
        "model", dialect_, METHOD_GET, path_, true, OPERATION_MODELS, models_get, STREAM_NEVER, \
            FRAMING_SSE                                                                         \
    }
#define RESPONSE(method_, path_)                                                          \
    {                                                                                     \
        "responses", DIALECT_OPENAI_RESPONSES, method_, path_, true, OPERATION_RESPONSES, \
            responses_pass_on, STREAM_NEVER, FRAMING_SSE                                  \
    }
#define PROBE(name_, path_, run_)                                                                  \
    {                                                                                              \
        name_, DIALECT_OPENAI_CHAT, METHOD_GET, path_, false, OPERATION_COUNT, run_, STREAM_NEVER, \
            FRAMING_SSE                                                                            \
    }

#define REALTIME(path_)                                                               \
    {                                                                                 \
        "realtime", DIALECT_OPENAI_CHAT, METHOD_GET, path_, true, OPERATION_REALTIME, \
            realtime_run, STREAM_NEVER, FRAMING_SSE                                   \
    }

#define LIVE(service_)                                                                          \
    {                                                                                           \
        "live", DIALECT_GEMINI, METHOD_GET, "/ws/google." service_ "BidiGenerateContent", true, \
            OPERATION_LIVE, realtime_live_run, STREAM_NEVER, FRAMING_SSE                        \
    }

#define VERTEX "/projects/{any}/locations/{any}/publishers/{publisher}/models/{model}"

/* The first row that fits counts. */
static const struct operation operations[] = {
    CHAT(DIALECT_OPENAI_CHAT, "/v1/chat/completions", STREAM_BY_BODY, FRAMING_SSE),
    {"completions", DIALECT_OPENAI_CHAT, METHOD_POST, "/v1/completions", true,
     OPERATION_COMPLETIONS, inference_run, STREAM_BY_BODY, FRAMING_SSE},
    CHAT(DIALECT_OPENAI_RESPONSES, "/v1/responses", STREAM_BY_BODY, FRAMING_SSE),
    RESPONSE(METHOD_GET, "/v1/responses/{model}/input_items"),
    RESPONSE(METHOD_POST, "/v1/responses/{model}/cancel"),
    RESPONSE(METHOD_GET, "/v1/responses/{model}"),
    RESPONSE(METHOD_DELETE, "/v1/responses/{model}"),
    REALTIME("/v1/realtime"),
    CHAT(DIALECT_ANTHROPIC, "/v1/messages", STREAM_BY_BODY, FRAMING_SSE),
    COUNT(DIALECT_ANTHROPIC, "/v1/messages/count_tokens"),
    CHAT(DIALECT_COHERE, "/v2/chat", STREAM_BY_BODY, FRAMING_SSE),
    LIST(DIALECT_OPENAI_CHAT, "/v1/models"),
    ITEM(DIALECT_OPENAI_CHAT, "/v1/models/{model}"),

    CHAT(DIALECT_GEMINI, "/v1beta/models/{model}:generateContent", STREAM_NEVER, FRAMING_SSE),
    CHAT(DIALECT_GEMINI, "/v1beta/models/{model}:streamGenerateContent", STREAM_GEMINI,
         FRAMING_JSON_ARRAY),
    COUNT(DIALECT_GEMINI, "/v1beta/models/{model}:countTokens"),
    CHAT(DIALECT_GEMINI, "/v1/models/{model}:generateContent", STREAM_NEVER, FRAMING_SSE),
    CHAT(DIALECT_GEMINI, "/v1/models/{model}:streamGenerateContent", STREAM_GEMINI,
         FRAMING_JSON_ARRAY),
    COUNT(DIALECT_GEMINI, "/v1/models/{model}:countTokens"),
    LIVE("ai.generativelanguage.v1beta.GenerativeService."),
    LIVE("ai.generativelanguage.v1alpha.GenerativeService."),
    LIVE("cloud.aiplatform.v1beta1.LlmBidiService/"),
    LIVE("cloud.aiplatform.v1.LlmBidiService/"),
    LIST(DIALECT_GEMINI, "/v1beta/models"),
    ITEM(DIALECT_GEMINI, "/v1beta/models/{model}"),

    /* Vertex AI, both publishers' forms. */
    CHAT(DIALECT_GEMINI, "/{any}" VERTEX ":generateContent", STREAM_NEVER, FRAMING_SSE),
    CHAT(DIALECT_GEMINI, "/{any}" VERTEX ":streamGenerateContent", STREAM_GEMINI,
         FRAMING_JSON_ARRAY),
    COUNT(DIALECT_GEMINI, "/{any}" VERTEX ":countTokens"),
    CHAT(DIALECT_ANTHROPIC, "/{any}" VERTEX ":rawPredict", STREAM_BY_BODY, FRAMING_SSE),
    CHAT(DIALECT_ANTHROPIC, "/{any}" VERTEX ":streamRawPredict", STREAM_ALWAYS, FRAMING_SSE),

    CHAT(DIALECT_BEDROCK, "/model/{model}/converse", STREAM_NEVER, FRAMING_EVENT_STREAM),
    CHAT(DIALECT_BEDROCK, "/model/{model}/converse-stream", STREAM_ALWAYS, FRAMING_EVENT_STREAM),
    CHAT(DIALECT_ANTHROPIC, "/model/{model}/invoke", STREAM_NEVER, FRAMING_INVOKE_STREAM),
    CHAT(DIALECT_ANTHROPIC, "/model/{model}/invoke-with-response-stream", STREAM_ALWAYS,
         FRAMING_INVOKE_STREAM),

    /* Azure's way to name the model. */
    CHAT(DIALECT_OPENAI_CHAT, "/deployments/{model}/chat/completions", STREAM_BY_BODY, FRAMING_SSE),
    {"completions", DIALECT_OPENAI_CHAT, METHOD_POST, "/deployments/{model}/completions", true,
     OPERATION_COMPLETIONS, inference_run, STREAM_BY_BODY, FRAMING_SSE},
    CHAT(DIALECT_OPENAI_RESPONSES, "/responses", STREAM_BY_BODY, FRAMING_SSE),
    REALTIME("/realtime"),
    {"passthrough", DIALECT_OPENAI_CHAT, METHOD_GET, "/passthrough/{publisher}/{model}", true,
     OPERATION_COUNT, realtime_passthrough_run, STREAM_NEVER, FRAMING_SSE},

    {"ws", DIALECT_OPENAI_CHAT, METHOD_GET, "/v1/ws", true, OPERATION_COUNT, bridge_run,
     STREAM_NEVER, FRAMING_SSE},
    {"streams", DIALECT_OPENAI_CHAT, METHOD_GET, "/v1/streams/{model}", true, OPERATION_COUNT,
     streams_get, STREAM_NEVER, FRAMING_SSE},
    {"capabilities", DIALECT_OPENAI_CHAT, METHOD_GET, "/v1/weir/capabilities", true,
     OPERATION_COUNT, capabilities_get, STREAM_NEVER, FRAMING_SSE},
    {"weir_health", DIALECT_OPENAI_CHAT, METHOD_GET, "/v1/weir/health", true, OPERATION_COUNT,
     health_page_get, STREAM_NEVER, FRAMING_SSE},
    {"weir_plan", DIALECT_OPENAI_CHAT, METHOD_POST, "/v1/weir/plan", true, OPERATION_COUNT,
     plan_page_post, STREAM_NEVER, FRAMING_SSE},
    PROBE("health", "/healthz", probe_health),
    PROBE("ready", "/readyz", probe_ready),
    PROBE("metrics", "/metrics", probe_metrics),
};

/* What a base URL may begin with, for SDKs that are set up with one host for all vendors. Under a
 * vendor's name, its own endpoints come first where a path is more than one's. */
static const struct {
    struct str prefix;
    enum dialect_id dialect;
} prefixes[] = {
    {STR_INIT("/openai"), DIALECT_OPENAI_CHAT}, {STR_INIT("/anthropic"), DIALECT_ANTHROPIC},
    {STR_INIT("/genai"), DIALECT_GEMINI},       {STR_INIT("/bedrock"), DIALECT_BEDROCK},
    {STR_INIT("/cohere"), DIALECT_COHERE},
};

/* Takes a vendor's prefix off. */
static struct str without_prefix(struct str path, enum dialect_id *dialect)
{
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        struct str rest = str_skip(path, prefixes[i].prefix.len);
        if (str_starts(path, prefixes[i].prefix) && rest.len > 0 && rest.ptr[0] == '/') {
            *dialect = prefixes[i].dialect;
            return rest;
        }
    }
    return path;
}

/*
 * GET /v1/models is of three dialects: Anthropic's and Google's clients say which one by a header
 * that every request of theirs has. Elsewhere the path alone decides.
 */
static enum dialect_id dialect_said(const struct http_request *http, enum dialect_id by_prefix)
{
    if (http_headers_get(&http->headers, STR("anthropic-version")).len > 0)
        return DIALECT_ANTHROPIC;
    if (http_headers_get(&http->headers, STR("x-goog-api-key")).len > 0)
        return DIALECT_GEMINI;
    return by_prefix;
}

/* An unknown path is refused in the words of whoever asked. */
static enum dialect_id dialect_guess(struct str path, enum dialect_id said)
{
    if (str_starts(path, STR("/v1beta")) || str_find(path, STR("/publishers/")) >= 0)
        return DIALECT_GEMINI;
    if (str_starts(path, STR("/model/")))
        return DIALECT_BEDROCK;
    return str_starts(path, STR("/v2/")) ? DIALECT_COHERE : said;
}

/* Those that HTTP/2 asks for with an extended CONNECT in place of GET (RFC 8441). */
static bool is_websocket(const struct operation *op)
{
    return op->run == realtime_run || op->run == realtime_live_run ||
           op->run == realtime_passthrough_run || op->run == bridge_run;
}

/* HEAD is answered wherever GET is: the server leaves the body out (RFC 9110 section 9.3.2). */
static bool method_matches(const struct operation *op, enum http_method method)
{
    return op->method == method || (op->method == METHOD_GET && method == METHOD_HEAD) ||
           (is_websocket(op) && method == METHOD_CONNECT);
}

/* Invoke carries Anthropic's bodies, but its errors are AWS's. */
static enum dialect_id error_dialect_of(const struct operation *op, enum dialect_id said)
{
    bool is_shared = op->run == models_list || op->run == models_get;
    if (op->framing == FRAMING_INVOKE_STREAM)
        return DIALECT_BEDROCK;
    return is_shared && op->dialect == DIALECT_OPENAI_CHAT ? said : op->dialect;
}

const struct operation *operation_find(const struct http_request *http, struct path_match *match,
                                       struct str *allow, enum dialect_id *dialect,
                                       struct arena *arena)
{
    enum dialect_id said = DIALECT_OPENAI_CHAT;
    struct str path = without_prefix(http->path, &said);
    said = dialect_said(http, said);
    *allow = STR_EMPTY;
    *dialect = dialect_guess(path, said);
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        const struct operation *op = &operations[i];
        if (!path_pattern_matches(str_c(op->path), path, match))
            continue;
        *dialect = error_dialect_of(op, said);
        if (method_matches(op, http->method))
            return op;
        struct str name = http_method_name(op->method);
        if (str_find(*allow, name) >= 0)
            continue;
        struct str parts[] = {*allow, allow->len > 0 ? STR(", ") : STR_EMPTY, name,
                              op->method == METHOD_GET ? STR(", HEAD") : STR_EMPTY};
        *allow = arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    return NULL;
}

struct str operation_list(struct arena *arena)
{
    struct str list = STR_EMPTY;
    for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
        struct str parts[] = {list, i > 0 ? STR(", ") : STR_EMPTY,
                              http_method_name(operations[i].method), STR(" "),
                              str_c(operations[i].path)};
        list = arena_concat(arena, parts, ARRAY_LEN(parts));
    }
    return list;
}
