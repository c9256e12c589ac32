/*
 * A server of HTTP/2 and HTTP/1.1 with nothing behind it, for tests that speak the protocols
 * themselves:
 *
 *   h2_tool [CERTIFICATE KEY]
 *
 * listens on a port of 127.0.0.1 (printed as the first line) until its standard input, a socket,
 * ends. /echo answers with the body, /count with the number of its bytes, /trailers with "body" and
 * the trailer x-sum: 7, /bytes?N with N bytes, /drip?N with N lines, one every 10 ms, /never only
 * when it is cancelled; then it prints "cancelled". /broken ends in the midst of its answer. All
 * else reads the body and answers "all is well" 50 ms later.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/err.h"
#include "http/server.h"
#include "rt/helper.h"
#include "rt/listener.h"
#include "rt/loop.h"

static struct http_server_settings settings;
static struct tls_context *tls;

YIELDS static void respond(struct http_request *r, struct str body)
{
    struct http_headers headers = {0};
    CHECK(http_headers_add(&headers, r->arena, STR("Content-Type"), STR("text/plain")));
    http_respond(r, 200, &headers, body);
}

YIELDS static void send_text(struct http_request *r, struct str text, bool is_last)
{
    struct iovec iov = {(void *)(uintptr_t)text.ptr, text.len};
    http_response_write(r, &iov, text.len > 0 ? 1 : 0, is_last, CLOCK_NEVER);
}

YIELDS static void echo(struct http_request *r, bool only_count)
{
    struct buf body = BUF_INIT;
    if (http_request_collect(r, settings.limits.body_bytes, CLOCK_NEVER, &body) < 0)
        http_respond(r, 400, NULL, str_c(err_slot()->message));
    else
        respond(r, only_count ? arena_u64(r->arena, body.len) : buf_str(&body));
    buf_fini(&body);
}

YIELDS static void trailers(struct http_request *r)
{
    struct http_headers end = {0};
    CHECK(http_headers_add(&end, r->arena, STR("x-sum"), STR("7")));
    http_response_start(r, 200, NULL, -1);
    send_text(r, STR("body"), false);
    http_response_end(r, &end, CLOCK_NEVER);
}

YIELDS static void many_bytes(struct http_request *r, uint64_t n)
{
    static char block[100 * 1000];
    memset(block, 'x', sizeof(block));
    http_response_start(r, 200, NULL, (int64_t)n);
    for (uint64_t left = n; left > 0;) {
        size_t some = (size_t)MIN(left, (uint64_t)sizeof(block));
        struct iovec iov = {block, some};
        left -= some;
        if (http_response_write(r, &iov, 1, left == 0, CLOCK_NEVER) < 0)
            return;
    }
}

YIELDS static void drip(struct http_request *r, uint64_t n)
{
    http_request_watch_hangup(r, task_self());
    http_response_start(r, 200, NULL, -1);
    for (uint64_t i = 0; i < n; i++) {
        send_text(r, arena_printf(r->arena, "line %llu\n", (unsigned long long)i), i + 1 == n);
        if (i + 1 < n && task_sleep_until(loop_now_ns() + 10 * NS_PER_MS) < 0)
            return;
    }
}

YIELDS static void never(struct http_request *r)
{
    http_request_watch_hangup(r, task_self());
    task_sleep_until(CLOCK_NEVER);
    printf("cancelled\n");
    fflush(stdout);
}

/* An extended CONNECT: what comes goes back with the protocol's name before it. */
YIELDS static void pipe_through(struct http_request *r)
{
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    http_response_start(r, 200, NULL, -1);
    send_text(r, STR(""), false);
    while (!pieces.is_last && http_request_read(r, &pieces, CLOCK_NEVER) == 0) {
        if (pieces.bytes > 0) {
            struct str text = str_n(v[0].iov_base, v[0].iov_len);
            struct str line =
                arena_printf(r->arena, "%.*s %.*s", STR_ARG(r->upgrade), STR_ARG(text));
            send_text(r, line, false);
        }
    }
    if (pieces.is_last)
        http_response_end(r, NULL, CLOCK_NEVER);
}

YIELDS static void slow(struct http_request *r)
{
    struct buf body = BUF_INIT;
    if (http_request_collect(r, settings.limits.body_bytes, CLOCK_NEVER, &body) == 0) {
        task_sleep_until(loop_now_ns() + 50 * NS_PER_MS);
        respond(r, STR("all is well"));
    }
    buf_fini(&body);
}

static void handle(struct http_request *r, void *ctx)
{
    uint64_t n = 0;
    (void)ctx;
    str_to_u64(r->query, &n);
    if (str_eq(r->path, STR("/echo")))
        echo(r, false);
    else if (str_eq(r->path, STR("/count")))
        echo(r, true);
    else if (str_eq(r->path, STR("/trailers")))
        trailers(r);
    else if (str_eq(r->path, STR("/bytes")))
        many_bytes(r, n);
    else if (str_eq(r->path, STR("/drip")))
        drip(r, n);
    else if (r->upgrade.len > 0)
        pipe_through(r);
    else if (str_eq(r->path, STR("/never")))
        never(r);
    else if (str_eq(r->path, STR("/broken"))) {
        http_response_start(r, 200, NULL, 10);
        send_text(r, STR("half"), false);
    } else
        slow(r);
}

static void on_accept(void *ctx, int fd, const struct net_addr *peer)
{
    (void)ctx;
    http_serve(fd, peer, tls, &settings, handle, NULL);
}

static void watch_input(void *arg)
{
    struct io input;
    struct str bytes;
    (void)arg;
    CHECK(fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK) == 0);
    if (io_open(&input, STDIN_FILENO) == 0) {
        while (io_recv(&input, &bytes, CLOCK_NEVER) > 0)
            continue;
        io_close(&input);
    }
    http_server_drain();
    int64_t deadline = loop_now_ns() + 3 * NS_PER_SEC;
    while (http_server_connections() > 0 && loop_now_ns() < deadline)
        task_sleep_until(loop_now_ns() + 10 * NS_PER_MS);
    printf("%zu connections left\n", http_server_connections());
    fflush(stdout);
    _exit(http_server_connections() == 0 ? 0 : 1);
}

int main(int argc, char **argv)
{
    struct net_addr addr, bound;
    int fd;
    settings = (struct http_server_settings){
        .limits = http_limits_default,
        .head_timeout_ns = 5 * NS_PER_SEC,
        .body_timeout_ns = 5 * NS_PER_SEC,
        .keep_alive_timeout_ns = 20 * NS_PER_SEC,
        .write_timeout_ns = 5 * NS_PER_SEC,
    };
    CHECK(helper_start(1, 64) == 0);
    struct loop *loop = loop_new(0);
    CHECK(loop != NULL);
    if (argc == 3) {
        tls = tls_server_context_new(&(struct tls_server_settings){
            .cert_file = argv[1], .key_file = argv[2], .offer_h2 = true});
        CHECK(tls != NULL);
    }
    CHECK(net_addr_parse(STR("127.0.0.1"), 0, &addr));
    CHECK(listen_open(&addr, 1, &fd, &bound) == 0);
    CHECK(listener_start(fd, on_accept, &loop, (void *[]){NULL}, 1) != NULL);
    printf("%u\n", net_addr_port(&bound));
    fflush(stdout);
    CHECK(task_spawn(RUN_NORMAL, "input", watch_input, NULL) != NULL);
    loop_run(loop);
    return 0;
}
