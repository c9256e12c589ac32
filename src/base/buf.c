#include "base/buf.h"

#include <stdio.h>

#include "base/mem.h"

void buf_fini(struct buf *buf)
{
    mem_block_give(buf->ptr, buf->cap);
    *buf = (struct buf){.limit = buf->limit};
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

bool buf_grow(struct buf *buf, size_t extra)
{
    if (buf->failed)
        return false;
    if (extra <= buf->cap - buf->len && (buf->limit == 0 || buf->len + extra <= buf->limit))
        return true;
    size_t need;
    if (__builtin_add_overflow(buf->len, extra, &need) || (buf->limit != 0 && need > buf->limit)) {
        buf->failed = true;
        return false;
    }
    if (need <= buf->cap)
        return true;
    /* Half as much again: large bodies grow in few copies without doubling their memory. */
    size_t size = MAX(need, buf->cap + buf->cap / 2);
    char *p = mem_block_take(&size);
    if (p == NULL) {
        buf->failed = true;
        return false;
    }
    if (buf->len > 0)
        memcpy(p, buf->ptr, buf->len);
    mem_block_give(buf->ptr, buf->cap);
    buf->ptr = p;
    buf->cap = size;
    return true;
}

void buf_add_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_add_u64(struct buf *buf, uint64_t v)
{
    char digits[20];
    size_t len = str_put_u64(digits, v);
    buf_add(buf, digits, len);
}

void buf_add_i64(struct buf *buf, int64_t v)
{
    if (v < 0)
        buf_add_char(buf, '-');
    buf_add_u64(buf, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
}

/* Room for `n` bytes and the NUL that vsnprintf writes and that is not part of the text. */
static bool reserve_text(struct buf *buf, size_t n)
{
    if (!buf_reserve(buf, n))
        return false;
    size_t limit = buf->limit;
    buf->limit = limit == 0 ? 0 : limit + 1;
    bool is_ok = buf_reserve(buf, n + 1);
    buf->limit = limit;
    return is_ok;
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !reserve_text(buf, (size_t)n)) {
        buf->failed = true;
        return;
    }
    va_start(args, format);
    vsnprintf(buf->ptr + buf->len, (size_t)n + 1, format, args);
    va_end(args);
    buf->len += (size_t)n;
}

/* Length of the well-formed UTF-8 sequence at p (RFC 3629 table 3-7), or 0. */
static size_t utf8_len(const unsigned char *p, size_t n)
{
    unsigned char c = p[0];
    if (c < 0x80)
        return 1;
    size_t len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((c == 0xe0 && p[1] < 0xa0) || (c == 0xed && p[1] > 0x9f) || (c == 0xf0 && p[1] < 0x90) ||
        (c == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

static void add_json_escape(struct buf *buf, unsigned char c)
{
    switch (c) {
    case '"':
        BUF_LIT(buf, "\\\"");
        break;
    case '\\':
        BUF_LIT(buf, "\\\\");
        break;
    case '\n':
        BUF_LIT(buf, "\\n");
        break;
    case '\r':
        BUF_LIT(buf, "\\r");
        break;
    case '\t':
        BUF_LIT(buf, "\\t");
        break;
    default:
        buf_printf(buf, "\\u%04x", c);
    }
}

void buf_add_json(struct buf *buf, struct str text)
{
    const unsigned char *p = (const unsigned char *)text.ptr;
    size_t plain = 0;
    buf_add_char(buf, '"');
    for (size_t i = 0; i < text.len;) {
        size_t len = utf8_len(p + i, text.len - i);
        if (len > 0 && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\' && p[i] != 0x7f) {
            i += len;
            continue;
        }
        buf_add(buf, p + plain, i - plain);
        if (len == 0)
            BUF_LIT(buf, "\xef\xbf\xbd");
        else
            add_json_escape(buf, p[i]);
        plain = ++i;
    }
    if (plain < text.len) /* an empty text may have no pointer to which C lets anything be added */
        buf_add(buf, p + plain, text.len - plain);
    buf_add_char(buf, '"');
}

void buf_consume(struct buf *buf, size_t n)
{
    CHECK(n <= buf->len);
    buf->len -= n;
    if (buf->len > 0)
        memmove(buf->ptr, buf->ptr + n, buf->len);
}
