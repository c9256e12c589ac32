/* The functions on SHA256_CTX cannot fail and allocate nothing, unlike EVP; they are called
 * deprecated because they bypass the provider mechanism. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "http/sigv4.h"

#include <openssl/sha.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/percent.h"

enum { HASH_BYTES = SHA256_DIGEST_LENGTH, HEX_BYTES = 2 * HASH_BYTES, TIME_BYTES = 16 };

#define ALGORITHM "AWS4-HMAC-SHA256"
#define TERMINATOR "aws4_request"

/* --- hashes ---------------------------------------------------------------------------------- */

struct digest {
    uint8_t bytes[HASH_BYTES];
};

static void add(SHA256_CTX *context, struct str s)
{
    if (s.len > 0)
        SHA256_Update(context, s.ptr, s.len);
}

/* HMAC-SHA256 (RFC 2104); several parts make one message. */
static struct digest hmac(struct str key, const struct str *parts, unsigned count)
{
    uint8_t block[SHA256_CBLOCK] = {0};
    SHA256_CTX context;
    if (key.len > sizeof(block)) {
        SHA256_Init(&context);
        add(&context, key);
        SHA256_Final(block, &context);
    } else if (key.len > 0) {
        memcpy(block, key.ptr, key.len);
    }
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36;
    struct digest result;
    SHA256_Init(&context);
    SHA256_Update(&context, block, sizeof(block));
    for (unsigned i = 0; i < count; i++)
        add(&context, parts[i]);
    SHA256_Final(result.bytes, &context);
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] ^= 0x36 ^ 0x5c;
    SHA256_Init(&context);
    SHA256_Update(&context, block, sizeof(block));
    SHA256_Update(&context, result.bytes, HASH_BYTES);
    SHA256_Final(result.bytes, &context);
    return result;
}

static struct str digest_str(const struct digest *digest)
{
    return str_n((const char *)digest->bytes, HASH_BYTES);
}

static void hash_parts(const struct iovec *parts, unsigned count, char hex[HEX_BYTES])
{
    SHA256_CTX context;
    struct digest digest;
    SHA256_Init(&context);
    for (unsigned i = 0; i < count; i++)
        add(&context, str_n(parts[i].iov_base, parts[i].iov_len));
    SHA256_Final(digest.bytes, &context);
    str_to_hex(digest.bytes, HASH_BYTES, hex);
}

/* --- the canonical request ------------------------------------------------------------------- */

/* A header or a query parameter. */
struct field {
    struct str name, value;
    unsigned place; /* among those of its name */
};

struct fields {
    struct field *items;
    unsigned count;
};

static int compare_headers(const void *a, const void *b)
{
    const struct field *left = a, *right = b;
    int order = str_cmp(left->name, right->name);
    return order != 0 ? order : (left->place > right->place) - (left->place < right->place);
}

