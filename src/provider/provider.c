#include "provider/provider.h"

#include <stdarg.h>

#include "base/err.h"
#include "rt/addr.h"

const char *const provider_auth_names[AUTH_COUNT + 1] = {
    [AUTH_BEARER] = "bearer",      [AUTH_HEADER] = "header", [AUTH_QUERY] = "query",
    [AUTH_NO_CREDENTIAL] = "none", [AUTH_AWS] = "aws",       [AUTH_GOOGLE] = "google",
    [AUTH_ENTRA] = "entra",
};

const char *const provider_operation_names[OPERATION_COUNT + 1] = {
    [OPERATION_CHAT] = "chat",
    [OPERATION_CHAT_STREAM] = "chat_stream",
    [OPERATION_COMPLETIONS] = "completions",
    [OPERATION_MODELS] = "models",
    [OPERATION_COUNT_TOKENS] = "count_tokens",
    [OPERATION_RESPONSES] = "responses",
    [OPERATION_MESSAGES] = "messages",
    [OPERATION_REALTIME] = "realtime",
    [OPERATION_LIVE] = "live",
};

const char *const provider_http2_names[PROVIDER_HTTP2_ALWAYS + 2] = {"auto", "off", "always"};

const char *const provider_variant_names[VARIANT_BEDROCK + 2] = {
    [VARIANT_NATIVE] = "native",
    [VARIANT_VERTEX] = "vertex",
    [VARIANT_BEDROCK] = "bedrock",
};

const char *const provider_place_names[PLACE_COUNT + 1] = {
    [PLACE_REGION] = "region",
    [PLACE_PROJECT] = "project",
    [PLACE_LOCATION] = "location",
    [PLACE_RESOURCE] = "resource",
};

const char *const provider_stream_usage_names[STREAM_USAGE_COUNT + 1] = {
    [STREAM_USAGE_ON_REQUEST] = "on_request",
    [STREAM_USAGE_ALWAYS] = "always",
    [STREAM_USAGE_NO_OPTION] = "no_option",
};

/* Where the simulated provider is said to be: a name that cannot exist (RFC 6761 section 6.4). */
#define SIMULATED_URL "http://simulated.invalid/v1"

PRINTF_LIKE(1, 2) static int invalid(const char *format, ...)
{
    char message[200];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    return err_set(ERR_INVALID, FAULT_GATEWAY, "%s", message);
}

/* An RFC 9110 section 5.6.2 token: a field name. */
static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!is_alnum && (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL))
            return false;
    }
    return text.len > 0;
}

/* What can stand in the path of a request line as it is. */
static bool is_url_text(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~' || strchr("\"<>\\^`{|}#", text.ptr[i]) != NULL)
            return false;
    }
    return true;
}

static bool is_host_name(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!is_alnum && c != '-' && c != '.' && c != '_')
            return false;
    }
    return host.len > 0 && host.len <= 253 && host.ptr[0] != '.';
}

/* "host", "host:port", "[v6]", "[v6]:port" */
static int split_authority(struct provider *provider, struct str authority)
{
    struct str host, port;
    bool has_port;
    struct net_addr addr;
    if (str_starts(authority, STR("["))) {
        ptrdiff_t end = str_index(authority, ']');
        if (end < 0)
            return invalid("base_url has \"[\" without \"]\"");
        host = str_head(authority, (size_t)end + 1);
        port = str_skip(authority, (size_t)end + 1);
        has_port = port.len > 0;
        if (has_port && port.ptr[0] != ':')
            return invalid("base_url has something between the address and the port");
        port = str_skip(port, 1);
        if (!net_addr_parse(host, 0, &addr))
            return invalid("base_url has no IPv6 address between its brackets");
        host = str_n(host.ptr + 1, host.len - 2);
        provider->host_is_literal = true;
    } else {
        has_port = str_cut(&authority, ':', &host);
        port = authority;
        if (host.len == 0)
            return invalid("base_url has no host");
        if (!is_host_name(host))
            return invalid("base_url: \"%.*s\" is not a host name", STR_ARG(str_head(host, 80)));
        provider->host_is_literal =
            net_addr_parse(host, 0, &addr) || str_ieq(host, STR("localhost"));
    }
    uint64_t number = provider->url_is_tls ? 443 : 80;
    if (has_port && (!str_to_u64(port, &number) || number == 0 || number > 65535))
        return invalid("base_url: port \"%.*s\" is not in 1..65535", STR_ARG(str_head(port, 20)));
    provider->url_host = host;
    provider->url_port = (uint16_t)number;
    return 0;
}

