/*
 * Undoes a request's Content-Encoding (gzip, deflate, br, zstd) piece by piece.
 * One task at a time; the libraries run on the loop's stack.
 * Nothing yields.
 * The decoder owns its state; output goes to the caller's buf, whose limit stops bombs.
 * -ERR_INVALID (broken or cut data, unknown encoding), -ERR_LIMIT (past the limit), -ERR_NOMEM.
 */
#ifndef WEIR_HTTP_CONTENT_ENCODING_H
#define WEIR_HTTP_CONTENT_ENCODING_H

#include "base/buf.h"

enum content_encoding { ENCODING_IDENTITY, ENCODING_GZIP, ENCODING_DEFLATE, ENCODING_BR, ENCODING_ZSTD };

/* Reads the header's value; an empty one is identity. -ERR_INVALID names what is understood. */
int content_encoding_parse(struct str header, enum content_encoding *encoding);

struct content_decoder;
/* NULL when out of memory. */
struct content_decoder *content_decoder_new(enum content_encoding encoding);
void content_decoder_free(struct content_decoder *decoder);

/* Appends what `in` decodes to; at most `limit` bytes may be in *out. */
int content_decoder_feed(struct content_decoder *decoder, struct str in, uint64_t limit,
                         struct buf *out);
/* 0 when the data ended where the format says. */
int content_decoder_finish(const struct content_decoder *decoder);

#endif