static int compare_parameters(const void *a, const void *b)
{
    const struct field *left = a, *right = b;
    int order = str_cmp(left->name, right->name);
    return order != 0 ? order : str_cmp(left->value, right->value);
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

/* Appends the path without dot segments and empty ones, each segment encoded (again). */
static bool add_path(struct buf *out, struct arena *arena, struct str path)
{
    size_t start = out->len, segments = 0;
    struct str rest = path, segment;
    while (str_next(&rest, '/', &segment)) {
        if (segment.len == 0 || str_eq(segment, STR(".")))
            continue;
        if (str_eq(segment, STR(".."))) {
            ptrdiff_t cut = str_rindex(str_n(out->ptr + start, out->len - start), '/');
            out->len = start + (cut > 0 ? (size_t)cut : 0);
            segments -= segments > 0;
            continue;
        }
        struct str encoded = percent_encode(arena, segment);
        if (encoded.ptr == NULL)
            return false;
        buf_add_char(out, '/');
        buf_add_str(out, encoded);
        segments++;
    }
    if (segments == 0 || str_ends(path, STR("/")))
        buf_add_char(out, '/');
    return buf_ok(out);
}

/* The query's parameters, encoded in the one way that counts. The one written `skips` is left out.
 */
static bool read_parameters(struct arena *arena, struct str query, struct str skips,
                            struct fields *fields)
{
    unsigned room = 1;
    for (size_t i = 0; i < query.len; i++)
        room += query.ptr[i] == '&';
    fields->items = arena_alloc(arena, room * sizeof(struct field));
    fields->count = 0;
    if (fields->items == NULL)
        return false;
    struct str item;
    while (str_next(&query, '&', &item)) {
        if (item.len == 0)
            continue;
        struct str name;
        (void)str_cut(&item, '=', &name);
        if (skips.len > 0 && str_eq(name, skips))
            continue;
        name = percent_decode(arena, name);
        struct str value = percent_decode(arena, item);
        if (name.ptr == NULL || value.ptr == NULL)
            return false;
        struct field field = {percent_encode(arena, name), percent_encode(arena, value), 0};
        if (field.name.ptr == NULL || field.value.ptr == NULL)
            return false;
        fields->items[fields->count++] = field;
    }
    qsort(fields->items, fields->count, sizeof(struct field), compare_parameters);
    return true;
}

static void add_parameters(struct buf *out, const struct fields *fields)
{
    for (unsigned i = 0; i < fields->count; i++) {
        if (i > 0)
            buf_add_char(out, '&');
        buf_add_str(out, fields->items[i].name);
        buf_add_char(out, '=');
        buf_add_str(out, fields->items[i].value);
    }
}

/* The value without spaces at its ends, and with one for many inside. */
static void add_header_value(struct buf *out, struct str value)
{
    bool was_space = false;
    value = str_trim(value);
    for (size_t i = 0; i < value.len; i++) {
        bool is_space = value.ptr[i] == ' ';
        if (!is_space || !was_space)
            buf_add_char(out, value.ptr[i]);
        was_space = is_space;
    }
}

/* name:value lines and an empty one; headers of one name are one line. In order already. */
static void add_headers(struct buf *out, const struct fields *headers)
{
    for (unsigned i = 0; i < headers->count; i++) {
        const struct field *field = &headers->items[i];
        bool goes_on = i > 0 && str_eq(field[-1].name, field->name);
        if (goes_on) {
            out->len -= out->len > 0; /* the line's end */
            buf_add_char(out, ',');
        } else {
            buf_add_str(out, field->name);
            buf_add_char(out, ':');
        }
        add_header_value(out, field->value);
        buf_add_char(out, '\n');
    }
    buf_add_char(out, '\n');
}

struct signing {
    struct str secret;
    struct str time, date, region, service;
    struct str scope;
    struct str signed_headers;
    struct str body_hash;
    struct str skipped_parameter;
    struct fields headers;
};

/* The signature's 64 hex digits. False when out of memory. */
static bool compute(const struct sigv4_request *request, const struct signing *s,
                    struct arena *arena, char hex[HEX_BYTES])
{
    struct fields parameters;
    struct buf text = BUF_INIT;
    buf_add_str(&text, request->method);
    buf_add_char(&text, '\n');
    bool is_ok = add_path(&text, arena, request->path) &&
                 read_parameters(arena, request->query, s->skipped_parameter, &parameters);
    if (is_ok) {
        buf_add_char(&text, '\n');
        add_parameters(&text, &parameters);
        buf_add_char(&text, '\n');
        add_headers(&text, &s->headers);
        buf_add_str(&text, s->signed_headers);
        buf_add_char(&text, '\n');
        buf_add_str(&text, s->body_hash);
        is_ok = buf_ok(&text);
    }
    if (is_ok) {
        char request_hex[HEX_BYTES];
        struct iovec whole = {text.ptr, text.len};
        hash_parts(&whole, 1, request_hex);

        struct str seed[] = {STR("AWS4"), s->secret};
        struct str start = arena_concat(arena, seed, ARRAY_LEN(seed));
        struct digest key = hmac(start, &s->date, 1);
        key = hmac(digest_str(&key), &s->region, 1);
        key = hmac(digest_str(&key), &s->service, 1);
        key = hmac(digest_str(&key), &STR(TERMINATOR), 1);
        struct str to_sign[] = {STR(ALGORITHM "\n"), s->time,
                                STR("\n"),           s->scope,
                                STR("\n"),           str_n(request_hex, HEX_BYTES)};
        struct digest signature = hmac(digest_str(&key), to_sign, ARRAY_LEN(to_sign));
        str_to_hex(signature.bytes, HASH_BYTES, hex);
        is_ok = start.ptr != NULL;
    }
    buf_fini(&text);
    return is_ok;
}

/* --- signing --------------------------------------------------------------------------------- */

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

static void add_field(struct fields *fields, struct str name, struct str value)
{
    fields->items[fields->count] = (struct field){name, value, fields->count};
    fields->count++;
}

/* Host, the headers that are to be signed and those in `added`, in order. */
static bool gather(const struct sigv4_request *request, const struct fields *added,
                   struct arena *arena, struct fields *out)
{
    const struct http_headers *headers = request->headers;
    unsigned given = headers == NULL ? 0 : headers->count;
    out->items = arena_alloc(arena, (given + added->count + 1) * sizeof(struct field));
    out->count = 0;
    if (out->items == NULL)
        return false;
    if (request->host.len > 0)
        add_field(out, STR("host"), request->host);
    for (unsigned i = 0; i < given; i++) {
        struct str name = lower(arena, headers->items[i].name);
        if (name.ptr == NULL)
            return false;
        bool is_replaced = (request->host.len > 0 && str_eq(name, STR("host"))) ||
                           (request->sends_body_hash && str_eq(name, STR("x-amz-content-sha256")));
        if (!is_replaced && is_signed(name))
            add_field(out, name, headers->items[i].value);
    }
    for (unsigned i = 0; i < added->count; i++)
        add_field(out, added->items[i].name, added->items[i].value);
    qsort(out->items, out->count, sizeof(struct field), compare_headers);
    return true;
}

static struct str join_names(struct arena *arena, const struct fields *headers)
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
    char *hex = arena_alloc(arena, (size_t)2 * HEX_BYTES);
    struct signing s = {.secret = credentials->secret_access_key,
                        .time = format_time(arena, now_s),
                        .region = region,
                        .service = service};
    if (hex == NULL || s.time.ptr == NULL)
        return no_memory();
    char *signature = hex + HEX_BYTES;
    hash_parts(request->body, request->body_count, hex);
    s.body_hash = str_n(hex, HEX_BYTES);
    s.date = str_head(s.time, 8);
    s.scope = arena_printf(arena, "%.*s/%.*s/%.*s/" TERMINATOR, STR_ARG(s.date), STR_ARG(region),
                           STR_ARG(service));

    struct field items[3];
    struct fields added = {items, 0};
    add_field(&added, STR("x-amz-date"), s.time);
    if (credentials->session_token.len > 0)
        add_field(&added, STR("x-amz-security-token"), credentials->session_token);
    if (request->sends_body_hash)
        add_field(&added, STR("x-amz-content-sha256"), s.body_hash);
    if (s.scope.ptr == NULL || !gather(request, &added, arena, &s.headers))
        return no_memory();
    s.signed_headers = join_names(arena, &s.headers);
    if (s.signed_headers.ptr == NULL || !compute(request, &s, arena, signature))
        return no_memory();

    struct str value =
        arena_printf(arena, ALGORITHM " Credential=%.*s/%.*s, SignedHeaders=%.*s, Signature=%.*s",
                     STR_ARG(credentials->access_key_id), STR_ARG(s.scope),
                     STR_ARG(s.signed_headers), HEX_BYTES, signature);
    bool is_ok = value.ptr != NULL && http_headers_add(out, arena, STR("X-Amz-Date"), s.time);
    if (credentials->session_token.len > 0)
        is_ok = is_ok && http_headers_add(out, arena, STR("X-Amz-Security-Token"),
                                          credentials->session_token);
    if (request->sends_body_hash)
        is_ok = is_ok && http_headers_add(out, arena, STR("X-Amz-Content-Sha256"), s.body_hash);
    is_ok = is_ok && http_headers_add(out, arena, STR("Authorization"), value);
    return is_ok ? 0 : no_memory();
}

