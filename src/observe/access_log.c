#include "observe/access_log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "observe/log_sink.h"
#include "observe/ring.h"
#include "rt/sys.h"

enum {
    RING_BYTES = 256 * 1024,
    /* A longer text of a record is cut: a line is for reading, and must fit into the ring. */
    TEXT_MAX = 1024,
    /* The writer formats about so much before it writes. */
    BATCH_BYTES = 64 * 1024,
    DIAGNOSTICS_BYTES = 64 * 1024,
    /* The writer looks into the rings so often, the more often the fuller it finds them ... */
    NAP_MIN_MS = 1,
    NAP_FIRST_MS = 5,
    NAP_MAX_MS = 50,
    /* ... and after so many looks in vain it sleeps until a thread wakes it. */
    IDLE_LOOKS = 20,
    /* How long a target that takes nothing may hold up the change to another one. */
    CHANGE_WAIT_MS = 500,
};

/* The texts of a record: only these point outside of it. */
#define TEXT(member) offsetof(struct request_record, member)
static const uint16_t texts[] = {
    TEXT(request_id),       TEXT(client_ip),   TEXT(method),         TEXT(path),
    TEXT(operation),        TEXT(dialect),     TEXT(key_name),       TEXT(model_asked),
    TEXT(provider),         TEXT(model),       TEXT(model_answered), TEXT(route),
    TEXT(outcome),          TEXT(error),       TEXT(error_message),  TEXT(finish_reason),
    TEXT(upstream_dialect), TEXT(failed),      TEXT(upstream_key),   TEXT(pair),
    TEXT(grpc_method),      TEXT(grpc_status),
};

/* Lines on their way to one sink. Only the writer touches it. */
struct lane {
    struct log_sink sink;
    struct buf out;
    size_t sent;
    unsigned lines; /* of records, in what `out` holds */
    bool is_full;   /* the sink takes nothing now */
    bool is_torn;   /* the last thing that reached the sink is a piece of a line */
};

/* What other threads tell the writer. */
struct orders {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an order was taken, or the writer has ended */
    bool has_sink;          /* change to `sink` */
    struct log_sink sink;
    char *target; /* path for reopening; NULL = off */
    bool reopen;
    bool stop;
    int64_t stop_deadline_ns;
    bool is_finished;
};

static struct {
    bool is_running; /* main thread only */
    pthread_t thread;
    int bell; /* eventfd */
    /* Written by loop threads and the writer. */
    atomic_bool is_on;     /* records are wanted */
    atomic_bool is_asleep; /* the writer waits for the bell alone */
    atomic_uint epoch;     /* counts closings: a thread's ring of an earlier one is gone */
    atomic_uint ring_count;
    unsigned ring_max;
    _Atomic(struct ring *) *rings;
    atomic_uint_fast64_t written;
    atomic_uint_fast64_t dropped; /* by the writer, and where there is no ring */
    struct lane access;
    struct lane stderr_lane;
    struct lane *access_lane; /* stderr_lane where both go to the same file */
    uint64_t dropped_told;
} writer = {.bell = -1, .epoch = 1};

static struct orders orders = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Diagnostic lines come rarely and from any thread, so a lock and a copy will do. */
static struct {
    pthread_mutex_t lock;
    bool is_open; /* the writer runs and will see what is put here */
    size_t len;
    uint64_t dropped;
    char bytes[DIAGNOSTICS_BYTES];
} diagnostics = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local struct {
    struct ring *ring;
    unsigned epoch;
    size_t belled_at; /* the ring's tail when the bell was last rung because it was half full */
} mine;

static void ring_bell(void)
{
    uint64_t one = 1;
    (void)!sys_write(writer.bell, &one, sizeof(one));
}

