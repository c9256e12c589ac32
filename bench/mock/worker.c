#include "worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "answer.h"
#include "request.h"

enum {
    READ_BYTES = 256 * 1024,
    EVENTS_A_TURN = 256,
    /* Tokens that a stream without pauses sends before another one gets its turn. */
    BURST = 16,
};

struct conn {
    struct heap_node timer; /* first, so that a timer is its connection */
    int fd;
    bool is_answering;
    bool is_held;
    bool waits_for_room; /* EPOLLOUT is asked for */
    struct conn *held_next;
    struct conn *held_before;
    char *pending; /* what the socket did not take yet */
    size_t pending_len;
    size_t pending_at;
    enum answer_next next; /* what follows when `pending` is sent */
    struct answer answer;
    struct request request;
};

static void add(_Atomic uint64_t *counter, int64_t amount)
{
    /* One writer: no read-modify-write of the whole machine is needed. */
    uint64_t now = __atomic_load_n((uint64_t *)counter, __ATOMIC_RELAXED);
    __atomic_store_n((uint64_t *)counter, now + (uint64_t)amount, __ATOMIC_RELAXED);
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t next_random(struct worker *worker)
{
    uint64_t x = worker->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return worker->random = x;
}

static void out_of_memory(void)
{
    fputs("mock: out of memory\n", stderr);
    exit(1);
}

/* --- connections
 * ----------------------------------------------------------------------------------- */

static void hold(struct worker *worker, struct conn *conn)
{
    conn->is_held = true;
    conn->held_before = NULL;
    conn->held_next = worker->held;
    if (worker->held != NULL)
        worker->held->held_before = conn;
    worker->held = conn;
}

static void unhold(struct worker *worker, struct conn *conn)
{
    if (!conn->is_held)
        return;
    conn->is_held = false;
    if (conn->held_before != NULL)
        conn->held_before->held_next = conn->held_next;
    else
        worker->held = conn->held_next;
    if (conn->held_next != NULL)
        conn->held_next->held_before = conn->held_before;
}

static void watch(struct worker *worker, struct conn *conn, int operation)
{
    uint32_t room = conn->waits_for_room ? EPOLLOUT : 0;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | room, .data.ptr = conn};
    epoll_ctl(worker->epoll, operation, conn->fd, &event);
}

/* Closes a connection; an answer that was under way counts as aborted. */
static void conn_close(struct worker *worker, struct conn *conn)
{
    if (conn->is_answering) {
        add(&worker->stats.in_progress, -1);
        add(&worker->stats.aborted, 1);
    }
    unhold(worker, conn);
    heap_remove(&worker->heap, &conn->timer);
    close(conn->fd);
    free(conn->pending);
    free(conn);
    add(&worker->stats.connections, -1);
}

/* Keeps what the socket did not take. */
static void keep_pending(struct worker *worker, struct conn *conn, const char *bytes, size_t len)
{
    conn->pending = malloc(len);
    if (conn->pending == NULL)
        out_of_memory();
    memcpy(conn->pending, bytes, len);
    conn->pending_len = len;
    conn->pending_at = 0;
    conn->waits_for_room = true;
    watch(worker, conn, EPOLL_CTL_MOD);
}

/* Sends; what does not fit is kept. False: the connection is gone. */
static bool conn_send(struct worker *worker, struct conn *conn, const char *bytes, size_t len)
{
    ssize_t sent = send(conn->fd, bytes, len, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            return false;
        sent = 0;
    }
    if ((size_t)sent < len)
        keep_pending(worker, conn, bytes + sent, len - (size_t)sent);
    return true;
}

/* --- answering
 * --------------------------------------------------------------------------------------- */

static void answer_over(struct worker *worker, struct conn *conn)
{
    bool is_last = conn->request.is_last;
    conn->is_answering = false;
    add(&worker->stats.in_progress, -1);
    add(&worker->stats.completed, 1);
    request_reset(&conn->request);
    if (is_last)
        conn_close(worker, conn);
}

/* Goes on as the last step said, once its bytes are on their way. */
static void proceed(struct worker *worker, struct conn *conn)
{
    switch (conn->next) {
    case ANSWER_PAUSE:
        heap_put(&worker->heap, &conn->timer, conn->answer.due_ns);
        break;
    case ANSWER_HOLD:
        hold(worker, conn);
        break;
    case ANSWER_END:
        answer_over(worker, conn);
        break;
    case ANSWER_CUT:
        conn_close(worker, conn);
        break;
    }
}

static char *scratch(struct worker *worker, size_t room)
{
    if (room > worker->scratch_room) {
        free(worker->scratch);
        worker->scratch = malloc(room);
        worker->scratch_room = room;
        if (worker->scratch == NULL)
            out_of_memory();
    }
    return worker->scratch;
}

