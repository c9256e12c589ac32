/*
 * JSON read where it lies: a one-pass scanner that finds the spans of wanted members, a cursor for
 * small documents, and the splicing of edits into a text that otherwise stays as it is.
 * Any thread; nothing yields.
 * Nothing is copied: spans and values point into the text, edits into the caller's arena.
 * -ERR_INVALID (not JSON), -ERR_LIMIT (nested too deeply), -ERR_NOMEM; only json_scan_object and
 * json_splice_iov write a message into the error slot.
 */
#ifndef WEIR_BASE_JSON_H
#define WEIR_BASE_JSON_H

#include <sys/uio.h>

#include "base/arena.h"
#include "base/str.h"

/*
 * What is checked is the grammar of RFC 8259 down to the last byte, except inside strings, which
 * are only skipped: control characters, wrong escapes and bytes that are no UTF-8 pass.
 */

enum json_kind {
    JSON_NONE, /* there is no such value */
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

enum {
    JSON_WANTS_MAX = 16,
    JSON_PATH_MAX = 3,     /* keys in the path of a wanted member */
    JSON_DEPTH_MAX = 1024, /* larger limits are taken as this */
    JSON_DEPTH_DEFAULT = 128,
};

/* --- scanning a request body --- */

/* Where something stands in the scanned text, in bytes. */
struct json_span {
    size_t offset;
    size_t len;
};

static inline struct str json_span_str(struct str text, struct json_span span)
{
    return str_n(text.ptr + span.offset, span.len);
}

/* A member by the keys that lead to it from the top-level object; unused ones are empty:
 * {{STR_INIT("stream_options"), STR_INIT("include_usage")}}. */
struct json_want {
    struct str path[JSON_PATH_MAX];
};

struct json_found {
    enum json_kind kind; /* JSON_NONE: not there */
    /* The member, or an object on the way to it, occurs more than once: readers disagree on which
     * one counts, so a gateway that decides by it must refuse. The spans are those of the last. */
    bool is_duplicate;
    struct json_span key;   /* with its quotes */
    struct json_span value; /* as in the source; a string with its quotes */
};

struct json_scan {
    struct json_span object;                 /* from { to } */
    bool is_empty;                           /* it has no members */
    struct json_found found[JSON_WANTS_MAX]; /* one a want, in their order */
    size_t error_offset;                     /* after an error */
};

/*
 * Scans a text that must be one JSON object, nested at most max_depth deep (the object itself is
 * level 1). Keys are compared after unescaping, so "mod\u0065l" is found as model. 0, -ERR_INVALID
 * or -ERR_LIMIT with a message that names line, column and what was expected.
 */
int json_scan_object(struct str text, unsigned max_depth, const struct json_want *wants,
                     unsigned n_wants, struct json_scan *out);

/* --- strings and numbers --- */

struct json_value {
    enum json_kind kind;
    struct str text; /* as in the source; a string with its quotes */
};

/* What is between the quotes, escapes as they stand; empty for anything that is not a string. */
struct str json_string_raw(struct json_value value);
/* True when `raw` (without quotes) holds no escape, so that it is the text itself. */
bool json_string_is_plain(struct str raw);
/* True when `raw` unescaped is `text`. */
bool json_string_eq(struct str raw, struct str text);
/*
 * The text of `raw`: a plain one is returned as it is, otherwise the copy lives in the arena. A
 * lone surrogate becomes U+FFFD; \u0000 becomes a NUL byte. -ERR_INVALID on a wrong escape.
 */
int json_unescape(struct arena *arena, struct str raw, struct str *out);

/* A number that is whole, however it is written (12, 12.0, 1.2e1) and fits; exact beyond 2^53 when
 * written as an integer. False for anything else, also for other kinds of values. */
bool json_number_i64(struct json_value value, int64_t *out);
bool json_number_double(struct json_value value, double *out);

/* --- reading small documents --- */

/*
 * Goes through the members or elements of one container. A value is skipped by a loop, not by
 * recursion, and is checked while it is skipped; to look into it, init another cursor with its
 * text. Values nested more than JSON_DEPTH_DEFAULT deep are an error.
 */
struct json_cursor {
    const char *next;
    const char *end;
    bool has_begun;
    bool is_done;
    int error; /* what came and comes at the end: 0 or -ERR_x */
};

/* `text` is a container and white space around it. */
void json_cursor_init(struct json_cursor *cursor, struct str text);
/* 1 = the next member, 0 = that was all, -ERR_INVALID (also when the text is no object),
 * -ERR_LIMIT. The key is without quotes, escapes as they stand: compare with json_string_eq. */
int json_iter_object(struct json_cursor *cursor, struct str *key, struct json_value *value);
int json_iter_array(struct json_cursor *cursor, struct json_value *value);

/*
 * The value at a path like "choices[0].finish_reason" (keys without dots or brackets), the first
 * one where keys repeat. False when it is not there or what leads to it is not JSON; what comes
 * after it is not looked at.
 */
bool json_find(struct str text, const char *path, struct json_value *value);

/* --- splicing --- */

/* At `offset`, `remove_len` bytes make way for `insert`. insert.ptr NULL with len > 0 never occurs;
 * the functions below give insert.ptr NULL when there is no memory. */
struct json_edit {
    size_t offset;
    size_t remove_len;
    struct str insert;
};

/* `value` is JSON text. */
struct json_edit json_edit_replace(struct json_span span, struct str value);
/* Adds "key":value in front of the object's other members. `key` is plain text, `value` JSON. To an
 * empty object one edit at most may be applied. */
struct json_edit json_edit_add(struct arena *arena, struct json_span object, bool is_empty,
                               struct str key, struct str value);
/* Takes out a member with one of its commas. Neighbours cannot be taken out by two such edits, and
 * the only member cannot be taken out of an object to which another edit adds one. */
struct json_edit json_edit_remove(struct str text, const struct json_found *member);

/*
 * The text with the edits applied, as parts of the text and the inserts. The edits may come in any
 * order; at the same place insertions come first, in the order given. Needs at most 2 * n + 1
 * parts. Returns the number of parts, -ERR_LIMIT when `max` is too small, -ERR_INVALID when edits
 * overlap or lie outside the text.
 */
int json_splice_iov(struct str text, const struct json_edit *edits, unsigned n, struct iovec *out,
                    unsigned max);

#endif
