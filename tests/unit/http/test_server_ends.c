#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "rt/sys.h"
#include "serving.h"

/* How connections end: refusals, deadlines, hang-ups, drains, failures of the system. */

/* --- refusals -------------------------------------------------------------------------------- */

static void bad_requests_are_answered_and_end_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *request, *status_line;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\nHost: x\n\n", "HTTP/1.1 400 Bad Request\r\n"},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
         "HTTP/1.1 501 Not Implemented\r\n"},
        {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
        {"\x16\x03\x01", "HTTP/1.1 400 Bad Request\r\n"},
    };
    uint64_t before = http_server_stats()->bad_requests;
    uint64_t served = http_server_stats()->requests;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct peer p = peer_open(handle_hello, NULL);
        /* What follows a request that cannot be framed is nobody's. */
        peer_send_text(&p, rows[i].request);
        peer_send_text(&p, GET);
        peer_wait_closed(&p);
        assert_false(p.is_reset);
        assert_true(str_starts(str_c(p.text), str_c(rows[i].status_line)));
        assert_non_null(strstr(p.text, "\r\nConnection: close\r\n"));
        assert_non_null(strstr(p.text, "\r\nContent-Type: text/plain; charset=utf-8\r\n"));
        assert_null(strstr(p.text, "hello"));
        peer_reset(&p);
    }
    assert_int_equal(http_server_stats()->bad_requests, before + ARRAY_LEN(rows));
    assert_int_equal(http_server_stats()->requests, served);
}

static struct str describe(struct arena *arena, unsigned status, const char *message,
                           struct str *content_type)
{
    *content_type = STR("application/json");
    return arena_printf(arena, "{\"status\":%u,\"message\":\"%s\"}", status, message);
}

static void refusals_are_worded_by_the_owner(void **state)
{
    (void)state;
    serving.describe_error = describe;
    struct peer p = peer_open(handle_hello, NULL);
    peer_send_text(&p, "GET / HTTP/1.1\r\n\r\n");
    peer_expect_and_close(&p, "HTTP/1.1 400 Bad Request\r\nDate: -\r\n"
                              "Content-Type: application/json\r\nContent-Length: 60\r\n"
                              "Connection: close\r\n\r\n"
                              "{\"status\":400,\"message\":\"exactly one Host header is needed\"}");
}

/* The client is still sending when it is refused: its kernel must not throw the answer away. */
static void a_refusal_reaches_a_client_that_sends_on(void **state)
{
    (void)state;
    struct buf bytes = BUF_INIT;
    BUF_LIT(&bytes, "GET / HTTP/1.1\r\nHost: x\r\n");
    while (bytes.len < 3000000)
        BUF_LIT(&bytes, "X-Header: 0123456789012345678901234567890123456789\r\n");
    struct peer p = peer_open(handle_hello, NULL);
    peer_send(&p, buf_str(&bytes));
    peer_wait_closed(&p);
    assert_false(p.is_reset);
    assert_true(str_starts(str_c(p.text), STR("HTTP/1.1 431 ")));
    peer_reset(&p);
    buf_fini(&bytes);
}

/* --- deadlines ------------------------------------------------------------------------------- */

