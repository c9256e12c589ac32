#include "http/request_body.h"

#include "base/err.h"

enum {
    /* Reserved before bytes have come, whatever Content-Length promises; then four times what has
     * come. */
    RESERVE_FIRST_BYTES = 256 * 1024,
    RESERVE_FACTOR = 4,
    /* Decoded at a time; others run in between. */
    DECODE_MIN_BYTES = 4 * 1024,
    DECODE_MAX_BYTES = 64 * 1024,
};

int request_body_too_large(void)
{
    return err_set(ERR_LIMIT, FAULT_CLIENT, "the request body is too large");
}

int request_body_no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the request body");
}

void request_body_init(struct request_body *body,
                       YIELDS int (*read_raw)(struct http_request *r, struct http_pieces *pieces,
                                              int64_t deadline),
                       bool is_empty, uint64_t limit)
{
    *body = (struct request_body){
        .read_raw = read_raw, .is_empty = is_empty, .is_done = is_empty, .limit = limit};
}

void request_body_fini(struct request_body *body)
{
    content_decoder_free(body->decoder);
    body->decoder = NULL;
    buf_fini(&body->encoded);
    buf_fini(&body->decoded);
}

int request_body_need_decoder(struct request_body *body, const struct http_request *r)
{
    enum content_encoding encoding;
    struct str header = http_headers_get(&r->headers, STR("content-encoding"));
    if (body->decoder != NULL || header.ptr == NULL)
        return 0;
    if (http_headers_count(&r->headers, STR("content-encoding")) > 1)
        return err_set(ERR_INVALID, FAULT_CLIENT, "more than one Content-Encoding");
    int result = content_encoding_parse(header, &encoding);
    if (result < 0 || encoding == ENCODING_IDENTITY)
        return result;
    body->decoder = content_decoder_new(encoding);
    return body->decoder != NULL ? 0 : request_body_no_memory();
}

/* Reads until there is something to decode, or the body has ended. */
YIELDS static int read_encoded(struct request_body *body, struct http_request *r,
                               struct http_pieces *pieces, uint64_t limit, int64_t deadline)
{
    buf_clear(&body->encoded);
    body->encoded_used = 0;
    while (body->encoded.len == 0 && !body->is_done) {
        int result = body->read_raw(r, pieces, deadline);
        if (result < 0)
            return result;
        if (r->body_bytes_in > limit + REQUEST_BODY_SLACK_BYTES)
            return request_body_too_large();
        for (int i = 0; i < pieces->count; i++)
            buf_add(&body->encoded, pieces->v[i].iov_base, pieces->v[i].iov_len);
        if (!buf_ok(&body->encoded))
            return request_body_no_memory();
    }
    return 0;
}

/*
 * Appends the next decoded bytes to *out, a bounded number. 1 = that was the end of the body.
 * `limit` is of the whole body; the bytes that came before are `before`.
 */
YIELDS static int decode_some(struct request_body *body, struct http_request *r,
                              struct http_pieces *pieces, uint64_t limit, uint64_t before,
                              int64_t deadline, struct buf *out)
{
    size_t had = out->len;
    if (!body->has_more && body->encoded_used == body->encoded.len) {
        int result = read_encoded(body, r, pieces, limit, deadline);
        if (result < 0)
            return result;
    } else {
        /* Others run between two pieces of a long decode. */
        int result = task_yield();
        if (result < 0)
            return result;
    }
    struct str in = str_skip(buf_str(&body->encoded), body->encoded_used);
    size_t max = MIN(MAX(in.len * 8, (size_t)DECODE_MIN_BYTES), (size_t)DECODE_MAX_BYTES);
    int more = content_decoder_feed(body->decoder, &in, max, out);
    if (more < 0)
        return more;
    body->has_more = more == 1;
    body->encoded_used = body->encoded.len - in.len;
    if (before + (out->len - had) > limit)
        return request_body_too_large();
    if (body->has_more || in.len > 0 || !body->is_done)
        return 0;
    int result = content_decoder_finish(body->decoder);
    return result < 0 ? result : 1;
}

YIELDS static int read_decoded(struct request_body *body, struct http_request *r,
                               struct http_pieces *pieces, int64_t deadline)
{
    int result = 0;
    buf_clear(&body->decoded);
    while (result == 0 && body->decoded.len == 0)
        result = decode_some(body, r, pieces, body->limit, body->given, deadline, &body->decoded);
    body->given += body->decoded.len;
    pieces->v[0] = (struct iovec){body->decoded.ptr, body->decoded.len};
    pieces->count = body->decoded.len > 0 ? 1 : 0;
    pieces->bytes = body->decoded.len;
    pieces->is_last = result == 1;
    return MIN(result, 0);
}

YIELDS int request_body_read(struct request_body *body, struct http_request *r,
                             struct http_pieces *pieces, int64_t deadline)
{
    int result = request_body_need_decoder(body, r);
    if (result < 0)
        return result;
    if (body->decoder != NULL && !body->is_empty)
        return read_decoded(body, r, pieces, deadline);
    result = body->read_raw(r, pieces, deadline);
    if (result == 0 && r->body_bytes_in > body->limit)
        result = request_body_too_large();
    return result;
}

/* Pieces last until the next wait, so all tasks of a thread can use one list: a kilobyte less on
 * each stack. */
static _Thread_local struct iovec piece_list[HTTP_PIECES_MAX];

YIELDS int request_body_collect_raw(struct request_body *body, struct http_request *r,
                                    uint64_t limit, int64_t deadline, struct buf *out)
{
    struct http_pieces pieces = {.v = piece_list};
    int result = body->read_raw(r, &pieces, deadline);
    if (result < 0)
        return result;
    if (r->body_bytes_in > limit)
        return request_body_too_large();
    for (int i = 0; i < pieces.count; i++)
        buf_add(out, pieces.v[i].iov_base, pieces.v[i].iov_len);
    return buf_ok(out) ? 0 : request_body_no_memory();
}

YIELDS int request_body_collect_decoded(struct request_body *body, struct http_request *r,
                                        uint64_t limit, int64_t deadline, struct buf *out)
{
    struct http_pieces pieces = {.v = piece_list};
    size_t first = out->len;
    int result;
    do {
        result = decode_some(body, r, &pieces, limit, out->len - first, deadline, out);
    } while (result == 0);
    return MIN(result, 0);
}

bool request_body_reserve(struct buf *out, size_t came, uint64_t left)
{
    size_t believed = MAX((size_t)RESERVE_FIRST_BYTES, came * (RESERVE_FACTOR - 1));
    return out->cap > out->len || buf_reserve(out, (size_t)MIN(left, (uint64_t)believed));
}
