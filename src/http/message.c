#include "http/message.h"

const struct http_limits http_limits_default = {
    .head_bytes = 64 * 1024,
    .target_bytes = 16 * 1024,
    .header_count = 128,
    .trailer_bytes = 8 * 1024,
    .chunk_ext_bytes = 1024,
    .pipeline_bytes = 64 * 1024,
    .body_bytes = 32 * 1024 * 1024,
};

bool http_headers_add(struct http_headers *headers, struct arena *arena, struct str name,
                      struct str value)
{
    if (headers->count == headers->cap) {
        uint32_t cap = headers->cap == 0 ? 16 : headers->cap * 2;
        struct http_header *items = arena_alloc(arena, cap * sizeof(*items));
        if (items == NULL)
            return false;
        if (headers->count > 0)
            memcpy(items, headers->items, headers->count * sizeof(*items));
        headers->items = items;
        headers->cap = cap;
    }
    headers->items[headers->count++] = (struct http_header){name, value};
    return true;
}

struct str http_headers_get(const struct http_headers *headers, struct str name)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        if (str_ieq(headers->items[i].name, name)) {
            struct str value = headers->items[i].value;
            return value.ptr == NULL ? STR("") : value;
        }
    }
    return STR_EMPTY;
}

unsigned http_headers_count(const struct http_headers *headers, struct str name)
{
    unsigned n = 0;
    for (uint32_t i = 0; i < headers->count; i++)
        n += str_ieq(headers->items[i].name, name);
    return n;
}

bool http_headers_has_token(const struct http_headers *headers, struct str name, struct str token)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        if (!str_ieq(headers->items[i].name, name))
            continue;
        struct str list = headers->items[i].value;
        for (struct str item; str_next(&list, ',', &item);) {
            if (str_ieq(str_trim(item), token))
                return true;
        }
    }
    return false;
}

bool http_header_is_hop_by_hop(const struct http_headers *headers, struct str name)
{
    static const struct str fixed[] = {
        STR_INIT("connection"),
        STR_INIT("keep-alive"),
        STR_INIT("te"),
        STR_INIT("trailer"),
        STR_INIT("transfer-encoding"),
        STR_INIT("upgrade"),
        STR_INIT("proxy-connection"),
        STR_INIT("proxy-authenticate"),
        STR_INIT("proxy-authorization"),
    };
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (str_ieq(fixed[i], name))
            return true;
    }
    return http_headers_has_token(headers, STR("connection"), name);
}

/* True when one of eight bytes is below 0x20 or is 0x7f (or in a rare case only seems to be). */
static bool may_hold_control(const char *p)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    uint64_t delete = word ^ (ones * 0x7f);
    uint64_t hits = ((word - ones * 0x20) & ~word) | ((delete - ones) & ~delete);
    return (hits & (ones * 0x80)) != 0;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f;
}

bool http_name_is_safe(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
            continue;
        if (c == '\0' || strchr("!#$%&'*+-.^_`|~", c) == NULL)
            return false;
    }
    return name.len > 0;
}

bool http_value_is_safe(struct str value)
{
    size_t i = 0;
    while (i + 8 <= value.len && !may_hold_control(value.ptr + i))
        i += 8;
    while (i < value.len && !is_control(value.ptr[i]))
        i++;
    return i == value.len;
}

struct str http_method_name(enum http_method method)
{
    static const struct str names[] = {
        [METHOD_GET] = STR_INIT("GET"),         [METHOD_HEAD] = STR_INIT("HEAD"),
        [METHOD_POST] = STR_INIT("POST"),       [METHOD_PUT] = STR_INIT("PUT"),
        [METHOD_PATCH] = STR_INIT("PATCH"),     [METHOD_DELETE] = STR_INIT("DELETE"),
        [METHOD_OPTIONS] = STR_INIT("OPTIONS"), [METHOD_CONNECT] = STR_INIT("CONNECT"),
    };
    return method < ARRAY_LEN(names) ? names[method] : STR("");
}

struct str http_reason(unsigned status)
{
    static const struct {
        unsigned status;
        struct str reason;
    } reasons[] = {
        {100, STR_INIT("Continue")},
        {101, STR_INIT("Switching Protocols")},
        {200, STR_INIT("OK")},
        {201, STR_INIT("Created")},
        {202, STR_INIT("Accepted")},
        {204, STR_INIT("No Content")},
        {301, STR_INIT("Moved Permanently")},
        {302, STR_INIT("Found")},
        {304, STR_INIT("Not Modified")},
        {307, STR_INIT("Temporary Redirect")},
        {308, STR_INIT("Permanent Redirect")},
        {400, STR_INIT("Bad Request")},
        {401, STR_INIT("Unauthorized")},
        {402, STR_INIT("Payment Required")},
        {403, STR_INIT("Forbidden")},
        {404, STR_INIT("Not Found")},
        {405, STR_INIT("Method Not Allowed")},
        {408, STR_INIT("Request Timeout")},
        {409, STR_INIT("Conflict")},
        {410, STR_INIT("Gone")},
        {411, STR_INIT("Length Required")},
        {413, STR_INIT("Content Too Large")},
        {414, STR_INIT("URI Too Long")},
        {415, STR_INIT("Unsupported Media Type")},
        {416, STR_INIT("Range Not Satisfiable")},
        {417, STR_INIT("Expectation Failed")},
        {422, STR_INIT("Unprocessable Content")},
        {424, STR_INIT("Failed Dependency")},
        {426, STR_INIT("Upgrade Required")},
        {429, STR_INIT("Too Many Requests")},
        {431, STR_INIT("Request Header Fields Too Large")},
        {499, STR_INIT("Client Closed Request")},
        {500, STR_INIT("Internal Server Error")},
        {501, STR_INIT("Not Implemented")},
        {502, STR_INIT("Bad Gateway")},
        {503, STR_INIT("Service Unavailable")},
        {504, STR_INIT("Gateway Timeout")},
        {505, STR_INIT("HTTP Version Not Supported")},
        {529, STR_INIT("Overloaded")},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return STR("");
}
