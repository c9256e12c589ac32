#include "gateway/resume_producer.h"

#include <pthread.h>

#include "base/clock.h"
#include "gateway/detached.h"
#include "gateway/exchange.h"
#include "gateway/operation.h"
#include "rt/loop.h"
#include "stream/journal_memory.h"

/* How often a producer looks whether somebody still reads. */
#define LOOK_NS NS_PER_SEC

struct producer {
    struct detached *detached;
    const struct exchange *ex;
    struct journal *journal;
    struct journal_writer writer;
    size_t event_bytes;
    int64_t grace_ns;
    struct timer timer;
    bool adds_ids;
    bool has_begun;   /* the head is in the journal */
    bool has_ended;   /* nothing more will be written */
    bool is_given_up; /* nobody came back in time */
};

static _Thread_local struct {
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

void producer_figures(struct metrics_journal *out)
{
    struct journal_memory_stats stats = {0};
    if (producer_store() != NULL)
        journal_memory_stats(store, &stats);
    *out = (struct metrics_journal){
        .running = stats.running,
        .ended = stats.ended,
        .bytes = stats.bytes,
        .bytes_max = stats.bytes_max,
        .expired = stats.gone[JOURNAL_GONE_TTL],
        .made_room = stats.gone[JOURNAL_GONE_ROOM],
        .unread = stats.gone[JOURNAL_GONE_UNREAD],
        .waits = stats.waits,
    };
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

/* Without alt=sse Gemini's streams are a JSON array, which its head does not tell from an object.
 */
static bool is_array(const struct producer *p, const struct iovec *iov, int count)
{
    if (p->ex == NULL || p->ex->operation->stream != STREAM_GEMINI ||
        p->detached->http.status != 200)
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
    if (p->detached->headers != NULL)
        type = http_headers_get(p->detached->headers, STR("content-type"));
    if (stream_framing_of(type, false, &framing))
        return framing == FRAMING_SSE ? JOURNAL_SHAPE_SSE : JOURNAL_SHAPE_FRAMES;
    return is_array(p, iov, count) ? JOURNAL_SHAPE_ARRAY : JOURNAL_SHAPE_WHOLE;
}

/* With the first bytes it is known what the answer is made of. */
YIELDS static int begin(struct producer *p, const struct iovec *iov, int count)
{
    const struct detached *d = p->detached;
    struct journal_head head = {.status = d->http.status, .content_length = d->content_length};
    enum journal_shape shape = shape_of(p, iov, count);
    struct arena *arena = d->http.arena;
    bool is_copied =
        http_headers_add(&head.headers, arena, STR("x-weir-stream-id"), journal_id(p->journal));
    for (uint32_t i = 0; is_copied && d->headers != NULL && i < d->headers->count; i++)
        is_copied = http_headers_add(&head.headers, arena, d->headers->items[i].name,
                                     d->headers->items[i].value);
    if (!is_copied)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for the head");
    if (shape != JOURNAL_SHAPE_WHOLE)
        head.content_length = -1; /* ids make it longer */
    journal_writer_init(&p->writer, p->journal, shape, p->adds_ids, p->event_bytes);
    p->has_begun = true;
    return journal_put_head(p->journal, &head);
}

/* Who sends the request once more gets this answer; not a failure that may be over by then. */
static bool is_worth_keeping(const struct producer *p)
{
    if (p->ex == NULL || p->detached->http.status >= 500 || p->detached->http.status == 429)
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

/* Readers that stand still are given up by their own connections. */
YIELDS static int write_answer(struct detached *d, const struct iovec *iov, int count, bool is_last)
{
    struct producer *p = d->owner;
    int r = 0;
    if (!p->has_begun)
        r = begin(p, iov, count);
    if (r == 0 && count > 0)
        r = journal_writer_write(&p->writer, iov, count);
    if (r == 0 && is_last)
        r = journal_writer_end(&p->writer);
    if (r == 0 && is_last)
        end_journal(p, true);
    return r;
}

/* --- its life
 * ---------------------------------------------------------------------------------------
 */

static void give_up(struct producer *p)
{
    p->is_given_up = true;
    detached_cancel(p->detached, ERR_RESET);
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

static void note_exchange(struct exchange *ex)
{
    struct producer *p = detached_of(ex->http)->owner;
    p->ex = ex;
}

YIELDS static void end(struct detached *d)
{
    struct producer *p = d->owner;
    if (!p->has_ended)
        end_journal(p, false);
    else if (!is_worth_keeping(p))
        journal_forget_once(p->journal); /* an error that only its last event told */
    if (p->is_given_up)
        journal_give_up(p->journal, JOURNAL_GONE_UNREAD);
    timer_disarm(&p->timer);
    if (p->has_begun)
        journal_writer_fini(&p->writer);
    journal_unref(p->journal);
}

static const struct detached_sink producer_sink = {
    .begun = note_exchange,
    .write = write_answer,
    .ended = end,
};

int producer_start(struct exchange *ex, const struct producer_settings *settings)
{
    struct detached *d = detached_new(ex, &producer_sink);
    struct producer *p = d == NULL ? NULL : ARENA_NEW(d->http.arena, struct producer);
    if (p == NULL) {
        if (d != NULL)
            detached_drop(d);
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a task");
    }
    d->owner = p;
    p->detached = d;
    p->journal = settings->journal;
    p->adds_ids = settings->adds_ids;
    p->grace_ns = settings->grace_ns;
    p->event_bytes = settings->event_bytes;
    d->body = ex->body;
    int r = detached_start(d, RUN_NORMAL, "answer for a journal");
    if (r < 0) {
        d->body = BUF_INIT; /* stays the exchange's */
        detached_drop(d);
        return r;
    }
    ex->body = BUF_INIT;
    timer_init(&p->timer, on_timer);
    loop_timer_arm(&p->timer,
                   clock_add_ns(loop_now_ns(), MIN(MAX(p->grace_ns, NS_PER_MS), LOOK_NS)));
    return 0;
}