/* --- reading a claim ------------------------------------------------------------------------- */

static enum sigv4_verdict refuse(struct sigv4_claim *claim, enum sigv4_verdict verdict,
                                 const char *words)
{
    claim->words = words != NULL ? words : sigv4_verdict_words(verdict);
    return verdict;
}

static bool is_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    }
    return s.len > 0;
}

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return s.len > 0;
}

/* YYYYMMDDTHHMMSSZ, a moment that there is. */
static bool parse_time(struct str s, int64_t *out)
{
    if (s.len != TIME_BYTES || s.ptr[8] != 'T' || s.ptr[15] != 'Z' || !is_digits(str_head(s, 8)) ||
        !is_digits(str_n(s.ptr + 9, 6)))
        return false;
    uint64_t day = 0, second = 0;
    (void)str_to_u64(str_head(s, 8), &day);
    (void)str_to_u64(str_n(s.ptr + 9, 6), &second);
    struct tm tm = {.tm_year = (int)(day / 10000) - 1900,
                    .tm_mon = (int)(day / 100 % 100) - 1,
                    .tm_mday = (int)(day % 100),
                    .tm_hour = (int)(second / 10000),
                    .tm_min = (int)(second / 100 % 100),
                    .tm_sec = (int)(second % 100)};
    struct tm told = tm;
    time_t seconds = timegm(&tm);
    if (tm.tm_mon != told.tm_mon || tm.tm_mday != told.tm_mday || tm.tm_hour != told.tm_hour ||
        tm.tm_min != told.tm_min || tm.tm_sec != told.tm_sec)
        return false;
    *out = seconds;
    return true;
}

