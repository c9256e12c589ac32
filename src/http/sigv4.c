/* Signing a request for AWS. */
#include <time.h>

#include "base/err.h"
#include "http/sigv4_canonical.h"

/* What hops and clients change or add on the way. */
static const char *const unsigned_names[] = {"authorization",
                                             "cache-control",
                                             "connection",
                                             "expect",
                                             "from",
                                             "keep-alive",
                                             "max-forwards",
                                             "pragma",
                                             "referer",
                                             "te",
                                             "trailer",
                                             "upgrade",
                                             "user-agent",
                                             "x-amz-date",
                                             "transfer-encoding",
                                             "x-amzn-trace-id",
                                             "x-amz-security-token",
                                             "proxy-authorization",
                                             "proxy-connection"};

static bool is_signed(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(unsigned_names); i++) {
        if (str_eq(name, str_c(unsigned_names[i])))
            return false;
    }
    return true;
}

static struct str lower(struct arena *arena, struct str s)
{
    char *out = arena_alloc(arena, s.len);
    if (out == NULL)
        return STR_EMPTY;
    for (size_t i = 0; i < s.len; i++)
        out[i] = s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] | 0x20) : s.ptr[i];
    return str_n(out, s.len);
}

/* Host, the headers that are to be signed and those in `added`, in order. */
static bool gather(const struct sigv4_request *request, const struct sigv4_fields *added,
                   struct arena *arena, struct sigv4_fields *out)
{
    const struct http_headers *headers = request->headers;
    unsigned given = headers == NULL ? 0 : headers->count;
    out->items = arena_alloc(arena, (given + added->count + 1) * sizeof(struct sigv4_field));
    out->count = 0;
    if (out->items == NULL)
        return false;
    if (request->host.len > 0)
        sigv4_add_field(out, STR("host"), request->host);
    for (unsigned i = 0; i < given; i++) {
        struct str name = lower(arena, headers->items[i].name);
        if (name.ptr == NULL)
            return false;
        bool is_replaced = (request->host.len > 0 && str_eq(name, STR("host"))) ||
                           (request->sends_body_hash && str_eq(name, STR("x-amz-content-sha256")));
        if (!is_replaced && is_signed(name))
            sigv4_add_field(out, name, headers->items[i].value);
    }
    for (unsigned i = 0; i < added->count; i++)
        sigv4_add_field(out, added->items[i].name, added->items[i].value);
    qsort(out->items, out->count, sizeof(struct sigv4_field), sigv4_compare_fields);
    return true;
}

static struct str join_names(struct arena *arena, const struct sigv4_fields *headers)
{
    size_t len = 0;
    for (unsigned i = 0; i < headers->count; i++)
        len += headers->items[i].name.len + 1;
    char *out = arena_alloc(arena, len);
    if (out == NULL)
        return STR_EMPTY;
    size_t n = 0;
    for (unsigned i = 0; i < headers->count; i++) {
        struct str name = headers->items[i].name;
        if (i > 0 && str_eq(headers->items[i - 1].name, name))
            continue;
        if (i > 0)
            out[n++] = ';';
        memcpy(out + n, name.ptr, name.len);
        n += name.len;
    }
    return str_n(out, n);
}

static struct str format_time(struct arena *arena, int64_t now_s)
{
    time_t seconds = (time_t)now_s;
    struct tm tm;
    if (gmtime_r(&seconds, &tm) == NULL)
        memset(&tm, 0, sizeof(tm));
    return arena_printf(arena, "%04d%02d%02dT%02d%02d%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                        tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to sign a request");
}

int sigv4_sign(const struct sigv4_request *request, const struct sigv4_credentials *credentials,
               struct str service, struct str region, int64_t now_s, struct arena *arena,
               struct http_headers *out)
{
    char *hex = arena_alloc(arena, (size_t)2 * SIGV4_HEX_BYTES);
    struct sigv4_signing s = {.secret = credentials->secret_access_key,
                              .time = format_time(arena, now_s),
                              .region = region,
                              .service = service};
    if (hex == NULL || s.time.ptr == NULL)
        return no_memory();
    char *signature = hex + SIGV4_HEX_BYTES;
    sigv4_hash_body(request->body, request->body_count, hex);
    s.body_hash = str_n(hex, SIGV4_HEX_BYTES);
    s.date = str_head(s.time, 8);
    s.scope = arena_printf(arena, "%.*s/%.*s/%.*s/" SIGV4_TERMINATOR, STR_ARG(s.date),
                           STR_ARG(region), STR_ARG(service));

    struct sigv4_field items[3];
    struct sigv4_fields added = {items, 0};
    sigv4_add_field(&added, STR("x-amz-date"), s.time);
    if (credentials->session_token.len > 0)
        sigv4_add_field(&added, STR("x-amz-security-token"), credentials->session_token);
    if (request->sends_body_hash)
        sigv4_add_field(&added, STR("x-amz-content-sha256"), s.body_hash);
    if (s.scope.ptr == NULL || !gather(request, &added, arena, &s.headers))
        return no_memory();
    s.signed_headers = join_names(arena, &s.headers);
    if (s.signed_headers.ptr == NULL || !sigv4_compute(request, &s, arena, signature))
        return no_memory();

    struct str value = arena_printf(
        arena, SIGV4_ALGORITHM " Credential=%.*s/%.*s, SignedHeaders=%.*s, Signature=%.*s",
        STR_ARG(credentials->access_key_id), STR_ARG(s.scope), STR_ARG(s.signed_headers),
        SIGV4_HEX_BYTES, signature);
    bool is_ok = value.ptr != NULL && http_headers_add(out, arena, STR("X-Amz-Date"), s.time);
    if (credentials->session_token.len > 0)
        is_ok = is_ok && http_headers_add(out, arena, STR("X-Amz-Security-Token"),
                                          credentials->session_token);
    if (request->sends_body_hash)
        is_ok = is_ok && http_headers_add(out, arena, STR("X-Amz-Content-Sha256"), s.body_hash);
    is_ok = is_ok && http_headers_add(out, arena, STR("Authorization"), value);
    return is_ok ? 0 : no_memory();
}