static int resolve_url(struct provider *provider)
{
    struct str url = provider->base_url;
    if (str_istarts(url, STR("https://")))
        provider->url_is_tls = true;
    else if (str_istarts(url, STR("http://")))
        provider->url_is_tls = false;
    else if (url.len == 0)
        return invalid("base_url is missing");
    else
        return invalid("base_url begins with neither http:// nor https://");
    struct str rest = str_skip(url, provider->url_is_tls ? 8 : 7);
    size_t end = 0;
    while (end < rest.len && strchr("/?#", rest.ptr[end]) == NULL)
        end++;
    struct str authority = str_head(rest, end);
    struct str path = str_skip(rest, end);
    /* Not shown: what stands before the "@" is a secret. */
    if (str_index(authority, '@') >= 0)
        return invalid("base_url holds a credential; write it as api_key");
    if (str_index(path, '?') >= 0 || str_index(path, '#') >= 0)
        return invalid("base_url holds a query or a fragment; it may have a path only");
    if (!is_url_text(path))
        return invalid("base_url: its path holds a character that a URL must escape");
    while (str_ends(path, STR("/")))
        path = str_head(path, path.len - 1);
    provider->url_path = path;
    return split_authority(provider, authority);
}

static int check_paths(const struct provider *provider)
{
    for (unsigned i = 0; i < OPERATION_COUNT; i++) {
        struct str path = provider->paths[i], before = path;
        ptrdiff_t at = str_find(path, STR("{model}"));
        if (at >= 0)
            before = str_head(path, (size_t)at);
        struct str after = at >= 0 ? str_skip(path, (size_t)at + strlen("{model}")) : STR_EMPTY;
        if (path.len > 0 && (path.ptr[0] != '/' || !is_url_text(before) || !is_url_text(after)))
            return invalid("paths.%s is not a path that begins with \"/\"",
                           provider_operation_names[i]);
    }
    return 0;
}

/* Secrets that end up in a header of some request. */
static int check_auth_settings(const struct provider_auth_settings *s)
{
    const struct {
        const char *name;
        struct str value;
    } written[] = {
        {"access_key_id", s->access_key_id},
        {"secret_access_key", s->secret_access_key},
        {"session_token", s->session_token},
        {"region", s->region},
        {"service", s->service},
        {"tenant_id", s->tenant_id},
    };
    for (size_t i = 0; i < ARRAY_LEN(written); i++) {
        if (!http_value_is_safe(written[i].value))
            return invalid("auth.%s holds a line break or another control character",
                           written[i].name);
    }
    if ((s->access_key_id.len == 0) != (s->secret_access_key.len == 0))
        return invalid("auth has one of access_key_id and secret_access_key; it needs both");
    return 0;
}

static int check_credential(const struct provider *provider)
{
    bool needs_name = provider->auth == AUTH_HEADER || provider->auth == AUTH_QUERY;
    if (needs_name && !is_token(provider->auth_header))
        return invalid("auth.name is not the name of a header or query parameter");
    if (!http_value_is_safe(provider->api_key))
        return invalid("api_key holds a line break or another control character");
    return check_auth_settings(&provider->auth_settings);
}

static int check_headers(const struct provider *provider)
{
    /* These are weir's to write: two of them would make the request mean two things. */
    static const struct str ours[] = {STR_INIT("host"), STR_INIT("content-length"),
                                      STR_INIT("content-encoding")};
    for (uint32_t i = 0; i < provider->headers.count; i++) {
        struct str name = provider->headers.items[i].name;
        if (!is_token(name))
            return invalid("headers: \"%.*s\" is not a header name", STR_ARG(str_head(name, 60)));
        bool is_ours = http_header_is_hop_by_hop(&provider->headers, name);
        for (size_t k = 0; k < ARRAY_LEN(ours); k++)
            is_ours |= str_ieq(name, ours[k]);
        if (is_ours)
            return invalid("headers: \"%.*s\" is set by weir itself", STR_ARG(name));
        if (!http_value_is_safe(provider->headers.items[i].value))
            return invalid("headers: the value of \"%.*s\" holds a line break or another control "
                           "character",
                           STR_ARG(name));
    }
    return 0;
}

