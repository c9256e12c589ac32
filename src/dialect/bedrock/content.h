/*
 * Content blocks of Converse: read from and written to messages, results of tools and the system
 * prompt.
 * One request; nothing yields.
 * What is read points into the body or lives in the reader's arena.
 * -ERR_INVALID with the path of what is wrong, -ERR_NOMEM.
 *
 * A block whose source says more than the neutral form holds (a document's context, guardContent)
 * keeps its source in `raw`, and what other dialects will not get is an extra: so it comes back
 * whole in its own dialect and is noted in others.
 */
#ifndef WEIR_DIALECT_BEDROCK_CONTENT_H
#define WEIR_DIALECT_BEDROCK_CONTENT_H

#include "dialect/bedrock/member.h"

int bedrock_read_content(struct bedrock_reader *reader, struct json_value array,
                         struct llm_block **list);
/* CACHE_NONE for what is no cachePoint. */
enum llm_cache bedrock_cache_of(struct json_value cache_point);

/* Writes an array of blocks, with a cachePoint after each that has a hint. Every block must be one
 * that bedrock_can_write. */
void bedrock_write_content(struct buf *out, struct arena *arena, const struct llm_block *blocks);
void bedrock_write_cache_point(struct buf *out, enum llm_cache cache);

/* True when Converse has a form for it. *what: which part of it is missing ("" = the block itself),
 * also where the rest can be written. */
bool bedrock_can_write(struct arena *arena, const struct llm_block *block, const char **what);

/* A block of reasoning as the API has it: in a whole block and in a delta of a stream. */
void bedrock_write_redacted(struct buf *out, struct arena *arena,
                            const struct llm_signature *signature);

#endif
