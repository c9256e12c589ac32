/* The canonical request of Signature Version 4 and its signature. (The functions on SHA256_CTX are
 * taken because they cannot fail and allocate nothing, unlike EVP; they are called deprecated
 * because they bypass the provider mechanism.) */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "http/sigv4_canonical.h"

#include <openssl/sha.h>

#include "base/buf.h"
#include "base/percent.h"

/* --- hashes ---------------------------------------------------------------------------------- */

struct digest {
    uint8_t bytes[SIGV4_HASH_BYTES];
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
    SHA256_Update(&context, result.bytes, SIGV4_HASH_BYTES);
    SHA256_Final(result.bytes, &context);
    return result;
}

static struct str digest_str(const struct digest *digest)
{
    return str_n((const char *)digest->bytes, SIGV4_HASH_BYTES);
}

void sigv4_hash_body(const struct iovec *parts, unsigned count, char hex[SIGV4_HEX_BYTES])
{
    SHA256_CTX context;
    struct digest digest;
    SHA256_Init(&context);
    for (unsigned i = 0; i < count; i++)
        add(&context, str_n(parts[i].iov_base, parts[i].iov_len));
    SHA256_Final(digest.bytes, &context);
    str_to_hex(digest.bytes, SIGV4_HASH_BYTES, hex);
}

/* --- the canonical request ------------------------------------------------------------------- */

void sigv4_add_field(struct sigv4_fields *fields, struct str name, struct str value)
{
    fields->items[fields->count] = (struct sigv4_field){name, value, fields->count};
    fields->count++;
}

int sigv4_compare_fields(const void *a, const void *b)
{
    const struct sigv4_field *left = a, *right = b;
    int order = str_cmp(left->name, right->name);
    return order != 0 ? order : (left->place > right->place) - (left->place < right->place);
}

static int compare_parameters(const void *a, const void *b)
{
    const struct sigv4_field *left = a, *right = b;
    int order = str_cmp(left->name, right->name);
    return order != 0 ? order : str_cmp(left->value, right->value);
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
                            struct sigv4_fields *fields)
{
    unsigned room = 1;
    for (size_t i = 0; i < query.len; i++)
        room += query.ptr[i] == '&';
    fields->items = arena_alloc(arena, room * sizeof(struct sigv4_field));
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
        struct sigv4_field field = {percent_encode(arena, name), percent_encode(arena, value), 0};
        if (field.name.ptr == NULL || field.value.ptr == NULL)
            return false;
        fields->items[fields->count++] = field;
    }
    qsort(fields->items, fields->count, sizeof(struct sigv4_field), compare_parameters);
    return true;
}

static void add_parameters(struct buf *out, const struct sigv4_fields *fields)
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
static void add_headers(struct buf *out, const struct sigv4_fields *headers)
{
    for (unsigned i = 0; i < headers->count; i++) {
        const struct sigv4_field *field = &headers->items[i];
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

/* --- the signature --------------------------------------------------------------------------- */

bool sigv4_compute(const struct sigv4_request *request, const struct sigv4_signing *s,
                   struct arena *arena, char hex[SIGV4_HEX_BYTES])
{
    struct sigv4_fields parameters;
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
        char request_hex[SIGV4_HEX_BYTES];
        struct iovec whole = {text.ptr, text.len};
        sigv4_hash_body(&whole, 1, request_hex);

        struct str seed[] = {STR("AWS4"), s->secret};
        struct str start = arena_concat(arena, seed, ARRAY_LEN(seed));
        struct digest key = hmac(start, &s->date, 1);
        key = hmac(digest_str(&key), &s->region, 1);
        key = hmac(digest_str(&key), &s->service, 1);
        key = hmac(digest_str(&key), &STR(SIGV4_TERMINATOR), 1);
        struct str to_sign[] = {
            STR(SIGV4_ALGORITHM "\n"),          s->time, STR("\n"), s->scope, STR("\n"),
            str_n(request_hex, SIGV4_HEX_BYTES)};
        struct digest signature = hmac(digest_str(&key), to_sign, ARRAY_LEN(to_sign));
        str_to_hex(signature.bytes, SIGV4_HASH_BYTES, hex);
        is_ok = start.ptr != NULL;
    }
    buf_fini(&text);
    return is_ok;
}