static void a_slow_head_is_given_up(void **state)
{
    (void)state;
    serving.head_timeout_ns = 5 * NS_PER_SEC;
    serving_stop_clock();
    uint64_t before = http_server_stats()->timeouts;
    struct peer p = peer_open(handle_hello, NULL);
    peer_send_text(&p, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    /* Each byte comes in good time, but the time for the head is not pushed out by it. */
    for (unsigned i = 0; i < 4; i++) {
        serving_pass_ms(1200);
        peer_send_text(&p, "a");
        peer_pump(&p);
        assert_int_equal(p.len, 0);
    }
    serving_pass_ms(201);
    peer_wait_text(&p, "HTTP/1.1 408 Request Timeout\r\n");
    peer_wait_closed(&p);
    assert_int_equal(http_server_stats()->timeouts, before + 1);
    peer_reset(&p);
}

static void an_idle_connection_is_closed_without_a_word(void **state)
{
    (void)state;
    serving.keep_alive_timeout_ns = 60 * NS_PER_SEC;
    serving.head_timeout_ns = 5 * NS_PER_SEC;
    serving_stop_clock();
    struct peer fresh = peer_open(handle_hello, NULL);
    struct peer used = peer_open(handle_hello, NULL);
    serving_pass_ms(30000);
    peer_send_text(&used, GET);
    peer_expect(&used, HELLO);
    serving_pass_ms(29990);
    peer_pump(&fresh);
    assert_false(fresh.is_closed);
    serving_pass_ms(20);
    peer_expect_and_close(&fresh, "");
    serving_pass_ms(29980);
    peer_pump(&used);
    assert_false(used.is_closed);
    serving_pass_ms(20);
    peer_expect_and_close(&used, "");
}

static void handle_collect(struct http_request *r, void *ctx)
{
    struct buf body = BUF_INIT;
    *(int *)ctx = http_request_collect(r, 1000, CLOCK_NEVER, &body);
    http_respond(r, 408, NULL, STR_EMPTY);
    buf_fini(&body);
}

static void a_slow_body_is_given_up(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\na\r\n",
    };
    serving.body_timeout_ns = 5 * NS_PER_SEC;
    serving_stop_clock();
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        int result = 1;
        struct peer p = peer_open(handle_collect, &result);
        peer_send_text(&p, heads[i]);
        /* As long as something comes it may take its time. */
        for (unsigned n = 0; n < 4; n++) {
            serving_pass_ms(4000);
            peer_send_text(&p, "a");
        }
        serving_pass_ms(4990);
        assert_int_equal(result, 1);
        serving_pass_ms(20);
        assert_int_equal(result, -ERR_TIMEOUT);
        peer_expect(&p, "HTTP/1.1 408 Request Timeout\r\nDate: -\r\nContent-Length: 0\r\n"
                        "Connection: close\r\n\r\n");
        peer_close(&p);
    }
}

struct flood {
    size_t sent;
    int result;
    bool is_done;
};

/* 20 MB that count up, in parts that lie in the thread's read buffer. */
static void handle_flood(struct http_request *r, void *ctx)
{
    struct flood *f = ctx;
    f->result = http_response_start(r, 200, NULL, -1);
    while (f->result == 0 && f->sent < 20000000) {
        char *scratch = loop_scratch();
        for (size_t i = 0; i < 50000; i++)
            scratch[i] = (char)((f->sent + i) % 251);
        struct iovec iov = {scratch, 50000};
        f->result = http_response_write(r, &iov, 1, false, CLOCK_NEVER);
        f->sent += 50000;
    }
    if (f->result == 0)
        f->result = http_response_end(r, NULL, CLOCK_NEVER);
    f->is_done = true;
}

static void a_client_that_reads_nothing_is_cut_off(void **state)
{
    (void)state;
    serving.write_timeout_ns = 30 * NS_PER_SEC;
    serving_stop_clock();
    uint64_t before = http_server_stats()->client_aborts;
    struct flood f = {0};
    struct peer p = peer_open(handle_flood, &f);
    p.is_paused = true;
    peer_send_text(&p, "GET / HTTP/1.0\r\n\r\n");
    size_t stuck;
    do {
        stuck = f.sent;
        for (unsigned i = 0; i < 20; i++)
            serving_turn();
    } while (f.sent > stuck);
    assert_false(f.is_done);
    /* It reads a little: the time starts anew. */
    serving_pass_ms(29000);
    p.is_paused = false;
    peer_pump(&p);
    p.is_paused = true;
    while (f.sent == stuck)
        serving_turn();
    do {
        stuck = f.sent;
        for (unsigned i = 0; i < 20; i++)
            serving_turn();
    } while (f.sent > stuck);
    serving_pass_ms(29000);
    assert_false(f.is_done);
    /* On a busy machine the kernel takes some more of it in between: the time starts anew again. */
    for (unsigned i = 0; i < 60 && !f.is_done; i++)
        serving_pass_ms(1001);
    serving_turn_until(&f.is_done);
    assert_int_equal(f.result, -ERR_TIMEOUT);
    serving_turn_until_closed();
    assert_int_equal(http_server_stats()->client_aborts, before + 1);
    /* Nothing stays in the kernel for it. */
    p.is_paused = false;
    peer_wait_closed(&p);
    assert_true(p.is_reset);
    peer_reset(&p);
}

