/*
 * Strings as (pointer, length), and the bounded reading of them. All parsing goes through here.
 * Any thread; nothing yields.
 * A str owns nothing: it points into a buffer or an arena that must outlive it. It may hold NUL.
 * Functions that parse return false and leave their out parameter alone on bad input.
 * Comparison of secrets is not here: see str_eq_secret.
 */
#ifndef WEIR_BASE_STR_H
#define WEIR_BASE_STR_H

/* Before the poison below: the system headers declare what it forbids. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){("" literal), sizeof(literal) - 1})
/* The same for static initialisers, where a compound literal is not a constant. */
#define STR_INIT(literal)                 \
    {                                     \
        ("" literal), sizeof(literal) - 1 \
    }
#define STR_EMPTY ((struct str){NULL, 0})
/* For printf: printf("%.*s", STR_ARG(s)). Strings over 2 GiB never get that far. */
#define STR_ARG(s) (int)(s).len, (s).ptr

static inline struct str str_n(const char *ptr, size_t len)
{
    return (struct str){ptr, len};
}

/* A NUL-terminated string; NULL gives the empty string. */
static inline struct str str_c(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

/* The rest of `s` from byte `n` on; empty when n >= s.len. */
static inline struct str str_skip(struct str s, size_t n)
{
    if (s.len == 0)
        return s; /* its ptr may be NULL, to which C lets nothing be added */
    return n >= s.len ? str_n(s.ptr + s.len, 0) : str_n(s.ptr + n, s.len - n);
}

static inline struct str str_head(struct str s, size_t n)
{
    return n >= s.len ? s : str_n(s.ptr, n);
}

/* What str_ieq does once the lengths are known to be equal. */
bool str_ieq_bytes(const char *a, const char *b, size_t len);

/* ASCII case folding only: header names and tokens are ASCII (RFC 9110 section 5.1). */
static inline bool str_ieq(struct str a, struct str b)
{
    /* Most comparisons of header names end here. */
    if (a.len != b.len || (a.len > 0 && ((a.ptr[0] ^ b.ptr[0]) & ~0x20) != 0))
        return false;
    return str_ieq_bytes(a.ptr, b.ptr, a.len);
}

bool str_istarts(struct str s, struct str prefix);
/* Takes the same time wherever the first difference is; lengths are not secret. */
bool str_eq_secret(struct str a, struct str b);
int str_cmp(struct str a, struct str b);

/* Index of the first `c` in `s`, or -1. */
ptrdiff_t str_index(struct str s, char c);
/* Index of the last `c` in `s`, or -1. */
ptrdiff_t str_rindex(struct str s, char c);
/* Index of the first `needle` in `s`, or -1; the empty needle is at 0. */
ptrdiff_t str_find(struct str s, struct str needle);
/* As str_find, ASCII case folded. */
ptrdiff_t str_ifind(struct str s, struct str needle);

/* Without spaces and tabs at both ends (OWS of RFC 9110). */
struct str str_trim(struct str s);
/*
 * Cuts at the first `c`: *head is what is before it and *s what is after. Without a `c` the whole
 * is the head, *s becomes empty and the result is false. Use: while (str_next(&rest, ',', &item)).
 */
bool str_cut(struct str *s, char c, struct str *head);
/* Takes the next item of a list separated by `c`; false when `*s` is used up (ptr NULL). */
bool str_next(struct str *s, char c, struct str *item);

/* Decimal digits only, no sign, no space, no overflow. */
bool str_to_u64(struct str s, uint64_t *out);
/* As str_to_u64 with an optional leading '-'. */
bool str_to_i64(struct str s, int64_t *out);
/* A JSON number (RFC 8259 section 6). */
bool str_to_double(struct str s, double *out);
bool str_from_hex(struct str s, uint8_t *out, size_t out_len);
/* Writes 2 * n lower-case digits and no NUL. */
void str_to_hex(const void *bytes, size_t n, char *out);

/* A glob with '*' (any run, also of '/') and no other special character. */
bool str_glob(struct str pattern, struct str s);

/* FNV-1a followed by an avalanche step: for hash tables, not for secrets. */
uint64_t str_hash(struct str s);
uint64_t str_ihash(struct str s);

/* The candidate that is nearest to `word` by edit distance, when it is near enough to be meant
 * (distance <= 1 + len/3); NULL when none is. `candidates` ends with NULL. */
const char *str_nearest(struct str word, const char *const *candidates);

/* Writes an unsigned decimal and returns its length; `out` has room for 20 bytes. */
size_t str_put_u64(char *out, uint64_t v);

enum { STR_BILLIONTHS_BYTES = 21 };
/* Writes v / 10^9 as a decimal number without needless zeros ("0.00125", "3") and returns its
 * length; `out` has room for STR_BILLIONTHS_BYTES. */
size_t str_put_billionths(char *out, uint64_t v);

/* What must not be used: all of these cut or overrun without saying so.
 * Under clang glibc's checked forms of two of them are macros, which cannot be poisoned. */
#undef sprintf
#undef vsprintf
#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol gets

#endif
