#include "http/grpc.h"

#include "base/clock.h"
#include "base/err.h"

const char *const grpc_code_names[GRPC_CODE_COUNT] = {
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
};

bool grpc_is_content_type(struct str content_type)
{
    const struct str plain = STR("application/grpc");
    if (!str_istarts(content_type, plain))
        return false;
    struct str rest = str_skip(content_type, plain.len);
    return rest.len == 0 || rest.ptr[0] == '+' || rest.ptr[0] == ';';
}

/* --- codes ----------------------------------------------------------------------------------- */

static const struct {
    unsigned status;
    enum grpc_code code;
} codes_of_http[] = {
    {400, GRPC_INVALID_ARGUMENT},   {401, GRPC_UNAUTHENTICATED},  {403, GRPC_PERMISSION_DENIED},
    {404, GRPC_UNIMPLEMENTED},      {405, GRPC_UNIMPLEMENTED},    {408, GRPC_DEADLINE_EXCEEDED},
    {413, GRPC_RESOURCE_EXHAUSTED}, {415, GRPC_INVALID_ARGUMENT}, {429, GRPC_RESOURCE_EXHAUSTED},
    {431, GRPC_RESOURCE_EXHAUSTED}, {499, GRPC_CANCELLED},        {500, GRPC_INTERNAL},
    {501, GRPC_UNIMPLEMENTED},      {502, GRPC_UNAVAILABLE},      {503, GRPC_UNAVAILABLE},
    {504, GRPC_DEADLINE_EXCEEDED},
};

enum grpc_code grpc_code_of_http(unsigned status)
{
    for (size_t i = 0; i < ARRAY_LEN(codes_of_http); i++) {
        if (codes_of_http[i].status == status)
            return codes_of_http[i].code;
    }
    return GRPC_UNKNOWN;
}

unsigned grpc_http_of_code(enum grpc_code code)
{
    static const unsigned short of_code[GRPC_CODE_COUNT] = {
        [GRPC_OK] = 200,
        [GRPC_CANCELLED] = 499,
        [GRPC_UNKNOWN] = 500,
        [GRPC_INVALID_ARGUMENT] = 400,
        [GRPC_DEADLINE_EXCEEDED] = 504,
        [GRPC_NOT_FOUND] = 404,
        [GRPC_ALREADY_EXISTS] = 409,
        [GRPC_PERMISSION_DENIED] = 403,
        [GRPC_RESOURCE_EXHAUSTED] = 429,
        [GRPC_FAILED_PRECONDITION] = 400,
        [GRPC_ABORTED] = 409,
        [GRPC_OUT_OF_RANGE] = 400,
        [GRPC_UNIMPLEMENTED] = 501,
        [GRPC_INTERNAL] = 500,
        [GRPC_UNAVAILABLE] = 503,
        [GRPC_DATA_LOSS] = 500,
        [GRPC_UNAUTHENTICATED] = 401,
    };
    return of_code[code];
}

enum grpc_code grpc_code_read(struct str value)
{
    uint64_t code;
    return str_to_u64(value, &code) && code < GRPC_CODE_COUNT ? (enum grpc_code)code : GRPC_UNKNOWN;
}

/* --- deadlines ------------------------------------------------------------------------------- */

static const struct {
    char unit;
    int64_t ns;
} units[] = {
    {'n', 1},          {'u', NS_PER_US},       {'m', NS_PER_MS},
    {'S', NS_PER_SEC}, {'M', 60 * NS_PER_SEC}, {'H', 3600 * NS_PER_SEC},
};

bool grpc_timeout_read(struct str value, int64_t *ns)
{
    uint64_t n;
    if (value.len < 2 || value.len > GRPC_TIMEOUT_BYTES ||
        !str_to_u64(str_head(value, value.len - 1), &n))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (units[i].unit != value.ptr[value.len - 1])
            continue;
        bool is_endless = (int64_t)n > INT64_MAX / 2 / units[i].ns;
        *ns = is_endless ? INT64_MAX / 2 : (int64_t)n * units[i].ns;
        return true;
    }
    return false;
}

size_t grpc_timeout_write(char out[GRPC_TIMEOUT_BYTES], int64_t ns)
{
    size_t i = 0;
    ns = MAX(ns, (int64_t)1);
    while (i + 1 < ARRAY_LEN(units) && ns / units[i].ns > 99999999)
        i++;
    size_t n = str_put_u64(out, MIN((uint64_t)(ns / units[i].ns), (uint64_t)99999999));
    out[n] = units[i].unit;
    return n + 1;
}

void grpc_message_write(struct buf *out, struct str message)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < message.len; i++) {
        unsigned char c = (unsigned char)message.ptr[i];
        if (c >= ' ' && c <= '~' && c != '%') {
            buf_add_char(out, (char)c);
            continue;
        }
        buf_add_char(out, '%');
        buf_add_char(out, digits[c >> 4]);
        buf_add_char(out, digits[c & 15]);
    }
}

/* --- frames ---------------------------------------------------------------------------------- */

static int begin_message(struct grpc_frames *f)
{
    f->left = (uint64_t)f->prefix[1] << 24 | (uint64_t)f->prefix[2] << 16 |
              (uint64_t)f->prefix[3] << 8 | f->prefix[4];
    if (f->prefix[0] > 1)
        return err_set(ERR_PROTOCOL, FAULT_NONE, "a gRPC message has the flag %u", f->prefix[0]);
    if (f->left > f->limit)
        return err_set(ERR_LIMIT, FAULT_NONE,
                       "a gRPC message of %llu bytes is larger than the limit of %llu",
                       (unsigned long long)f->left, (unsigned long long)f->limit);
    return 0;
}

int grpc_frames_next(struct grpc_frames *f, struct str bytes, struct str *message, struct str *rest,
                     bool *is_end)
{
    size_t missing = sizeof(f->prefix) - f->prefix_len;
    *message = STR_EMPTY;
    *is_end = false;
    if (missing > 0) {
        size_t n = MIN(missing, bytes.len);
        if (n > 0)
            memcpy(f->prefix + f->prefix_len, bytes.ptr, n);
        f->prefix_len += (unsigned)n;
        bytes = str_skip(bytes, n);
        if (f->prefix_len == sizeof(f->prefix)) {
            int r = begin_message(f);
            if (r < 0)
                return r;
        }
    }
    if (f->prefix_len == sizeof(f->prefix)) {
        size_t n = (size_t)MIN((uint64_t)bytes.len, f->left);
        *message = str_head(bytes, n);
        bytes = str_skip(bytes, n);
        f->left -= n;
        *is_end = f->left == 0;
        if (*is_end) {
            f->messages++;
            f->prefix_len = 0;
        }
    }
    *rest = bytes;
    return 0;
}

int grpc_frames_count(struct grpc_frames *f, struct str bytes)
{
    struct str message;
    bool is_end;
    int r = 0;
    while (r == 0 && bytes.len > 0)
        r = grpc_frames_next(f, bytes, &message, &bytes, &is_end);
    return r;
}
