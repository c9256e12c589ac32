/*
 * Undoes a request's Content-Encoding (gzip, deflate, br, zstd) piece by piece.
 * One task at a time; the libraries run on the loop's stack.
 * Nothing yields.
 * The decoder owns its state; output goes to the caller's buf, as much at a time as the caller
 * says. -ERR_INVALID (broken or cut data, unknown encoding), -ERR_NOMEM.
 */
#ifndef WEIR_HTTP_CONTENT_ENCODING_H
#define WEIR_HTTP_CONTENT_ENCODING_H

#include "base/buf.h"

enum content_encoding {
    ENCODING_IDENTITY,
    ENCODING_GZIP,
    ENCODING_DEFLATE, /* the zlib format (RFC 9110 section 8.4.1.2) */
    ENCODING_BR,
    ENCODING_ZSTD
};

/* Reads the header's value (RFC 9110 section 8.4); an empty one is identity, a list is not taken.
 * -ERR_INVALID names what is understood. */
int content_encoding_parse(struct str header, enum content_encoding *encoding);

struct content_decoder;
/* `encoding` is not identity. NULL when out of memory. */
struct content_decoder *content_decoder_new(enum content_encoding encoding);
/* NULL is allowed. */
void content_decoder_free(struct content_decoder *decoder);

/*
 * Appends what *in decodes to, at most `max` bytes (> 0), and moves *in past what was taken. 1 =
 * `max` was reached and there may be more: call again, also when *in is empty. 0 = all of *in was
 * taken.
 */
int content_decoder_feed(struct content_decoder *decoder, struct str *in, size_t max,
                         struct buf *out);
/* The encoded bytes have ended: 0 when the data ends there too. */
int content_decoder_finish(const struct content_decoder *decoder);

#endif
