#include "base/percent.h"

struct str percent_encode(struct arena *arena, struct str s)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = arena_alloc(arena, s.len * 3);
    if (out == NULL)
        return STR_EMPTY;
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        if (is_plain) {
            out[n++] = (char)c;
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    return str_n(out, n);
}

struct str percent_decode(struct arena *arena, struct str s)
{
    char *out = arena_alloc(arena, s.len);
    if (out == NULL)
        return STR_EMPTY;
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        uint8_t byte;
        if (s.ptr[i] == '%' && i + 2 < s.len && str_from_hex(str_n(s.ptr + i + 1, 2), &byte, 1)) {
            out[n++] = (char)byte;
            i += 2;
        } else {
            out[n++] = s.ptr[i];
        }
    }
    return str_n(out, n);
}
