#include "gateway/resume_producer.h"

#include <pthread.h>

#include "base/clock.h"
#include "gateway/exchange.h"
#include "gateway/operation.h"
#include "rt/loop.h"
#include "stream/journal_memory.h"

/* What a request's own memory begins with. */
enum { ARENA_FIRST_BYTES = 4096 };

/* How often a producer looks whether somebody still reads. */
#define LOOK_NS NS_PER_SEC

struct producer {
    struct list node; /* of its thread */
    struct http_request http;
    struct gateway_thread *thread;
    struct task *task;
    struct task *watched; /* what the client's hang-up would cancel */
    const struct exchange *ex;
    struct journal *journal;
    struct journal_writer writer;
    struct buf body; /* of the request, until it is collected */
    /* Until the head is in the journal. */
    const struct http_headers *headers;
    int64_t content_length;
    size_t event_bytes;
    int64_t grace_ns;
    struct timer timer;
    bool adds_ids;
    bool has_ended;   /* nothing more will be written */
    bool is_aborted;  /* nothing more may be */
    bool is_given_up; /* nobody came back in time */
};

static _Thread_local struct {
    struct list producers;
    bool has_list;
    struct timer sweep;
    bool has_sweep;
} thread;

/* --- the store
 * ------------------------------------------------------------------------------------
 */

static struct journal_store *store;

static void make_store(void)
{
    store = journal_memory_new();
}

struct journal_store *producer_store(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_store);
    return store;
}

static void on_sweep(struct timer *timer)
{
    loop_timer_arm(timer, journal_sweep(store, clock_mono_ns()));
}

/* An answer has ended: it is dropped in time also when no request comes any more. */
static void sweep_later(void)
{
    if (!thread.has_sweep)
        timer_init(&thread.sweep, on_sweep);
    thread.has_sweep = true;
    on_sweep(&thread.sweep);
}

/* --- the answer
 * ------------------------------------------------------------------------------------
 */

static struct producer *self(const struct http_request *r)
{
    return r->stream;
}

static int start(struct http_request *r, unsigned status, const struct http_headers *headers,
                 int64_t content_length)
{
    struct producer *p = self(r);
    CHECK(r->status == 0);
    if (status < 200 || status > 999)
        return err_set(ERR_INVALID, FAULT_GATEWAY, "%u is no status of an answer", status);
    r->status = status;
    p->headers = headers;
    p->content_length = content_length;
    return 0;
}

/* Without alt=sse Gemini's streams are a JSON array, which its head does not tell from an object.
 */
static bool is_array(const struct producer *p, const struct iovec *iov, int count)
{
    if (p->ex == NULL || p->ex->operation->stream != STREAM_GEMINI || p->http.status != 200)
        return false;
    for (int i = 0; i < count; i++) {
        if (iov[i].iov_len > 0)
            return *(const char *)iov[i].iov_base == '[';
    }
    return false;
}

static enum journal_shape shape_of(const struct producer *p, const struct iovec *iov, int count)
{
    enum stream_framing framing;
    struct str type = STR_EMPTY;
    if (p->headers != NULL)
        type = http_headers_get(p->headers, STR("content-type"));
    if (stream_framing_of(type, false, &framing))
        return framing == FRAMING_SSE ? JOURNAL_SHAPE_SSE : JOURNAL_SHAPE_FRAMES;
    return is_array(p, iov, count) ? JOURNAL_SHAPE_ARRAY : JOURNAL_SHAPE_WHOLE;
}

