#include <unistd.h>

#include "base/err.h"
#include "rt/sys.h"
#include "serving.h"
#include "support/certs.h"

/* --- answers --------------------------------------------------------------------------------- */

static void one_request_after_the_other(void **state)
{
    (void)state;
    struct peer p = peer_open(handle_hello, NULL);
    for (unsigned i = 0; i < 3; i++) {
        peer_send_text(&p, GET);
        peer_expect(&p, HELLO);
    }
    peer_close(&p);
    assert_int_equal(http_server_stats()->bad_requests, 0);
}

static void what_a_request_says_reaches_the_handler(struct http_request *r, void *ctx)
{
    assert_int_equal(r->method, METHOD_PUT);
    assert_true(str_eq(r->method_name, STR("PUT")));
    assert_true(str_eq(r->target, STR("/a%20b?c=d?e")));
    assert_true(str_eq(r->path, STR("/a%20b")));
    assert_true(str_eq(r->query, STR("c=d?e")));
    assert_true(str_eq(r->authority, STR("host:80")));
    assert_true(str_eq(http_headers_get(&r->headers, STR("x-a")), STR("b")));
    assert_int_equal(r->content_length, 3);
    assert_int_equal(r->version_major, 1);
    assert_int_equal(r->version_minor, 1);
    assert_false(r->is_tls);
    char text[NET_ADDR_TEXT_BYTES];
    assert_string_equal(net_addr_format(&r->peer, true, text), "192.0.2.7:4711");
    assert_true(r->start_ns > 0 && r->start_ns <= clock_mono_ns());
    assert_int_equal(r->status, 0);
    handle_hello(r, NULL);
    assert_int_equal(r->status, 200);
    assert_true(r->head_sent && r->is_complete);
    assert_int_equal(r->body_bytes_out, 5);
    *(bool *)ctx = true;
}

static void requests_are_described(void **state)
{
    (void)state;
    bool was_served = false;
    struct peer p = peer_open(what_a_request_says_reaches_the_handler, &was_served);
    peer_send_text(&p, "PUT /a%20b?c=d?e HTTP/1.1\r\nHost: host:80\r\nX-A: b\r\n"
                       "Content-Length: 3\r\n\r\nabc");
    peer_expect(&p, HELLO);
    assert_true(was_served);
    peer_close(&p);
}

static const char pipeline[] = "GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
                               "POST /2 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
                               "POST /3 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n1\r\nd\r\n0\r\nA: b\r\n\r\n"
                               "\r\nHEAD /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#define TEXT_HEAD(len, more)                                                                     \
    "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Type: text/plain\r\nContent-Length: " len "\r\n" more \
    "\r\n"

static const char pipeline_answers[] = TEXT_HEAD("3", "") "/1 " TEXT_HEAD(
    "8", "") "/2 hello" TEXT_HEAD("7", "") "/3 abcd" TEXT_HEAD("3", "Connection: close\r\n");

static void pipelined_requests_are_answered_in_order_at_any_cut(void **state)
{
    (void)state;
    struct str bytes = str_c(pipeline);
    for (size_t cut = 0; cut <= bytes.len; cut++) {
        struct peer p = peer_open(handle_echo, NULL);
        peer_send(&p, str_head(bytes, cut));
        peer_send(&p, str_skip(bytes, cut));
        peer_expect_and_close(&p, pipeline_answers);
    }
}

/* More requests than are read ahead, while the first is still being served. */
static void a_long_pipeline_is_read_as_it_is_served(void **state)
{
    (void)state;
    enum { COUNT = 3000 };
    serving.limits.pipeline_bytes = 4096;
    struct peer p = peer_open(handle_hello, NULL);
    struct buf all = BUF_INIT;
    for (unsigned i = 0; i < COUNT; i++)
        buf_add_str(&all, STR(GET));
    peer_send(&p, buf_str(&all));
    for (unsigned i = 0; i < COUNT; i++)
        peer_wait_len(&p, i);
    char one[] = HELLO;
    size_t answer_len = sizeof(one) - 1 + CLOCK_HTTP_LEN - 1;
    peer_wait_len(&p, COUNT * answer_len);
    assert_int_equal(p.len, COUNT * answer_len);
    buf_fini(&all);
    peer_reset(&p);
}

