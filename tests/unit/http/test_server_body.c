#include <stdlib.h>
#include <zlib.h>

#include "base/err.h"
#include "rt/sys.h"
#include "serving.h"

/* --- reading a body -------------------------------------------------------------------------- */

struct body {
    struct buf text;
    int result;
    char message[256];
    uint64_t limit;
    unsigned reads; /* with http_request_read instead of http_request_collect */
    size_t largest; /* of its reads */
    size_t cap;     /* the room that was made for the body */
    bool is_done;
};

YIELDS static void read_in_pieces(struct http_request *r, struct body *b)
{
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    for (b->reads = 0; b->result == 0 && !pieces.is_last; b->reads++) {
        b->result = http_request_read(r, &pieces, CLOCK_NEVER);
        size_t bytes = 0;
        for (int i = 0; b->result == 0 && i < pieces.count; i++) {
            buf_add(&b->text, v[i].iov_base, v[i].iov_len);
            bytes += v[i].iov_len;
        }
        assert_true(b->result < 0 || bytes == pieces.bytes);
        b->largest = MAX(b->largest, bytes);
    }
}

static void handle_body(struct http_request *r, void *ctx)
{
    struct body *b = ctx;
    if (str_eq(r->path, STR("/pieces")))
        read_in_pieces(r, b);
    else
        b->result = http_request_collect(r, b->limit, CLOCK_NEVER, &b->text);
    if (b->result < 0)
        memcpy(b->message, err_slot()->message, sizeof(b->message));
    b->cap = b->text.cap;
    b->is_done = true;
    http_respond(r, b->result == -ERR_LIMIT ? 413 : 200, NULL, STR_EMPTY);
}

#define LIMIT_BYTES 1000000

static struct body fresh_body(void)
{
    return (struct body){.limit = LIMIT_BYTES};
}

#define OK_EMPTY "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 0\r\n\r\n"
#define OK_EMPTY_CLOSE \
    "HTTP/1.1 200 OK\r\nDate: -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#define TOO_LARGE \
    "HTTP/1.1 413 Content Too Large\r\nDate: -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

/* Sends a request, the body framed by its length or in chunks. */
static void send_request(struct peer *p, const char *path, const char *headers, struct str body,
                         size_t chunk_bytes)
{
    struct buf b = BUF_INIT;
    buf_printf(&b, "POST %s HTTP/1.1\r\nHost: x\r\n%s", path, headers);
    if (chunk_bytes == 0) {
        buf_printf(&b, "Content-Length: %zu\r\n\r\n", body.len);
        buf_add_str(&b, body);
    } else {
        BUF_LIT(&b, "Transfer-Encoding: chunked\r\n\r\n");
        for (size_t at = 0; at < body.len; at += chunk_bytes) {
            struct str chunk = str_head(str_skip(body, at), chunk_bytes);
            buf_printf(&b, "%zx\r\n", chunk.len);
            buf_add_str(&b, chunk);
            BUF_LIT(&b, "\r\n");
        }
        BUF_LIT(&b, "0\r\n\r\n");
    }
    peer_send(p, buf_str(&b));
    buf_fini(&b);
}

static struct str noise(size_t len)
{
    char *bytes = malloc(len + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    return str_n(bytes, len);
}

static void bodies_of_all_sizes(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 1000, 8192, 65536, 262144, 300001, LIMIT_BYTES};
    static const size_t chunks[] = {0, 100, 70000};
    struct body b = fresh_body();
    struct peer p = peer_open(handle_body, &b);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct str bytes = noise(sizes[i]);
        for (size_t k = 0; k < 2 * ARRAY_LEN(chunks); k++) {
            b = fresh_body();
            send_request(&p, k % 2 == 0 ? "/" : "/pieces", "", bytes, chunks[k / 2]);
            peer_expect(&p, OK_EMPTY);
            assert_int_equal(b.result, 0);
            assert_true(str_eq(buf_str(&b.text), bytes));
            buf_fini(&b.text);
        }
        free((char *)(uintptr_t)bytes.ptr);
    }
    peer_close(&p);
}