/* With the first bytes it is known what the answer is made of. */
YIELDS static int begin(struct producer *p, const struct iovec *iov, int count)
{
    struct journal_head head = {.status = p->http.status, .content_length = p->content_length};
    enum journal_shape shape = shape_of(p, iov, count);
    struct arena *arena = p->http.arena;
    bool is_copied =
        http_headers_add(&head.headers, arena, STR("x-weir-stream-id"), journal_id(p->journal));
    for (uint32_t i = 0; is_copied && p->headers != NULL && i < p->headers->count; i++)
        is_copied = http_headers_add(&head.headers, arena, p->headers->items[i].name,
                                     p->headers->items[i].value);
    if (!is_copied)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the head");
    if (shape != JOURNAL_SHAPE_WHOLE)
        head.content_length = -1; /* ids make it longer */
    journal_writer_init(&p->writer, p->journal, shape, p->adds_ids, p->event_bytes);
    p->http.head_sent = true;
    p->headers = NULL;
    return journal_put_head(p->journal, &head);
}

/* Who sends the request once more gets this answer; not a failure that may be over by then. */
static bool is_worth_keeping(const struct producer *p)
{
    if (p->ex == NULL || p->http.status >= 500 || p->http.status == 429)
        return false;
    struct str outcome = p->ex->record.outcome;
    return str_eq(outcome, STR("ok")) || str_eq(outcome, STR("client_error"));
}

YIELDS static void end_journal(struct producer *p, bool is_whole)
{
    p->has_ended = true;
    timer_disarm(&p->timer);
    journal_end(p->journal, is_whole, is_worth_keeping(p));
    sweep_later();
}

YIELDS static int write_parts(struct producer *p, const struct iovec *iov, int count, bool is_last)
{
    int r = 0;
    if (!p->http.head_sent)
        r = begin(p, iov, count);
    if (r == 0 && count > 0)
        r = journal_writer_write(&p->writer, iov, count);
    if (r == 0 && is_last)
        r = journal_writer_end(&p->writer);
    return r;
}