/* Sends what is due of an answer. */
static void conn_answer(struct worker *worker, struct conn *conn)
{
    char *out = scratch(worker, answer_room(&conn->answer));
    for (int i = 0; i < BURST; i++) {
        size_t len = 0;
        uint64_t before = conn->answer.seq;
        conn->next = answer_step(&conn->answer, now_ns(), next_random(worker), out, &len);
        add(&worker->stats.tokens, (int64_t)(conn->answer.seq - before));
        if (len > 0 && !conn_send(worker, conn, out, len)) {
            conn_close(worker, conn);
            return;
        }
        if (conn->pending != NULL)
            return; /* on_room proceeds */
        if (conn->next != ANSWER_PAUSE || conn->answer.call.model.gap_ns > 0)
            break;
    }
    proceed(worker, conn);
}

static void begin_call(struct worker *worker, struct conn *conn)
{
    const struct request *request = &conn->request;
    conn->answer = (struct answer){
        .call = request->call,
        .is_stream = request->is_stream,
        .wants_usage = request->wants_usage,
        .is_last = request->is_last,
    };
    conn->is_answering = true;
    add(&worker->stats.calls, 1);
    add(&worker->stats.in_progress, 1);
    const struct format_model *model = &conn->answer.call.model;
    if (model->is_held && !request->is_stream)
        hold(worker, conn);
    else if (model->wait_ns > 0)
        heap_put(&worker->heap, &conn->timer, now_ns() + model->wait_ns);
    else
        conn_answer(worker, conn);
}

static void answer_with(struct worker *worker, struct conn *conn, const char *status,
                        const char *body)
{
    bool is_last = conn->request.is_last || conn->request.phase == REQUEST_BROKEN;
    char *out = scratch(worker, strlen(body) + FORMAT_SLACK);
    size_t len = answer_plain(out, status, body, is_last);
    bool is_sent = conn_send(worker, conn, out, len);
    request_reset(&conn->request);
    if (!is_sent || is_last)
        conn_close(worker, conn);
}

static void refuse(struct worker *worker, struct conn *conn, const char *status,
                   const char *problem)
{
    char body[256];
    snprintf(body, sizeof(body), "{\"error\":{\"message\":\"mock: %s\",\"type\":\"mock_error\"}}",
             problem);
    add(&worker->stats.refused, 1);
    answer_with(worker, conn, status, body);
}

static void serve_chat(struct worker *worker, struct conn *conn)
{
    if (conn->request.problem != NULL || conn->request.call.name_len == 0)
        refuse(worker, conn, "400 Bad Request",
               conn->request.problem != NULL ? conn->request.problem : "no body");
    else
        begin_call(worker, conn);
}

static void serve_stats(struct worker *worker, struct conn *conn)
{
    static const struct {
        const char *name;
        size_t offset;
    } counters[] = {
        {"connections", offsetof(struct worker_stats, connections)},
        {"in_progress", offsetof(struct worker_stats, in_progress)},
        {"calls", offsetof(struct worker_stats, calls)},
        {"completed", offsetof(struct worker_stats, completed)},
        {"aborted", offsetof(struct worker_stats, aborted)},
        {"refused", offsetof(struct worker_stats, refused)},
        {"tokens", offsetof(struct worker_stats, tokens)},
    };
    char body[512];
    size_t len = 0;
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        uint64_t sum = 0;
        for (unsigned w = 0; w < worker->all_count; w++) {
            const char *stats = (const char *)&worker->all[w].stats;
            sum += __atomic_load_n((const uint64_t *)(const void *)(stats + counters[i].offset),
                                   __ATOMIC_RELAXED);
        }
        len += (size_t)snprintf(body + len, sizeof(body) - len, "%c\"%s\":%" PRIu64,
                                i == 0 ? '{' : ',', counters[i].name, sum);
    }
    snprintf(body + len, sizeof(body) - len, "}\n");
    answer_with(worker, conn, "200 OK", body);
}

static void serve_release(struct worker *worker, struct conn *conn)
{
    answer_with(worker, conn, "200 OK", "{\"released\":true}\n");
    for (unsigned w = 0; w < worker->all_count; w++)
        eventfd_write(worker->all[w].wake, 1);
}

static void serve_models(struct worker *worker, struct conn *conn)
{
    answer_with(worker, conn, "200 OK",
                "{\"object\":\"list\",\"data\":[{\"id\":\"bench\",\"object\":\"model\","
                "\"created\":1754000000,\"owned_by\":\"mock\"}]}\n");
}

static const struct {
    const char *method;
    const char *path;
    void (*serve)(struct worker *worker, struct conn *conn);
} routes[] = {
    {"POST", "/v1/chat/completions", serve_chat},
    {"GET", "/stats", serve_stats},
    {"POST", "/release", serve_release},
    {"GET", "/v1/models", serve_models},
};

static void dispatch(struct worker *worker, struct conn *conn)
{
    const struct request *request = &conn->request;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(routes[i].method, request->method) == 0 &&
            strcmp(routes[i].path, request->path) == 0) {
            routes[i].serve(worker, conn);
            return;
        }
    }
    refuse(worker, conn, "404 Not Found", "no such path");
}

/* --- events
 * -------------------------------------------------------------------------------------------- */

