/*
 * WebSocket sessions through a proxy, both ends in one process:
 *
 *   sockets --sessions N --seconds N --interval-ms N --bytes N [--key KEY] [--path PATH]
 *
 * Listens as the upstream and prints its port; reads the proxy's port from standard input, opens
 * the sessions through it, and begins. The upstream sends each session a text message an interval;
 * each client interrupts ten times a second. One line of JSON at the end: how many messages
 * crossed, how long they and the interruptions took, and what was wrong: a message that is lost,
 * doubled, out of order or of another size is a fault, and the exit status is 1.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "http/websocket.h"
#include "http/websocket_handshake.h"

enum {
    HEAD_MAX = 8192,
    READ_BYTES = 64 * 1024,
    MESSAGE_MAX = 2048,
    CANCEL_NS = 100 * 1000 * 1000,
    OPEN_LIMIT_S = 20,
    /* After the last message was sent: what is still on its way. */
    REST_MS = 500,
};

struct end {
    int fd;
    bool is_upstream, is_open;
    struct ws_reader reader;
    char head[HEAD_MAX]; /* the handshake's; afterwards the message that is being read */
    size_t len;
    unsigned sent, got;
    int64_t next_ns;
};

struct times {
    int64_t *ns;
    size_t count, cap;
};

static struct {
    unsigned sessions, seconds, interval_ms, bytes;
    const char *key, *path;
    int epoll, listener;
    struct end *ends; /* clients, then upstreams */
    unsigned accepted, opened;
    uint64_t faults;
    char first_fault[200];
    struct times transit, cancel;
} all = {50, 5, 20, 250, "", "/v1/realtime?model=ws/bench", -1, -1, NULL, 0, 0, 0, "", {0}, {0}};

static void fault(const char *what)
{
    if (all.faults++ == 0)
        snprintf(all.first_fault, sizeof(all.first_fault), "%s", what);
}

static void die(const char *what)
{
    fprintf(stderr, "sockets: %s: %s\n", what, strerror(errno));
    exit(2);
}

static void note(struct times *t, int64_t ns)
{
    if (t->count == t->cap) {
        t->cap = t->cap > 0 ? 2 * t->cap : 4096;
        t->ns = realloc(t->ns, t->cap * sizeof(*t->ns));
        if (t->ns == NULL)
            die("memory");
    }
    t->ns[t->count++] = ns;
}

/* --- sockets --- */

static void watch(struct end *e)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = e};
    int on = 1;
    setsockopt(e->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (fcntl(e->fd, F_SETFL, O_NONBLOCK) < 0 ||
        epoll_ctl(all.epoll, EPOLL_CTL_ADD, e->fd, &event) < 0)
        die("epoll");
}

