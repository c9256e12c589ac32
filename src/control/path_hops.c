#include "control/path_hops.h"

enum { SIGNS_MAX = 4 };

/* A header that tells of a hop: one of its values contains `word` (no case); "" = any value. */
struct sign {
    const char *header, *word;
};

struct path_hop_kind {
    const char *name;
    struct sign signs[SIGNS_MAX];
    const char *via; /* a word of its entry in Via; NULL = it adds none */
    const char *mend[PATH_TROUBLE_COUNT];
};

#define NGINX_MENDS                                                                            \
    {                                                                                          \
        [PATH_BUFFERS] = "proxy_buffering off; in the location (and no proxy_ignore_headers "  \
                         "X-Accel-Buffering)",                                                 \
        [PATH_COMPRESSES] = "take text/event-stream (or *) out of gzip_types and "             \
                            "brotli_types",                                                    \
        [PATH_CUTS] = "proxy_read_timeout 1h; (default 60s)",                                  \
        [PATH_CACHES] = "proxy_cache off; in the location",                                    \
        [PATH_REWRITES] = "no add_header, proxy_hide_header or default_type for Content-Type " \
                          "and Cache-Control in the location",                                 \
    }

#define ENVOY_MENDS                                                                               \
    {                                                                                             \
        [PATH_BUFFERS] = "no filter on the route that buffers answers (ext_proc with "            \
                         "response_body_mode BUFFERED, Lua body(), ...)",                         \
        [PATH_COMPRESSES] = "take text/event-stream out of the compressor's content_type",        \
        [PATH_CUTS] = "timeout: 0s on the route (default 15 s) and a longer stream_idle_timeout " \
                      "(default 5 min)",                                                          \
    }

/*
 * Each setting is in its vendor's documentation: docs/probe.md names the pages. The order is that
 * in which hops are told where Via does not say; who is more telling stands before who is alike.
 */
