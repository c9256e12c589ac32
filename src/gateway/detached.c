#include "gateway/detached.h"

#include "gateway/exchange.h"
#include "gateway/held_body.h"

/* What a request's own memory begins with. */
enum { ARENA_FIRST_BYTES = 4096 };

static _Thread_local struct {
    struct list all;
    bool has_list;
} thread;

/* --- the answer --- */

static struct detached *self(const struct http_request *r)
{
    return r->stream;
}

static void start(struct http_request *r, const struct http_headers *headers,
                  int64_t content_length)
{
    struct detached *d = self(r);
    d->headers = headers;
    d->content_length = content_length;
}

YIELDS static int write_answer(struct http_request *r, struct iovec *iov, int count, bool is_last,
                               int64_t deadline)
{
    struct detached *d = self(r);
    (void)deadline; /* the sink's own affair */
    CHECK(r->status != 0 && !r->is_complete);
    if (d->is_aborted || d->is_cancelled)
        return err_set(ERR_RESET, FAULT_CLIENT, "nobody wants the answer any more");
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    int result = d->sink->write(d, iov, count, is_last);
    if (result < 0) {
        d->is_aborted = true;
        return result;
    }
    r->head_sent = true;
    d->headers = NULL;
    r->body_bytes_out += bytes;
    r->is_complete = is_last;
    return 0;
}

YIELDS static int end_answer(struct http_request *r, const struct http_headers *trailers,
                             int64_t deadline)
{
    (void)trailers;
    return write_answer(r, NULL, 0, true, deadline);
}

static void abort_answer(struct http_request *r)
{
    self(r)->is_aborted = true;
}

/* Nobody hangs up: who does not want the answer cancels the task. */
static void watch_hangup(struct http_request *r, struct task *task)
{
    if (task != NULL && self(r)->is_cancelled)
        task_cancel(task, ERR_RESET);
}

/* --- the request --- */

YIELDS static int read_body(struct http_request *r, struct http_pieces *pieces, int64_t deadline)
{
    (void)deadline;
    held_body_read(&self(r)->body, pieces);
    return 0;
}

YIELDS static int collect_body(struct http_request *r, uint64_t limit, int64_t deadline,
                               struct buf *out)
{
    (void)deadline;
    return held_body_collect(&self(r)->body, limit, out);
}

static const struct http_stream_ops detached_ops = {
    .read = read_body,
    .collect = collect_body,
    .start = start,
    .write = write_answer,
    .end = end_answer,
    .abort = abort_answer,
    .watch_hangup = watch_hangup,
};

struct detached *detached_of(const struct http_request *http)
{
    return http->ops == &detached_ops ? self(http) : NULL;
}

static bool copy_headers(struct http_headers *to, const struct http_headers *from,
                         struct arena *arena)
{
    for (uint32_t i = 0; i < from->count; i++) {
        struct str name = arena_dup(arena, from->items[i].name);
        struct str value = arena_dup(arena, from->items[i].value);
        if (name.ptr == NULL || value.ptr == NULL || !http_headers_add(to, arena, name, value))
            return false;
    }
    return true;
}

/* The part of `whole` that `part` is of another text with the same bytes. */
static struct str same_part(struct str whole, struct str part, struct str of)
{
    return part.len == 0 ? STR_EMPTY : str_n(whole.ptr + (part.ptr - of.ptr), part.len);
}

static bool copy_request(struct detached *d, const struct http_request *from, struct arena *arena)
{
    struct http_request *to = &d->http;
    *to = (struct http_request){
        .ops = &detached_ops,
        .stream = d,
        .arena = arena,
        .method = from->method,
        .method_name = arena_dup(arena, from->method_name),
        .target = arena_dup(arena, from->target),
        .authority = arena_dup(arena, from->authority),
        .peer = from->peer,
        .is_tls = from->is_tls,
        .version_major = from->version_major,
        .version_minor = from->version_minor,
        .start_ns = from->start_ns,
        .body_bytes_in = from->body_bytes_in,
    };
    if (to->method_name.ptr == NULL || to->target.ptr == NULL || to->authority.ptr == NULL)
        return false;
    to->path = same_part(to->target, from->path, from->target);
    to->query = same_part(to->target, from->query, from->target);
    return copy_headers(&to->headers, &from->headers, arena);
}

/* --- its life --- */

static struct detached *make(const struct http_request *like, const struct detached_sink *sink)
{
    struct arena *arena = arena_new(ARENA_FIRST_BYTES);
    struct detached *d = arena == NULL ? NULL : ARENA_NEW(arena, struct detached);
    if (d == NULL || !copy_request(d, like, arena)) {
        arena_free(arena);
        err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a request");
        return NULL;
    }
    d->sink = sink;
    return d;
}

struct detached *detached_new(const struct exchange *ex, const struct detached_sink *sink)
{
    struct detached *d = make(ex->http, sink);
    if (d == NULL)
        return NULL;
    d->thread = ex->thread;
    d->key = ex->key;
    d->ts = thread_snapshot_share(ex->ts);
    return d;
}

struct detached *detached_make(struct gateway_thread *gateway, const struct http_request *like,
                               const struct detached_sink *sink)
{
    struct detached *d = make(like, sink);
    if (d == NULL)
        return NULL;
    d->thread = gateway;
    d->ts = thread_snapshot_hold(gateway);
    return d;
}

void detached_drop(struct detached *d)
{
    buf_fini(&d->body);
    thread_snapshot_release(d->ts);
    arena_free(d->http.arena); /* it lies in there */
}

static void detached_main(void *arg)
{
    struct detached *d = arg;
    d->task = task_self();
    gateway_handle(&d->http, d->thread);
    d->sink->ended(d);
    list_remove(&d->node);
    detached_drop(d);
}

int detached_start(struct detached *d, enum run_class run_class, const char *name)
{
    d->http.content_length = (int64_t)d->body.len;
    d->task = task_spawn(run_class, name, detached_main, d);
    if (d->task == NULL)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a task");
    if (!thread.has_list)
        list_init(&thread.all);
    thread.has_list = true;
    list_push(&thread.all, &d->node);
    return 0;
}

void detached_cancel(struct detached *d, enum err_code reason)
{
    d->is_cancelled = d->is_cancelled || reason == ERR_RESET;
    task_cancel(d->task, reason);
}

void detached_cancel_all(void)
{
    if (!thread.has_list)
        return;
    LIST_FOR_EACH(node, &thread.all)
    {
        detached_cancel(CONTAINER_OF(node, struct detached, node), ERR_CANCELED);
    }
}
