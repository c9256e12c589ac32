/*
 * A growable run of bytes, for building text and for holding what is incomplete.
 * One task at a time; nothing yields.
 * The buf owns its block (from the thread's freelists); buf_fini gives it back.
 * Appending never fails halfway: on out of memory, or past `limit`, `failed` is set, stays set,
 * and later appends do nothing. Check buf_ok once at the end.
 */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <stdarg.h>

#include "base/str.h"

struct buf {
    char *ptr;
    size_t len;
    size_t cap;
    size_t limit; /* 0 = none */
    bool failed;
};

#define BUF_INIT ((struct buf){NULL, 0, 0, 0, false})

void buf_fini(struct buf *buf);
/* Empties it and keeps the block; also clears `failed`. */
void buf_clear(struct buf *buf);
/* What buf_reserve does when the room that is there does not do. */
bool buf_grow(struct buf *buf, size_t extra);

/* Makes room for `extra` more bytes; false sets failed. */
static inline bool buf_reserve(struct buf *buf, size_t extra)
{
    bool fits = extra <= buf->cap - buf->len && buf->limit == 0 && !buf->failed;
    return LIKELY(fits) || buf_grow(buf, extra);
}

static inline void buf_add(struct buf *buf, const void *bytes, size_t len)
{
    if (len == 0 || !buf_reserve(buf, len))
        return;
    memcpy(buf->ptr + buf->len, bytes, len);
    buf->len += len;
}

static inline void buf_add_str(struct buf *buf, struct str s)
{
    buf_add(buf, s.ptr, s.len);
}

void buf_add_char(struct buf *buf, char c);
void buf_add_u64(struct buf *buf, uint64_t v);
void buf_add_i64(struct buf *buf, int64_t v);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* The text as a JSON string with its quotes (RFC 8259 section 7); bytes that are not UTF-8 become
 * U+FFFD so that the result is always valid JSON. */
void buf_add_json(struct buf *buf, struct str text);
/* Drops the first `n` bytes. */
void buf_consume(struct buf *buf, size_t n);

static inline bool buf_ok(const struct buf *buf)
{
    return !buf->failed;
}

static inline struct str buf_str(const struct buf *buf)
{
    return str_n(buf->ptr, buf->len);
}

#define BUF_LIT(buf, literal) buf_add((buf), (literal), sizeof(literal) - 1)

#endif
