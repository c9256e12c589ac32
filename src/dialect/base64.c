#include "dialect/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* The six bits that a letter stands for, in either alphabet; -1 for what is none. */
static int bits_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

static struct str without_padding(struct str data)
{
    while (data.len > 0 && data.ptr[data.len - 1] == '=')
        data.len--;
    return data;
}

struct str base64_decode(struct arena *arena, struct str data)
{
    data = without_padding(data);
    if (data.len % 4 == 1)
        return STR_EMPTY;
    char *out = arena_alloc(arena, data.len / 4 * 3 + 3);
    size_t len = 0;
    uint32_t held = 0;
    unsigned count = 0;
    for (size_t i = 0; out != NULL && i < data.len; i++) {
        int bits = bits_of(data.ptr[i]);
        if (bits < 0)
            return STR_EMPTY;
        held = held << 6 | (uint32_t)bits;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[len++] = (char)(held >> count & 0xff);
        }
    }
    return str_n(out, len);
}

struct str base64_encode(struct arena *arena, struct str bytes)
{
    char *out = arena_alloc(arena, (bytes.len + 2) / 3 * 4 + 1);
    size_t len = 0;
    for (size_t i = 0; out != NULL && i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        uint32_t three = (uint32_t)(unsigned char)bytes.ptr[i] << 16;
        if (left > 1)
            three |= (uint32_t)(unsigned char)bytes.ptr[i + 1] << 8;
        if (left > 2)
            three |= (unsigned char)bytes.ptr[i + 2];
        out[len++] = alphabet[three >> 18];
        out[len++] = alphabet[three >> 12 & 63];
        out[len++] = left > 1 ? alphabet[three >> 6 & 63] : '=';
        out[len++] = left > 2 ? alphabet[three & 63] : '=';
    }
    return str_n(out, len);
}

struct text base64_standard(struct arena *arena, struct text data)
{
    struct str plain = text_or(arena, data, STR_EMPTY);
    bool is_standard = plain.len % 4 == 0;
    if (plain.len == 0)
        return data;
    for (size_t i = 0; is_standard && i < plain.len; i++)
        is_standard = plain.ptr[i] != '-' && plain.ptr[i] != '_';
    /* Where it was told with escaped slashes it is the same text without them. */
    if (is_standard)
        return text_plain(plain);
    struct str bytes = base64_decode(arena, plain);
    return bytes.ptr == NULL ? data : text_plain(base64_encode(arena, bytes));
}