struct recv_count {
    int fd;
    unsigned count;
};

static bool count_recv(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    struct recv_count *c = ctx;
    (void)result;
    c->count += call == SYS_RECV && fd == c->fd;
    return false;
}

static void a_large_body_is_read_in_large_pieces(void **state)
{
    (void)state;
    struct body b = fresh_body();
    struct str bytes = noise(LIMIT_BYTES);
    struct peer p = peer_open(handle_body, &b);
    int big = 1 << 22;
    setsockopt(p.fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big));
    setsockopt(p.server_fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
    struct recv_count recvs = {.fd = p.server_fd};
    sys_hook(count_recv, &recvs);
    send_request(&p, "/", "", bytes, 0);
    peer_expect(&p, OK_EMPTY);
    assert_true(str_eq(buf_str(&b.text), bytes));
    /* 16 reads of 64 KiB would be the least through the shared read buffer. */
    assert_in_range(recvs.count, 1, 15);
    buf_fini(&b.text);
    free((char *)(uintptr_t)bytes.ptr);
    peer_close(&p);
}

/* A promise alone must not cost memory: a thousand of them would end the process. */
static void room_is_made_as_bytes_come(void **state)
{
    (void)state;
    struct body b = fresh_body();
    b.limit = 1 << 30;
    struct peer p = peer_open(handle_body, &b);
    peer_send_text(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
    assert_false(b.is_done);
    peer_reset(&p);
    serving_turn_until(&b.is_done);
    assert_int_equal(b.result, -ERR_RESET);
    assert_in_range(b.cap, 1, 256 * 1024);
    buf_fini(&b.text);
}

static void bodies_that_are_too_large(void **state)
{
    (void)state;
    struct str bytes = noise(LIMIT_BYTES + 200000);
    static const size_t chunks[] = {0, 1000, LIMIT_BYTES + 200000};
    for (size_t k = 0; k < ARRAY_LEN(chunks); k++) {
        struct body b = fresh_body();
        struct peer p = peer_open(handle_body, &b);
        /* The client hears it although it sends on, and no reset takes it away. */
        send_request(&p, "/", "", bytes, chunks[k]);
        peer_expect_and_close(&p, TOO_LARGE);
        assert_int_equal(b.result, -ERR_LIMIT);
        buf_fini(&b.text);
    }
    serving.limits.body_bytes = LIMIT_BYTES;
    struct body b = fresh_body();
    struct peer p = peer_open(handle_body, &b);
    send_request(&p, "/pieces", "", bytes, 1000);
    peer_expect_and_close(&p, TOO_LARGE);
    assert_int_equal(b.result, -ERR_LIMIT);
    buf_fini(&b.text);
    free((char *)(uintptr_t)bytes.ptr);
}

/* --- Content-Encoding ------------------------------------------------------------------------ */

static struct str gzip(struct str plain)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t cap = deflateBound(&z, plain.len) + 64;
    char *out = malloc(cap);
    assert_non_null(out);
    z.next_in = (Bytef *)(uintptr_t)plain.ptr;
    z.avail_in = (uInt)plain.len;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)cap;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t len = cap - z.avail_out;
    deflateEnd(&z);
    return str_n(out, len);
}

static void encoded_bodies(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 5000, 65536, LIMIT_BYTES};
    static const size_t chunks[] = {0, 10, 70000};
    struct body b = fresh_body();
    struct peer p = peer_open(handle_body, &b);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct str plain = noise(sizes[i]);
        struct str bytes = gzip(plain);
        for (size_t k = 0; k < 2 * ARRAY_LEN(chunks); k++) {
            b = fresh_body();
            send_request(&p, k % 2 == 0 ? "/" : "/pieces", "Content-Encoding: gzip\r\n", bytes,
                         chunks[k / 2]);
            peer_expect(&p, OK_EMPTY);
            assert_int_equal(b.result, 0);
            assert_true(str_eq(buf_str(&b.text), plain));
            assert_true(b.largest <= 65536);
            buf_fini(&b.text);
        }
        free((char *)(uintptr_t)bytes.ptr);
        free((char *)(uintptr_t)plain.ptr);
    }
    peer_close(&p);
}