static void count(atomic_uint_fast64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* --- the loop threads' side ----------------------------------------------------------------------
 */

/* This thread's ring, made when it first writes; NULL when there is none to be had. */
static struct ring *my_ring(void)
{
    unsigned epoch = atomic_load_explicit(&writer.epoch, memory_order_relaxed);
    if (LIKELY(mine.epoch == epoch && mine.ring != NULL))
        return mine.ring;
    mine.epoch = epoch;
    mine.ring = NULL;
    if (atomic_load_explicit(&writer.ring_count, memory_order_relaxed) >= writer.ring_max)
        return NULL;
    struct ring *ring = ring_new(RING_BYTES);
    if (ring == NULL)
        return NULL;
    unsigned place = atomic_fetch_add_explicit(&writer.ring_count, 1, memory_order_relaxed);
    if (place >= writer.ring_max) {
        ring_free(ring);
        return NULL;
    }
    atomic_store(&writer.rings[place], ring);
    mine.ring = ring;
    mine.belled_at = SIZE_MAX;
    return ring;
}

static struct str text_of(const struct request_record *record, size_t i)
{
    struct str text;
    memcpy(&text, (const char *)record + texts[i], sizeof(text));
    return str_head(text, TEXT_MAX);
}

/* A record in the ring is the struct with its texts behind it, and their lengths in its strs. */
static bool put_record(struct ring *ring, const struct request_record *record)
{
    size_t size = sizeof(*record);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        size += text_of(record, i).len;
    char *place = ring_reserve(ring, size);
    if (place == NULL)
        return false;
    memcpy(place, record, sizeof(*record));
    char *next = place + sizeof(*record);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str text = text_of(record, i);
        memcpy(place + texts[i], &(struct str){NULL, text.len}, sizeof(text));
        if (text.len > 0)
            memcpy(next, text.ptr, text.len);
        next += text.len;
    }
    ring_commit(ring);
    return true;
}

/*
 * While there is traffic the writer comes by itself, so this costs no system call: the bell is
 * rung for a writer that sleeps, and once when a ring fills faster than the writer expects.
 */
static void call_writer(struct ring *ring)
{
    if (atomic_load(&writer.is_asleep)) {
        if (atomic_exchange(&writer.is_asleep, false))
            ring_bell();
        return;
    }
    size_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (LIKELY(head - ring->tail_seen <= RING_BYTES / 2))
        return;
    ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
    if (head - ring->tail_seen > RING_BYTES / 2 && mine.belled_at != ring->tail_seen) {
        mine.belled_at = ring->tail_seen;
        ring_bell();
    }
}

void access_log_write(const struct request_record *record)
{
    if (!atomic_load_explicit(&writer.is_on, memory_order_acquire))
        return;
    struct ring *ring = my_ring();
    if (ring == NULL) {
        count(&writer.dropped, 1);
        return;
    }
    if (put_record(ring, record))
        call_writer(ring);
    else
        ring_drop(ring);
}

uint64_t access_log_dropped(void)
{
    uint64_t sum = atomic_load_explicit(&writer.dropped, memory_order_relaxed);
    unsigned rings = MIN(atomic_load(&writer.ring_count), writer.ring_max);
    for (unsigned i = 0; i < rings; i++) {
        const struct ring *ring = atomic_load(&writer.rings[i]);
        if (ring != NULL)
            sum += ring_dropped(ring);
    }
    return sum;
}

uint64_t access_log_written(void)
{
    return atomic_load_explicit(&writer.written, memory_order_relaxed);
}

/* The sink of base/log while the writer runs. */
static void take_diagnostic(struct str line)
{
    pthread_mutex_lock(&diagnostics.lock);
    if (!diagnostics.is_open) {
        /* The log was closed between the caller's look at the sink and here. */
        (void)!sys_write(STDERR_FILENO, line.ptr, line.len);
    } else if (line.len <= sizeof(diagnostics.bytes) - diagnostics.len) {
        memcpy(diagnostics.bytes + diagnostics.len, line.ptr, line.len);
        diagnostics.len += line.len;
    } else {
        diagnostics.dropped++;
    }
    if (diagnostics.is_open && atomic_exchange(&writer.is_asleep, false))
        ring_bell();
    pthread_mutex_unlock(&diagnostics.lock);
}

/* --- the writer's side ---------------------------------------------------------------------------
 */

static unsigned count_lines(struct str bytes)
{
    unsigned lines = 0;
    for (size_t i = 0; i < bytes.len; i++)
        lines += bytes.ptr[i] == '\n';
    return lines;
}

