#include "gateway/upstream.h"

#include <openssl/evp.h>

#include "provider/sim.h"
#include "rt/addr.h"

/* True when NO_PROXY (a comma list of hosts, domain suffixes, addresses, or "*") names the host. */
static bool is_exempt_from_proxy(struct str no_proxy, struct str host)
{
    for (struct str item; str_next(&no_proxy, ',', &item);) {
        item = str_trim(item);
        if (str_eq(item, STR("*")))
            return true;
        if (str_starts(item, STR(".")))
            item = str_skip(item, 1);
        if (item.len == 0 || item.len > host.len)
            continue;
        struct str tail = str_skip(host, host.len - item.len);
        bool at_label = tail.len == host.len || host.ptr[host.len - item.len - 1] == '.';
        if (at_label && str_ieq(tail, item))
            return true;
    }
    return false;
}

/* What the environment says of a proxy for https, lower case first as curl reads it. */
static struct str env_either(const char *lower, const char *upper)
{
    const char *value = getenv(lower);
    return str_c(value != NULL ? value : getenv(upper));
}

static struct str basic_authorization(struct arena *arena, struct str user_pass)
{
    char *out = arena_alloc(arena, user_pass.len * 4 / 3 + 16);
    if (out == NULL)
        return STR_EMPTY;
    memcpy(out, "Basic ", 6);
    int n = EVP_EncodeBlock((unsigned char *)out + 6, (const unsigned char *)user_pass.ptr,
                            (int)user_pass.len);
    return str_n(out, (size_t)n + 6);
}

/* http[s]://[user:pass@]host[:port][/] */
static int proxy_parse(struct dial_proxy *proxy, struct arena *arena, struct str url)
{
    ptrdiff_t at = str_find(url, STR("://"));
    struct str scheme = at < 0 ? STR("http") : str_head(url, (size_t)at);
    struct str rest = at < 0 ? url : str_skip(url, (size_t)at + 3);
    proxy->is_tls = str_ieq(scheme, STR("https"));
    if (!proxy->is_tls && !str_ieq(scheme, STR("http")))
        return err_set(ERR_INVALID, FAULT_GATEWAY, "proxy scheme '%.*s' is not http or https",
                       STR_ARG(scheme));
    struct str authority;
    str_cut(&rest, '/', &authority);
    ptrdiff_t user_end = str_rindex(authority, '@');
    if (user_end >= 0) {
        proxy->authorization = basic_authorization(arena, str_head(authority, (size_t)user_end));
        authority = str_skip(authority, (size_t)user_end + 1);
    }
    uint64_t port = proxy->is_tls ? 443 : 80;
    ptrdiff_t colon = str_rindex(authority, ':');
    if (colon >= 0 && str_index(authority, ']') < colon) {
        if (!str_to_u64(str_skip(authority, (size_t)colon + 1), &port) || port > UINT16_MAX)
            return err_set(ERR_INVALID, FAULT_GATEWAY, "the proxy's port is not a number");
        authority = str_head(authority, (size_t)colon);
    }
    if (authority.len == 0)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "the proxy has no host");
    proxy->host = authority;
    proxy->port = (uint16_t)port;
    return 0;
}

static int find_proxy(struct upstream *upstream, struct arena *arena)
{
    const struct provider *p = upstream->provider;
    struct str url = p->proxy_url;
    if (url.len == 0) {
        if (!p->url_is_tls || is_exempt_from_proxy(env_either("no_proxy", "NO_PROXY"), p->url_host))
            return 0;
        url = env_either("https_proxy", "HTTPS_PROXY");
    }
    if (url.len == 0)
        return 0;
    /* The environment may change its strings; the snapshot must not. */
    url = arena_dup(arena, url);
    return proxy_parse(&upstream->origin.target.proxy, arena, url);
}

static int set_tls(struct upstream *upstream)
{
    const struct provider *p = upstream->provider;
    if (!p->url_is_tls)
        return 0;
    struct tls_client_settings settings = {
        .ca_file = p->ca_file,
        .cert_file = p->client_cert_file,
        .key_file = p->client_key_file,
    };
    upstream->origin.target.tls = tls_client_context_new(&settings);
    if (upstream->origin.target.tls == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a TLS context");
    return 0;
}

static bool add_credential(struct upstream *upstream, struct arena *arena)
{
    const struct provider *p = upstream->provider;
    if (p->api_key.len == 0)
        return true;
    switch (p->auth) {
    case AUTH_BEARER: {
        struct str value = arena_printf(arena, "Bearer %.*s", STR_ARG(p->api_key));
        return value.ptr != NULL &&
               http_headers_add(&upstream->headers, arena, STR("Authorization"), value);
    }
    case AUTH_HEADER:
        return http_headers_add(&upstream->headers, arena, p->auth_header, p->api_key);
    default:
        return true;
    }
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

int upstream_init(struct upstream *upstream, struct arena *arena,
                  const struct provider *provider, uint64_t generation)
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
    if (provider->is_simulated)
        origin->in_process = sim_serve;
    int r = find_proxy(upstream, arena);
    if (r == 0)
        r = set_tls(upstream);
    if (r == 0 && (origin->host_header.ptr == NULL || !add_credential(upstream, arena)))
        r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    for (uint32_t i = 0; r == 0 && i < provider->headers.count; i++) {
        const struct http_header *h = &provider->headers.items[i];
        if (!http_headers_add(&upstream->headers, arena, h->name, h->value))
            r = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    }
    if (r < 0) {
        upstream_fini(upstream);
        return err_wrap("provider '%.*s'", STR_ARG(provider->name));
    }
    http_origin_seal(origin);
    return 0;
}

void upstream_fini(struct upstream *upstream)
{
    tls_context_unref(upstream->origin.target.tls);
    upstream->origin.target.tls = NULL;
}

/* Percent-encodes all but the unreserved characters (RFC 3986 section 2.3). */
static struct str percent_encode(struct arena *arena, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, s.len * 3);
    if (out == NULL)
        return STR_EMPTY;
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (is_plain) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    return str_n(out, n);
}

struct str upstream_target(const struct upstream *upstream, struct arena *arena,
                           enum provider_operation operation, struct str model)
{
    const struct provider *p = upstream->provider;
    struct str path = p->paths[operation];
    static const char place[] = "{model}";
    ptrdiff_t at = str_find(path, STR("{model}"));
    struct str parts[6] = {p->url_path, path};
    size_t count = 2;
    if (at >= 0) {
        parts[1] = str_head(path, (size_t)at);
        parts[2] = percent_encode(arena, model);
        parts[3] = str_skip(path, (size_t)at + sizeof(place) - 1);
        count = 4;
    } else if (operation == OPERATION_MODELS && model.len > 0) {
        parts[2] = STR("/");
        parts[3] = percent_encode(arena, model);
        count = 4;
    }
    if (p->auth == AUTH_QUERY && p->api_key.len > 0) {
        bool has_query = str_index(path, '?') >= 0;
        parts[count++] = arena_printf(arena, "%c%.*s=", has_query ? '&' : '?',
                                      STR_ARG(p->auth_header));
        parts[count++] = percent_encode(arena, p->api_key);
    }
    for (size_t i = 0; i < count; i++) {
        if (parts[i].ptr == NULL && parts[i].len > 0)
            return STR_EMPTY;
    }
    return arena_concat(arena, parts, count);
}