static void bombs(void **state)
{
    (void)state;
    static char zeros[50 * LIMIT_BYTES];
    struct str bytes = gzip(str_n(zeros, sizeof(zeros)));
    static const char *const paths[] = {"/", "/pieces"};
    serving.limits.body_bytes = LIMIT_BYTES;
    for (size_t k = 0; k < 4; k++) {
        struct body b = fresh_body();
        struct peer p = peer_open(handle_body, &b);
        send_request(&p, paths[k % 2], "Content-Encoding: gzip\r\n", bytes, k < 2 ? 0 : 5000);
        peer_wait_text(&p, "\r\n\r\n");
        assert_true(str_starts(str_c(p.text), STR("HTTP/1.1 413 ")));
        assert_int_equal(b.result, -ERR_LIMIT);
        assert_in_range(b.text.len, LIMIT_BYTES / 2, LIMIT_BYTES + 65536);
        buf_fini(&b.text);
        peer_reset(&p);
    }
    free((char *)(uintptr_t)bytes.ptr);
}

/* Encoded bytes that decode to nothing, for ever. */
static void empty_members_without_end(void **state)
{
    (void)state;
    struct str empty = gzip(STR(""));
    struct buf bytes = BUF_INIT;
    while (bytes.len < 2 * LIMIT_BYTES)
        buf_add_str(&bytes, empty);
    struct body b = fresh_body();
    struct peer p = peer_open(handle_body, &b);
    send_request(&p, "/", "Content-Encoding: gzip\r\n", buf_str(&bytes), 60000);
    peer_expect_and_close(&p, TOO_LARGE);
    assert_int_equal(b.result, -ERR_LIMIT);
    assert_int_equal(b.text.len, 0);
    buf_fini(&b.text);
    buf_fini(&bytes);
    free((char *)(uintptr_t)empty.ptr);
}

