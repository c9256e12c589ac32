#include "gateway/heartbeat.h"

#include "base/clock.h"
#include "gateway/exchange.h"
#include "gateway/relay_stream.h"
#include "observe/metrics.h"
#include "rt/loop.h"
#include "stream/frames.h"

struct heartbeat {
    struct exchange *ex;
    struct task *task;   /* NULL: it has ended */
    struct task *waiter; /* for its end */
    bool is_stopping, is_writing;
    int code; /* of the last write */
};

static bool is_wanted(const struct exchange *ex)
{
    bool beats = ex->http->status != 0 && ex->settings->timeouts.heartbeat > 0;
    bool is_early = ex->http->status == 0 && ex->policy->early_head_ns > 0;
    return ex->is_stream && ex->client != NULL && (beats || is_early);
}

int64_t heartbeat_next_ns(const struct exchange *ex)
{
    if (!is_wanted(ex))
        return CLOCK_NEVER;
    int64_t now_ns = loop_now_ns();
    if (ex->http->status == 0)
        return MAX(clock_add_ns(ex->start_ns, ex->policy->early_head_ns), now_ns);
    int64_t heartbeat_ns = ex->settings->timeouts.heartbeat;
    return heartbeat_ns > 0 ? clock_add_ns(now_ns, heartbeat_ns) : CLOCK_NEVER;
}

/* Which target will answer is not known yet: the head says what is. */
YIELDS static int send_head(struct exchange *ex)
{
    struct http_headers headers = {0};
    const struct http_header told[] = {
        {STR("Content-Type"), stream_framing_type(relay_client_framing(ex))},
        {STR("Cache-Control"), STR("no-cache, no-transform")},
        {STR("X-Accel-Buffering"), STR("no")},
        {STR("x-weir-request-id"), ex->record.request_id},
        {STR("x-weir-route"), ex->record.route},
    };
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        if (told[i].value.len > 0 &&
            !http_headers_add(&headers, ex->arena, told[i].name, told[i].value))
            return -ERR_NOMEM;
    }
    int r = http_response_start(ex->http, 200, &headers, -1);
    ex->is_head_early = r == 0;
    return r < 0 ? r : http_response_write(ex->http, NULL, 0, false, CLOCK_NEVER);
}

YIELDS static int send_beat(struct exchange *ex)
{
    struct buf out = BUF_INIT;
    struct frame_writer writer;
    frame_writer_init(&writer, relay_client_framing(ex), &out);
    writer.has_no_comments = ex->client->id == DIALECT_GEMINI;
    int r = 0;
    if (frame_write_heartbeat(&writer) && buf_ok(&out)) {
        struct iovec iov = {out.ptr, out.len};
        r = http_response_write(ex->http, &iov, 1, false, CLOCK_NEVER);
        metrics_count(METRIC_HEARTBEATS, 1);
    }
    frame_writer_fini(&writer);
    buf_fini(&out);
    return r;
}

YIELDS int heartbeat_now(struct exchange *ex)
{
    return ex->http->status == 0 ? send_head(ex) : send_beat(ex);
}

static void beat(void *arg)
{
    struct heartbeat *h = arg;
    while (!h->is_stopping && h->code == 0) {
        int r = task_sleep_until(heartbeat_next_ns(h->ex));
        if (r < 0 || h->is_stopping)
            break;
        h->is_writing = true;
        h->code = heartbeat_now(h->ex);
        h->is_writing = false;
    }
    h->task = NULL;
    if (h->waiter != NULL)
        task_wake(h->waiter);
}

void heartbeat_begin(struct exchange *ex)
{
    if (!is_wanted(ex))
        return;
    if (ex->heartbeat == NULL)
        ex->heartbeat = ARENA_NEW(ex->arena, struct heartbeat);
    struct heartbeat *h = ex->heartbeat;
    if (h == NULL || h->code < 0)
        return;
    *h = (struct heartbeat){.ex = ex};
    h->task = task_spawn(RUN_NORMAL, "heartbeat", beat, h);
}

YIELDS void heartbeat_end(struct exchange *ex)
{
    struct heartbeat *h = ex->heartbeat;
    if (h == NULL || h->task == NULL)
        return;
    h->is_stopping = true;
    h->waiter = task_self();
    /* A write that is under way is waited for: half an event must not stay. */
    if (!h->is_writing)
        task_cancel(h->task, ERR_CANCELED);
    task_shield();
    while (h->task != NULL)
        task_park(CLOCK_NEVER);
    task_unshield();
    h->waiter = NULL;
}

YIELDS void heartbeat_fail(struct exchange *ex, const struct llm_error *error)
{
    struct buf out = BUF_INIT;
    struct frame_writer writer;
    frame_writer_init(&writer, relay_client_framing(ex), &out);
    struct llm_encoder *encoder = ex->client->encoder_new(ex->arena, &ex->codec);
    struct llm_event event = llm_event_make(EVENT_ERROR);
    event.error = *error;
    ex->is_head_early = false;
    if (encoder != NULL)
        ex->client->encode(encoder, &event, &writer.frames);
    frame_write_end(&writer);
    struct iovec iov = {out.ptr, out.len};
    http_response_write(ex->http, &iov, out.len > 0, true, CLOCK_NEVER);
    frame_writer_fini(&writer);
    buf_fini(&out);
}
