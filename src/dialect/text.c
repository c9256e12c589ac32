#include "dialect/text.h"

#include <string.h>

#include "base/err.h"

struct text text_of(struct json_value value)
{
    if (value.kind != JSON_STRING)
        return TEXT_NONE;
    return (struct text){json_string_raw(value), true};
}

/* Length of the UTF-8 sequence at `at`, or 0 when there is none (RFC 3629 section 4). */
static size_t sequence_len(const unsigned char *at, size_t left)
{
    unsigned char c = at[0];
    size_t len = c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (c < 0x80)
        return 1;
    if (len == 0 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    }
    bool is_overlong = (c == 0xe0 && at[1] < 0xa0) || (c == 0xf0 && at[1] < 0x90);
    bool is_surrogate = c == 0xed && at[1] >= 0xa0;
    bool is_too_large = c == 0xf4 && at[1] >= 0x90;
    return is_overlong || is_surrogate || is_too_large ? 0 : len;
}

/* Whether eight bytes are all ASCII that needs no look: no control character, quote or backslash.
 * A byte's top bit is set where a subtraction borrows, or was set; rare false alarms do no harm. */
static bool is_plain_word(const unsigned char *p)
{
    const uint64_t ones = UINT64_MAX / 255;
    uint64_t word;
    memcpy(&word, p, sizeof(word));
    uint64_t quote = (word ^ ones * '"') - ones;
    uint64_t escape = (word ^ ones * '\\') - ones;
    return ((word | (word - ones * 0x20) | quote | escape) & ones * 0x80) == 0;
}

/* Bytes that can stand between quotes as they are: UTF-8, no control characters, no quote, and
 * escapes that RFC 8259 section 7 knows. */
static size_t clean_prefix(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0;
    while (i < s.len) {
        size_t len = 1;
        if (s.len - i >= 8 && is_plain_word(p + i)) {
            i += 8;
            continue;
        }
        if (p[i] == '\\') {
            char kind = i + 1 < s.len ? (char)p[i + 1] : '\0';
            uint8_t unit[2];
            len = 2;
            if (kind == 'u' && s.len - i >= 6 && str_from_hex(str_n(s.ptr + i + 2, 4), unit, 2))
                len = 6;
            else if (kind == '\0' || strchr("\"\\/bfnrt", kind) == NULL)
                break;
        } else if (p[i] < 0x20 || p[i] == '"') {
            break;
        } else if (p[i] >= 0x80) {
            len = sequence_len(p + i, s.len - i);
            if (len == 0)
                break;
        }
        i += len;
    }
    return i;
}

/* A byte that JSON does not take: control characters are kept as escapes. */
static void write_foreign(struct buf *out, unsigned char c)
{
    if (c < 0x20)
        buf_printf(out, "\\u%04x", c);
    else if (c == '"')
        BUF_LIT(out, "\\\"");
    else if (c == '\\')
        BUF_LIT(out, "\\\\");
    else
        BUF_LIT(out, "\xef\xbf\xbd");
}

void text_write_inside(struct buf *out, struct text t)
{
    if (!t.is_escaped) {
        /* With quotes, which are taken off again. */
        size_t start = out->len;
        buf_add_json(out, t.s);
        if (!buf_ok(out))
            return;
        memmove(out->ptr + start, out->ptr + start + 1, out->len - start - 2);
        out->len -= 2;
        return;
    }
    struct str rest = t.s;
    while (rest.len > 0) {
        size_t clean = clean_prefix(rest);
        buf_add(out, rest.ptr, clean);
        rest = str_skip(rest, clean);
        if (rest.len > 0) {
            write_foreign(out, (unsigned char)rest.ptr[0]);
            rest = str_skip(rest, 1);
        }
    }
}

void text_write(struct buf *out, struct text t)
{
    if (!t.is_escaped) {
        buf_add_json(out, t.s);
        return;
    }
    buf_add_char(out, '"');
    text_write_inside(out, t);
    buf_add_char(out, '"');
}

int text_get(struct arena *arena, struct text t, struct str *plain)
{
    *plain = t.s;
    return t.is_escaped ? json_unescape(arena, t.s, plain) : 0;
}

struct str text_or(struct arena *arena, struct text t, struct str otherwise)
{
    struct str plain;
    return text_is_some(t) && text_get(arena, t, &plain) == 0 ? plain : otherwise;
}

int text_append_plain(struct buf *out, struct text t)
{
    if (!t.is_escaped || json_string_is_plain(t.s)) {
        buf_add_str(out, t.s);
        return 0;
    }
    struct arena *scratch = arena_new(t.s.len + 256);
    struct str plain;
    if (scratch == NULL) {
        out->failed = true;
        return -ERR_NOMEM;
    }
    int r = json_unescape(scratch, t.s, &plain);
    if (r == 0)
        buf_add_str(out, plain);
    arena_free(scratch);
    return r;
}

struct text text_dup(struct arena *arena, struct text t)
{
    if (!text_is_some(t))
        return TEXT_NONE;
    return (struct text){arena_dup(arena, t.s), t.is_escaped};
}

bool text_eq(struct text t, struct str plain)
{
    if (!text_is_some(t))
        return false;
    return t.is_escaped ? json_string_eq(t.s, plain) : str_eq(t.s, plain);
}