/* What the lane still holds is lost. */
static void lane_drop(struct lane *lane)
{
    struct str rest = str_skip(buf_str(&lane->out), lane->sent);
    unsigned lost = MIN(lane->lines, count_lines(rest));
    count(&writer.dropped, lost);
    count(&writer.written, lane->lines - lost);
    lane->lines = 0;
    lane->is_torn = lane->sent > 0 ? lane->out.ptr[lane->sent - 1] != '\n' : lane->is_torn;
    buf_clear(&lane->out);
    lane->sent = 0;
    lane->is_full = false;
}

static void sink_failed(struct lane *lane)
{
    static struct log_limit limit;
    unsigned suppressed;
    lane_drop(lane);
    /* About stderr there is nobody left to tell. */
    if (lane != &writer.stderr_lane && log_allow(&limit, 1, &suppressed))
        log_event(LOG_ERROR, "access_log", "%s; lines are lost", err_slot()->message);
}

/* Writes what the lane holds as far as the sink takes it. */
static void lane_write(struct lane *lane)
{
    lane->is_full = false;
    if (lane->sink.fd < 0) {
        buf_clear(&lane->out);
        return;
    }
    while (lane->sent < lane->out.len) {
        ssize_t n = log_sink_write(&lane->sink, str_skip(buf_str(&lane->out), lane->sent));
        if (n < 0) {
            sink_failed(lane);
            return;
        }
        if (n == 0) {
            lane->is_full = true;
            return;
        }
        lane->sent += (size_t)n;
        lane->is_torn = lane->out.ptr[lane->sent - 1] != '\n';
    }
    count(&writer.written, lane->lines);
    lane->lines = 0;
    buf_clear(&lane->out);
    lane->sent = 0;
}

static void format_entry(struct lane *lane, const void *entry)
{
    struct buf *out = &lane->out;
    struct request_record record;
    memcpy(&record, entry, sizeof(record));
    const char *next = (const char *)entry + sizeof(record);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str text;
        memcpy(&text, (char *)&record + texts[i], sizeof(text));
        text.ptr = next;
        memcpy((char *)&record + texts[i], &text, sizeof(text));
        next += text.len;
    }
    size_t before = out->len;
    access_log_format(out, &record);
    if (!buf_ok(out)) {
        /* No memory for the line: it is lost, what was there before is not. */
        out->len = before;
        out->failed = false;
        count(&writer.dropped, 1);
        return;
    }
    lane->lines++;
}

/* Formats records of all rings until the batch is full. */
static void gather_records(struct lane *lane, size_t *fullest)
{
    unsigned rings = MIN(atomic_load(&writer.ring_count), writer.ring_max);
    for (unsigned i = 0; i < rings; i++) {
        struct ring *ring = atomic_load(&writer.rings[i]);
        if (ring == NULL)
            continue;
        *fullest = MAX(*fullest, ring_used(ring));
        const void *entry;
        for (size_t size; lane->out.len < BATCH_BYTES && (entry = ring_peek(ring, &size)) != NULL;
             ring_release(ring)) {
            if (lane->out.len == 0 && lane->is_torn)
                buf_add_char(&lane->out, '\n');
            format_entry(lane, entry);
        }
    }
}

static void gather_diagnostics(struct lane *lane)
{
    pthread_mutex_lock(&diagnostics.lock);
    size_t len = diagnostics.len;
    uint64_t dropped = diagnostics.dropped;
    if (len > 0) {
        if (lane->is_torn && lane->out.len == 0)
            buf_add_char(&lane->out, '\n');
        buf_add(&lane->out, diagnostics.bytes, len);
    }
    diagnostics.len = 0;
    diagnostics.dropped = 0;
    pthread_mutex_unlock(&diagnostics.lock);
    if (dropped > 0) /* this line waits for the next round, when there is room again */
        log_event(LOG_WARN, "log", "%llu lines were lost", (unsigned long long)dropped);
}

