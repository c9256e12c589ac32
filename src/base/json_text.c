#include "base/err.h"
#include "base/json.h"

struct str json_string_raw(struct json_value value)
{
    if (value.kind != JSON_STRING)
        return STR_EMPTY;
    return str_n(value.text.ptr + 1, value.text.len - 2);
}

bool json_string_is_plain(struct str raw)
{
    return raw.len == 0 || memchr(raw.ptr, '\\', raw.len) == NULL;
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(struct str s)
{
    uint8_t bytes[2];
    if (s.len < 4 || !str_from_hex(str_head(s, 4), bytes, sizeof(bytes)))
        return -1;
    return bytes[0] << 8 | bytes[1];
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* Reads the escape at the head of *s (a backslash) and moves past it: 1..4 bytes of UTF-8 in `out`,
 * or 0 when it is none. A surrogate that is not one of a pair is U+FFFD. */
static size_t read_escape(struct str *s, char out[4])
{
    static const char simple[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (s->len < 2)
        return 0;
    char c = s->ptr[1];
    if (c != 'u') {
        const char *at = c == '\0' ? NULL : strchr(simple, c);
        if (at == NULL)
            return 0;
        out[0] = meant[at - simple];
        *s = str_skip(*s, 2);
        return 1;
    }
    int32_t unit = hex4(str_skip(*s, 2));
    if (unit < 0)
        return 0;
    *s = str_skip(*s, 6);
    uint32_t code = (uint32_t)unit;
    if (code >= 0xd800 && code < 0xdc00 && str_starts(*s, STR("\\u"))) {
        int32_t low = hex4(str_skip(*s, 2));
        if (low >= 0xdc00 && low < 0xe000) {
            *s = str_skip(*s, 6);
            code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
        }
    }
    if (code >= 0xd800 && code < 0xe000)
        code = 0xfffd;
    return put_utf8(out, code);
}

bool json_string_eq(struct str raw, struct str text)
{
    /* Escapes are longer than what they stand for, so most keys are told apart without a walk. */
    if (raw.len <= text.len)
        return str_eq(raw, text) && json_string_is_plain(raw);
    if (raw.ptr[0] != '\\' && (text.len == 0 || raw.ptr[0] != text.ptr[0]))
        return false;
    while (raw.len > 0) {
        char bytes[4] = {raw.ptr[0]};
        size_t n = 1;
        if (raw.ptr[0] == '\\')
            n = read_escape(&raw, bytes);
        else
            raw = str_skip(raw, 1);
        if (n == 0 || !str_starts(text, str_n(bytes, n)))
            return false;
        text = str_skip(text, n);
    }
    return text.len == 0;
}

int json_unescape(struct arena *arena, struct str raw, struct str *out)
{
    if (json_string_is_plain(raw)) {
        *out = raw;
        return 0;
    }
    /* An escape is never shorter than what it stands for. */
    char *text = arena_alloc(arena, raw.len);
    if (text == NULL)
        return -ERR_NOMEM;
    size_t len = 0;
    while (raw.len > 0) {
        const char *slash = memchr(raw.ptr, '\\', raw.len);
        size_t run = slash == NULL ? raw.len : (size_t)(slash - raw.ptr);
        memcpy(text + len, raw.ptr, run);
        len += run;
        raw = str_skip(raw, run);
        if (raw.len == 0)
            break;
        char bytes[4];
        size_t n = read_escape(&raw, bytes);
        if (n == 0)
            return -ERR_INVALID;
        memcpy(text + len, bytes, n);
        len += n;
    }
    *out = str_n(text, len);
    return 0;
}

bool json_number_double(struct json_value value, double *out)
{
    return value.kind == JSON_NUMBER && str_to_double(value.text, out);
}

bool json_number_i64(struct json_value value, int64_t *out)
{
    if (value.kind != JSON_NUMBER)
        return false;
    if (str_to_i64(value.text, out))
        return true;
    double number;
    if (!str_to_double(value.text, &number) || number < -9007199254740992.0 ||
        number > 9007199254740992.0 || number != (double)(int64_t)number)
        return false;
    *out = (int64_t)number;
    return true;
}
