#include "gateway/headers.h"

/* A name that ends with '*' is a prefix. */
static const struct str to_upstream[] = {
    STR_INIT("accept"),       STR_INIT("content-type"),  STR_INIT("user-agent"),
    STR_INIT("openai-beta"),  STR_INIT("x-stainless-*"), STR_INIT("idempotency-key"),
    STR_INIT("traceparent"),  STR_INIT("tracestate"),    STR_INIT("x-request-id"),
    STR_INIT("http-referer"), STR_INIT("x-title"),       STR_INIT("x-client-request-id"),
};

static const struct str not_to_client[] = {
    STR_INIT("server"),           STR_INIT("date"),
    STR_INIT("content-length"),   STR_INIT("set-cookie"),
    STR_INIT("alt-svc"),          STR_INIT("strict-transport-security"),
    STR_INIT("expect-ct"),        STR_INIT("nel"),
    STR_INIT("report-to"),        STR_INIT("x-weir-*"),
    STR_INIT("access-control-*"),
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

bool headers_for_upstream(struct http_headers *out, struct arena *arena,
                          const struct http_headers *client, const struct http_headers *own,
                          bool has_body)
{
    bool has_type = false;
    for (uint32_t i = 0; i < client->count; i++) {
        const struct http_header *h = &client->items[i];
        if (!is_listed(to_upstream, ARRAY_LEN(to_upstream), h->name) ||
            http_headers_get(own, h->name).ptr != NULL)
            continue;
        bool is_type = str_ieq(h->name, STR("content-type"));
        if (is_type && !has_body)
            continue;
        has_type = has_type || is_type;
        if (!http_headers_add(out, arena, h->name, h->value))
            return false;
    }
    for (uint32_t i = 0; i < own->count; i++) {
        if (!http_headers_add(out, arena, own->items[i].name, own->items[i].value))
            return false;
    }
    return has_type || !has_body ||
           http_headers_add(out, arena, STR("Content-Type"), STR("application/json"));
}

bool headers_for_client(struct http_headers *out, struct arena *arena,
                        const struct http_headers *upstream)
{
    for (uint32_t i = 0; i < upstream->count; i++) {
        const struct http_header *h = &upstream->items[i];
        if (http_header_is_hop_by_hop(upstream, h->name) ||
            is_listed(not_to_client, ARRAY_LEN(not_to_client), h->name))
            continue;
        if (!http_headers_add(out, arena, h->name, h->value))
            return false;
    }
    return true;
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
