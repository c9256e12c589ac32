#include "gateway/proxy.h"

#include <openssl/evp.h>

#include "base/err.h"
#include "base/percent.h"

/* The address as bytes; 0 for an address of neither family. */
static size_t address_bytes(const struct net_addr *addr, const uint8_t **bytes)
{
    if (addr->u.any.sa_family == AF_INET) {
        *bytes = (const uint8_t *)&addr->u.v4.sin_addr;
        return 4;
    }
    *bytes = (const uint8_t *)&addr->u.v6.sin6_addr;
    return addr->u.any.sa_family == AF_INET6 ? 16 : 0;
}

/* "10.0.0.0/8" and the like, for hosts that are addresses. */
static bool is_in_network(struct str network, struct str host)
{
    struct str base;
    uint64_t bits;
    struct net_addr a;
    struct net_addr b;
    const uint8_t *pa;
    const uint8_t *pb;
    if (!str_cut(&network, '/', &base) || !str_to_u64(network, &bits) ||
        !net_addr_parse(base, 0, &a) || !net_addr_parse(host, 0, &b))
        return false;
    size_t n = address_bytes(&a, &pa);
    if (n == 0 || n != address_bytes(&b, &pb) || bits > n * 8)
        return false;
    size_t whole = (size_t)bits / 8;
    unsigned rest = (unsigned)bits % 8;
    return memcmp(pa, pb, whole) == 0 && (rest == 0 || (pa[whole] ^ pb[whole]) >> (8 - rest) == 0);
}

static bool is_host_or_domain(struct str item, struct str host)
{
    if (str_starts(item, STR(".")))
        item = str_skip(item, 1);
    if (item.len == 0 || item.len > host.len)
        return false;
    struct str tail = str_skip(host, host.len - item.len);
    bool at_label = tail.len == host.len || host.ptr[host.len - item.len - 1] == '.';
    return at_label && str_ieq(tail, item);
}

bool proxy_is_exempt(struct str no_proxy, struct str host)
{
    for (struct str item; str_next(&no_proxy, ',', &item);) {
        item = str_trim(item);
        if (str_eq(item, STR("*")) || is_host_or_domain(item, host) || is_in_network(item, host))
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
    user_pass = percent_decode(arena, user_pass);
    char *out = arena_alloc(arena, user_pass.len * 4 / 3 + 16);
    if (out == NULL || user_pass.ptr == NULL)
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
        if (proxy->authorization.ptr == NULL)
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
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

int proxy_find(struct dial_proxy *proxy, struct arena *arena, const struct provider *provider)
{
    struct str url = provider->proxy_url;
    if (url.len == 0) {
        if (!provider->url_is_tls ||
            proxy_is_exempt(env_either("no_proxy", "NO_PROXY"), provider->url_host))
            return 0;
        url = env_either("https_proxy", "HTTPS_PROXY");
    }
    if (url.len == 0)
        return 0;
    /* The environment may change its strings; the snapshot must not. */
    return proxy_parse(proxy, arena, arena_dup(arena, url));
}