/* --- places in URLs ----------------------------------------------------------------------------
 */

/* A name in a URL's host or path: nothing that would mean another host or path. */
static bool is_place(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool is_alnum = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
        if (!is_alnum && c != '-' && c != '_' && c != ':' && c != '.')
            return false;
    }
    return text.len > 0 && text.ptr[0] != '.';
}

/* https://cloud.google.com/vertex-ai/docs/general/locations: the global and the multi-regional
 * endpoints are named in another way than a region's. */
static struct str vertex_host(struct str location, struct arena *arena)
{
    if (str_eq(location, STR("global")))
        return STR("aiplatform.googleapis.com");
    if (str_eq(location, STR("us")) || str_eq(location, STR("eu")))
        return arena_printf(arena, "aiplatform.%.*s.rep.googleapis.com", STR_ARG(location));
    return arena_printf(arena, "%.*s-aiplatform.googleapis.com", STR_ARG(location));
}

/* What "{name}" stands for; ptr NULL when it is no place. */
static struct str place_value(const struct provider *provider, struct str name,
                              enum provider_place *place, struct arena *arena)
{
    bool is_vertex_host = str_eq(name, STR("vertex_host"));
    if (is_vertex_host)
        name = STR("location");
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        if (!str_eq(name, str_c(provider_place_names[i])))
            continue;
        *place = (enum provider_place)i;
        struct str value = provider->places[i];
        if (value.len > 0 && is_vertex_host)
            return vertex_host(value, arena);
        return value.ptr != NULL ? value : STR("");
    }
    return STR_EMPTY;
}

static int fill_places(const struct provider *provider, struct str *text, struct arena *arena,
                       enum provider_place *missing)
{
    struct str done = STR(""), rest = *text;
    ptrdiff_t open;
    if (str_index(rest, '{') < 0)
        return 0;
    while ((open = str_index(rest, '{')) >= 0) {
        ptrdiff_t close = str_index(rest, '}');
        if (close < open)
            break;
        size_t end = (size_t)close + 1;
        struct str name = str_n(rest.ptr + open + 1, end - (size_t)open - 2);
        enum provider_place place = PLACE_COUNT;
        struct str value = place_value(provider, name, &place, arena);
        if (place < PLACE_COUNT && value.len == 0) {
            *missing = place;
            return invalid("%s is missing", provider_place_names[place]);
        }
        if (place < PLACE_COUNT && !is_place(value))
            return invalid("%s: \"%.*s\" cannot stand in a URL", provider_place_names[place],
                           STR_ARG(str_head(value, 80)));
        bool is_kept = place == PLACE_COUNT; /* {model}, or an error that is found later */
        struct str parts[] = {done, str_head(rest, is_kept ? end : (size_t)open), value};
        done = arena_concat(arena, parts, is_kept ? 2 : 3);
        if (done.ptr == NULL)
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
        rest = str_skip(rest, end);
    }
    struct str parts[] = {done, rest};
    *text = arena_concat(arena, parts, ARRAY_LEN(parts));
    return text->ptr != NULL ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
}

int provider_fill_places(struct provider *provider, struct arena *arena,
                         enum provider_place *missing)
{
    *missing = PLACE_COUNT;
    int r = fill_places(provider, &provider->base_url, arena, missing);
    for (unsigned i = 0; r == 0 && i < OPERATION_COUNT; i++)
        r = fill_places(provider, &provider->paths[i], arena, missing);
    return r;
}

int provider_resolve(struct provider *provider)
{
    if (provider->is_simulated && provider->base_url.len == 0)
        provider->base_url = STR(SIMULATED_URL);
    provider->host_is_literal = false;
    int result = resolve_url(provider);
    if (result == 0)
        result = check_paths(provider);
    if (result == 0)
        result = check_credential(provider);
    if (result == 0)
        result = check_headers(provider);
    return result;
}