static void on_readable(struct worker *worker, struct conn *conn)
{
    static _Thread_local char bytes[READ_BYTES];
    ssize_t got = recv(conn->fd, bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EAGAIN)
        return;
    /* Bytes during an answer would be pipelining, which no proxy does: nothing to be served. */
    if (got <= 0 || conn->is_answering) {
        conn_close(worker, conn);
        return;
    }
    struct request *request = &conn->request;
    size_t used = request_feed(request, bytes, (size_t)got);
    if (request->phase == REQUEST_BODY && request->wants_continue) {
        request->wants_continue = false;
        static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
        if (!conn_send(worker, conn, go_on, sizeof(go_on) - 1))
            conn_close(worker, conn);
    } else if (request->phase == REQUEST_BROKEN) {
        refuse(worker, conn, "400 Bad Request", request->problem);
    } else if (request->phase == REQUEST_DONE && used < (size_t)got) {
        request->is_last = true;
        refuse(worker, conn, "400 Bad Request", "there are bytes behind the request");
    } else if (request->phase == REQUEST_DONE) {
        dispatch(worker, conn);
    }
}

static void on_room(struct worker *worker, struct conn *conn)
{
    ssize_t sent = send(conn->fd, conn->pending + conn->pending_at,
                        conn->pending_len - conn->pending_at, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            conn_close(worker, conn);
        return;
    }
    conn->pending_at += (size_t)sent;
    if (conn->pending_at < conn->pending_len)
        return;
    free(conn->pending);
    conn->pending = NULL;
    conn->waits_for_room = false;
    watch(worker, conn, EPOLL_CTL_MOD);
    if (conn->is_answering)
        proceed(worker, conn);
}

static void on_event(struct worker *worker, struct conn *conn, uint32_t events)
{
    if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP))
        conn_close(worker, conn);
    else if (events & EPOLLIN)
        on_readable(worker, conn);
    else if (events & EPOLLOUT)
        on_room(worker, conn);
}

static void on_accept(struct worker *worker)
{
    for (int i = 0; i < 64; i++) {
        int fd = accept4(worker->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct conn *conn = malloc(sizeof(*conn));
        if (conn == NULL)
            out_of_memory();
        /* The windows of the request stay untouched memory until they are used. */
        memset(conn, 0, offsetof(struct conn, request));
        request_reset(&conn->request);
        conn->fd = fd;
        watch(worker, conn, EPOLL_CTL_ADD);
        add(&worker->stats.connections, 1);
    }
}

static void on_release(struct worker *worker)
{
    eventfd_t count;
    eventfd_read(worker->wake, &count);
    uint64_t now = now_ns();
    while (worker->held != NULL) {
        struct conn *conn = worker->held;
        unhold(worker, conn);
        conn->answer.due_ns = now;
        heap_put(&worker->heap, &conn->timer, now);
    }
}

static void run_due(struct worker *worker)
{
    uint64_t now = now_ns();
    for (int i = 0; i < EVENTS_A_TURN; i++) {
        struct heap_node *node = heap_first(&worker->heap);
        if (node == NULL || node->due_ns > now)
            return;
        heap_remove(&worker->heap, node);
        conn_answer(worker, (struct conn *)(void *)node);
    }
}

void *worker_run(void *argument)
{
    struct worker *worker = argument;
    struct epoll_event events[EVENTS_A_TURN];
    for (;;) {
        struct timespec wait = {0, 0};
        struct heap_node *first = heap_first(&worker->heap);
        uint64_t now = first != NULL ? now_ns() : 0;
        if (first != NULL && first->due_ns > now) {
            wait.tv_sec = (time_t)((first->due_ns - now) / 1000000000u);
            wait.tv_nsec = (long)((first->due_ns - now) % 1000000000u);
        }
        int count =
            epoll_pwait2(worker->epoll, events, EVENTS_A_TURN, first != NULL ? &wait : NULL, NULL);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &worker->listener)
                on_accept(worker);
            else if (events[i].data.ptr == &worker->wake)
                on_release(worker);
            else
                on_event(worker, events[i].data.ptr, events[i].events);
        }
        run_due(worker);
    }
    return NULL;
}

static bool listen_on(int fd, uint16_t *port)
{
    int on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(*port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof(address);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, len) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return false;
    *port = ntohs(address.sin_port);
    return true;
}

bool worker_open(struct worker *worker, uint16_t *port)
{
    worker->random = 88172645463325252u ^ (uint64_t)(uintptr_t)worker;
    worker->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    worker->epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    struct epoll_event accepting = {.events = EPOLLIN, .data.ptr = &worker->listener};
    struct epoll_event waking = {.events = EPOLLIN, .data.ptr = &worker->wake};
    if (worker->listener < 0 || worker->epoll < 0 || worker->wake < 0 ||
        !listen_on(worker->listener, port) ||
        epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->listener, &accepting) != 0 ||
        epoll_ctl(worker->epoll, EPOLL_CTL_ADD, worker->wake, &waking) != 0) {
        perror("mock: cannot listen");
        return false;
    }
    return true;
}
