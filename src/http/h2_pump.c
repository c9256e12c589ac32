#include "http/h2_pump.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    READS_A_TURN = 8,             /* of the scratch buffer; then others run */
    GATHER_BYTES = 64 * 1024,     /* of frames that leave in one write */
    CREDIT_MAX = 1000,            /* frames that cost work and bring nothing, in a burst */
    CREDIT_A_SECOND = 100,        /* and for ever */
    CREDIT_PER_DATA_SENT = 2,     /* a peer may answer data with WINDOW_UPDATE and PING */
    CONTINUATIONS_MAX = 16,       /* of a head */
    HEAD_SENT_BYTES = 256 * 1024, /* a head that is passed on, and what we add to it */
    SETTINGS_MAX = 32,            /* entries of one frame */
    OUTBOUND_ACKS_MAX = 1000,     /* that wait for a peer that does not read */
    RESETS_BURST = 1000,
    RESETS_A_SECOND = 33,
};

int h2_error(int code, const char *what)
{
    enum err_code ours = code == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_PROTOCOL;
    return err_set(ours, ours == ERR_NOMEM ? FAULT_GATEWAY : FAULT_NONE, "HTTP/2 %s: %s", what,
                   nghttp2_strerror(code));
}

/* --- floods ---------------------------------------------------------------------------------- */

/*
 * Frames that cost us work and bring nothing forward are paid from a credit that fills slowly.
 * Heads and data are not among them: they are bounded by streams and windows.
 */
static bool is_charged(const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_HEADERS:
        return false;
    case NGHTTP2_DATA:
        return hd->length == 0 && (hd->flags & NGHTTP2_FLAG_END_STREAM) == 0;
    default:
        return true; /* resets, pings, settings, priorities, updates, continuations, unknown ones */
    }
}

static bool pay(struct h2_pump *p)
{
    int64_t now_ns = loop_now_ns();
    int64_t earned = (now_ns - p->credit_ns) / (NS_PER_SEC / CREDIT_A_SECOND);
    if (earned > 0) {
        p->credit = MIN(p->credit + earned, (int64_t)CREDIT_MAX);
        p->credit_ns = now_ns;
    }
    return p->credit-- > 0;
}