static bool has_work(void)
{
    bool has_sink = writer.access_lane->sink.fd >= 0;
    unsigned rings = MIN(atomic_load(&writer.ring_count), writer.ring_max);
    for (unsigned i = 0; has_sink && i < rings; i++) {
        struct ring *ring = atomic_load(&writer.rings[i]);
        if (ring != NULL && ring_used(ring) > 0)
            return true;
    }
    pthread_mutex_lock(&diagnostics.lock);
    bool has_diagnostics = diagnostics.len > 0;
    pthread_mutex_unlock(&diagnostics.lock);
    return has_diagnostics;
}

enum haul { HAUL_NOTHING, HAUL_ALL, HAUL_MORE };

/* One round: a batch from the rings and the diagnostics, as far as the sinks take it. HAUL_MORE
 * when the rings held more than a batch. *fullest gets the most bytes that a ring held. */
static enum haul move_lines(size_t *fullest)
{
    struct lane *lanes[] = {&writer.stderr_lane, &writer.access};
    enum haul haul = HAUL_NOTHING;
    *fullest = 0;
    for (unsigned i = 0; i < ARRAY_LEN(lanes); i++) {
        struct lane *lane = lanes[i];
        lane_write(lane);
        if (lane->is_full)
            continue;
        if (lane == &writer.stderr_lane)
            gather_diagnostics(lane);
        /* Without a sink the records wait: one may have been ordered a moment ago. */
        if (lane == writer.access_lane && lane->sink.fd >= 0)
            gather_records(lane, fullest);
        if (lane->out.len > 0)
            haul = MAX(haul, lane->out.len < BATCH_BYTES ? HAUL_ALL : HAUL_MORE);
        lane_write(lane);
    }
    return haul;
}

static void tell_dropped(void)
{
    static struct log_limit limit;
    unsigned suppressed;
    uint64_t dropped = access_log_dropped();
    if (dropped == writer.dropped_told || !log_allow(&limit, 1, &suppressed))
        return;
    log_event(LOG_WARN, "access_log", "%llu lines were lost: the log takes them too slowly",
              (unsigned long long)(dropped - writer.dropped_told));
    writer.dropped_told = dropped;
}

/* Waits for the bell, for a full sink to take bytes again, or for the time. */
static void wait_for_work(int timeout_ms)
{
    struct pollfd fds[3] = {{.fd = writer.bell, .events = POLLIN}};
    nfds_t n = 1;
    if (writer.access.is_full)
        fds[n++] = (struct pollfd){.fd = writer.access.sink.fd, .events = POLLOUT};
    if (writer.stderr_lane.is_full)
        fds[n++] = (struct pollfd){.fd = writer.stderr_lane.sink.fd, .events = POLLOUT};
    poll(fds, n, timeout_ms);
    uint64_t rings;
    if (fds[0].revents != 0)
        (void)!sys_read(writer.bell, &rings, sizeof(rings));
}

static bool is_blocked(void)
{
    return writer.access.is_full || writer.stderr_lane.is_full;
}

/* Moves lines until all that were there are written or the deadline has passed. */
static void finish_lines(int64_t deadline_ns)
{
    size_t fullest;
    while (move_lines(&fullest) == HAUL_MORE || is_blocked()) {
        int64_t left_ns = deadline_ns - clock_mono_ns();
        if (left_ns <= 0)
            break;
        if (is_blocked())
            wait_for_work((int)MIN(left_ns / NS_PER_MS + 1, NAP_MAX_MS));
    }
}

/* Counts what cannot be written any more. */
static void drop_rest(void)
{
    lane_drop(&writer.access);
    lane_drop(&writer.stderr_lane);
    unsigned rings = MIN(atomic_load(&writer.ring_count), writer.ring_max);
    for (unsigned i = 0; i < rings; i++) {
        struct ring *ring = atomic_load(&writer.rings[i]);
        for (size_t size; ring != NULL && ring_peek(ring, &size) != NULL; ring_release(ring))
            count(&writer.dropped, 1);
    }
}

static void change_sink(struct log_sink sink)
{
    finish_lines(clock_mono_ns() + CHANGE_WAIT_MS * NS_PER_MS);
    lane_drop(&writer.access);
    log_sink_close(&writer.access.sink);
    writer.access.sink = sink;
    writer.access.is_torn = false;
    writer.access_lane =
        log_sink_is_same(&sink, &writer.stderr_lane.sink) ? &writer.stderr_lane : &writer.access;
}