YIELDS static int write_answer(struct http_request *r, struct iovec *iov, int count, bool is_last,
                               int64_t deadline)
{
    struct producer *p = self(r);
    (void)deadline; /* readers that stand still are given up by their own connections */
    CHECK(r->status != 0 && !r->is_complete);
    if (p->is_aborted || p->is_given_up)
        return err_set(ERR_RESET, FAULT_CLIENT, "nobody came back for the answer");
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    int result = write_parts(p, iov, count, is_last);
    if (result < 0) {
        p->is_aborted = true;
        return result;
    }
    r->body_bytes_out += bytes;
    r->is_complete = is_last;
    if (is_last)
        end_journal(p, true);
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

static void watch_hangup(struct http_request *r, struct task *task)
{
    struct producer *p = self(r);
    p->watched = task;
    if (task != NULL && p->is_given_up)
        task_cancel(task, ERR_RESET);
}

/* --- the request
 * ------------------------------------------------------------------------------------
 */

YIELDS static int read_body(struct http_request *r, struct http_pieces *pieces, int64_t deadline)
{
    struct producer *p = self(r);
    (void)deadline;
    pieces->count = p->body.len > 0;
    pieces->bytes = p->body.len;
    pieces->is_last = true;
    if (pieces->count > 0)
        pieces->v[0] = (struct iovec){p->body.ptr, p->body.len};
    return 0;
}

YIELDS static int collect_body(struct http_request *r, uint64_t limit, int64_t deadline,
                               struct buf *out)
{
    struct producer *p = self(r);
    (void)deadline;
    if (p->body.len > limit)
        return err_set(ERR_LIMIT, FAULT_CLIENT, "the body is larger than the limit");
    buf_fini(out);
    *out = p->body;
    p->body = BUF_INIT;
    return 0;
}

static const struct http_stream_ops producer_ops = {
    .read = read_body,
    .collect = collect_body,
    .start = start,
    .write = write_answer,
    .end = end_answer,
    .abort = abort_answer,
    .watch_hangup = watch_hangup,
};

struct producer *producer_of(const struct http_request *http)
{
    return http->ops == &producer_ops ? self(http) : NULL;
}

void producer_set_exchange(struct producer *producer, const struct exchange *ex)
{
    producer->ex = ex;
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

static bool copy_request(struct producer *p, const struct http_request *from, struct arena *arena)
{
    struct http_request *to = &p->http;
    *to = (struct http_request){
        .ops = &producer_ops,
        .stream = p,
        .arena = arena,
        .method = from->method,
        .method_name = arena_dup(arena, from->method_name),
        .target = arena_dup(arena, from->target),
        .authority = arena_dup(arena, from->authority),
        .content_length = (int64_t)p->body.len,
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

/* --- its life
 * ---------------------------------------------------------------------------------------
 */

static void give_up(struct producer *p)
{
    p->is_given_up = true;
    task_cancel(p->watched != NULL ? p->watched : p->task, ERR_RESET);
}

/* Does anybody read? */
static void on_timer(struct timer *timer)
{
    struct producer *p = CONTAINER_OF(timer, struct producer, timer);
    int64_t now_ns = loop_now_ns();
    int64_t since_ns = journal_unread_since(p->journal);
    /* Nobody can come back to a process that takes no connections. */
    int64_t grace_ns = gateway_is_draining() ? 0 : p->grace_ns;
    if (since_ns == 0)
        loop_timer_arm(timer, clock_add_ns(now_ns, MIN(MAX(grace_ns, NS_PER_MS), LOOK_NS)));
    else if (now_ns >= clock_add_ns(since_ns, grace_ns))
        give_up(p);
    else
        loop_timer_arm(timer, MIN(clock_add_ns(since_ns, grace_ns), clock_add_ns(now_ns, LOOK_NS)));
}

static void producer_free(struct producer *p)
{
    timer_disarm(&p->timer);
    list_remove(&p->node);
    if (p->http.head_sent)
        journal_writer_fini(&p->writer);
    buf_fini(&p->body);
    journal_unref(p->journal);
    arena_free(p->http.arena); /* it lies in there */
}

static void produce(void *arg)
{
    struct producer *p = arg;
    p->task = task_self();
    loop_timer_arm(&p->timer,
                   clock_add_ns(loop_now_ns(), MIN(MAX(p->grace_ns, NS_PER_MS), LOOK_NS)));
    gateway_handle(&p->http, p->thread);
    if (!p->has_ended)
        end_journal(p, false);
    else if (!is_worth_keeping(p))
        journal_forget_once(p->journal); /* an error that only its last event told */
    if (p->is_given_up)
        journal_give_up(p->journal, JOURNAL_GONE_UNREAD);
    producer_free(p);
}

int producer_start(struct exchange *ex, const struct producer_settings *settings)
{
    struct arena *arena = arena_new(ARENA_FIRST_BYTES);
    struct producer *p = arena == NULL ? NULL : ARENA_NEW(arena, struct producer);
    if (!thread.has_list)
        list_init(&thread.producers);
    thread.has_list = true;
    bool is_copied = false;
    if (p != NULL) {
        p->thread = ex->thread;
        p->body.len = ex->body.len; /* for its length: it is handed over last */
        is_copied = copy_request(p, ex->http, arena);
        p->body = BUF_INIT;
    }
    if (is_copied)
        p->task = task_spawn(RUN_NORMAL, "answer for a journal", produce, p);
    if (!is_copied || p->task == NULL) {
        arena_free(arena);
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a task");
    }
    p->body = ex->body;
    ex->body = BUF_INIT;
    p->journal = settings->journal;
    p->adds_ids = settings->adds_ids;
    p->grace_ns = settings->grace_ns;
    p->event_bytes = settings->event_bytes;
    timer_init(&p->timer, on_timer);
    list_push(&thread.producers, &p->node);
    return 0;
}

void producer_cancel_all(void)
{
    if (!thread.has_list)
        return;
    LIST_FOR_EACH(node, &thread.producers)
    {
        task_cancel(CONTAINER_OF(node, struct producer, node)->task, ERR_CANCELED);
    }
}
