#include "calling.h"

const struct http_timeouts patient = {
    .connect_ns = PATIENCE_MS * NS_PER_MS,
    .tls_ns = PATIENCE_MS * NS_PER_MS,
    .first_byte_ns = PATIENCE_MS * NS_PER_MS,
    .idle_ns = PATIENCE_MS * NS_PER_MS,
    .total_deadline_ns = CLOCK_NEVER,
};

void outcome_fini(struct outcome *o)
{
    buf_fini(&o->body);
}

struct http_call_request get_request(void)
{
    return (struct http_call_request){.method = METHOD_GET, .target = STR("/v1/models")};
}

YIELDS int read_all(struct http_call *call, struct outcome *o)
{
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool hit;
    while (!pieces.is_last) {
        int r = http_call_read(call, &pieces, CLOCK_NEVER, &hit);
        if (r < 0)
            return r;
        o->reads++;
        for (int i = 0; i < pieces.count; i++)
            buf_add(&o->body, v[i].iov_base, v[i].iov_len);
        if (!buf_ok(&o->body))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
    }
    return 0;
}

YIELDS void call_with(struct outcome *o, const struct http_origin *origin,
                      const struct http_call_request *request, const struct http_timeouts *timeouts)
{
    struct http_call call;
    struct arena *arena = arena_new(4096);
    *o = (struct outcome){.body = BUF_INIT};
    if (arena == NULL) {
        o->result = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory");
        o->err = *err_slot();
        return;
    }
    o->result = http_call_start(&call, arena, origin, request, timeouts);
    if (o->result == 0)
        o->result = http_call_head(&call);
    if (o->result == 0) {
        o->status = call.head.status;
        o->result = read_all(&call, o);
    }
    o->err = *err_slot();
    o->was_reused = call.was_reused;
    o->was_retried = call.was_retried;
    o->went_back = call.may_reuse && call.is_body_done;
    http_call_finish(&call);
    http_call_finish(&call); /* twice does no harm */
    arena_free(arena);
}

YIELDS void call_get(struct outcome *o, const struct http_origin *origin)
{
    struct http_call_request request = get_request();
    call_with(o, origin, &request, &patient);
}

void expect_body(const struct outcome *o, unsigned status, const char *body)
{
    if (o->result != 0)
        fail_msg("failed: %s", o->err.message);
    assert_int_equal(o->status, status);
    if (!str_eq(buf_str(&o->body), str_c(body)))
        fail_msg("body '%.*s', expected '%s'", STR_ARG(buf_str(&o->body)), body);
}

YIELDS void part_from(struct upstream *upstream)
{
    http_pool_purge(0);
    upstream_stop(upstream);
    while (upstream->coming > 0 || upstream->open > 0)
        settle();
    upstream_fini(upstream);
}

void script_ok(struct served *served)
{
    while (upstream_read(served) && upstream_send(served, STR(OK_HI)))
        continue;
}

void script_same(struct served *served)
{
    while (upstream_read(served) && upstream_send(served, str_c(served->upstream->ctx)))
        continue;
}
