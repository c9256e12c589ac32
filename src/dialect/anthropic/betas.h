/*
 * The anthropic-beta header, per place where Claude is served. Anthropic itself takes every value;
 * Bedrock and Vertex refuse a request with one that they do not know.
 * Any thread; nothing yields.
 * Results live in the arena; ptr NULL when out of memory.
 * Cannot fail otherwise.
 */
#ifndef WEIR_DIALECT_ANTHROPIC_BETAS_H
#define WEIR_DIALECT_ANTHROPIC_BETAS_H

#include "dialect/dialect.h"

/*
 * The values of a header ("a, b") that `variant` takes, in their order, each once, under the name
 * that they have there. Those left out are appended to `dropped` (may be NULL), joined by ", ".
 * Vertex is given the result as the same header, Bedrock in the body. Empty = none.
 */
struct str anthropic_betas_for(struct arena *arena, struct str header_value,
                               enum llm_variant variant, struct buf *dropped);
/* The values of a body's own `anthropic_beta` (Bedrock) as a header value; empty = none. */
struct str anthropic_betas_of_body(struct arena *arena, struct str body);

/* Appends them as a JSON array: ["a","b"]. */
void anthropic_betas_write(struct buf *out, struct str betas);
/*
 * The edit that puts them into a Bedrock body as `anthropic_beta`, after those that the body has.
 * It goes together with the edits of fit. `betas` is not empty. insert.ptr NULL = no memory.
 */
struct json_edit anthropic_betas_edit(struct arena *arena, const struct llm_scan *scan,
                                      struct str body, struct str betas);

#endif
