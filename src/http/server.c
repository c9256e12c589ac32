#include "http/server.h"

#include "base/err.h"

/* The calls of handlers: one indirection to the version of HTTP that the request came in. */

YIELDS int http_request_read(struct http_request *r, struct http_pieces *pieces,
                             int64_t deadline_ns)
{
    return r->ops->read(r, pieces, deadline_ns);
}

YIELDS int http_request_collect(struct http_request *r, uint64_t limit, int64_t deadline_ns,
                                struct buf *out)
{
    return r->ops->collect(r, limit, deadline_ns, out);
}

int http_response_start(struct http_request *r, unsigned status, const struct http_headers *headers,
                        int64_t content_length)
{
    CHECK(r->status == 0);
    if (status < 200 || status > 999)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "%u is no status of an answer", status);
    r->status = status;
    r->ops->start(r, headers, content_length);
    return 0;
}

YIELDS int http_response_write(struct http_request *r, struct iovec *iov, int count, bool is_last,
                               int64_t deadline_ns)
{
    return r->ops->write(r, iov, count, is_last, deadline_ns);
}

YIELDS int http_response_end(struct http_request *r, const struct http_headers *trailers,
                             int64_t deadline_ns)
{
    return r->ops->end(r, trailers, deadline_ns);
}

YIELDS int http_response_upgrade(struct http_request *r, const struct http_headers *headers,
                                 struct channel *channel)
{
    if (r->ops->upgrade == NULL || r->upgrade.len == 0)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "the request asks for no upgrade");
    return r->ops->upgrade(r, headers, channel);
}

void http_response_abort(struct http_request *r)
{
    r->ops->abort(r);
}

YIELDS int http_respond(struct http_request *r, unsigned status, const struct http_headers *headers,
                        struct str body)
{
    int result = http_response_start(r, status, headers, (int64_t)body.len);
    if (result < 0)
        return result;
    struct iovec iov = {(void *)(uintptr_t)body.ptr, body.len};
    return http_response_write(r, &iov, body.len > 0 ? 1 : 0, true, CLOCK_NEVER);
}

void http_request_watch_hangup(struct http_request *r, struct task *task)
{
    r->ops->watch_hangup(r, task);
}