static const struct path_hop_kind kinds[] = {
    {"Cloudflare",
     {{"CF-Ray", ""}, {"Server", "cloudflare"}},
     "cloudflare",
     {[PATH_BUFFERS] = "a Configuration Rule with response body buffering: none (Enterprise: "
                       "Response Buffering off)",
      [PATH_COMPRESSES] = "a Compression Rule that disables compression for text/event-stream",
      [PATH_CUTS] =
          "ends what is silent for 120 s (100 s before): keep weir's timeouts.heartbeat below "
          "(Enterprise: raise proxy_read_timeout)",
      [PATH_CACHES] = "a Cache Rule that bypasses the cache for /v1/*",
      [PATH_REWRITES] = "no Transform Rule for the response headers of /v1/*"}},
    {"CloudFront",
     {{"X-Amz-Cf-Id", ""}, {"X-Amz-Cf-Pop", ""}, {"X-Cache", "cloudfront"}},
     "cloudfront",
     {[PATH_BUFFERS] = "no Lambda@Edge function on the origin response; CloudFront itself passes "
                       "on what comes",
      [PATH_COMPRESSES] = "Compress objects automatically: No, in the cache behaviour of /v1/*",
      [PATH_CUTS] = "raise the origin's Response timeout (default 30 s, from packet to packet) "
                    "above weir's timeouts.heartbeat",
      [PATH_CACHES] = "cache policy CachingDisabled for /v1/*",
      [PATH_REWRITES] = "no response headers policy that removes or replaces them for /v1/*"}},
    {"Fastly",
     {{"X-Served-By", "cache-"}, {"X-Fastly-Request-ID", ""}},
     "varnish",
     {[PATH_BUFFERS] = "set beresp.do_stream = true; in vcl_fetch (streaming miss)",
      [PATH_COMPRESSES] = "set beresp.gzip = false; set beresp.brotli = false; in vcl_fetch",
      [PATH_CUTS] =
          "raise between_bytes_timeout and first_byte_timeout (default 15 s) of the backend above "
          "weir's timeouts.heartbeat",
      [PATH_CACHES] = "return(pass) for /v1/* in vcl_recv"}},
    {"Akamai",
     {{"Server", "akamai"}, {"Akamai-GRN", ""}, {"X-Akamai-Request-ID", ""}},
     "akamai",
     {[PATH_BUFFERS] = "Optimize Text Streaming: on, in the property's rule for /v1/*, and no "
                       "behaviour that needs the whole answer (ESI, content inspection)",
      [PATH_COMPRESSES] = "Last Mile Acceleration: never, in the property's rule for /v1/*",
      [PATH_CUTS] = "a longer Read Timeout, in the property's rule for /v1/*",
      [PATH_CACHES] = "Caching: bypass cache, in the property's rule for /v1/*"}},
    {"Azure Front Door",
     {{"X-Azure-Ref", ""}, {"X-MSEdge-Ref", ""}},
     NULL,
     {[PATH_BUFFERS] = "caching disabled on the route, and no rule that inspects answers",
      [PATH_COMPRESSES] = "caching, and compression with it, disabled on the route",
      [PATH_CUTS] = "a longer origin response timeout",
      [PATH_CACHES] = "caching disabled on the route"}},
    {"Azure Application Gateway",
     {{"Server", "Microsoft-Azure-Application-Gateway"},
      {"Set-Cookie", "ApplicationGatewayAffinity"}},
     NULL,
     {[PATH_BUFFERS] = "globalConfiguration.enableResponseBuffering=false (on by default)",
      [PATH_CUTS] = "Request time-out of the backend setting above the silence between events"}},
    {"Google Cloud load balancer",
     {{"Via", "1.1 google"}},
     "1.1 google",
     {[PATH_COMPRESSES] = "compressionMode DISABLED on the backend service",
      [PATH_CUTS] =
          "a timeoutSec of the backend service that is longer than the longest answer (default 30 s)",
      [PATH_CACHES] = "Cloud CDN off for the backend service"}},
    {"Cloud Run or App Engine",
     {{"Server", "Google Frontend"}},
     NULL,
     {[PATH_BUFFERS] = "App Engine's standard environment does not stream: serve from Cloud Run",
      [PATH_CUTS] = "a longer request timeout of the service"}},
    {"AWS Application Load Balancer",
     {{"Server", "awselb"}, {"Set-Cookie", "AWSALB"}},
     NULL,
     {[PATH_CUTS] = "idle_timeout.timeout_seconds of the load balancer (default 60) above weir's "
                    "timeouts.heartbeat"}},
    {"Heroku",
     {{"Via", "vegur"}, {"Via", "heroku-router"}, {"Server", "heroku"}},
     "vegur",
     {[PATH_CUTS] = "ends what is silent for 55 s: keep weir's timeouts.heartbeat below"}},
    {"Fly.io", {{"Fly-Request-Id", ""}, {"Server", "fly/"}}, "fly.io", {NULL}},
    {"bunny.net", {{"Server", "bunnycdn"}, {"CDN-RequestId", ""}}, NULL, {NULL}},
    {"Vercel", {{"X-Vercel-Id", ""}, {"Server", "vercel"}}, NULL, {NULL}},
    {"Varnish",
     {{"X-Varnish", ""}, {"Via", "varnish"}},
     "varnish",
     {[PATH_BUFFERS] = "set beresp.do_stream = true; in vcl_backend_response (the default; nothing "
                       "may unset it)",
      [PATH_COMPRESSES] = "set beresp.do_gzip = false; in vcl_backend_response",
      [PATH_CUTS] = "raise between_bytes_timeout and first_byte_timeout (default 60 s)",
      [PATH_CACHES] = "return (pass); for /v1/ in vcl_recv"}},
    {"Apache Traffic Server",
     {{"Server", "ATS/"}, {"Via", "ApacheTrafficServer"}},
     "ApacheTrafficServer",
     {[PATH_CUTS] = "a longer proxy.config.http.transaction_no_activity_timeout_out"}},
    {"Squid",
     {{"Via", "squid"}, {"X-Cache-Lookup", ""}},
     "squid",
     {[PATH_BUFFERS] = "no ICAP or eCAP inspection of answers for this host",
      [PATH_CUTS] = "a longer read_timeout"}},
    {"Kong",
     {{"X-Kong-Proxy-Latency", ""}, {"Via", "kong"}, {"Server", "kong"}},
     "kong",
     {[PATH_BUFFERS] = "response_buffering: false on the route",
      [PATH_CUTS] = "a longer read_timeout of the service (default 60000 ms)"}},
    {"Apache APISIX",
     {{"Server", "APISIX"}},
     NULL,
     {[PATH_BUFFERS] = "the plugin proxy-buffering with disable_proxy_buffering: true on the route",
      [PATH_CUTS] = "a longer timeout.read of the upstream"}},
    {"Envoy", {{"X-Envoy-Upstream-Service-Time", ""}, {"Server", "envoy"}}, "envoy", ENVOY_MENDS},
    {"Caddy",
     {{"Server", "caddy"}, {"Via", "caddy"}},
     "caddy",
     {[PATH_BUFFERS] = "flush_interval -1 in reverse_proxy, and no response_buffers",
      [PATH_COMPRESSES] = "a match of encode that leaves text/event-stream out",
      [PATH_CUTS] = "a longer read_timeout of the transport, or none"}},
    {"IIS",
     {{"Server", "Microsoft-IIS"}, {"X-Powered-By", "ARR/"}},
     NULL,
     {[PATH_BUFFERS] = "responseBufferLimit=\"0\" of the handler (default 4 MB), and 0 as ARR's "
                       "response buffer threshold",
      [PATH_COMPRESSES] = "doDynamicCompression=\"false\" for the path",
      [PATH_CUTS] = "a longer time-out of ARR's proxy"}},
    {"OpenResty", {{"Server", "openresty"}}, "openresty", NGINX_MENDS},
    {"nginx", {{"Server", "nginx"}}, "nginx", NGINX_MENDS},
    {"Apache",
     {{"Server", "Apache"}},
     "Apache/",
     {[PATH_BUFFERS] = "flushpackets=on at ProxyPass, and no filter that inspects answers "
                       "(mod_security: SecResponseBodyAccess Off)",
      [PATH_COMPRESSES] = "SetEnvIf Request_URI ^/v1/ no-gzip no-brotli",
      [PATH_CUTS] = "a longer ProxyTimeout, or timeout= at ProxyPass (default: Timeout, 60 s)",
      [PATH_CACHES] = "CacheDisable /v1/",
      [PATH_REWRITES] = "no Header set, Header unset or ForceType for the path"}},
};