static void a_slow_client_gets_every_byte_in_order(void **state)
{
    (void)state;
    struct flood f = {0};
    struct peer p = peer_open(handle_flood, &f);
    struct peer other = peer_open(handle_echo, NULL);
    p.is_paused = true;
    peer_send_text(&p, "GET / HTTP/1.0\r\n\r\n");
    /* The read buffer is used by others while a write waits. */
    for (unsigned i = 0; i < 50; i++) {
        peer_send_text(&other, "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nother");
        peer_expect(&other, "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Type: text/plain\r\n"
                            "Content-Length: 8\r\n\r\n/x other");
    }
    assert_false(f.is_done);
    p.is_paused = false;
    peer_wait_closed(&p);
    assert_int_equal(f.result, 0);
    const char *body = strstr(p.text, "\r\n\r\n") + 4;
    assert_int_equal(p.text + p.len - body, 20000000);
    for (size_t i = 0; i < 20000000; i++) {
        if (body[i] != (char)(i % 251))
            fail_msg("byte %zu is wrong", i);
    }
    peer_reset(&p);
    peer_close(&other);
}

/* --- hang-ups -------------------------------------------------------------------------------- */

struct waiting {
    bool is_watched;
    bool is_waiting;
    bool is_done;
    bool answers; /* after the wait */
    bool goes_on; /* ends the wait */
    int result;
    enum err_code reason;
};

static void handle_waiting(struct http_request *r, void *ctx)
{
    struct waiting *w = ctx;
    w->is_waiting = true;
    if (w->is_watched)
        http_request_watch_hangup(r, task_self());
    do {
        w->result = task_sleep_until(loop_now_ns() + NS_PER_MS);
    } while (w->result == 0 && !w->goes_on);
    w->reason = task_cancel_reason(task_self());
    w->is_done = true;
    if (w->answers)
        handle_hello(r, NULL);
}

static void a_hang_up_cancels_the_handler(void **state)
{
    (void)state;
    static const char *const requests[] = {
        GET,
        /* Pipelined bytes that are not read must not hide the end that follows them. */
        GET GET,
        "GET / HTTP/1.0\r\n\r\n",
    };
    for (size_t i = 0; i < 2 * ARRAY_LEN(requests); i++) {
        struct waiting w = {.is_watched = true};
        uint64_t before = http_server_stats()->client_aborts;
        struct peer p = peer_open(handle_waiting, &w);
        peer_send_text(&p, requests[i / 2]);
        serving_turn_until(&w.is_waiting);
        if (i % 2 == 0)
            peer_close(&p);
        else
            peer_reset(&p);
        serving_turn_until(&w.is_done);
        assert_int_equal(w.result, -ERR_CANCELED);
        assert_int_equal(w.reason, ERR_RESET);
        serving_turn_until_closed();
        assert_int_equal(http_server_stats()->client_aborts, before + 1);
    }
}

static void a_full_pipe_does_not_hide_a_hang_up(void **state)
{
    (void)state;
    struct waiting w = {.is_watched = true};
    struct peer p = peer_open(handle_waiting, &w);
    struct buf bytes = BUF_INIT;
    int small = 4096;
    setsockopt(p.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
    for (unsigned i = 0; i < 1000; i++)
        buf_add_str(&bytes, STR(GET));
    assert_true(write(p.fd, bytes.ptr, bytes.len) > 0);
    serving_turn_until(&w.is_waiting);
    peer_close(&p);
    serving_turn_until(&w.is_done);
    assert_int_equal(w.reason, ERR_RESET);
    buf_fini(&bytes);
}

static void a_half_closed_client_gets_its_answer(void **state)
{
    (void)state;
    struct waiting w = {.answers = true};
    struct peer p = peer_open(handle_waiting, &w);
    peer_send_text(&p, GET);
    peer_shut(&p);
    serving_turn_until(&w.is_waiting);
    for (unsigned i = 0; i < 5; i++)
        serving_turn();
    assert_false(w.is_done);
    w.goes_on = true;
    peer_expect_and_close(&p, HELLO);
    assert_int_equal(w.result, 0);
}

/* A cancellation must not outlive its request. */
static void the_next_request_is_not_cancelled(void **state)
{
    (void)state;
    struct waiting w = {.answers = true, .is_watched = true, .goes_on = true};
    struct peer p = peer_open(handle_waiting, &w);
    for (unsigned i = 0; i < 3; i++) {
        peer_send_text(&p, GET);
        peer_expect(&p, HELLO);
        assert_int_equal(w.result, 0);
    }
    /* The watch ends with the request: this hang-up is just the end. */
    uint64_t before = http_server_stats()->client_aborts;
    peer_close(&p);
    serving_turn_until_closed();
    assert_int_equal(http_server_stats()->client_aborts, before);
}

/* --- drains ---------------------------------------------------------------------------------- */

/* Draining cannot be taken back, and it is the thread's: each of these has a thread of its own. */
struct thread_body {
    void (*fn)(void);
    bool has_ended;
};

static void *thread_main(void *arg)
{
    struct thread_body *body = arg;
    void *state = NULL;
    serving_begin(&state);
    body->fn();
    serving_end(&state);
    body->has_ended = true;
    return NULL;
}

static void in_a_thread(void (*fn)(void))
{
    struct thread_body body = {.fn = fn};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, thread_main, &body), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(body.has_ended);
}