/* Does what the main thread ordered; true = stop, with what is left written until *deadline_ns. */
static bool obey(int64_t *deadline_ns)
{
    pthread_mutex_lock(&orders.lock);
    bool has_sink = orders.has_sink;
    struct log_sink sink = orders.sink;
    int opened = 0;
    if (orders.reopen && !has_sink && orders.target != NULL) {
        opened = log_sink_open(&sink, orders.target);
        has_sink = opened >= 0;
    }
    bool stop = orders.stop;
    *deadline_ns = orders.stop_deadline_ns;
    orders.has_sink = false;
    orders.reopen = false;
    pthread_cond_signal(&orders.changed);
    pthread_mutex_unlock(&orders.lock);
    if (opened < 0)
        log_event(LOG_ERROR, "access_log", "%s; going on with the old one", err_slot()->message);
    if (has_sink)
        change_sink(sink);
    return stop;
}

/* How long until the next look, from what the last one found. */
static int next_nap(int nap_ms, size_t fullest)
{
    if (fullest > RING_BYTES / 4)
        return MAX(nap_ms / 2, NAP_MIN_MS);
    return fullest < RING_BYTES / 16 ? MIN(nap_ms * 2, NAP_MAX_MS) : nap_ms;
}

/* Waits for the bell alone; a producer that finds the writer asleep rings it. */
static void sleep_till_called(void)
{
    buf_fini(&writer.access.out);
    buf_fini(&writer.stderr_lane.out);
    atomic_store(&writer.is_asleep, true);
    if (!has_work())
        wait_for_work(-1);
    atomic_store(&writer.is_asleep, false);
}

static void *run_writer(void *arg)
{
    int64_t deadline_ns;
    int nap_ms = NAP_FIRST_MS;
    unsigned idle_looks = 0;
    while (!obey(&deadline_ns)) {
        size_t fullest;
        enum haul haul = move_lines(&fullest);
        tell_dropped();
        idle_looks = haul == HAUL_NOTHING ? idle_looks + 1 : 0;
        nap_ms = next_nap(nap_ms, fullest);
        if (is_blocked()) {
            wait_for_work(NAP_MAX_MS);
        } else if (idle_looks >= IDLE_LOOKS) {
            sleep_till_called();
            idle_looks = 0;
            nap_ms = NAP_FIRST_MS;
        } else if (haul != HAUL_MORE) {
            wait_for_work(nap_ms);
        }
    }
    finish_lines(deadline_ns);
    drop_rest();
    buf_fini(&writer.access.out);
    buf_fini(&writer.stderr_lane.out);
    mem_blocks_trim();
    pthread_mutex_lock(&orders.lock);
    orders.is_finished = true;
    pthread_cond_signal(&orders.changed);
    pthread_mutex_unlock(&orders.lock);
    return arg;
}

/* --- the main thread's side
 * ------------------------------------------------------------------------ */

