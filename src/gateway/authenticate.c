#include "base/clock.h"
#include "gateway/bridge.h"
#include "gateway/exchange.h"
#include "gateway/operation.h"
#include "gateway/query.h"
#include "gateway/realtime.h"
#include "http/sigv4.h"

/*
 * Who asks: the credential in any carrier that the SDKs of the client's dialect use. A credential
 * in the query is never logged: the record has the path without it.
 */

struct str exchange_credential(struct exchange *ex)
{
    static const struct str carriers[] = {STR_INIT("api-key"), STR_INIT("x-api-key"),
                                          STR_INIT("x-goog-api-key")};
    const struct http_headers *headers = &ex->http->headers;
    struct str value = http_headers_get(headers, STR("Authorization"));
    if (str_istarts(value, STR("Bearer ")))
        return str_trim(str_skip(value, 7));
    for (size_t i = 0; i < ARRAY_LEN(carriers); i++) {
        value = http_headers_get(headers, carriers[i]);
        if (value.len > 0)
            return str_trim(value);
    }
    if (ex->operation->run == realtime_run || ex->operation->run == bridge_run ||
        ex->operation->run == realtime_passthrough_run)
        return realtime_credential(ex);
    if (ex->error_dialect == DIALECT_GEMINI)
        return query_value(ex->http->query, STR("key"), ex->arena);
    return STR_EMPTY;
}

/* How the SDKs of the dialect say who they are, for whoever forgot. */
static const char *const carrier_of[DIALECT_COUNT] = {
    [DIALECT_OPENAI_CHAT] = "'Authorization: Bearer KEY'",
    [DIALECT_OPENAI_RESPONSES] = "'Authorization: Bearer KEY'",
    [DIALECT_ANTHROPIC] = "'x-api-key: KEY'",
    [DIALECT_GEMINI] = "'x-goog-api-key: KEY'",
    [DIALECT_BEDROCK] = "'Authorization: Bearer KEY', or sign it (AWS Signature Version 4)",
    [DIALECT_COHERE] = "'Authorization: Bearer KEY'",
};

YIELDS static int judge(struct exchange *ex, enum key_verdict verdict)
{
    switch (verdict) {
    case KEY_OK:
        return 0;
    case KEY_MISSING:
        refuse(ex, REFUSE_KEY_MISSING, STR_EMPTY, "You didn't provide an API key. Send it as %s.",
               carrier_of[ex->error_dialect]);
        break;
    case KEY_EXPIRED:
        refuse(ex, REFUSE_KEY_EXPIRED, STR_EMPTY, "This API key ('%.*s') has expired.",
               STR_ARG(ex->record.key_name));
        break;
    case KEY_DISABLED:
        refuse(ex, REFUSE_KEY_DISABLED, STR_EMPTY, "This API key ('%.*s') is disabled.",
               STR_ARG(ex->record.key_name));
        break;
    case KEY_UNKNOWN:
        refuse(ex, REFUSE_KEY_UNKNOWN, STR_EMPTY,
               "Incorrect API key provided. It is not one of the keys of this gateway.");
        break;
    }
    return -ERR_INVALID;
}

/* --- AWS's clients sign the request instead of showing a key --- */

static bool is_signed(const struct http_request *http)
{
    return str_starts(http_headers_get(&http->headers, STR("Authorization")), STR("AWS4-")) ||
           str_find(http->query, STR("X-Amz-Signature=")) >= 0;
}

YIELDS static int refuse_signature(struct exchange *ex, enum sigv4_verdict verdict,
                                   const struct sigv4_claim *claim)
{
    const char *words = claim->words != NULL ? claim->words : sigv4_verdict_words(verdict);
    if (verdict == SIGV4_NO_MEMORY)
        return refuse_no_memory(ex);
    refuse(ex, REFUSE_SIGNATURE, STR_EMPTY, "%s", words);
    return -ERR_FORBIDDEN;
}

/* The body is part of what was signed: it is read before anything else is done with it. */
YIELDS static int check_signature(struct exchange *ex)
{
    struct http_request *http = ex->http;
    struct sigv4_request request = {
        .method = http->method_name,
        .path = http->path,
        .query = http->query,
        .host = http->authority,
        .headers = &http->headers,
    };
    struct sigv4_claim claim = {0};
    enum sigv4_verdict verdict = sigv4_parse(&request, ex->arena, &claim);
    if (verdict != SIGV4_OK)
        return refuse_signature(ex, verdict, &claim);
    const struct virtual_key *key = key_table_find_aws(ex->ts->shared->keys, claim.access_key_id);
    if (key == NULL)
        return refuse_signature(ex, SIGV4_UNKNOWN_KEY, &claim);
    int r = exchange_read_body(ex);
    if (r < 0)
        return r;
    struct iovec body = {ex->body.ptr, ex->body.len};
    struct sigv4_policy policy = {.service = STR("bedrock")};
    request.body = &body;
    request.body_count = 1;
    verdict = sigv4_check(&request, &claim, key->aws_secret_access_key, &policy,
                          ex->record.start_wall_ns / NS_PER_SEC, ex->arena);
    if (verdict != SIGV4_OK)
        return refuse_signature(ex, verdict, &claim);
    ex->key = key;
    ex->record.key_name = key->name;
    return judge(ex, virtual_key_verdict(key, ex->record.start_wall_ns));
}

YIELDS int exchange_authenticate(struct exchange *ex)
{
    const struct snapshot *shared = ex->ts->shared;
    bool is_metrics = str_eq(ex->record.operation, STR("metrics"));
    bool needs_key = ex->operation->needs_key || (is_metrics && ex->settings->metrics_need_key);
    if (!needs_key || shared->is_open)
        return 0;
    if (ex->error_dialect == DIALECT_BEDROCK && is_signed(ex->http))
        return check_signature(ex);
    const struct virtual_key *key = NULL;
    enum key_verdict verdict =
        key_table_check(shared->keys, exchange_credential(ex), ex->record.start_wall_ns, &key);
    ex->key = key;
    if (key != NULL)
        ex->record.key_name = key->name;
    return judge(ex, verdict);
}
