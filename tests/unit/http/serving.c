#include "serving.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "rt/sys.h"

struct http_server_settings serving;

static struct loop *loop;
static unsigned fds_before;

static unsigned open_fds(void)
{
    unsigned n = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

int serving_begin(void **state)
{
    (void)state;
    serving = (struct http_server_settings){
        .limits = http_limits_default,
        .head_timeout_ns = 100 * NS_PER_SEC,
        .body_timeout_ns = 100 * NS_PER_SEC,
        .keep_alive_timeout_ns = 100 * NS_PER_SEC,
        .write_timeout_ns = 100 * NS_PER_SEC,
    };
    fds_before = open_fds();
    loop = loop_new(0);
    return loop == NULL ? -1 : 0;
}

int serving_end(void **state)
{
    (void)state;
    sys_hook(NULL, NULL);
    mem_fail_at(0);
    serving_turn_until_closed();
    assert_int_equal(http_server_active(), 0);
    assert_int_equal(atomic_load(&loop_stats(loop)->load), 0);
    loop_free(loop);
    clock_real();
    assert_int_equal(open_fds(), fds_before);
    return 0;
}

/* The tests' own patience is real time, also where the clock is faked. */
static int64_t real_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

/* Turns once, or ends the test when that has been going on for too long. */
static void turn_or_give_up(int64_t since_ns, const char *what)
{
    if (real_now_ns() - since_ns > 20 * NS_PER_SEC)
        fail_msg("waited in vain for: %s", what);
    serving_turn();
}

void serving_turn(void)
{
    loop_turn(loop, NS_PER_MS);
}

void serving_turn_until(const bool *flag)
{
    int64_t since_ns = real_now_ns();
    while (!*flag)
        turn_or_give_up(since_ns, "a flag");
}

void serving_turn_until_closed(void)
{
    int64_t since_ns = real_now_ns();
    while (http_server_connections() > 0 || task_count() > 0)
        turn_or_give_up(since_ns, "the end of all connections");
}

void serving_stop_clock(void)
{
    clock_fake(1000 * NS_PER_SEC + clock_mono_ns(), clock_wall_ns());
    serving_turn();
}

void serving_pass_ms(int64_t ms)
{
    clock_fake_advance(ms * NS_PER_MS);
    for (unsigned i = 0; i < 4; i++)
        serving_turn();
}

/* --- peers ----------------------------------------------------------------------------------- */

static void connect_pair(int *client, int *server)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(listener >= 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    *client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(*client >= 0);
    assert_int_equal(connect(*client, (struct sockaddr *)&addr, len), 0);
    *server = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(*server >= 0);
    close(listener);
    setsockopt(*client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(*server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

struct peer peer_open(http_handler_fn *handler, void *ctx)
{
    struct net_addr addr;
    struct peer p = {.fd = -1};
    connect_pair(&p.fd, &p.server_fd);
    assert_true(net_addr_parse(STR("192.0.2.7"), 4711, &addr));
    p.cap = 4096;
    p.text = calloc(1, p.cap);
    assert_non_null(p.text);
    http_serve(p.server_fd, &addr, NULL, &serving, handler, ctx);
    serving_turn();
    return p;
}

void peer_pump(struct peer *p)
{
    while (!p->is_closed && !p->is_paused) {
        if (p->cap - p->len < 4096) {
            p->cap *= 2;
            p->text = realloc(p->text, p->cap);
            assert_non_null(p->text);
        }
        ssize_t n = recv(p->fd, p->text + p->len, p->cap - p->len - 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        p->is_closed = n <= 0;
        p->is_reset = n < 0;
        if (n > 0)
            p->len += (size_t)n;
        p->text[p->len] = '\0';
    }
}

void peer_send(struct peer *p, struct str bytes)
{
    int64_t since_ns = real_now_ns();
    while (bytes.len > 0) {
        ssize_t n = send(p->fd, bytes.ptr, bytes.len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return;
        if (n > 0)
            bytes = str_skip(bytes, (size_t)n);
        turn_or_give_up(since_ns, "the server to read");
    }
    serving_turn();
}

void peer_send_text(struct peer *p, const char *text)
{
    peer_send(p, str_c(text));
}

void peer_wait_len(struct peer *p, size_t len)
{
    int64_t since_ns = real_now_ns();
    for (peer_pump(p); p->len < len && !p->is_closed; peer_pump(p))
        turn_or_give_up(since_ns, "bytes of the server");
}

void peer_wait_text(struct peer *p, const char *text)
{
    int64_t since_ns = real_now_ns();
    for (peer_pump(p); strstr(p->text, text) == NULL && !p->is_closed; peer_pump(p))
        turn_or_give_up(since_ns, text);
    assert_non_null(strstr(p->text, text));
}

void peer_wait_closed(struct peer *p)
{
    int64_t since_ns = real_now_ns();
    for (peer_pump(p); !p->is_closed; peer_pump(p))
        turn_or_give_up(since_ns, "the end of the connection");
}

/* Each "Date: ..." becomes "Date: -". */
static void hide_dates(struct peer *p)
{
    static const char name[] = "\r\nDate: ";
    char *at = p->text;
    while ((at = strstr(at, name)) != NULL) {
        at += sizeof(name) - 1;
        if (*at == '-')
            continue;
        size_t left = p->len - (size_t)(at - p->text);
        if (left < CLOCK_HTTP_LEN)
            return;
        *at = '-';
        memmove(at + 1, at + CLOCK_HTTP_LEN, left - CLOCK_HTTP_LEN + 1);
        p->len -= CLOCK_HTTP_LEN - 1;
    }
}

void peer_expect(struct peer *p, const char *text)
{
    int64_t since_ns = real_now_ns();
    for (;;) {
        peer_pump(p);
        hide_dates(p);
        if (p->len >= strlen(text) || p->is_closed)
            break;
        turn_or_give_up(since_ns, text);
    }
    assert_string_equal(p->text, text);
    p->len = 0;
    p->text[0] = '\0';
}

void peer_expect_and_close(struct peer *p, const char *text)
{
    peer_expect(p, text);
    peer_wait_closed(p);
    assert_false(p->is_reset);
    peer_close(p);
}

void peer_shut(struct peer *p)
{
    shutdown(p->fd, SHUT_WR);
    serving_turn();
}

void peer_close(struct peer *p)
{
    peer_pump(p);
    assert_string_equal(p->text, "");
    close(p->fd);
    free(p->text);
    serving_turn();
}

void peer_reset(struct peer *p)
{
    struct linger now = {.l_onoff = 1};
    if (!p->is_closed)
        setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(p->fd);
    free(p->text);
    serving_turn();
}

/* --- handlers -------------------------------------------------------------------------------- */

YIELDS static void respond_text(struct http_request *r, struct str body)
{
    struct http_headers headers = {0};
    http_headers_add(&headers, r->arena, STR("Content-Type"), STR("text/plain"));
    http_respond(r, 200, &headers, body);
}

void handle_hello(struct http_request *r, void *ctx)
{
    (void)ctx;
    respond_text(r, STR("hello"));
}

void handle_echo(struct http_request *r, void *ctx)
{
    struct buf body = BUF_INIT;
    (void)ctx;
    buf_add_str(&body, r->path);
    buf_add_char(&body, ' ');
    int result = http_request_collect(r, serving.limits.body_bytes, CLOCK_NEVER, &body);
    if (result < 0)
        http_respond(r, result == -ERR_LIMIT ? 413 : 400, NULL, str_c(err_slot()->message));
    else
        respond_text(r, buf_str(&body));
    buf_fini(&body);
}
