#include "http/client_request.h"

#include "base/err.h"

bool client_leaves_out(struct str name)
{
    static const struct str names[] = {
        STR_INIT("te"),
        STR_INIT("host"),
        STR_INIT("expect"), /* there is nothing to wait for: the body leaves with the head */
        STR_INIT("trailer"),
        STR_INIT("upgrade"),
        STR_INIT("connection"),
        STR_INIT("keep-alive"),
        STR_INIT("content-length"),
        STR_INIT("proxy-connection"),
        STR_INIT("transfer-encoding"),
        STR_INIT("proxy-authenticate"),
        STR_INIT("proxy-authorization"),
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].len == name.len && str_ieq(names[i], name))
            return true;
    }
    return false;
}

/* A token (RFC 9110 section 5.6.2). */
static bool is_name(struct str name)
{
    static const bool token[256] = {
        ['!'] = true,         ['#'] = true,         ['$'] = true, ['%'] = true,
        ['&'] = true,         ['\''] = true,        ['*'] = true, ['+'] = true,
        ['-'] = true,         ['.'] = true,         ['^'] = true, ['_'] = true,
        ['`'] = true,         ['|'] = true,         ['~'] = true, ['0' ... '9'] = true,
        ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
    };
    for (size_t i = 0; i < name.len; i++) {
        if (!token[(unsigned char)name.ptr[i]])
            return false;
    }
    return name.len > 0;
}

/* Origin form or "*": visible characters only, so that the request line has three words. */
static bool is_target(struct str target)
{
    for (size_t i = 0; i < target.len; i++) {
        unsigned char c = (unsigned char)target.ptr[i];
        if (c <= ' ' || c == 0x7f)
            return false;
    }
    return target.len > 0 && (target.ptr[0] == '/' || str_eq(target, STR("*")));
}

int client_check_request(const struct http_origin *origin, const struct http_call_request *request)
{
    uint64_t body_bytes = 0;
    for (int i = 0; i < request->body_count; i++)
        body_bytes += request->body[i].iov_len;
    CHECK(body_bytes == request->body_bytes);
    if (request->method >= METHOD_CONNECT)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "this method cannot be sent upstream");
    if (!is_target(request->target))
        return err_set(ERR_INVALID, FAULT_GATEWAY,
                       "the path for the upstream holds a space or a control character, or does "
                       "not begin with '/'");
    if (origin->host_header.len == 0 || !http_value_is_safe(origin->host_header))
        return err_set(ERR_INVALID, FAULT_GATEWAY, "the upstream's host is no valid Host header");
    for (uint32_t i = 0; request->headers != NULL && i < request->headers->count; i++) {
        const struct http_header *h = &request->headers->items[i];
        if (!is_name(h->name))
            return err_set(ERR_INVALID, FAULT_GATEWAY,
                           "header %u for the upstream has a name that is no token", i + 1);
        if (!http_value_is_safe(h->value))
            return err_set(ERR_INVALID, FAULT_GATEWAY,
                           "the value of the header '%.*s' for the upstream holds a line break or "
                           "a NUL",
                           STR_ARG(str_head(h->name, 64)));
    }
    return 0;
}

/* An upper bound of the head's bytes, so that it is written without a further check. */
static size_t bytes_needed(const struct http_origin *origin,
                           const struct http_call_request *request)
{
    size_t n = 160 + request->target.len + origin->host_header.len + request->upgrade.len;
    for (uint32_t i = 0; request->headers != NULL && i < request->headers->count; i++)
        n += request->headers->items[i].name.len + request->headers->items[i].value.len + 4;
    return n;
}

static char *put(char *to, struct str s)
{
    memcpy(to, s.ptr, s.len);
    return to + s.len;
}

static char *put_header(char *to, struct str name, struct str value)
{
    to = put(to, name);
    to = put(to, STR(": "));
    if (value.len > 0)
        to = put(to, value);
    return put(to, STR("\r\n"));
}

bool client_has_length(const struct http_call_request *request)
{
    return request->body_bytes > 0 || request->method == METHOD_POST ||
           request->method == METHOD_PUT || request->method == METHOD_PATCH;
}

int client_write_head(struct buf *out, const struct http_origin *origin,
                      const struct http_call_request *request)
{
    if (!buf_reserve(out, bytes_needed(origin, request)))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the request's head");
    bool has_encoding = false;
    char *to = out->ptr + out->len;
    to = put(to, http_method_name(request->method));
    *to++ = ' ';
    to = put(to, request->target);
    to = put_header(put(to, STR(" HTTP/1.1\r\n")), STR("Host"), origin->host_header);
    for (uint32_t i = 0; request->headers != NULL && i < request->headers->count; i++) {
        const struct http_header *h = &request->headers->items[i];
        if (client_leaves_out(h->name))
            continue;
        has_encoding = has_encoding || str_ieq(h->name, STR("accept-encoding"));
        to = put_header(to, h->name, h->value);
    }
    if (!has_encoding && request->upgrade.len == 0)
        to = put_header(to, STR("Accept-Encoding"), STR("identity"));
    if (request->upgrade.len > 0) {
        to = put_header(to, STR("Connection"), STR("Upgrade"));
        to = put_header(to, STR("Upgrade"), request->upgrade);
    }
    if (client_has_length(request)) {
        to = put(to, STR("Content-Length: "));
        to += str_put_u64(to, request->body_bytes);
        to = put(to, STR("\r\n"));
    }
    to = put(to, STR("\r\n"));
    out->len = (size_t)(to - out->ptr);
    return 0;
}