static void http_1_0(void **state)
{
    (void)state;
    struct peer p = peer_open(handle_hello, NULL);
    peer_send_text(&p, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    peer_expect(&p, "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Type: text/plain\r\n"
                    "Content-Length: 5\r\nConnection: keep-alive\r\n\r\nhello");
    peer_send_text(&p, "GET / HTTP/1.0\r\n\r\n");
    peer_expect_and_close(&p, HELLO_CLOSE);
}

/* --- streams --------------------------------------------------------------------------------- */

struct stream {
    bool goes_on; /* write the next part */
    unsigned written;
    int result;
    const struct http_headers *trailers;
    bool is_cut; /* aborted instead of ended */
};

/* Three parts, each when the test says so. */
static void handle_stream(struct http_request *r, void *ctx)
{
    struct stream *s = ctx;
    struct http_headers headers = {0};
    http_headers_add(&headers, r->arena, STR("Content-Type"), STR("text/event-stream"));
    s->result = http_response_start(r, 200, &headers, -1);
    for (s->written = 0; s->result == 0 && s->written < 3; s->written++) {
        while (!s->goes_on)
            task_sleep_until(loop_now_ns() + NS_PER_MS);
        s->goes_on = false;
        struct iovec iov[2] = {{(char[]){"data: "}, 6}, {(char[]){"token\n\n"}, 7}};
        s->result = http_response_write(r, iov, 2, false, CLOCK_NEVER);
    }
    if (s->is_cut)
        http_response_abort(r);
    else if (s->result == 0)
        s->result = http_response_end(r, s->trailers, CLOCK_NEVER);
}

#define STREAM_HEAD \
    "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define STREAM_PART "d\r\ndata: token\n\n\r\n"

static void parts_of_a_stream_leave_at_once(void **state)
{
    (void)state;
    struct stream s = {.goes_on = true};
    struct peer p = peer_open(handle_stream, &s);
    peer_send_text(&p, GET);
    peer_expect(&p, STREAM_HEAD STREAM_PART);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART "0\r\n\r\n");
    peer_send_text(&p, GET);
    s.goes_on = true;
    peer_expect(&p, STREAM_HEAD STREAM_PART);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART "0\r\n\r\n");
    peer_close(&p);
}

static void a_stream_to_http_1_0_ends_with_the_connection(void **state)
{
    (void)state;
    struct stream s = {.goes_on = true};
    struct peer p = peer_open(handle_stream, &s);
    peer_send_text(&p, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    peer_expect(&p, "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Type: text/event-stream\r\n"
                    "Connection: close\r\n\r\ndata: token\n\n");
    s.goes_on = true;
    peer_expect(&p, "data: token\n\n");
    s.goes_on = true;
    peer_expect_and_close(&p, "data: token\n\n");
}

static void a_cut_stream_looks_cut(void **state)
{
    (void)state;
    struct stream s = {.goes_on = true, .is_cut = true};
    struct peer p = peer_open(handle_stream, &s);
    peer_send_text(&p, GET);
    peer_expect(&p, STREAM_HEAD STREAM_PART);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART);
    s.goes_on = true;
    /* No last chunk, but what was written arrives. */
    peer_expect_and_close(&p, STREAM_PART);
    /* Where only the end of the connection could tell, it is no orderly end. */
    s = (struct stream){.goes_on = true, .is_cut = true};
    p = peer_open(handle_stream, &s);
    peer_send_text(&p, "GET / HTTP/1.0\r\n\r\n");
    for (unsigned i = 1; i < 3; i++) {
        while (s.written < i)
            serving_turn();
        s.goes_on = true;
    }
    peer_wait_closed(&p);
    assert_true(p.is_reset);
    peer_reset(&p);
    assert_int_equal(http_server_stats()->client_aborts, 0);
}

static void trailers_follow_the_body(void **state)
{
    (void)state;
    struct http_header items[] = {{STR_INIT("X-Usage"), STR_INIT("17")},
                                  {STR_INIT("Content-Length"), STR_INIT("3")},
                                  {STR_INIT("X-Bad"), STR_INIT("a\r\nb")}};
    struct http_headers trailers = {.items = items, .count = 3, .cap = 3};
    struct stream s = {.goes_on = true, .trailers = &trailers};
    struct peer p = peer_open(handle_stream, &s);
    peer_send_text(&p, GET);
    peer_expect(&p, STREAM_HEAD STREAM_PART);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART "0\r\nX-Usage: 17\r\n\r\n");
    assert_int_equal(s.result, 0);
    peer_close(&p);
}

