#include "gateway/held_body.h"

#include "base/err.h"

void held_body_read(const struct buf *body, struct http_pieces *pieces)
{
    pieces->count = body->len > 0;
    pieces->bytes = body->len;
    pieces->is_last = true;
    if (pieces->count > 0)
        pieces->v[0] = (struct iovec){body->ptr, body->len};
}

int held_body_collect(struct buf *body, uint64_t limit, struct buf *out)
{
    if (body->len > limit)
        return err_set(ERR_LIMIT, FAULT_CLIENT, "the body is larger than the limit");
    buf_fini(out);
    *out = *body;
    *body = BUF_INIT;
    return 0;
}