int h2_pump_charge(struct h2_pump *p, const nghttp2_frame_hd *hd)
{
    if (!is_charged(hd) || p->is_flooded || pay(p))
        return 0;
    p->is_flooded = true;
    return nghttp2_session_terminate_session(p->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

void h2_pump_sent(struct h2_pump *p, const nghttp2_frame *frame)
{
    if (frame->hd.type == NGHTTP2_DATA)
        p->credit = MIN(p->credit + CREDIT_PER_DATA_SENT, (int64_t)CREDIT_MAX);
}

/* --- the session ----------------------------------------------------------------------------- */

static void *alloc(size_t size, void *ctx)
{
    (void)ctx;
    return mem_alloc(size);
}

static void *alloc_zeroed(size_t count, size_t size, void *ctx)
{
    (void)ctx;
    return mem_calloc(count, size);
}

static void *alloc_again(void *ptr, size_t size, void *ctx)
{
    (void)ctx;
    return mem_realloc(ptr, size);
}

static void release(void *ptr, void *ctx)
{
    (void)ctx;
    mem_free(ptr);
}

static nghttp2_option *make_options(void)
{
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0)
        return NULL;
    /* Credit goes back when the other side has taken the bytes, not when they came. */
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_send_header_block_length(option, HEAD_SENT_BYTES);
    nghttp2_option_set_max_settings(option, SETTINGS_MAX);
    nghttp2_option_set_max_outbound_ack(option, OUTBOUND_ACKS_MAX);
#ifdef WEIR_NGHTTP2_HAS_STREAM_RESET_RATE_LIMIT
    nghttp2_option_set_stream_reset_rate_limit(option, RESETS_BURST, RESETS_A_SECOND);
#endif
#ifdef WEIR_NGHTTP2_HAS_MAX_CONTINUATIONS
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
#endif
    return option;
}

int h2_pump_open(struct h2_pump *p, struct io *io, bool is_server, h2_pump_callbacks *more,
                 job_fn *job)
{
    nghttp2_mem mem = {NULL, alloc, release, alloc_zeroed, alloc_again};
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = make_options();
    int code = NGHTTP2_ERR_NOMEM;
    *p = (struct h2_pump){.io = io, .task = job == NULL ? task_self() : NULL, .credit = CREDIT_MAX};
    job_init(&p->job, job);
    p->heard_ns = p->credit_ns = p->out_since_ns = loop_now_ns();
    if (option != NULL && nghttp2_session_callbacks_new(&callbacks) == 0) {
        more(callbacks);
        code = is_server ? nghttp2_session_server_new3(&p->session, callbacks, p, option, &mem)
                         : nghttp2_session_client_new3(&p->session, callbacks, p, option, &mem);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return code == 0 ? 0 : h2_error(code, "session");
}

int h2_pump_greet(struct h2_pump *p, const nghttp2_settings_entry *settings, size_t count)
{
    int code = nghttp2_submit_settings(p->session, NGHTTP2_FLAG_NONE, settings, count);
    if (code == 0)
        code = nghttp2_session_set_local_window_size(p->session, NGHTTP2_FLAG_NONE, 0,
                                                     H2_CONN_WINDOW_BYTES);
    return code == 0 ? 0 : h2_error(code, "settings");
}

void h2_pump_close(struct h2_pump *p)
{
    loop_unqueue(&p->job);
    nghttp2_session_del(p->session);
    p->session = NULL;
    buf_fini(&p->out);
}

void h2_pump_wake(struct h2_pump *p)
{
    if (p->task != NULL)
        task_wake(p->task);
    else
        loop_queue(&p->job);
}

bool h2_pump_is_alive(const struct h2_pump *p)
{
    return nghttp2_session_want_read(p->session) != 0 ||
           nghttp2_session_want_write(p->session) != 0 || p->out.len > 0;
}

/* --- bytes ----------------------------------------------------------------------------------- */

struct feed {
    struct h2_pump *pump;
    struct str bytes;
    ssize_t result;
};

static void feed_session(void *arg)
{
    struct feed *feed = arg;
    no_yield_begin();
    feed->result = nghttp2_session_mem_recv(feed->pump->session, (const uint8_t *)feed->bytes.ptr,
                                            feed->bytes.len);
    no_yield_end();
}

int h2_pump_feed(struct h2_pump *p, struct str bytes)
{
    struct feed feed = {.pump = p, .bytes = bytes};
    on_loop_stack(feed_session, &feed);
    return feed.result < 0 ? h2_error((int)feed.result, "from the peer") : 0;
}

/* Frames of all streams, as much as leaves in one write. */
static void gather(void *arg)
{
    struct feed *feed = arg;
    struct h2_pump *p = feed->pump;
    const uint8_t *bytes;
    no_yield_begin();
    feed->result = 0;
    while (p->out.len < GATHER_BYTES) {
        ssize_t n = nghttp2_session_mem_send(p->session, &bytes);
        if (n <= 0) {
            feed->result = n;
            break;
        }
        buf_add(&p->out, bytes, (size_t)n);
    }
    no_yield_end();
}

int h2_pump_send(struct h2_pump *p)
{
    for (;;) {
        struct feed feed = {.pump = p};
        if (p->out.len == 0)
            p->out_since_ns = loop_now_ns();
        on_loop_stack(gather, &feed);
        if (feed.result < 0)
            return h2_error((int)feed.result, "to the peer");
        if (!buf_ok(&p->out))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for HTTP/2 frames");
        if (p->out.len == 0)
            break;
        struct iovec iov = {p->out.ptr, p->out.len};
        ssize_t n = io_try_writev(p->io, &iov, 1);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return 0;
        p->out_since_ns = loop_now_ns();
        buf_consume(&p->out, (size_t)n);
    }
    buf_fini(&p->out);
    return 0;
}

int h2_pump_move(struct h2_pump *p)
{
    for (unsigned i = 0; i < READS_A_TURN; i++) {
        struct str bytes;
        ssize_t n = io_try_recv(p->io, &bytes);
        int r = n < 0 ? (int)n : n > 0 ? h2_pump_feed(p, bytes) : h2_pump_send(p);
        if (n <= 0 || r < 0)
            return r;
        p->heard_ns = loop_now_ns();
    }
    int r = h2_pump_send(p);
    return r < 0 ? r : 1;
}

YIELDS int h2_pump_wait(struct h2_pump *p, int64_t deadline_ns)
{
    return io_wait_news(p->io, p->out.len > 0, deadline_ns);
}