/* Counts calls of one kind on one descriptor; makes none of them fail. */
struct call_count {
    enum sys_call call;
    int fd;
    unsigned count;
};

static bool count_calls(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    struct call_count *c = ctx;
    (void)result;
    c->count += call == c->call && fd == c->fd;
    return false;
}

static void head_and_body_leave_in_one_write(void **state)
{
    (void)state;
    struct peer p = peer_open(handle_hello, NULL);
    struct call_count writes = {.call = SYS_WRITEV, .fd = p.server_fd};
    sys_hook(count_calls, &writes);
    peer_send_text(&p, GET);
    peer_expect(&p, HELLO);
    assert_int_equal(writes.count, 1);
    peer_close(&p);

    struct stream s = {.goes_on = true};
    p = peer_open(handle_stream, &s);
    writes = (struct call_count){.call = SYS_WRITEV, .fd = p.server_fd};
    peer_send_text(&p, GET);
    peer_expect(&p, STREAM_HEAD STREAM_PART);
    assert_int_equal(writes.count, 1);
    s.goes_on = true;
    peer_expect(&p, STREAM_PART);
    assert_int_equal(writes.count, 2);
    peer_reset(&p);
    s.goes_on = true;
    serving_turn_until_closed();
}

/* --- framing of answers ---------------------------------------------------------------------- */

struct answer {
    unsigned status;
    int64_t content_length;
    const char *body;
    unsigned parts; /* the body in so many pieces of one write */
    struct http_headers headers;
    int result;
};

static void handle_answer(struct http_request *r, void *ctx)
{
    struct answer *a = ctx;
    struct iovec iov[32];
    size_t len = strlen(a->body);
    a->result = http_response_start(r, a->status, &a->headers, a->content_length);
    if (a->result < 0)
        return;
    for (unsigned i = 0; i < a->parts; i++) {
        size_t from = len * i / a->parts;
        iov[i] =
            (struct iovec){(void *)(uintptr_t)(a->body + from), len * (i + 1) / a->parts - from};
    }
    a->result = http_response_write(r, iov, (int)a->parts, true, CLOCK_NEVER);
}

static void answers_without_a_body(void **state)
{
    (void)state;
    struct answer a = {.status = 204, .content_length = 0, .body = ""};
    struct peer p = peer_open(handle_answer, &a);
    peer_send_text(&p, GET);
    peer_expect(&p, "HTTP/1.1 204 No Content\r\nDate: -\r\n\r\n");
    a = (struct answer){.status = 304, .content_length = -1, .body = "none", .parts = 1};
    peer_send_text(&p, GET);
    peer_expect(&p, "HTTP/1.1 304 Not Modified\r\nDate: -\r\n\r\n");
    /* HEAD: as for GET, without the body. */
    a = (struct answer){.status = 200, .content_length = 4, .body = "body", .parts = 1};
    peer_send_text(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_expect(&p, "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 4\r\n\r\n");
    a = (struct answer){.status = 200, .content_length = -1, .body = "body", .parts = 1};
    peer_send_text(&p, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_expect(&p, "HTTP/1.1 200 OK\r\nDate: -\r\n\r\n");
    a = (struct answer){.status = 599, .content_length = 0, .body = ""};
    peer_send_text(&p, GET);
    peer_expect(&p, "HTTP/1.1 599 \r\nDate: -\r\nContent-Length: 0\r\n\r\n");
    peer_close(&p);
}

static void a_body_must_be_as_long_as_promised(void **state)
{
    (void)state;
    struct answer a = {.status = 200, .content_length = 3, .body = "long", .parts = 1};
    struct peer p = peer_open(handle_answer, &a);
    peer_send_text(&p, GET);
    /* Nothing had left, but the answer cannot be taken back either. */
    peer_expect_and_close(&p, "");
    assert_int_equal(a.result, -ERR_INVALID);
    a = (struct answer){.status = 200, .content_length = 5, .body = "long", .parts = 1};
    p = peer_open(handle_answer, &a);
    peer_send_text(&p, GET);
    peer_expect_and_close(&p, "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 5\r\n\r\nlong");
    a = (struct answer){.status = 101, .body = ""};
    p = peer_open(handle_answer, &a);
    peer_send_text(&p, GET);
    peer_wait_text(&p, "HTTP/1.1 500 ");
    assert_int_equal(a.result, -ERR_INVALID);
    peer_wait_closed(&p);
    peer_reset(&p);
}

static void answers_of_any_size_and_number_of_parts(void **state)
{
    (void)state;
    enum { MAX_BYTES = 9000 };
    static char body[MAX_BYTES + 1];
    for (size_t i = 0; i < MAX_BYTES; i++)
        body[i] = (char)('a' + i % 26);
    static const size_t sizes[] = {1, 15, 16, 2047, 2048, 2049, 4096, MAX_BYTES};
    static const unsigned counts[] = {1, 2, 6, 7, 32};
    struct answer a = {.status = 200};
    struct peer p = peer_open(handle_answer, &a);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < ARRAY_LEN(counts); k++) {
            struct buf expected = BUF_INIT;
            body[sizes[i]] = '\0';
            a.body = body;
            a.parts = counts[k];
            a.content_length = k % 2 == 0 ? -1 : (int64_t)sizes[i];
            if (a.content_length < 0)
                buf_printf(&expected,
                           "HTTP/1.1 200 OK\r\nDate: -\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "%zx\r\n%s\r\n0\r\n\r\n",
                           sizes[i], body);
            else
                buf_printf(&expected, "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: %zu\r\n\r\n%s",
                           sizes[i], body);
            buf_add_char(&expected, '\0');
            peer_send_text(&p, GET);
            peer_expect(&p, expected.ptr);
            buf_fini(&expected);
            if (sizes[i] < MAX_BYTES)
                body[sizes[i]] = (char)('a' + sizes[i] % 26);
        }
    }
    peer_close(&p);
}