/* AKID/date/region/service/aws4_request */
static bool parse_credential(struct str credential, struct sigv4_claim *claim)
{
    struct str rest = credential, item, parts[5];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (!str_next(&rest, '/', &item) || item.len == 0)
            return false;
        parts[i] = item;
    }
    if (str_next(&rest, '/', &item) || !str_eq(parts[4], STR(TERMINATOR)) || parts[1].len != 8 ||
        !is_digits(parts[1]))
        return false;
    claim->access_key_id = parts[0];
    claim->scope = str_skip(credential, parts[0].len + 1);
    claim->date = parts[1];
    claim->region = parts[2];
    claim->service = parts[3];
    return true;
}

/* Lower-case names in order, each once; host among them. */
static bool parse_signed_headers(struct str list, struct sigv4_claim *claim)
{
    struct str rest = list, name, before = STR_EMPTY;
    bool has_host = false;
    while (str_next(&rest, ';', &name)) {
        if (!http_name_is_safe(name) || (before.len > 0 && str_cmp(before, name) >= 0))
            return false;
        for (size_t i = 0; i < name.len; i++) {
            if (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z')
                return false;
        }
        has_host = has_host || str_eq(name, STR("host"));
        before = name;
    }
    claim->signed_headers = list;
    return has_host;
}

static bool signs(const struct sigv4_claim *claim, struct str wanted)
{
    struct str rest = claim->signed_headers, name;
    while (str_next(&rest, ';', &name)) {
        if (str_eq(name, wanted))
            return true;
    }
    return false;
}

/* What both forms have in common. NULL, or what is wrong. */
static const char *parse_parts(struct str credential, struct str signed_headers,
                               struct str signature, struct str time, struct sigv4_claim *claim)
{
    if (!parse_credential(credential, claim))
        return "the signature's Credential must be ACCESS_KEY_ID/YYYYMMDD/REGION/SERVICE/"
               "aws4_request";
    if (!parse_signed_headers(signed_headers, claim))
        return "the signature's SignedHeaders must be lower-case names in order, separated by ';', "
               "with host among them";
    if (signature.len != HEX_BYTES || !is_hex(signature))
        return "the Signature must be 64 lower-case hexadecimal digits";
    claim->signature = signature;
    if (!parse_time(time, &claim->signed_at_s))
        return "a signed request needs X-Amz-Date, written YYYYMMDDTHHMMSSZ";
    claim->time = time;
    if (!str_eq(str_head(time, 8), claim->date))
        return "the date in the signature's Credential is not that of X-Amz-Date";
    return NULL;
}

/* The values after the algorithm: Credential=..., SignedHeaders=..., Signature=... */
static bool parse_authorization(struct str list, struct str values[3])
{
    static const struct str names[] = {STR_INIT("Credential"), STR_INIT("SignedHeaders"),
                                       STR_INIT("Signature")};
    struct str item;
    while (str_next(&list, ',', &item)) {
        struct str name;
        item = str_trim(item);
        if (!str_cut(&item, '=', &name))
            return false;
        size_t i = 0;
        while (i < ARRAY_LEN(names) && !str_eq(names[i], name))
            i++;
        if (i == ARRAY_LEN(names) || values[i].ptr != NULL || item.len == 0)
            return false;
        values[i] = item;
    }
    return values[0].ptr != NULL && values[1].ptr != NULL && values[2].ptr != NULL;
}

static enum sigv4_verdict parse_header_form(const struct sigv4_request *request, struct str value,
                                            struct sigv4_claim *claim)
{
    const struct http_headers *headers = request->headers;
    if (http_headers_count(headers, STR("authorization")) != 1 ||
        http_headers_count(headers, STR("x-amz-date")) > 1 ||
        http_headers_count(headers, STR("x-amz-content-sha256")) > 1 ||
        http_headers_count(headers, STR("x-amz-security-token")) > 1)
        return refuse(claim, SIGV4_MALFORMED,
                      "Authorization, X-Amz-Date, X-Amz-Content-Sha256 and X-Amz-Security-Token "
                      "may come once each");
    struct str algorithm, rest = value, values[3] = {STR_EMPTY, STR_EMPTY, STR_EMPTY};
    (void)str_cut(&rest, ' ', &algorithm);
    if (!str_eq(algorithm, STR(ALGORITHM)))
        return refuse(claim, SIGV4_UNSUPPORTED, "sign with " ALGORITHM ": no other is taken");
    if (!parse_authorization(rest, values))
        return refuse(claim, SIGV4_MALFORMED,
                      "Authorization must be " ALGORITHM
                      " Credential=..., SignedHeaders=..., Signature=...");
    const char *wrong = parse_parts(values[0], values[1], values[2],
                                    str_trim(http_headers_get(headers, STR("x-amz-date"))), claim);
    if (wrong == NULL && !signs(claim, STR("x-amz-date")))
        wrong = "x-amz-date must be among the SignedHeaders";
    if (wrong == NULL && http_headers_count(headers, STR("x-amz-content-sha256")) > 0 &&
        !signs(claim, STR("x-amz-content-sha256")))
        wrong = "x-amz-content-sha256 must be among the SignedHeaders when it is sent";
    claim->session_token = http_headers_get(headers, STR("x-amz-security-token"));
    return wrong != NULL ? refuse(claim, SIGV4_MALFORMED, wrong) : SIGV4_OK;
}

enum presigned {
    PRESIGNED_ALGORITHM,
    PRESIGNED_CREDENTIAL,
    PRESIGNED_DATE,
    PRESIGNED_EXPIRES,
    PRESIGNED_HEADERS,
    PRESIGNED_SIGNATURE,
    PRESIGNED_TOKEN,
    PRESIGNED_COUNT
};

static const struct str presigned_names[PRESIGNED_COUNT] = {
    STR_INIT("X-Amz-Algorithm"),     STR_INIT("X-Amz-Credential"),    STR_INIT("X-Amz-Date"),
    STR_INIT("X-Amz-Expires"),       STR_INIT("X-Amz-SignedHeaders"), STR_INIT("X-Amz-Signature"),
    STR_INIT("X-Amz-Security-Token")};

/* 1 when there are any, 0 when none, -1 when one comes twice, -2 out of memory. */
static int find_presigned(struct arena *arena, struct str query, struct str values[PRESIGNED_COUNT])
{
    int found = 0;
    struct str item;
    while (str_next(&query, '&', &item)) {
        struct str name;
        (void)str_cut(&item, '=', &name);
        if (!str_istarts(name, STR("X-Amz-")))
            continue;
        size_t i = 0;
        while (i < PRESIGNED_COUNT && !str_eq(presigned_names[i], name))
            i++;
        if (i == PRESIGNED_COUNT)
            continue;
        if (values[i].ptr != NULL)
            return -1;
        values[i] = percent_decode(arena, item);
        if (values[i].ptr == NULL)
            return -2;
        found = 1;
    }
    return found;
}

static enum sigv4_verdict parse_query_form(const struct sigv4_request *request,
                                           const struct str values[PRESIGNED_COUNT],
                                           struct sigv4_claim *claim)
{
    enum { EXPIRES_MAX_S = 7 * 24 * 3600 };
    uint64_t expires = 0;
    claim->is_presigned = true;
    for (unsigned i = 0; i < PRESIGNED_TOKEN; i++) {
        if (values[i].ptr == NULL)
            return refuse(claim, SIGV4_MALFORMED,
                          "a presigned URL needs X-Amz-Algorithm, X-Amz-Credential, X-Amz-Date, "
                          "X-Amz-Expires, X-Amz-SignedHeaders and X-Amz-Signature");
    }
    if (!str_eq(values[PRESIGNED_ALGORITHM], STR(ALGORITHM)))
        return refuse(claim, SIGV4_UNSUPPORTED, "sign with " ALGORITHM ": no other is taken");
    if (!str_to_u64(values[PRESIGNED_EXPIRES], &expires) || expires == 0 || expires > EXPIRES_MAX_S)
        return refuse(claim, SIGV4_MALFORMED, "X-Amz-Expires must be 1 to 604800 seconds");
    claim->expires_s = (int64_t)expires;
    claim->session_token = values[PRESIGNED_TOKEN];
    const char *wrong = parse_parts(values[PRESIGNED_CREDENTIAL], values[PRESIGNED_HEADERS],
                                    values[PRESIGNED_SIGNATURE], values[PRESIGNED_DATE], claim);
    unsigned hashes = http_headers_count(request->headers, STR("x-amz-content-sha256"));
    if (wrong == NULL &&
        (hashes > 1 || (hashes == 1 && !signs(claim, STR("x-amz-content-sha256")))))
        wrong = "x-amz-content-sha256 must be among the SignedHeaders when it is sent";
    return wrong != NULL ? refuse(claim, SIGV4_MALFORMED, wrong) : SIGV4_OK;
}

enum sigv4_verdict sigv4_parse(const struct sigv4_request *request, struct arena *arena,
                               struct sigv4_claim *claim)
{
    *claim = (struct sigv4_claim){0};
    struct str values[PRESIGNED_COUNT] = {0};
    struct str authorization = str_trim(http_headers_get(request->headers, STR("authorization")));
    bool is_signed_by_header = str_istarts(authorization, STR("AWS4-"));
    int presigned = find_presigned(arena, request->query, values);
    if (presigned == -2)
        return refuse(claim, SIGV4_NO_MEMORY, NULL);
    if (presigned == -1)
        return refuse(claim, SIGV4_MALFORMED, "a parameter of the presigned URL comes twice");
    bool is_presigned = presigned == 1 && (values[PRESIGNED_SIGNATURE].ptr != NULL ||
                                           values[PRESIGNED_ALGORITHM].ptr != NULL);
    if (is_presigned && authorization.len > 0)
        return refuse(claim, SIGV4_MALFORMED,
                      "the request is signed twice: in Authorization and in the query");
    if (is_signed_by_header)
        return parse_header_form(request, authorization, claim);
    if (is_presigned)
        return parse_query_form(request, values, claim);
    return refuse(claim, SIGV4_ABSENT, NULL);
}

/* --- judging it ------------------------------------------------------------------------------ */

static enum sigv4_verdict check_time(struct sigv4_claim *claim, const struct sigv4_policy *policy,
                                     int64_t now_s)
{
    int64_t skew = policy->skew_s > 0 ? policy->skew_s : SIGV4_SKEW_DEFAULT_S;
    if (claim->signed_at_s - now_s > skew)
        return refuse(claim, SIGV4_SKEW, NULL);
    if (claim->is_presigned && now_s > claim->signed_at_s + claim->expires_s)
        return refuse(claim, SIGV4_EXPIRED, NULL);
    if (!claim->is_presigned && now_s - claim->signed_at_s > skew)
        return refuse(claim, SIGV4_SKEW, NULL);
    return SIGV4_OK;
}

/* `hex` holds the hash of the body and *hash comes to what was signed in its place. */
static enum sigv4_verdict check_body(const struct sigv4_request *request, struct sigv4_claim *claim,
                                     const struct sigv4_policy *policy, char hex[HEX_BYTES],
                                     struct str *hash)
{
    struct str told = str_trim(http_headers_get(request->headers, STR("x-amz-content-sha256")));
    if (str_eq(told, STR("UNSIGNED-PAYLOAD"))) {
        *hash = told;
        return policy->allows_unsigned_body
                   ? SIGV4_OK
                   : refuse(claim, SIGV4_UNSUPPORTED,
                            "the body must be signed: UNSIGNED-PAYLOAD is not taken");
    }
    if (str_starts(told, STR("STREAMING-")))
        return refuse(claim, SIGV4_UNSUPPORTED,
                      "a body signed in chunks (STREAMING-...) is not taken: send its SHA-256");
    hash_parts(request->body, request->body_count, hex);
    *hash = str_n(hex, HEX_BYTES);
    if (told.len > 0 && !str_eq(told, *hash))
        return refuse(claim, SIGV4_BODY_MISMATCH, NULL);
    return SIGV4_OK;
}

/* The signed headers as they came. False with words set when one did not come. */
static enum sigv4_verdict find_headers(const struct sigv4_request *request,
                                       struct sigv4_claim *claim, struct arena *arena,
                                       struct fields *out)
{
    const struct http_headers *headers = request->headers;
    unsigned room = headers->count + 1;
    out->items = arena_alloc(arena, room * sizeof(struct field));
    out->count = 0;
    if (out->items == NULL)
        return refuse(claim, SIGV4_NO_MEMORY, NULL);
    struct str rest = claim->signed_headers, name;
    while (str_next(&rest, ';', &name)) {
        unsigned before = out->count;
        if (request->host.len > 0 && str_eq(name, STR("host"))) {
            add_field(out, name, request->host);
            continue;
        }
        for (unsigned i = 0; i < headers->count; i++) {
            if (str_ieq(headers->items[i].name, name))
                add_field(out, name, headers->items[i].value);
        }
        if (out->count == before)
            return refuse(claim, SIGV4_MALFORMED,
                          "one of the SignedHeaders did not arrive: something between took it out");
    }
    return SIGV4_OK;
}

enum sigv4_verdict sigv4_check(const struct sigv4_request *request, struct sigv4_claim *claim,
                               struct str secret_access_key, const struct sigv4_policy *policy,
                               int64_t now_s, struct arena *arena)
{
    char body_hex[HEX_BYTES], hex[HEX_BYTES];
    struct signing s = {.secret = secret_access_key,
                        .time = claim->time,
                        .date = claim->date,
                        .region = claim->region,
                        .service = claim->service,
                        .scope = claim->scope,
                        .signed_headers = claim->signed_headers,
                        .skipped_parameter =
                            claim->is_presigned ? STR("X-Amz-Signature") : STR_EMPTY};
    enum sigv4_verdict verdict = check_time(claim, policy, now_s);
    if (verdict == SIGV4_OK && policy->service.len > 0 && !str_eq(policy->service, claim->service))
        verdict = refuse(claim, SIGV4_BAD_SIGNATURE, "the request is signed for another service");
    if (verdict == SIGV4_OK)
        verdict = check_body(request, claim, policy, body_hex, &s.body_hash);
    if (verdict == SIGV4_OK)
        verdict = find_headers(request, claim, arena, &s.headers);
    if (verdict != SIGV4_OK)
        return verdict;
    if (!compute(request, &s, arena, hex))
        return refuse(claim, SIGV4_NO_MEMORY, NULL);
    if (!str_eq_secret(str_n(hex, HEX_BYTES), claim->signature))
        return refuse(claim, SIGV4_BAD_SIGNATURE, NULL);
    claim->words = sigv4_verdict_words(SIGV4_OK);
    return SIGV4_OK;
}

/* --- words ----------------------------------------------------------------------------------- */

static const struct {
    const char *words, *type;
} verdicts[SIGV4_VERDICT_COUNT] = {
    [SIGV4_OK] = {"the signature is right", ""},
    [SIGV4_ABSENT] = {"the request carries no AWS signature",
                      "MissingAuthenticationTokenException"},
    [SIGV4_MALFORMED] = {"the request's AWS signature cannot be read",
                         "IncompleteSignatureException"},
    [SIGV4_UNSUPPORTED] = {"the request is signed in a way that is not taken here",
                           "InvalidSignatureException"},
    [SIGV4_UNKNOWN_KEY] = {"the access key id is not known here", "UnrecognizedClientException"},
    [SIGV4_SKEW] = {"the request was signed at a time too far from now: check the clock of the "
                    "machine that signs",
                    "InvalidSignatureException"},
    [SIGV4_EXPIRED] = {"the presigned URL has expired", "ExpiredTokenException"},
    [SIGV4_BODY_MISMATCH] = {"the body is not the one that was signed (x-amz-content-sha256)",
                             "InvalidSignatureException"},
    [SIGV4_BAD_SIGNATURE] = {"the signature does not match: check the secret access key, and that "
                             "nothing between changes Host, path or signed headers",
                             "InvalidSignatureException"},
    [SIGV4_NO_MEMORY] = {"no memory to check the signature", "InternalServerException"},
};

const char *sigv4_verdict_words(enum sigv4_verdict verdict)
{
    return verdicts[verdict].words;
}

const char *sigv4_verdict_type(enum sigv4_verdict verdict)
{
    return verdicts[verdict].type;
}
