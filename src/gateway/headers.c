#include "gateway/headers.h"

#include "gateway/rate_headers.h"

/* A name that ends with '*' is a prefix. */
struct header_rule {
    struct str name;
    unsigned dialects; /* of the provider; 0 = any */
    bool is_own;       /* only with the client's own body */
};

#define OF(dialect) (1u << DIALECT_##dialect)

static const struct header_rule to_upstream[] = {
    {STR_INIT("accept"), 0, true},
    {STR_INIT("content-type"), 0, true},
    {STR_INIT("user-agent"), 0, false},
    {STR_INIT("idempotency-key"), 0, false},
    {STR_INIT("traceparent"), 0, false},
    {STR_INIT("tracestate"), 0, false},
    {STR_INIT("x-request-id"), 0, false},
    {STR_INIT("x-client-request-id"), 0, false},
    {STR_INIT("http-referer"), 0, false},
    {STR_INIT("x-title"), 0, false},
    {STR_INIT("x-stainless-*"), 0, true},
    {STR_INIT("openai-beta"), OF(OPENAI_CHAT) | OF(OPENAI_RESPONSES), true},
    {STR_INIT("anthropic-version"), OF(ANTHROPIC), true},
    {STR_INIT("x-goog-api-client"), OF(GEMINI), true},
    {STR_INIT("x-server-timeout"), OF(GEMINI), true},
    {STR_INIT("x-amzn-bedrock-*"), OF(BEDROCK) | OF(ANTHROPIC), true},
    {STR_INIT("x-client-name"), OF(COHERE), true},
};

static const struct str not_to_client[] = {
    STR_INIT("server"),           STR_INIT("date"),
    STR_INIT("content-length"),   STR_INIT("set-cookie"),
    STR_INIT("alt-svc"),          STR_INIT("strict-transport-security"),
    STR_INIT("expect-ct"),        STR_INIT("nel"),
    STR_INIT("report-to"),        STR_INIT("x-weir-*"),
    STR_INIT("access-control-*"),
};

/* What a client of another vendor is told all the same. */
static const struct str for_everyone[] = {
    STR_INIT("retry-after"),  STR_INIT("retry-after-ms"),
    STR_INIT("x-request-id"), STR_INIT("request-id"),
    STR_INIT("via"),          STR_INIT("cf-ray"),
};

static bool rule_matches(struct str rule, struct str name)
{
    if (str_ends(rule, STR("*")))
        return str_istarts(name, str_head(rule, rule.len - 1));
    return str_ieq(rule, name);
}

static bool is_listed(const struct str *rules, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (rule_matches(rules[i], name))
            return true;
    }
    return false;
}

static bool goes_upstream(struct str name, const struct headers_way *way)
{
    for (size_t i = 0; i < ARRAY_LEN(to_upstream); i++) {
        const struct header_rule *rule = &to_upstream[i];
        if (!rule_matches(rule->name, name))
            continue;
        return (!rule->is_own || !way->is_translated) &&
               (rule->dialects == 0 || (rule->dialects & (1u << way->provider)) != 0);
    }
    return false;
}

/* The version is the client's to say where it speaks to its own vendor. */
static bool wins_over_own(struct str name)
{
    return str_ieq(name, STR("anthropic-version"));
}

bool headers_for_upstream(struct http_headers *out, struct arena *arena,
                          const struct http_headers *client, const struct http_headers *own,
                          const struct headers_way *way, bool has_body)
{
    bool has_type = false;
    for (uint32_t i = 0; i < client->count; i++) {
        const struct http_header *h = &client->items[i];
        if (!goes_upstream(h->name, way) ||
            (http_headers_get(own, h->name).ptr != NULL && !wins_over_own(h->name)))
            continue;
        bool is_type = str_ieq(h->name, STR("content-type"));
        if (is_type && !has_body)
            continue;
        has_type = has_type || is_type;
        if (!http_headers_add(out, arena, h->name, h->value))
            return false;
    }
    for (uint32_t i = 0; i < own->count; i++) {
        if (http_headers_get(out, own->items[i].name).ptr != NULL)
            continue;
        if (!http_headers_add(out, arena, own->items[i].name, own->items[i].value))
            return false;
    }
    return has_type || !has_body ||
           http_headers_add(out, arena, STR("Content-Type"), STR("application/json"));
}

bool headers_for_client(struct http_headers *out, struct arena *arena,
                        const struct http_headers *upstream, const struct headers_way *way)
{
    for (uint32_t i = 0; i < upstream->count; i++) {
        const struct http_header *h = &upstream->items[i];
        if (http_header_is_hop_by_hop(upstream, h->name) ||
            is_listed(not_to_client, ARRAY_LEN(not_to_client), h->name) ||
            (way->is_translated && !is_listed(for_everyone, ARRAY_LEN(for_everyone), h->name)))
            continue;
        if (!http_headers_add(out, arena, h->name, h->value))
            return false;
    }
    return !way->is_translated || rate_headers_translate(out, arena, upstream, way);
}

void headers_replace(struct http_headers *headers, struct arena *arena, struct str name,
                     struct str value)
{
    uint32_t kept = 0;
    bool is_set = false;
    for (uint32_t i = 0; i < headers->count; i++) {
        struct http_header h = headers->items[i];
        if (str_ieq(h.name, name)) {
            if (is_set)
                continue;
            h.value = value;
            is_set = true;
        }
        headers->items[kept++] = h;
    }
    headers->count = kept;
    if (!is_set)
        http_headers_add(headers, arena, name, value);
}
