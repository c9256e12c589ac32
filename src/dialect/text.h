/*
 * A piece of text on its way from one JSON document to another: as it stood in its source, so that
 * most of it is copied and never decoded.
 * Any thread; nothing yields.
 * A text owns nothing: it points into a document or an arena that must outlive it.
 * Writers set the buf's own flag; text_get gives -ERR_INVALID on a wrong escape, -ERR_NOMEM.
 */
#ifndef WEIR_DIALECT_TEXT_H
#define WEIR_DIALECT_TEXT_H

#include "base/buf.h"
#include "base/json.h"

struct text {
    struct str s;    /* ptr NULL = there is none, which is not the same as an empty one */
    bool is_escaped; /* what stood between the quotes of a JSON string, escapes as they were */
};

#define TEXT_NONE ((struct text){{NULL, 0}, false})
#define TEXT_LIT(literal) ((struct text){STR(literal), false})

static inline bool text_is_some(struct text t)
{
    return t.s.ptr != NULL;
}

/* There is none, or it is empty. */
static inline bool text_is_empty(struct text t)
{
    return t.s.len == 0;
}

/* Text that is not from a JSON string. An empty str with a NULL ptr gives TEXT_NONE. */
static inline struct text text_plain(struct str s)
{
    return (struct text){s, false};
}

/* The text of a JSON string; TEXT_NONE for every other kind of value. */
struct text text_of(struct json_value value);

/* Appends it as a JSON string with its quotes; TEXT_NONE as "". What comes out is valid JSON and
 * UTF-8 even where the source was not: what cannot be kept becomes U+FFFD. */
void text_write(struct buf *out, struct text t);
/* The same without the quotes: to put several pieces into one string. */
void text_write_inside(struct buf *out, struct text t);
/* Appends the text itself, unescaped. -ERR_INVALID on a wrong escape (what came before it is
 * there). */
int text_append_plain(struct buf *out, struct text t);

/* The text itself; the copy, where one is needed, lives in the arena. */
int text_get(struct arena *arena, struct text t, struct str *plain);
/* The text itself, or `otherwise` when it cannot be had. */
struct str text_or(struct arena *arena, struct text t, struct str otherwise);
/* A copy that lives in the arena (what events point into is gone after the next one). ptr NULL when
 * there is none or no memory. */
struct text text_dup(struct arena *arena, struct text t);
bool text_eq(struct text t, struct str plain);

#endif