static int start_writer(unsigned threads)
{
    writer.bell = sys_eventfd();
    if (writer.bell < 0)
        return err_set_errno(ERR_IO, FAULT_GATEWAY, "cannot start the log's writer");
    writer.ring_max = MAX(threads, 1);
    writer.rings = mem_calloc_or_die(writer.ring_max, sizeof(*writer.rings));
    writer.access = (struct lane){.sink = LOG_SINK_NONE};
    writer.stderr_lane = (struct lane){.sink = LOG_SINK_NONE};
    writer.access_lane = &writer.access;
    if (log_sink_open(&writer.stderr_lane.sink, "stderr") < 0)
        writer.stderr_lane.sink = LOG_SINK_NONE;
    orders = (struct orders){.lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&orders.changed, &attributes);
    pthread_condattr_destroy(&attributes);
    /* Signals are for the main thread, and a broken pipe must be an error, not a signal. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&writer.thread, NULL, run_writer, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        errno = failed;
        return err_set_errno(ERR_IO, FAULT_GATEWAY, "cannot start the log's writer");
    }
    pthread_setname_np(writer.thread, "weir-log");
    writer.is_running = true;
    pthread_mutex_lock(&diagnostics.lock);
    diagnostics.is_open = true;
    pthread_mutex_unlock(&diagnostics.lock);
    log_set_sink(take_diagnostic);
    return 0;
}

/* Waits with the lock held until the flag is as wanted; false when it is not by then. */
static bool await_order(const bool *flag, bool wanted, int64_t deadline_ns)
{
    struct timespec until = {.tv_sec = deadline_ns / NS_PER_SEC,
                             .tv_nsec = deadline_ns % NS_PER_SEC};
    while (*flag != wanted && pthread_cond_timedwait(&orders.changed, &orders.lock, &until) == 0)
        ;
    return *flag == wanted;
}

static void release_writer(void)
{
    /* Threads that still hold a ring see from the epoch that it is gone. */
    atomic_fetch_add(&writer.epoch, 1);
    for (unsigned i = 0; i < writer.ring_max; i++) {
        struct ring *ring = atomic_load(&writer.rings[i]);
        if (ring != NULL) {
            count(&writer.dropped, ring_dropped(ring));
            ring_free(ring);
        }
    }
    atomic_store(&writer.ring_count, 0);
    writer.ring_max = 0;
    mem_free(writer.rings);
    writer.rings = NULL;
    log_sink_close(&writer.access.sink);
    log_sink_close(&writer.stderr_lane.sink);
    if (writer.bell >= 0)
        sys_close(writer.bell);
    writer.bell = -1;
    mem_free(orders.target);
    orders.target = NULL;
}

int access_log_open(const char *target, unsigned threads)
{
    struct log_sink sink = LOG_SINK_NONE;
    char *kept = NULL;
    if (target != NULL) {
        size_t len = str_c(target).len + 1;
        kept = mem_alloc(len);
        if (kept == NULL)
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to open the access log");
        memcpy(kept, target, len);
    }
    if (target != NULL && log_sink_open(&sink, target) < 0) {
        mem_free(kept);
        return -ERR_IO;
    }
    if (!writer.is_running && start_writer(threads) < 0) {
        mem_free(kept);
        log_sink_close(&sink);
        release_writer();
        return -ERR_IO;
    }
    pthread_mutex_lock(&orders.lock);
    /* What was written for the target before this one must not go to this one. */
    if (!await_order(&orders.has_sink, false, clock_mono_ns() + NS_PER_SEC))
        log_sink_close(&orders.sink);
    orders.has_sink = true;
    orders.sink = sink;
    mem_free(orders.target);
    orders.target = kept;
    pthread_mutex_unlock(&orders.lock);
    atomic_store(&writer.is_on, target != NULL);
    ring_bell();
    return 0;
}

void access_log_reopen(void)
{
    if (!writer.is_running)
        return;
    pthread_mutex_lock(&orders.lock);
    orders.reopen = true;
    pthread_mutex_unlock(&orders.lock);
    ring_bell();
}

void access_log_close(int64_t max_wait_ns)
{
    /* What the writer may take beyond its deadline: the rest of a round. */
    static const int64_t grace_ns = NS_PER_SEC;
    if (!writer.is_running)
        return;
    atomic_store(&writer.is_on, false);
    log_set_sink(NULL);
    pthread_mutex_lock(&diagnostics.lock);
    diagnostics.is_open = false;
    pthread_mutex_unlock(&diagnostics.lock);
    int64_t deadline_ns = clock_add_ns(clock_mono_ns(), max_wait_ns);
    pthread_mutex_lock(&orders.lock);
    orders.stop = true;
    orders.stop_deadline_ns = deadline_ns;
    pthread_mutex_unlock(&orders.lock);
    ring_bell();
    pthread_mutex_lock(&orders.lock);
    bool is_finished = await_order(&orders.is_finished, true, clock_add_ns(deadline_ns, grace_ns));
    pthread_mutex_unlock(&orders.lock);
    if (!is_finished) {
        /* It hangs in a write to a file system that does not answer. It keeps its memory, and ends
         * with the process. */
        pthread_detach(writer.thread);
        return;
    }
    pthread_join(writer.thread, NULL);
    pthread_cond_destroy(&orders.changed);
    writer.is_running = false;
    if (orders.has_sink)
        log_sink_close(&orders.sink);
    release_writer();
}