static void drain_body(void)
{
    struct waiting w = {.answers = true};
    struct peer idle = peer_open(handle_hello, NULL);
    struct peer busy = peer_open(handle_waiting, &w);
    peer_send_text(&idle, GET);
    peer_expect(&idle, HELLO);
    peer_send_text(&busy, GET);
    serving_turn_until(&w.is_waiting);
    http_server_drain();
    peer_expect_and_close(&idle, "");
    assert_false(w.is_done);
    assert_int_equal(http_server_active(), 1);
    assert_int_equal(http_server_connections(), 1);
    w.goes_on = true;
    peer_expect_and_close(&busy, HELLO_CLOSE);
    assert_int_equal(w.result, 0);
}

static void a_drain_ends_idle_connections_and_lets_answers_finish(void **state)
{
    (void)state;
    in_a_thread(drain_body);
}

static void drain_in_flight_body(void)
{
    struct peer fresh = peer_open(handle_hello, NULL);
    struct peer used = peer_open(handle_hello, NULL);
    peer_send_text(&used, GET);
    peer_expect(&used, HELLO);
    /* On their way while the drain begins: no request is lost. */
    assert_int_equal(write(fresh.fd, GET, strlen(GET)), strlen(GET));
    assert_int_equal(write(used.fd, GET, strlen(GET)), strlen(GET));
    http_server_drain();
    peer_expect_and_close(&fresh, HELLO_CLOSE);
    peer_expect_and_close(&used, HELLO_CLOSE);
    /* So is what is accepted from the backlog. */
    struct peer late = peer_open(handle_hello, NULL);
    peer_send_text(&late, GET);
    peer_expect_and_close(&late, HELLO_CLOSE);
}

static void a_drain_serves_what_is_on_its_way(void **state)
{
    (void)state;
    in_a_thread(drain_in_flight_body);
}

static void cancel_body(void)
{
    struct waiting w = {0};
    struct peer busy = peer_open(handle_waiting, &w);
    struct peer half = peer_open(handle_hello, NULL);
    peer_send_text(&busy, GET);
    peer_send_text(&half, "GET / HT");
    serving_turn_until(&w.is_waiting);
    http_server_drain();
    http_server_cancel_all();
    serving_turn_until(&w.is_done);
    assert_int_equal(w.result, -ERR_CANCELED);
    assert_int_equal(w.reason, ERR_CANCELED);
    /* The handler had no last words, so the server has. */
    peer_wait_text(&busy, "HTTP/1.1 500 ");
    peer_wait_closed(&busy);
    peer_reset(&busy);
    peer_expect_and_close(&half, "");
}

static void what_is_left_of_a_drain_is_cancelled(void **state)
{
    (void)state;
    in_a_thread(cancel_body);
}

/* --- the system fails ------------------------------------------------------------------------ */

struct fault {
    enum sys_call call;
    int errno_value;
    unsigned left; /* calls until it fails */
    bool was_due;
};

static bool fail_nth(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    struct fault *f = ctx;
    (void)fd;
    if (call != f->call || f->left == 0 || --f->left > 0)
        return false;
    f->was_due = true;
    *result = -1;
    errno = f->errno_value;
    return true;
}

static const char fault_request[] = "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                                    "Expect: 100-continue\r\n\r\n";

/* One request; then what came is whole, or an error, or nothing more than a clean end. Returns how
 * many allocations it took. */
