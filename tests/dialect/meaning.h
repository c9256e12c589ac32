/*
 * What a request asks and what an answer says, as lines of text that are the same whatever the
 * dialect: to see what was lost on the way from one to another.
 * One thread; nothing yields.
 * The caller owns the bufs.
 * Cannot fail.
 */
#ifndef WEIR_TESTS_MEANING_H
#define WEIR_TESTS_MEANING_H

#include "dialect/event.h"

/* "system ...", "user ...", "image image/png aW1...", "call NAME {..}", "tool NAME ...", ... */
void meaning_of_request(const struct llm_request *request, struct buf *out);
/* "thinking ...", "text ...", "call NAME {..}", "finish ...", "usage IN OUT", "cached N". */
void meaning_of_answer(const struct llm_answer *answer, struct buf *out);

/* Calls fn for every line of `a` that is not in `b`. */
typedef void meaning_fn(struct str line, void *ctx);
void meaning_missing(struct str a, struct str b, meaning_fn *fn, void *ctx);

#endif