/* Headers that tell of a hop also where it is none of the kinds. */
static const struct str telling[] = {STR_INIT("Server"), STR_INIT("X-Cache"), STR_INIT("Alt-Svc")};

static bool tells(const struct sign *sign, const struct http_headers *headers, struct str *value)
{
    for (uint32_t i = 0; sign->header != NULL && i < headers->count; i++) {
        const struct http_header *header = &headers->items[i];
        if (!str_ieq(header->name, str_c(sign->header)) ||
            str_ifind(header->value, str_c(sign->word)) < 0)
            continue;
        *value = header->value;
        return true;
    }
    return false;
}

static bool finds(const struct path_hop_kind *kind, const struct http_headers *headers,
                  struct path_hop *hop)
{
    for (unsigned i = 0; i < SIGNS_MAX; i++) {
        if (!tells(&kind->signs[i], headers, &hop->value))
            continue;
        hop->kind = kind;
        hop->header = str_c(kind->signs[i].header);
        /* What follows the name of a cookie is nobody's business. */
        if (str_eq(hop->header, STR("Set-Cookie")))
            str_cut(&(struct str){hop->value.ptr, hop->value.len}, '=', &hop->value);
        return true;
    }
    return false;
}

struct search {
    const struct http_headers *headers;
    struct path_hop *hops;
    unsigned count;
    bool is_taken[ARRAY_LEN(kinds)];
};

static void add(struct search *s, struct path_hop hop)
{
    if (s->count < PATH_HOPS_MAX)
        s->hops[s->count++] = hop;
}

