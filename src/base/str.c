#include "base/str.h"

#include <errno.h>
#include <stdlib.h>

static inline unsigned char fold(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_ieq_bytes(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (a[i] != b[i] && fold(a[i]) != fold(b[i]))
            return false;
    }
    return true;
}

bool str_istarts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_ieq(str_head(s, prefix.len), prefix);
}

bool str_eq_secret(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    unsigned char diff = 0;
    for (size_t i = 0; i < a.len; i++)
        diff |= (unsigned char)((unsigned char)a.ptr[i] ^ (unsigned char)b.ptr[i]);
    return diff == 0;
}

int str_cmp(struct str a, struct str b)
{
    size_t n = MIN(a.len, b.len);
    int c = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
    if (c != 0)
        return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

ptrdiff_t str_index(struct str s, char c)
{
    const char *p = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);
    return p == NULL ? -1 : p - s.ptr;
}

ptrdiff_t str_rindex(struct str s, char c)
{
    const char *p = s.len == 0 ? NULL : memrchr(s.ptr, c, s.len);
    return p == NULL ? -1 : p - s.ptr;
}

ptrdiff_t str_find(struct str s, struct str needle)
{
    if (needle.len == 0)
        return 0;
    if (s.len < needle.len)
        return -1;
    const char *p = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return p == NULL ? -1 : p - s.ptr;
}

ptrdiff_t str_ifind(struct str s, struct str needle)
{
    for (size_t i = 0; i + needle.len <= s.len; i++) {
        if (str_ieq(str_n(s.ptr + i, needle.len), needle))
            return (ptrdiff_t)i;
    }
    return -1;
}

struct str str_trim(struct str s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t')) {
        s.ptr++;
        s.len--;
    }
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

bool str_cut(struct str *s, char c, struct str *head)
{
    ptrdiff_t at = str_index(*s, c);
    if (at < 0) {
        *head = *s;
        *s = str_skip(*s, s->len);
        return false;
    }
    *head = str_head(*s, (size_t)at);
    *s = str_skip(*s, (size_t)at + 1);
    return true;
}

bool str_next(struct str *s, char c, struct str *item)
{
    if (s->ptr == NULL)
        return false;
    if (!str_cut(s, c, item))
        *s = STR_EMPTY;
    return true;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    if (s.len == 0 || s.len > 20)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        if (__builtin_mul_overflow(v, 10u, &v) ||
            __builtin_add_overflow(v, (uint64_t)(s.ptr[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

bool str_to_i64(struct str s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t v;
    if (!str_to_u64(negative ? str_skip(s, 1) : s, &v))
        return false;
    if (v > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = negative ? (int64_t)(0 - v) : (int64_t)v;
    return true;
}

static size_t digits(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && p[i] >= '0' && p[i] <= '9')
        i++;
    return i;
}

/* RFC 8259 section 6, so that what strtod would take beyond it (hex, inf, spaces) is refused. */
static bool is_json_number(struct str s)
{
    size_t i = s.len > 0 && s.ptr[0] == '-' ? 1 : 0;
    size_t n = digits(s.ptr + i, s.len - i);
    if (n == 0 || (n > 1 && s.ptr[i] == '0'))
        return false;
    i += n;
    if (i < s.len && s.ptr[i] == '.') {
        n = digits(s.ptr + i + 1, s.len - i - 1);
        if (n == 0)
            return false;
        i += 1 + n;
    }
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        i++;
        if (i < s.len && (s.ptr[i] == '+' || s.ptr[i] == '-'))
            i++;
        n = digits(s.ptr + i, s.len - i);
        if (n == 0)
            return false;
        i += n;
    }
    return i == s.len;
}

bool str_to_double(struct str s, double *out)
{
    char text[64];
    if (s.len >= sizeof(text) || !is_json_number(s))
        return false;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    *out = strtod(text, NULL);
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool str_from_hex(struct str s, uint8_t *out, size_t out_len)
{
    if (s.len != 2 * out_len)
        return false;
    for (size_t i = 0; i < out_len; i++) {
        int high = hex_digit(s.ptr[2 * i]);
        int low = hex_digit(s.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

void str_to_hex(const void *bytes, size_t n, char *out)
{
    static const char digit[] = "0123456789abcdef";
    const uint8_t *b = bytes;
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digit[b[i] >> 4];
        out[2 * i + 1] = digit[b[i] & 15];
    }
}

bool str_glob(struct str pattern, struct str s)
{
    size_t p = 0, i = 0, star = SIZE_MAX, mark = 0;
    while (i < s.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            mark = i;
        } else if (p < pattern.len && pattern.ptr[p] == s.ptr[i]) {
            p++;
            i++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*')
        p++;
    return p == pattern.len;
}

static uint64_t avalanche(uint64_t h)
{
    h ^= h >> 33;
    h *= 0xff51afd7ed558ccdULL;
    h ^= h >> 33;
    return h;
}

uint64_t str_hash(struct str s)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.ptr[i]) * 0x100000001b3ULL;
    return avalanche(h);
}

uint64_t str_ihash(struct str s)
{
    uint64_t h = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < s.len; i++)
        h = (h ^ fold(s.ptr[i])) * 0x100000001b3ULL;
    return avalanche(h);
}

/* Levenshtein distance; words over 63 bytes are nobody's typing slip. */
static size_t edit_distance(struct str a, struct str b)
{
    size_t row[64];
    if (a.len >= ARRAY_LEN(row) || b.len >= ARRAY_LEN(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t above = row[j];
            size_t cost = fold(a.ptr[i - 1]) == fold(b.ptr[j - 1]) ? 0 : 1;
            row[j] = MIN(MIN(above + 1, row[j - 1] + 1), diagonal + cost);
            diagonal = above;
        }
    }
    return row[b.len];
}

const char *str_nearest(struct str word, const char *const *candidates)
{
    const char *best = NULL;
    size_t best_distance = 1 + word.len / 3 + 1;
    for (; *candidates != NULL; candidates++) {
        size_t d = edit_distance(word, str_c(*candidates));
        if (d < best_distance) {
            best = *candidates;
            best_distance = d;
        }
    }
    return best;
}

size_t str_put_u64(char *out, uint64_t v)
{
    char rev[20];
    size_t n = 0;
    do {
        rev[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v != 0);
    for (size_t i = 0; i < n; i++)
        out[i] = rev[n - 1 - i];
    return n;
}

size_t str_put_billionths(char *out, uint64_t v)
{
    const uint64_t whole = 1000000000;
    size_t len = str_put_u64(out, v / whole);
    uint64_t rest = v % whole;
    if (rest > 0)
        out[len++] = '.';
    for (uint64_t unit = whole / 10; rest > 0; unit /= 10) {
        out[len++] = (char)('0' + rest / unit);
        rest %= unit;
    }
    return len;
}
