#include "gateway/upstream.h"

#include "base/clock.h"
#include "base/percent.h"
#include "gateway/proxy.h"
#include "provider/sim.h"

static int set_tls(struct upstream *upstream)
{
    const struct provider *p = upstream->provider;
    if (!p->url_is_tls)
        return 0;
    struct tls_client_settings settings = {
        .ca_file = p->ca_file,
        .cert_file = p->client_cert_file,
        .key_file = p->client_key_file,
        .offer_h2 = p->http2 != PROVIDER_HTTP2_OFF,
    };
    upstream->origin.target.tls = tls_client_context_new(&settings);
    if (upstream->origin.target.tls == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a TLS context");
    return 0;
}

static struct str key_secret(const struct provider *p, unsigned key)
{
    return key < p->key_count ? p->keys[key].api_key : p->api_key;
}

struct str upstream_key_name(const struct upstream *upstream, unsigned key)
{
    const struct provider *p = upstream->provider;
    return key < p->key_count ? p->keys[key].name : STR_EMPTY;
}

static bool add_credential(const struct provider *p, struct str secret, struct arena *arena,
                           struct http_headers *headers)
{
    if (secret.len == 0)
        return true;
    switch (p->auth) {
    case AUTH_BEARER: {
        struct str value = arena_printf(arena, "Bearer %.*s", STR_ARG(secret));
        return value.ptr != NULL && http_headers_add(headers, arena, STR("Authorization"), value);
    }
    case AUTH_HEADER:
        return http_headers_add(headers, arena, p->auth_header, secret);
    default:
        return true;
    }
}

/* What every request of a key carries. */
static bool set_headers(struct upstream *upstream, struct arena *arena)
{
    const struct provider *p = upstream->provider;
    upstream->key_count = MAX(p->key_count, 1u);
    upstream->headers = arena_calloc(arena, upstream->key_count * sizeof(*upstream->headers));
    upstream->key_weights = arena_calloc(arena, upstream->key_count * sizeof(uint32_t));
    bool is_ok = upstream->headers != NULL && upstream->key_weights != NULL;
    for (unsigned k = 0; is_ok && k < upstream->key_count; k++) {
        struct http_headers *headers = &upstream->headers[k];
        upstream->key_weights[k] = k < p->key_count ? p->keys[k].weight : 1;
        is_ok = add_credential(p, key_secret(p, k), arena, headers);
        for (uint32_t i = 0; is_ok && i < p->headers.count; i++)
            is_ok = http_headers_add(headers, arena, p->headers.items[i].name,
                                     p->headers.items[i].value);
    }
    return is_ok;
}

static struct str host_header(const struct provider *p, struct arena *arena)
{
    bool is_v6 = str_index(p->url_host, ':') >= 0;
    uint16_t usual = p->url_is_tls ? 443 : 80;
    struct str host = is_v6 ? arena_printf(arena, "[%.*s]", STR_ARG(p->url_host)) : p->url_host;
    if (host.ptr == NULL || p->url_port == usual)
        return host;
    return arena_printf(arena, "%.*s:%u", STR_ARG(host), (unsigned)p->url_port);
}

int upstream_init(struct upstream *upstream, struct arena *arena, const struct provider *provider,
                  uint64_t generation)
{
    *upstream = (struct upstream){.provider = provider};
    struct http_origin *origin = &upstream->origin;
    origin->generation = generation;
    origin->target.host = provider->url_host;
    origin->target.port = provider->url_port;
    /* An address that the operator wrote out is meant; a name could be made to point anywhere. */
    bool is_allowed = provider->allow_private || provider->host_is_literal;
    origin->target.policy =
        (struct dial_policy){.allow_loopback = is_allowed, .allow_private = is_allowed};
    origin->host_header = host_header(provider, arena);
    /* gRPC is spoken over HTTP/2 alone. */
    bool is_grpc = provider->grpc_service_count + provider->grpc_authority_count > 0;
    origin->speaks_h2 = provider->http2 == PROVIDER_HTTP2_ALWAYS ||
                        (is_grpc && provider->http2 == PROVIDER_HTTP2_AUTO);
    if (provider->is_simulated)
        origin->in_process = sim_serve;
    int r = proxy_find(&origin->target.proxy, arena, provider);
    if (r == 0)
        r = set_tls(upstream);
    if (r == 0 && (origin->host_header.ptr == NULL || !set_headers(upstream, arena)))
        r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    if (r < 0) {
        upstream_fini(upstream);
        return err_wrap("provider '%.*s'", STR_ARG(provider->name));
    }
    http_origin_seal(origin);
    return 0;
}

int upstream_start(struct upstream *upstream)
{
    if (!credential_is_needed(upstream->provider))
        return 0;
    upstream->credential = credential_new(upstream->provider, &upstream->origin.target.proxy);
    return upstream->credential != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}

/* How long a request waits for the very first token. */
#define FIRST_TOKEN_NS (10 * NS_PER_SEC)

YIELDS int upstream_authenticate(const struct upstream *upstream, struct arena *arena,
                                 const struct http_call_request *request,
                                 struct http_headers *headers)
{
    if (upstream->credential == NULL)
        return 0;
    struct credential_request told = {
        .method = request->method,
        .host = upstream->origin.host_header,
        .target = request->target,
        .headers = headers,
        .body = request->body,
        .body_count = (unsigned)request->body_count,
    };
    return credential_apply(upstream->credential, &told,
                            clock_add_ns(clock_mono_ns(), FIRST_TOKEN_NS), arena, headers);
}

void upstream_fini(struct upstream *upstream)
{
    credential_free(upstream->credential);
    upstream->credential = NULL;
    tls_context_unref(upstream->origin.target.tls);
    upstream->origin.target.tls = NULL;
}

struct str upstream_target(const struct upstream *upstream, unsigned key, struct arena *arena,
                           enum provider_operation operation, struct str model)
{
    struct str path = upstream->provider->paths[operation];
    return upstream_target_at(upstream, key, arena, path, operation == OPERATION_MODELS, model);
}

struct str upstream_target_at(const struct upstream *upstream, unsigned key, struct arena *arena,
                              struct str path, bool adds_model, struct str model)
{
    const struct provider *p = upstream->provider;
    static const char place[] = "{model}";
    ptrdiff_t at = str_find(path, STR("{model}"));
    struct str parts[6] = {p->url_path, path};
    size_t count = 2;
    if (at >= 0) {
        parts[1] = str_head(path, (size_t)at);
        parts[2] = percent_encode(arena, model);
        parts[3] = str_skip(path, (size_t)at + sizeof(place) - 1);
        count = 4;
    } else if (adds_model && model.len > 0) {
        parts[2] = STR("/");
        parts[3] = percent_encode(arena, model);
        count = 4;
    }
    struct str secret = key_secret(p, key);
    if (p->auth == AUTH_QUERY && secret.len > 0) {
        bool has_query = str_index(path, '?') >= 0;
        parts[count++] =
            arena_printf(arena, "%c%.*s=", has_query ? '&' : '?', STR_ARG(p->auth_header));
        parts[count++] = percent_encode(arena, secret);
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].ptr == NULL && parts[i].len > 0)
            return STR_EMPTY;
    }
    return arena_concat(arena, parts, count);
}