/* Fastly is made of Varnish and says "varnish" in Via; a Varnish of one's own says X-Varnish. */
static bool is_alike(const struct search *s, const struct path_hop_kind *kind)
{
    bool has_own = http_headers_count(s->headers, STR("X-Varnish")) > 0;
    struct path_hop hop;
    for (size_t i = 0; !has_own && i < ARRAY_LEN(kinds) && &kinds[i] != kind; i++) {
        if (kind->via != NULL && kinds[i].via != NULL && strcmp(kind->via, kinds[i].via) == 0 &&
            finds(&kinds[i], s->headers, &hop))
            return true;
    }
    return false;
}

/* One entry of Via: a hop that is known, the same one again, or one that is not. */
static void add_via(struct search *s, struct str entry)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct path_hop hop;
        if (kinds[i].via == NULL || str_ifind(entry, str_c(kinds[i].via)) < 0 ||
            !finds(&kinds[i], s->headers, &hop) || is_alike(s, &kinds[i]))
            continue;
        if (!s->is_taken[i])
            add(s, (struct path_hop){&kinds[i], STR("Via"), entry});
        s->is_taken[i] = true;
        return;
    }
    add(s, (struct path_hop){NULL, STR("Via"), entry});
}

/* True when the hop that this value tells of is among those that were found. */
static bool is_known(const struct search *s, struct str header)
{
    for (unsigned i = 0; i < s->count; i++) {
        const struct path_hop_kind *kind = s->hops[i].kind;
        struct str value;
        for (unsigned k = 0; kind != NULL && k < SIGNS_MAX; k++) {
            if (kind->signs[k].header != NULL && str_ieq(str_c(kind->signs[k].header), header) &&
                tells(&kind->signs[k], s->headers, &value))
                return true;
        }
    }
    return false;
}

unsigned path_hops_find(const struct http_headers *headers, struct path_hop hops[PATH_HOPS_MAX])
{
    struct search s = {.headers = headers, .hops = hops};
    for (uint32_t i = 0; i < headers->count; i++) {
        struct str rest = headers->items[i].value, entry;
        if (!str_ieq(headers->items[i].name, STR("Via")))
            continue;
        while (str_next(&rest, ',', &entry))
            add_via(&s, str_trim(entry));
    }
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct path_hop hop;
        if (!s.is_taken[i] && finds(&kinds[i], headers, &hop) && !is_alike(&s, &kinds[i]))
            add(&s, hop);
    }
    unsigned named = s.count;
    for (size_t i = 0; i < ARRAY_LEN(telling); i++) {
        struct str value = http_headers_get(headers, telling[i]);
        /* Each edge offers HTTP/3 and caches: that tells of a hop only where nothing else does. */
        bool is_needed = i == 0 || named == 0;
        if (value.len > 0 && is_needed && !is_known(&s, telling[i]))
            add(&s, (struct path_hop){NULL, telling[i], value});
    }
    return s.count;
}

struct str path_hop_name(const struct path_hop *hop)
{
    if (hop->kind != NULL)
        return str_c(hop->kind->name);
    if (str_eq(hop->header, STR("X-Cache")))
        return STR("a cache");
    if (str_eq(hop->header, STR("Alt-Svc")))
        return STR("an edge");
    return hop->value;
}

const char *path_hop_mend(const struct path_hop *hop, enum path_trouble trouble)
{
    return hop->kind != NULL ? hop->kind->mend[trouble] : NULL;
}

const char *path_mend_unknown(enum path_trouble trouble)
{
    static const char *const mends[PATH_TROUBLE_COUNT] = {
        [PATH_BUFFERS] = "no header names a hop. HAProxy: option http-no-delay; nginx: "
                         "proxy_buffering off; Apache: flushpackets=on; Traefik: no buffering "
                         "middleware; look at scanners (WAF, DLP, antivirus), too",
        [PATH_COMPRESSES] = "no header names a hop. Take text/event-stream out of what is "
                            "compressed: HAProxy compression type, Traefik compress "
                            "excludedContentTypes",
        [PATH_CUTS] = "no header names a hop. Raise the idle timeouts above weir's "
                      "timeouts.heartbeat: HAProxy timeout server and timeout client, nginx "
                      "proxy_read_timeout, load balancers' idle timeout",
        [PATH_CACHES] = "no header names a hop. Switch caching off for /v1/",
        [PATH_REWRITES] = "no header names a hop. Look for rules that set response headers",
    };
    return mends[trouble];
}