static void encodings_that_are_not_taken(void **state)
{
    (void)state;
    static const struct {
        const char *headers, *message;
    } rows[] = {
        {"Content-Encoding: gzip, br\r\n", "'gzip, br' is not understood; use one of gzip"},
        {"Content-Encoding: compress\r\n", "'compress' is not understood"},
        {"Content-Encoding: gzip\r\nContent-Encoding: br\r\n", "more than one Content-Encoding"},
        {"Content-Encoding: gzip\r\n", "not valid gzip data"},
        {"Content-Encoding: zstd\r\n", "not valid zstd data"},
        {"Content-Encoding: br\r\n", "not valid br data"},
        {"Content-Encoding: deflate\r\n", "not valid deflate data"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct body b = fresh_body();
        struct peer p = peer_open(handle_body, &b);
        send_request(&p, "/", rows[i].headers, STR("{\"not\": \"encoded\", 12345678901234567}"), 0);
        /* The body is small: it is read away, and the connection is of further use. */
        peer_expect(&p, OK_EMPTY);
        assert_int_equal(b.result, -ERR_INVALID);
        assert_non_null(strstr(b.message, rows[i].message));
        buf_fini(&b.text);
        b = fresh_body();
        send_request(&p, "/", "Content-Encoding: identity\r\n", STR("plain"), 0);
        peer_expect(&p, OK_EMPTY);
        assert_true(str_eq(buf_str(&b.text), STR("plain")));
        buf_fini(&b.text);
        peer_close(&p);
    }
}

/* --- Expect ---------------------------------------------------------------------------------- */

#define EXPECTING "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"

static void continue_is_said_when_the_body_is_read(void **state)
{
    (void)state;
    struct body b = fresh_body();
    struct peer p = peer_open(handle_body, &b);
    for (unsigned i = 0; i < 2; i++) {
        peer_send_text(&p, EXPECTING);
        peer_expect(&p, "HTTP/1.1 100 Continue\r\n\r\n");
        peer_send_text(&p, "bo");
        peer_send_text(&p, "dy");
        peer_expect(&p, OK_EMPTY);
        assert_true(str_eq(buf_str(&b.text), STR("body")));
        buf_fini(&b.text);
        b = fresh_body();
    }
    peer_close(&p);
}

/* A handler that answers without reading spares the client the body, but what follows on the
 * connection could be that body or not. */
static void continue_is_not_said_to_a_refusal(void **state)
{
    (void)state;
    struct peer p = peer_open(handle_hello, NULL);
    peer_send_text(&p, EXPECTING);
    peer_expect_and_close(&p, HELLO_CLOSE);
}

static void other_expectations_fail(void **state)
{
    (void)state;
    struct peer p = peer_open(handle_hello, NULL);
    peer_send_text(&p, "POST / HTTP/1.1\r\nHost: x\r\nExpect: more\r\nContent-Length: 4\r\n\r\n");
    peer_wait_closed(&p);
    assert_true(str_starts(str_c(p.text), STR("HTTP/1.1 417 Expectation Failed\r\n")));
    peer_reset(&p);
}

/* --- bodies that nobody reads ---------------------------------------------------------------- */

static void a_small_unread_body_is_read_away(void **state)
{
    (void)state;
    struct str bytes = noise(60000);
    struct peer p = peer_open(handle_hello, NULL);
    for (unsigned i = 0; i < 2; i++) {
        send_request(&p, "/", "", bytes, 0);
        peer_expect(&p, HELLO);
    }
    peer_send_text(&p, GET);
    peer_expect(&p, HELLO);
    peer_close(&p);
    free((char *)(uintptr_t)bytes.ptr);
}

/* It comes late, or never: the answer must not wait for it. */
static void an_unread_body_is_not_waited_for_long(void **state)
{
    (void)state;
    serving_stop_clock();
    struct peer p = peer_open(handle_hello, NULL);
    peer_send_text(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n");
    peer_expect(&p, HELLO);
    peer_send_text(&p, "body" GET);
    peer_expect(&p, HELLO);
    peer_send_text(&p, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n");
    peer_expect(&p, HELLO);
    serving_pass_ms(2000);
    serving_pass_ms(2000);
    peer_wait_closed(&p);
    peer_close(&p);
}

static void a_large_unread_body_ends_the_connection(void **state)
{
    (void)state;
    struct str bytes = noise(LIMIT_BYTES);
    static const size_t chunks[] = {0, 1000};
    for (size_t k = 0; k < ARRAY_LEN(chunks); k++) {
        struct peer p = peer_open(handle_hello, NULL);
        send_request(&p, "/", "", bytes, chunks[k]);
        peer_expect_and_close(&p, HELLO_CLOSE);
    }
    free((char *)(uintptr_t)bytes.ptr);
}

static void a_body_with_broken_framing_ends_the_connection(void **state)
{
    (void)state;
    struct body b = fresh_body();
    struct peer p = peer_open(handle_body, &b);
    peer_send_text(&p, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "5\r\nhelloGET / HTTP/1.1\r\nHost: x\r\n\r\n");
    peer_expect_and_close(&p, OK_EMPTY_CLOSE);
    assert_int_equal(b.result, -ERR_PROTOCOL);
    buf_fini(&b.text);
}

#define SERVING_TEST(fn) cmocka_unit_test_setup_teardown(fn, serving_begin, serving_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVING_TEST(bodies_of_all_sizes),
        SERVING_TEST(a_large_body_is_read_in_large_pieces),
        SERVING_TEST(room_is_made_as_bytes_come),
        SERVING_TEST(bodies_that_are_too_large),
        SERVING_TEST(encoded_bodies),
        SERVING_TEST(bombs),
        SERVING_TEST(empty_members_without_end),
        SERVING_TEST(encodings_that_are_not_taken),
        SERVING_TEST(continue_is_said_when_the_body_is_read),
        SERVING_TEST(continue_is_not_said_to_a_refusal),
        SERVING_TEST(other_expectations_fail),
        SERVING_TEST(a_small_unread_body_is_read_away),
        SERVING_TEST(an_unread_body_is_not_waited_for_long),
        SERVING_TEST(a_large_unread_body_ends_the_connection),
        SERVING_TEST(a_body_with_broken_framing_ends_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