static uint64_t request_under_faults(void)
{
    struct peer p = peer_open(handle_echo, NULL);
    peer_send_text(&p, fault_request);
    peer_send_text(&p, "5\r\nhello\r\n0\r\n\r\n");
    for (unsigned i = 0; i < 6; i++)
        serving_turn();
    uint64_t allocations = mem_count();
    sys_hook(NULL, NULL);
    mem_fail_at(0);
    peer_shut(&p);
    peer_wait_closed(&p);
    const char *text = p.text;
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (strncmp(text, interim, strlen(interim)) == 0)
        text += strlen(interim);
    assert_true(text[0] == '\0' || strncmp(text, "HTTP/1.1 200 ", 13) == 0 ||
                strncmp(text, "HTTP/1.1 400 ", 13) == 0 ||
                strncmp(text, "HTTP/1.1 500 ", 13) == 0 || strncmp(text, "HTTP/1.1 503 ", 13) == 0);
    /* An answer that began well is whole. */
    if (strncmp(text, "HTTP/1.1 200 ", 13) == 0)
        assert_non_null(strstr(text, "/x hello"));
    peer_reset(&p);
    serving_turn_until_closed();
    /* And the server is as good as before. */
    p = peer_open(handle_hello, NULL);
    peer_send_text(&p, GET);
    peer_expect(&p, HELLO);
    peer_close(&p);
    serving_turn_until_closed();
    return allocations;
}

static void every_failing_system_call(void **state)
{
    (void)state;
    static const struct fault rows[] = {
        {.call = SYS_RECV, .errno_value = ECONNRESET},
        {.call = SYS_RECV, .errno_value = ENOMEM},
        {.call = SYS_RECV, .errno_value = EAGAIN},
        {.call = SYS_WRITEV, .errno_value = EPIPE},
        {.call = SYS_WRITEV, .errno_value = ENOBUFS},
        {.call = SYS_WRITEV, .errno_value = EAGAIN},
        {.call = SYS_EPOLL_CTL, .errno_value = ENOMEM},
        {.call = SYS_SETSOCKOPT, .errno_value = EINVAL},
        {.call = SYS_SHUTDOWN, .errno_value = ENOTCONN},
        {.call = SYS_MMAP, .errno_value = ENOMEM},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned n = 1;
        for (;; n++) {
            struct fault f = rows[i];
            f.left = n;
            sys_hook(fail_nth, &f);
            request_under_faults();
            if (!f.was_due)
                break;
            assert_true(n < 100);
        }
    }
}

static void every_failing_allocation(void **state)
{
    (void)state;
    uint64_t n = 0;
    uint64_t allocations;
    do {
        /* Blocks that were kept would be taken without an allocation. */
        mem_blocks_trim();
        mem_fail_at(++n);
        allocations = request_under_faults();
    } while (allocations >= n);
    assert_in_range(n, 4, 1000);
}

/* --- memory ---------------------------------------------------------------------------------- */

static void idle_connections_hold_almost_nothing(void **state)
{
    (void)state;
    if (mallinfo2().uordblks == 0) {
        print_message("skipped: this allocator does not tell what is in use\n");
        skip();
    }
    enum { COUNT = 200 };
    struct peer peers[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        peers[i] = peer_open(handle_echo, NULL);
        peer_send_text(&peers[i], "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
        peer_wait_text(&peers[i], "/ abc");
        free(peers[i].text);
        peers[i].text = NULL;
    }
    mem_blocks_trim();
    size_t held = mallinfo2().uordblks;
    for (unsigned i = 0; i < COUNT; i++)
        peer_reset(&peers[i]);
    serving_turn_until_closed();
    mem_blocks_trim();
    /* The connection's struct and nothing else: no buffer, no arena. */
    assert_in_range((held - mallinfo2().uordblks) / COUNT, 1, 1100);
}

#define SERVING_TEST(fn) cmocka_unit_test_setup_teardown(fn, serving_begin, serving_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(bad_requests_are_answered_and_end_the_connection),
        SERVING_TEST(refusals_are_worded_by_the_owner),
        SERVING_TEST(a_refusal_reaches_a_client_that_sends_on),
        SERVING_TEST(a_slow_head_is_given_up),
        SERVING_TEST(an_idle_connection_is_closed_without_a_word),
        SERVING_TEST(a_slow_body_is_given_up),
        SERVING_TEST(a_client_that_reads_nothing_is_cut_off),
        SERVING_TEST(a_slow_client_gets_every_byte_in_order),
        SERVING_TEST(a_hang_up_cancels_the_handler),
        SERVING_TEST(a_full_pipe_does_not_hide_a_hang_up),
        SERVING_TEST(a_half_closed_client_gets_its_answer),
        SERVING_TEST(the_next_request_is_not_cancelled),
        cmocka_unit_test(a_drain_ends_idle_connections_and_lets_answers_finish),
        cmocka_unit_test(a_drain_serves_what_is_on_its_way),
        cmocka_unit_test(what_is_left_of_a_drain_is_cancelled),
        SERVING_TEST(every_failing_system_call),
        SERVING_TEST(every_failing_allocation),
        SERVING_TEST(idle_connections_hold_almost_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