static void headers_of_answers_are_filtered(void **state)
{
    (void)state;
    static struct http_header items[] = {
        {STR_INIT("X-Kept"), STR_INIT("a\tb \xc3\xa9")},
        {STR_INIT("Connection"), STR_INIT("keep-alive, X-Hop")},
        {STR_INIT("x-hop"), STR_INIT("1")},
        {STR_INIT("Transfer-Encoding"), STR_INIT("gzip")},
        {STR_INIT("content-length"), STR_INIT("77")},
        {STR_INIT("DATE"), STR_INIT("yesterday")},
        {STR_INIT("Keep-Alive"), STR_INIT("timeout=5")},
        {STR_INIT("Upgrade"), STR_INIT("h2c")},
        {STR_INIT("Proxy-Authenticate"), STR_INIT("Basic")},
        {STR_INIT("X-Split"), STR_INIT("a\r\nX-Injected: b")},
        {STR_INIT("X-Nul"), STR_INIT("a\0b")},
        {STR_INIT("X Space"), STR_INIT("a")},
        {STR_INIT("X-Colon:"), STR_INIT("a")},
        {STR_INIT(""), STR_INIT("a")},
        {STR_INIT("X-Empty"), STR_INIT("")},
    };
    struct answer a = {.status = 200,
                       .content_length = 2,
                       .body = "ok",
                       .parts = 1,
                       .headers = {items, ARRAY_LEN(items), ARRAY_LEN(items)}};
    struct peer p = peer_open(handle_answer, &a);
    peer_send_text(&p, GET);
    peer_expect(&p, "HTTP/1.1 200 OK\r\nDate: -\r\nX-Kept: a\tb \xc3\xa9\r\nX-Empty: \r\n"
                    "Content-Length: 2\r\n\r\nok");
    peer_close(&p);
}

static void handle_nothing(struct http_request *r, void *ctx)
{
    (void)r;
    (void)ctx;
}

static void a_handler_that_says_nothing_gives_500(void **state)
{
    (void)state;
    struct peer p = peer_open(handle_nothing, NULL);
    peer_send_text(&p, GET);
    peer_expect_and_close(&p, "HTTP/1.1 500 Internal Server Error\r\nDate: -\r\n"
                              "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 28\r\n"
                              "Connection: close\r\n\r\nthe request was not answered");
}