static struct sockaddr_in address(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static unsigned listen_anywhere(void)
{
    struct sockaddr_in addr = address(0);
    socklen_t len = sizeof(addr);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    all.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (all.listener < 0 || bind(all.listener, (struct sockaddr *)&addr, len) < 0 ||
        listen(all.listener, 4096) < 0 ||
        getsockname(all.listener, (struct sockaddr *)&addr, &len) < 0 ||
        epoll_ctl(all.epoll, EPOLL_CTL_ADD, all.listener, &event) < 0)
        die("listen");
    return ntohs(addr.sin_port);
}

static void accept_all(void)
{
    int fd;
    while ((fd = accept(all.listener, NULL, NULL)) >= 0) {
        struct end *e = &all.ends[all.sessions + all.accepted];
        if (all.accepted++ >= all.sessions) {
            fault("more sessions reach the upstream than were opened");
            close(fd);
            continue;
        }
        e->fd = fd;
        e->is_upstream = true;
        watch(e);
    }
}

static void send_bytes(struct end *e, const char *bytes, size_t len)
{
    if (send(e->fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len)
        fault("a socket takes no more");
}

static void open_session(struct end *e, unsigned port)
{
    struct sockaddr_in addr = address(port);
    char head[1024];
    e->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (e->fd < 0 || connect(e->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
        die("connect");
    watch(e);
    int n = snprintf(head, sizeof(head),
                     "GET %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                     all.path, all.key);
    send_bytes(e, head, (size_t)n);
}

/* --- messages --- */

static void send_message(struct end *e, struct str text)
{
    static const uint8_t key[WS_KEY_BYTES] = {1, 2, 3, 4};
    struct buf out = BUF_INIT;
    ws_add_frame(&out, WS_TEXT, text, e->is_upstream ? NULL : key);
    send_bytes(e, out.ptr, out.len);
    buf_fini(&out);
}

static void send_delta(struct end *e, int64_t now_ns)
{
    static const char filler[] = "tokens and more tokens ";
    char text[MESSAGE_MAX + 1];
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"response.output_text.delta\",\"at\":%019lld,\"n\":%08u,"
                     "\"response_id\":\"resp_1\",\"item_id\":\"item_1\",\"delta\":\"",
                     (long long)now_ns, e->sent++);
    for (size_t i = 0; n < (int)all.bytes - 2; i++)
        text[n++] = filler[i % (sizeof(filler) - 1)];
    text[n++] = '"';
    text[n++] = '}';
    send_message(e, str_n(text, (size_t)n));
}

static void send_cancel(struct end *e, int64_t now_ns)
{
    char text[128];
    int n = snprintf(text, sizeof(text), "{\"type\":\"response.cancel\",\"at\":%019lld,\"n\":%08u}",
                     (long long)now_ns, e->sent++);
    send_message(e, str_n(text, (size_t)n));
}

static long long number_after(struct str text, const char *name)
{
    ptrdiff_t at = str_find(text, str_c(name));
    return at < 0 ? -1 : strtoll(text.ptr + at + strlen(name), NULL, 10);
}

/* What the other end is to have sent next, and when it did. */
static void take_message(struct end *e, int64_t now_ns)
{
    struct str text = str_n(e->head, e->len);
    e->head[e->len] = '\0';
    if (number_after(text, "\"n\":") != (long long)e->got++)
        fault("a message is lost, doubled or out of order");
    if (!e->is_upstream && text.len != all.bytes)
        fault("a message has another size");
    note(e->is_upstream ? &all.cancel : &all.transit, now_ns - number_after(text, "\"at\":"));
    e->len = 0;
}

static void take_frames(struct end *e, char *bytes, size_t len)
{
    int64_t now_ns = clock_mono_ns();
    struct ws_piece piece;
    int r;
    while ((r = ws_next(&e->reader, &bytes, &len, &piece)) == 1) {
        if (piece.opcode == WS_CLOSE)
            fault("a session was closed");
        if (piece.opcode >= WS_CLOSE)
            continue;
        if (e->len + piece.len >= sizeof(e->head)) {
            fault("a message is too large");
            e->len = 0;
            continue;
        }
        memcpy(e->head + e->len, piece.bytes, piece.len);
        e->len += piece.len;
        if (piece.is_last && piece.is_final)
            take_message(e, now_ns);
    }
    if (r < 0)
        fault("frames that break the protocol");
}

/* --- the handshake --- */

static void answer_upgrade(struct end *e, struct str head)
{
    static const char name[] = "sec-websocket-key: ";
    char accept[WS_ACCEPT_LEN], answer[256];
    ptrdiff_t at = str_ifind(head, str_c(name));
    if (at < 0) {
        fault("a request without a key");
        return;
    }
    ws_accept(str_n(head.ptr + at + sizeof(name) - 1, WS_KEY_LEN), accept);
    int n = snprintf(answer, sizeof(answer),
                     "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
                     WS_ACCEPT_LEN, accept);
    send_bytes(e, answer, (size_t)n);
}

static void take_head(struct end *e, const char *bytes, size_t len)
{
    if (e->len + len >= sizeof(e->head)) {
        fault("a head is too large");
        return;
    }
    memcpy(e->head + e->len, bytes, len);
    e->len += len;
    struct str head = str_n(e->head, e->len);
    if (!str_ends(head, STR("\r\n\r\n")))
        return;
    if (e->is_upstream)
        answer_upgrade(e, head);
    else if (!str_starts(head, STR("HTTP/1.1 101")))
        fault("a session was refused");
    const struct ws_reader_settings settings = {.role = e->is_upstream ? WS_SERVER : WS_CLIENT};
    ws_reader_init(&e->reader, &settings);
    e->is_open = true;
    e->len = 0;
    all.opened++;
}

static void on_readable(struct end *e)
{
    static char bytes[READ_BYTES];
    ssize_t n = recv(e->fd, bytes, sizeof(bytes), 0);
    if (n <= 0) {
        if (n < 0 && errno == EAGAIN)
            return;
        fault("a connection was lost");
        close(e->fd);
        return;
    }
    if (e->is_open)
        take_frames(e, bytes, (size_t)n);
    else
        take_head(e, bytes, (size_t)n);
}

/* --- the run --- */

static void wait_some(int64_t until_ns)
{
    struct epoll_event events[256];
    int64_t left_ns = until_ns - clock_mono_ns();
    struct timespec left = {.tv_sec = left_ns / NS_PER_SEC, .tv_nsec = left_ns % NS_PER_SEC};
    /* Exactly: the core may be the proxy's as well, so that nothing may spin on it. */
    if (left_ns <= 0)
        left = (struct timespec){0};
    int n = epoll_pwait2(all.epoll, events, 256, &left, NULL);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == NULL)
            accept_all();
        else
            on_readable(events[i].data.ptr);
    }
}

/* Sends what is due; when the next is. */
static int64_t send_due(int64_t now_ns, int64_t end_ns)
{
    int64_t next_ns = end_ns;
    for (unsigned i = 0; i < 2 * all.sessions; i++) {
        struct end *e = &all.ends[i];
        if (now_ns >= e->next_ns) {
            if (e->is_upstream)
                send_delta(e, clock_mono_ns());
            else
                send_cancel(e, clock_mono_ns());
            e->next_ns += e->is_upstream ? (int64_t)all.interval_ms * NS_PER_MS : CANCEL_NS;
        }
        next_ns = MIN(next_ns, e->next_ns);
    }
    return next_ns;
}

static void run(void)
{
    int64_t begin_ns = clock_mono_ns(), end_ns = begin_ns + all.seconds * NS_PER_SEC;
    /* Spread over the interval, as sessions are. */
    for (unsigned i = 0; i < 2 * all.sessions; i++) {
        int64_t interval_ns =
            all.ends[i].is_upstream ? (int64_t)all.interval_ms * NS_PER_MS : CANCEL_NS;
        all.ends[i].next_ns = begin_ns + interval_ns * (i % all.sessions) / all.sessions;
    }
    for (int64_t now_ns = begin_ns; now_ns < end_ns; now_ns = clock_mono_ns())
        wait_some(send_due(now_ns, end_ns));
    for (end_ns += REST_MS * NS_PER_MS; clock_mono_ns() < end_ns;)
        wait_some(end_ns);
    for (unsigned i = 0; i < all.sessions; i++) {
        unsigned sent = 0, got = 0;
        /* Which upstream belongs to which client is the proxy's affair. */
        for (unsigned k = 0; i == 0 && k < 2 * all.sessions; k++) {
            sent += all.ends[k].sent;
            got += all.ends[k].got;
        }
        if (sent != got)
            fault("messages are lost");
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *name, struct times *t)
{
    qsort(t->ns, t->count, sizeof(*t->ns), compare);
    double p50 = t->count > 0 ? (double)t->ns[t->count / 2] / 1000 : 0;
    double p99 = t->count > 0 ? (double)t->ns[t->count * 99 / 100] / 1000 : 0;
    printf(",\"%s_us\":{\"count\":%zu,\"p50\":%.1f,\"p99\":%.1f}", name, t->count, p50, p99);
}

static void read_options(int argc, char **argv)
{
    const struct {
        const char *name;
        unsigned *number;
        const char **text;
    } options[] = {
        {"--sessions", &all.sessions, NULL},
        {"--seconds", &all.seconds, NULL},
        {"--interval-ms", &all.interval_ms, NULL},
        {"--bytes", &all.bytes, NULL},
        {"--key", NULL, &all.key},
        {"--path", NULL, &all.path},
    };
    for (int i = 1; i + 1 < argc; i += 2) {
        for (size_t k = 0; k < ARRAY_LEN(options); k++) {
            if (strcmp(argv[i], options[k].name) != 0)
                continue;
            if (options[k].number != NULL)
                *options[k].number = (unsigned)strtoul(argv[i + 1], NULL, 10);
            else
                *options[k].text = argv[i + 1];
        }
    }
    if (all.sessions == 0 || all.interval_ms == 0 || all.bytes < 200 || all.bytes > MESSAGE_MAX) {
        fprintf(stderr, "sockets: sessions, interval or bytes (200 to 2048) make no sense\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    char line[32];
    read_options(argc, argv);
    all.ends = calloc(2 * all.sessions, sizeof(*all.ends));
    all.epoll = epoll_create1(0);
    if (all.ends == NULL || all.epoll < 0)
        die("start");
    printf("%u\n", listen_anywhere());
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL)
        return 2;
    for (unsigned i = 0; i < all.sessions; i++)
        open_session(&all.ends[i], (unsigned)strtoul(line, NULL, 10));
    int64_t limit_ns = clock_mono_ns() + OPEN_LIMIT_S * NS_PER_SEC;
    while (all.opened < 2 * all.sessions && all.faults == 0 && clock_mono_ns() < limit_ns)
        wait_some(limit_ns);
    if (all.opened < 2 * all.sessions)
        fault("not all sessions open");
    /* The run begins: who measures what the proxy takes looks now, and at the next line. */
    puts("open");
    fflush(stdout);
    if (fgets(line, sizeof(line), stdin) == NULL)
        return 2;
    if (all.faults == 0)
        run();
    printf("{\"messages\":%zu,\"errors\":%llu,\"first_fault\":\"%s\"",
           all.transit.count + all.cancel.count, (unsigned long long)all.faults, all.first_fault);
    print_times("transit", &all.transit);
    print_times("cancel", &all.cancel);
    printf("}\n");
    return all.faults > 0;
}