static void dates_are_of_this_second(void **state)
{
    (void)state;
    clock_fake(1000 * NS_PER_SEC, 784111777 * NS_PER_SEC + NS_PER_SEC / 2);
    serving_turn();
    struct peer p = peer_open(handle_hello, NULL);
    peer_send_text(&p, GET);
    peer_wait_text(&p, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
    serving_pass_ms(499);
    peer_send_text(&p, GET);
    peer_wait_text(&p, "helloHTTP");
    assert_null(strstr(p.text, "08:49:38"));
    serving_pass_ms(1);
    peer_send_text(&p, GET);
    peer_wait_text(&p, "Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
    peer_reset(&p);
}

/* --- TLS ------------------------------------------------------------------------------------- */

struct tls_client {
    struct tls_context *context;
    int fd;
    struct buf text;
    int result;
    bool is_done;
};

static void run_tls_client(void *arg)
{
    struct tls_client *c = arg;
    struct io io;
    int64_t deadline = loop_now_ns() + 10 * NS_PER_SEC;
    c->result = io_open(&io, c->fd);
    if (c->result == 0)
        c->result = tls_connect(&io, c->context, STR("localhost"), deadline);
    assert_true(c->result < 0 || str_eq(tls_alpn(&io), STR("http/1.1")));
    if (c->result == 0)
        c->result = io_write(&io, GET "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                             2 * strlen(GET) + 19, deadline);
    while (c->result == 0) {
        struct str bytes;
        ssize_t n = io_recv(&io, &bytes, deadline);
        if (n < 0)
            c->result = (int)n;
        else
            buf_add_str(&c->text, bytes);
    }
    io_close(&io);
    c->is_done = true;
}

static void handle_tls(struct http_request *r, void *ctx)
{
    assert_true(r->is_tls);
    handle_hello(r, ctx);
}

static void over_tls(void **state)
{
    (void)state;
    struct certs certs;
    int fds[2];
    certs_init(&certs);
    struct tls_context *server = tls_server_context_new(
        &(struct tls_server_settings){.cert_file = certs.cert_file, .key_file = certs.key_file});
    assert_non_null(server);
    struct tls_client c = {
        .context = tls_client_context_new(&(struct tls_client_settings){.ca_file = certs.ca_file})};
    assert_non_null(c.context);
    assert_int_equal(sys_socketpair(fds), 0);
    c.fd = fds[0];
    http_serve(fds[1], NULL, server, &serving, handle_tls, NULL);
    assert_non_null(task_spawn(RUN_NORMAL, "client", run_tls_client, &c));
    serving_turn_until(&c.is_done);
    /* The orderly end, after both answers. */
    assert_int_equal(c.result, -ERR_CLOSED);
    buf_add_char(&c.text, '\0');
    assert_non_null(strstr(c.text.ptr, "helloHTTP/1.1 200 OK"));
    assert_non_null(strstr(c.text.ptr, "Connection: close"));
    buf_fini(&c.text);
    /* What is no TLS is turned away and counted. */
    uint64_t before = http_server_stats()->tls_failures;
    assert_int_equal(sys_socketpair(fds), 0);
    assert_true(write(fds[0], GET, strlen(GET)) > 0);
    http_serve(fds[1], NULL, server, &serving, handle_tls, NULL);
    serving_turn_until_closed();
    assert_int_equal(http_server_stats()->tls_failures, before + 1);
    close(fds[0]);
    tls_context_unref(server);
    tls_context_unref(c.context);
    certs_fini(&certs);
}

#define SERVING_TEST(fn) cmocka_unit_test_setup_teardown(fn, serving_begin, serving_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(one_request_after_the_other),
        SERVING_TEST(requests_are_described),
        SERVING_TEST(pipelined_requests_are_answered_in_order_at_any_cut),
        SERVING_TEST(a_long_pipeline_is_read_as_it_is_served),
        SERVING_TEST(http_1_0),
        SERVING_TEST(parts_of_a_stream_leave_at_once),
        SERVING_TEST(a_stream_to_http_1_0_ends_with_the_connection),
        SERVING_TEST(a_cut_stream_looks_cut),
        SERVING_TEST(trailers_follow_the_body),
        SERVING_TEST(head_and_body_leave_in_one_write),
        SERVING_TEST(answers_without_a_body),
        SERVING_TEST(a_body_must_be_as_long_as_promised),
        SERVING_TEST(answers_of_any_size_and_number_of_parts),
        SERVING_TEST(headers_of_answers_are_filtered),
        SERVING_TEST(a_handler_that_says_nothing_gives_500),
        SERVING_TEST(dates_are_of_this_second),
        SERVING_TEST(over_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
