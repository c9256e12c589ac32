#include "base/mem.h"
#include "calling.h"
#include "http/pool.h"
#include "rt/sys.h"

/* --- the request on the wire --- */

static const struct {
    struct http_call_request request;
    struct http_header headers[6];
    const char *expected;
} written[] = {
    {{.method = METHOD_GET, .target = STR_INIT("/v1/models?limit=2")},
     {{STR_INIT("X-Key"), STR_INIT("a b")}, {STR_INIT("Accept"), STR_INIT("*/*")}},
     "GET /v1/models?limit=2 HTTP/1.1\r\nHost: up.test\r\nX-Key: a b\r\nAccept: */*\r\n"
     "Accept-Encoding: identity\r\n\r\n"},
    {{.method = METHOD_POST, .target = STR_INIT("/")},
     {{STR_INIT("accept-encoding"), STR_INIT("gzip")}, {STR_INIT("X-Empty"), STR_INIT("")}},
     "POST / HTTP/1.1\r\nHost: up.test\r\naccept-encoding: gzip\r\nX-Empty: \r\n"
     "Content-Length: 0\r\n\r\n"},
    {{.method = METHOD_DELETE, .target = STR_INIT("/f")},
     {{STR_INIT("host"), STR_INIT("evil")},
      {STR_INIT("Connection"), STR_INIT("close")},
      {STR_INIT("CONTENT-LENGTH"), STR_INIT("5")},
      {STR_INIT("transfer-encoding"), STR_INIT("chunked")},
      {STR_INIT("Expect"), STR_INIT("100-continue")},
      {STR_INIT("Keep-Alive"), STR_INIT("5")}},
     "DELETE /f HTTP/1.1\r\nHost: up.test\r\nAccept-Encoding: identity\r\n\r\n"},
    {{.method = METHOD_OPTIONS, .target = STR_INIT("*")},
     {{STR_INIT("TE"), STR_INIT("trailers")},
      {STR_INIT("Upgrade"), STR_INIT("h2c")},
      {STR_INIT("Proxy-Authorization"), STR_INIT("x")},
      {STR_INIT("Trailer"), STR_INIT("x")}},
     "OPTIONS * HTTP/1.1\r\nHost: up.test\r\nAccept-Encoding: identity\r\n\r\n"},
};

static struct http_headers headers_of(const struct http_header *items, uint32_t max)
{
    struct http_headers h = {.items = (struct http_header *)(uintptr_t)items};
    while (h.count < max && items[h.count].name.ptr != NULL)
        h.count++;
    return h;
}

static void write_requests(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(written); i++) {
        struct upstream up = {.script = script_ok};
        struct http_origin origin = upstream_in_process(&up);
        struct http_headers headers = headers_of(written[i].headers, 6);
        struct http_call_request request = written[i].request;
        request.headers = &headers;
        struct outcome o;
        call_with(&o, &origin, &request, &patient);
        expect_body(&o, 200, "hi");
        if (!str_eq(buf_str(&up.log), str_c(written[i].expected)))
            fail_msg("row %zu: %.*s", i, STR_ARG(buf_str(&up.log)));
        outcome_fini(&o);
        part_from(&up);
    }
}

static void requests_are_written_to_the_letter(void **state)
{
    (void)state;
    run_client(write_requests, NULL, NULL);
}

static void write_body(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_ok};
    struct http_origin origin = upstream_in_process(&up);
    /* More parts than the client keeps on its stack. */
    struct iovec parts[20];
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        parts[i] =
            (struct iovec){(char *)(uintptr_t) "abcdefghijklmnopqrst" + i, i % 3 == 0 ? 0 : 1};
    struct http_call_request request = {.method = METHOD_POST,
                                        .target = STR("/v1/chat/completions"),
                                        .body = parts,
                                        .body_count = ARRAY_LEN(parts),
                                        .body_bytes = 13};
    struct outcome o;
    call_with(&o, &origin, &request, &patient);
    expect_body(&o, 200, "hi");
    assert_true(str_ends(buf_str(&up.log), STR("\r\nContent-Length: 13\r\n\r\nbcefhiklnoqrt")));
    outcome_fini(&o);
    part_from(&up);
}

static void a_body_of_many_parts_arrives_whole(void **state)
{
    (void)state;
    run_client(write_body, NULL, NULL);
}

static void write_unsafe(void *arg)
{
    (void)arg;
    static const struct http_header bad_headers[] = {
        {STR_INIT("X"), STR_INIT("a\r\nEvil: 1")},
        {STR_INIT("X"), STR_INIT("a\nb")},
        {STR_INIT("X"), STR_INIT("a\0b")},
        {STR_INIT("X\r\nEvil"), STR_INIT("1")},
        {STR_INIT("X Y"), STR_INIT("1")},
        {STR_INIT("X:"), STR_INIT("1")},
        {STR_INIT(""), STR_INIT("1")},
    };
    static const struct str bad_targets[] = {
        STR_INIT(""),      STR_INIT("v1"),        STR_INIT("/a b"),  STR_INIT("/a\r\nHost: x"),
        STR_INIT("/a\0b"), STR_INIT("http://x/"), STR_INIT("/\x7f"), STR_INIT("*x"),
    };
    struct upstream up = {.script = script_ok};
    struct http_origin origin = upstream_in_process(&up);
    struct outcome o;
    for (size_t i = 0; i < ARRAY_LEN(bad_headers); i++) {
        struct http_headers headers = headers_of(&bad_headers[i], 1);
        struct http_call_request request = get_request();
        request.headers = &headers;
        call_with(&o, &origin, &request, &patient);
        assert_int_equal(o.result, -ERR_INVALID);
        assert_null(strstr(o.err.message, "Evil: 1")); /* a value may be a secret */
    }
    for (size_t i = 0; i < ARRAY_LEN(bad_targets); i++) {
        struct http_call_request request = {.method = METHOD_GET, .target = bad_targets[i]};
        call_with(&o, &origin, &request, &patient);
        assert_int_equal(o.result, -ERR_INVALID);
    }
    struct http_call_request connect = {.method = METHOD_CONNECT, .target = STR("/")};
    call_with(&o, &origin, &connect, &patient);
    assert_int_equal(o.result, -ERR_INVALID);
    origin.host_header = STR("a\r\nb");
    call_get(&o, &origin);
    assert_int_equal(o.result, -ERR_INVALID);
    assert_int_equal(up.accepted, 0);
    upstream_fini(&up);
}

static void what_could_begin_another_line_is_refused(void **state)
{
    (void)state;
    run_client(write_unsafe, NULL, NULL);
}

/* --- answers --- */

struct answer {
    const char *bytes;
    unsigned status;
    const char *body;
    bool went_back; /* the connection can serve another call */
    bool ends_with_connection;
};

static const struct answer answers[] = {
    {OK_HI, 200, "hi", true, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n",
     200, "hello!", true, false},
    {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n", 200, "a",
     true, false},
    {"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end", false, true},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", false, false},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", 200, "x", true,
     false},
    {"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", 429,
     "{}", false, false},
    {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", true, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true, false},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_HI, 200, "hi",
     true, false},
    /* More than was asked for: it cannot be told what it belongs to. */
    {OK_HI "HTTP/1.1 200 OK\r\n", 200, "hi", false, false},
    {"HTTP/1.1 204 No Content\r\n\r\nx", 204, "", false, false},
};

/* upstream.ctx of the cutting scripts. */
struct cut {
    const struct answer *answer;
    size_t at;
    bool is_truncated; /* what comes after the cut is not sent */
    bool is_reset;
};

static void script_cut(struct served *served)
{
    const struct cut *cut = served->upstream->ctx;
    struct str bytes = str_c(cut->answer->bytes);
    if (!upstream_read(served))
        return;
    upstream_send(served, str_head(bytes, cut->at));
    settle();
    if (cut->is_reset)
        io_abort(&served->io);
    if (cut->is_truncated)
        return;
    upstream_send(served, str_skip(bytes, cut->at));
    if (!cut->answer->ends_with_connection)
        upstream_read(served);
}

static void read_cut_answers(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        for (size_t at = 0; at <= strlen(answers[i].bytes); at++) {
            struct cut cut = {&answers[i], at, false, false};
            struct upstream up = {.script = script_cut, .ctx = &cut};
            struct http_origin origin = upstream_in_process(&up);
            struct outcome o;
            call_get(&o, &origin);
            expect_body(&o, answers[i].status, answers[i].body);
            /* What comes after the end is met with the last bytes or, later, on the idle
             * connection, which it closes. */
            bool is_more = !answers[i].went_back && at < strlen(answers[i].bytes);
            if (!is_more && o.went_back != answers[i].went_back)
                fail_msg("answer %zu cut at %zu: kept or not", i, at);
            settle();
            assert_int_equal(http_pool_stats()->idle, answers[i].went_back);
            http_pool_purge(0);
            outcome_fini(&o);
            part_from(&up);
        }
    }
}

static void answers_are_the_same_at_every_cut(void **state)
{
    (void)state;
    run_client(read_cut_answers, NULL, NULL);
}

static void script_drip(struct served *served)
{
    struct str rest = str_c(served->upstream->ctx);
    if (!upstream_read(served))
        return;
    for (; rest.len > 0; rest = str_skip(rest, 1)) {
        upstream_send(served, str_head(rest, 1));
        settle();
    }
    upstream_read(served);
}

static void read_drips(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_drip, .ctx = answers[1].bytes};
    struct http_origin origin = upstream_in_process(&up);
    struct outcome o;
    call_get(&o, &origin);
    expect_body(&o, 200, "hello!");
    assert_true(o.reads >= 6);
    outcome_fini(&o);
    part_from(&up);
}

static void an_answer_in_single_bytes_is_passed_on_as_it_comes(void **state)
{
    (void)state;
    run_client(read_drips, NULL, NULL);
}

static void read_truncated_answers(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < 3; i++) {
        size_t whole = strlen(answers[i].bytes);
        for (size_t at = 0; at < whole; at++) {
            struct cut cut = {&answers[i], at, true, false};
            struct upstream up = {.script = script_cut, .ctx = &cut};
            struct http_origin origin = upstream_in_process(&up);
            struct outcome o;
            call_get(&o, &origin);
            if (o.result != -ERR_RESET)
                fail_msg("answer %zu ended after %zu of %zu bytes: %d", i, at, whole, o.result);
            assert_int_equal(o.err.fault, FAULT_UPSTREAM);
            assert_int_equal(o.err.retry, at == 0 ? RETRY_IF_REUSED : RETRY_NO);
            const char *where = o.status != 0 ? "before the end of the response"
                                : at > 0      ? "inside the head"
                                              : "before it answered";
            if (strstr(o.err.message, where) == NULL)
                fail_msg("'%s' does not say '%s'", o.err.message, where);
            assert_int_equal(up.accepted, 1); /* a fresh connection is not replaced */
            outcome_fini(&o);
            part_from(&up);
        }
    }
}

static void an_answer_that_ends_early_is_an_error(void **state)
{
    (void)state;
    run_client(read_truncated_answers, NULL, NULL);
}

static void read_bad_answers(void *arg)
{
    (void)arg;
    static const struct {
        const char *bytes;
        int result;
        const char *says;
    } rows[] = {
        {"SSH-2.0-OpenSSH\r\n\r\n", -ERR_PROTOCOL, "the upstream's answer"},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", -ERR_PROTOCOL, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\nab",
         -ERR_PROTOCOL, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", -ERR_PROTOCOL,
         "chunk size"},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
         -ERR_PROTOCOL, "101"},
        {"HTTP/1.1 100 a\r\n\r\nHTTP/1.1 100 b\r\n\r\nHTTP/1.1 100 c\r\n\r\nHTTP/1.1 100 d\r\n\r\n"
         "HTTP/1.1 100 e\r\n\r\nHTTP/1.1 100 f\r\n\r\nHTTP/1.1 100 g\r\n\r\nHTTP/1.1 100 h\r\n\r\n"
         "HTTP/1.1 100 i\r\n\r\n",
         -ERR_PROTOCOL, "more than 8 interim answers"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct upstream up = {.script = script_same, .ctx = rows[i].bytes};
        struct http_origin origin = upstream_in_process(&up);
        struct outcome o;
        call_get(&o, &origin);
        if (o.result != rows[i].result || strstr(o.err.message, rows[i].says) == NULL)
            fail_msg("row %zu: %d, %s", i, o.result, o.err.message);
        assert_int_equal(o.err.fault, FAULT_UPSTREAM);
        outcome_fini(&o);
        assert_int_equal(http_pool_stats()->idle, 0);
        part_from(&up);
    }
}

static void bad_answers_are_refused(void **state)
{
    (void)state;
    run_client(read_bad_answers, NULL, NULL);
}

static void read_head_only(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_same,
                          .ctx = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"};
    struct http_origin origin = upstream_in_process(&up);
    struct http_call_request request = {.method = METHOD_HEAD, .target = STR("/")};
    for (int i = 0; i < 2; i++) {
        struct outcome o;
        call_with(&o, &origin, &request, &patient);
        expect_body(&o, 200, "");
        assert_int_equal(o.was_reused, i == 1);
        outcome_fini(&o);
    }
    part_from(&up);
}

static void an_answer_to_head_has_no_body(void **state)
{
    (void)state;
    run_client(read_head_only, NULL, NULL);
}

/* 300 chunks in one write: more pieces than one read may give. */
static void script_many_chunks(struct served *served)
{
    struct buf b = BUF_INIT;
    BUF_LIT(&b, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; i++)
        buf_printf(&b, "3\r\n%03d\r\n", i);
    BUF_LIT(&b, "0\r\n\r\n");
    while (upstream_read(served) && upstream_send(served, buf_str(&b)))
        continue;
    buf_fini(&b);
}

static void read_many_chunks(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_many_chunks};
    struct http_origin origin = upstream_in_process(&up);
    struct outcome o;
    call_get(&o, &origin);
    assert_int_equal(o.result, 0);
    assert_int_equal(o.body.len, 900);
    for (int i = 0; i < 300; i++) {
        char expected[4];
        snprintf(expected, sizeof(expected), "%03d", i);
        assert_memory_equal(o.body.ptr + 3 * i, expected, 3);
    }
    assert_true(o.went_back);
    outcome_fini(&o);
    part_from(&up);
}

static void more_chunks_than_pieces_come_whole(void **state)
{
    (void)state;
    run_client(read_many_chunks, NULL, NULL);
}

static void collect(void *arg)
{
    (void)arg;
    static const struct {
        const char *bytes;
        uint64_t limit;
        int result;
    } rows[] = {
        {OK_HI, 2, 0},
        {OK_HI, 1, -ERR_LIMIT},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 2, 0},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", 1,
         -ERR_LIMIT},
        /* At once: it is not waited for. */
        {"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", 1 << 20, -ERR_LIMIT},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct upstream up = {.script = script_same, .ctx = rows[i].bytes};
        struct http_origin origin = upstream_in_process(&up);
        struct http_call_request request = get_request();
        struct http_call call;
        struct arena *arena = arena_new(4096);
        struct buf body = BUF_INIT;
        BUF_LIT(&body, "> ");
        assert_int_equal(http_call_start(&call, arena, &origin, &request, &patient), 0);
        assert_int_equal(http_call_head(&call), 0);
        assert_int_equal(http_call_collect(&call, rows[i].limit, &body), rows[i].result);
        if (rows[i].result == 0) {
            assert_true(str_eq(buf_str(&body), STR("> hi")));
            assert_int_equal(http_call_collect(&call, rows[i].limit, &body), 0);
        } else {
            assert_non_null(strstr(err_slot()->message, "limit of"));
        }
        http_call_finish(&call);
        /* What was refused by its length alone has not been read. */
        bool is_unread = rows[i].result < 0 && strstr(rows[i].bytes, "chunked") == NULL;
        assert_int_equal(http_pool_stats()->idle, !is_unread);
        buf_fini(&body);
        arena_free(arena);
        part_from(&up);
    }
}

static void a_body_is_collected_up_to_the_limit(void **state)
{
    (void)state;
    run_client(collect, NULL, NULL);
}

/* --- large requests and early answers --- */

enum { LARGE_BYTES = 8 * 1024 * 1024 };

static struct http_call_request large_request(struct iovec *part)
{
    static char *body;
    if (body == NULL) {
        body = malloc(LARGE_BYTES);
        for (size_t i = 0; i < LARGE_BYTES; i++)
            body[i] = (char)('a' + i % 26);
    }
    *part = (struct iovec){body, LARGE_BYTES};
    return (struct http_call_request){.method = METHOD_POST,
                                      .target = STR("/upload"),
                                      .body = part,
                                      .body_count = 1,
                                      .body_bytes = LARGE_BYTES};
}

static void send_large(void *arg)
{
    struct upstream up = {.script = script_ok};
    struct http_origin origin = arg != NULL ? upstream_listen(&up) : upstream_in_process(&up);
    struct iovec part;
    struct http_call_request request = large_request(&part);
    struct outcome o;
    call_with(&o, &origin, &request, &patient);
    expect_body(&o, 200, "hi");
    assert_true(o.went_back);
    assert_true(str_ends(buf_str(&up.log), str_n(part.iov_base, part.iov_len)));
    outcome_fini(&o);
    part_from(&up);
}

static void a_large_body_arrives_whole(void **state)
{
    (void)state;
    bool over_tcp = true;
    run_client(send_large, NULL, NULL);
    run_client(send_large, &over_tcp, NULL);
}

/* Answers when it has seen the head, and reads no further. */
static void script_answer_early(struct served *served)
{
    struct str bytes;
    const char *how = served->upstream->ctx;
    io_recv(&served->io, &bytes, in_ms(PATIENCE_MS));
    upstream_send(served, STR("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"));
    if (how[0] == 'c')
        return; /* with much unread: the kernel answers further bytes by RST */
    while (!io_is_hung_up(&served->io))
        settle();
}

static void hear_early(void *arg)
{
    for (const char *how = "cw"; *how != '\0'; how++) {
        struct upstream up = {.script = script_answer_early, .ctx = how};
        struct http_origin origin = arg != NULL ? upstream_listen(&up) : upstream_in_process(&up);
        struct iovec part;
        struct http_call_request request = large_request(&part);
        struct outcome o;
        call_with(&o, &origin, &request, &patient);
        expect_body(&o, 413, "no");
        assert_false(o.went_back);
        outcome_fini(&o);
        assert_int_equal(http_pool_stats()->idle, 0);
        part_from(&up);
    }
}

static void an_early_answer_stops_the_sending(void **state)
{
    (void)state;
    bool over_tcp = true;
    run_client(hear_early, NULL, NULL);
    run_client(hear_early, &over_tcp, NULL);
}

/* "Go on" is no answer. */
static void script_continue(struct served *served)
{
    struct str bytes;
    io_recv(&served->io, &bytes, in_ms(PATIENCE_MS));
    size_t had = bytes.len;
    upstream_send(served, STR("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n"));
    settle();
    upstream_send(served, STR("\r\n"));
    settle();
    while (had < LARGE_BYTES) {
        ssize_t n = io_recv(&served->io, &bytes, in_ms(PATIENCE_MS));
        assert_true(n > 0);
        had += bytes.len;
    }
    upstream_send(served, STR(OK_HI));
    upstream_read(served);
}

static void hear_interim(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_continue};
    struct http_origin origin = upstream_in_process(&up);
    struct iovec part;
    struct http_call_request request = large_request(&part);
    struct outcome o;
    call_with(&o, &origin, &request, &patient);
    expect_body(&o, 200, "hi");
    assert_true(o.went_back);
    outcome_fini(&o);
    part_from(&up);
}

static void an_interim_answer_does_not_stop_the_sending(void **state)
{
    (void)state;
    run_client(hear_interim, NULL, NULL);
}

static void script_hang_up_while_sent(struct served *served)
{
    struct str bytes;
    io_recv(&served->io, &bytes, in_ms(PATIENCE_MS));
    if (*(const char *)served->upstream->ctx == 'r')
        io_abort(&served->io);
}

static void lose_while_sending(void *arg)
{
    (void)arg;
    for (const char *how = "rc"; *how != '\0'; how++) {
        struct upstream up = {.script = script_hang_up_while_sent, .ctx = how};
        struct http_origin origin = upstream_listen(&up);
        struct iovec part;
        struct http_call_request request = large_request(&part);
        struct outcome o;
        call_with(&o, &origin, &request, &patient);
        assert_int_equal(o.result, -ERR_RESET);
        assert_int_equal(up.accepted, 1);
        outcome_fini(&o);
        part_from(&up);
    }
}

static void an_upstream_that_goes_while_we_send_is_an_error(void **state)
{
    (void)state;
    run_client(lose_while_sending, NULL, NULL);
}

/* --- what it costs --- */

/* The system calls on one descriptor. */
struct tally {
    int fd;
    unsigned calls[SYS_CALL_COUNT];
};

static bool tally_call(void *ctx, enum sys_call call, int fd, int64_t *result)
{
    struct tally *tally = ctx;
    (void)result;
    if (fd == tally->fd)
        tally->calls[call]++;
    return false;
}

static void script_events(struct served *served)
{
    while (upstream_read(served)) {
        upstream_send(served, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for (int i = 0; i < 20; i++) {
            settle();
            upstream_send(served, STR("b\r\ndata: {}\n\n\n\r\n"));
        }
        settle();
        upstream_send(served, STR("0\r\n\r\n"));
    }
}

static void count_calls(void *arg)
{
    (void)arg;
    struct upstream up = {.script = script_events};
    struct http_origin origin = upstream_listen(&up);
    struct outcome o;
    call_get(&o, &origin);
    assert_int_equal(o.result, 0);
    outcome_fini(&o);
    static char body[100 * 1000];
    struct iovec part = {body, sizeof(body)};
    struct http_call_request request = {.method = METHOD_POST,
                                        .target = STR("/"),
                                        .body = &part,
                                        .body_count = 1,
                                        .body_bytes = sizeof(body)};
    struct http_call call;
    struct arena *arena = arena_new(4096);
    struct http_conn *idle;
    assert_int_equal(pool_take(&origin, CLOCK_NEVER, &idle), 0);
    assert_non_null(idle);
    struct tally tally = {.fd = idle->io.pollable.fd};
    pool_put(idle);
    sys_hook(tally_call, &tally);
    assert_int_equal(http_call_start(&call, arena, &origin, &request, &patient), 0);
    /* Taking the connection from the pool asked the kernel nothing. */
    assert_int_equal(tally.calls[SYS_WRITEV], 1);
    assert_int_equal(http_call_head(&call), 0);
    o = (struct outcome){.body = BUF_INIT};
    assert_int_equal(read_all(&call, &o), 0);
    http_call_finish(&call);
    sys_hook(NULL, NULL);
    assert_int_equal(o.body.len, 20 * 11);
    /* The head, each event, and the end: no call beyond those that brought bytes. */
    assert_int_equal(o.reads, 21);
    assert_in_range(tally.calls[SYS_RECV], 21, 22);
    unsigned all = 0;
    for (unsigned i = 0; i < SYS_CALL_COUNT; i++)
        all += tally.calls[i];
    assert_int_equal(all, tally.calls[SYS_RECV] + 1);
    outcome_fini(&o);
    arena_free(arena);
    part_from(&up);
}

static void a_chunk_costs_one_system_call(void **state)
{
    (void)state;
    run_client(count_calls, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_written_to_the_letter),
        cmocka_unit_test(a_body_of_many_parts_arrives_whole),
        cmocka_unit_test(what_could_begin_another_line_is_refused),
        cmocka_unit_test(answers_are_the_same_at_every_cut),
        cmocka_unit_test(an_answer_in_single_bytes_is_passed_on_as_it_comes),
        cmocka_unit_test(an_answer_that_ends_early_is_an_error),
        cmocka_unit_test(bad_answers_are_refused),
        cmocka_unit_test(an_answer_to_head_has_no_body),
        cmocka_unit_test(more_chunks_than_pieces_come_whole),
        cmocka_unit_test(a_body_is_collected_up_to_the_limit),
        cmocka_unit_test(a_large_body_arrives_whole),
        cmocka_unit_test(an_early_answer_stops_the_sending),
        cmocka_unit_test(an_interim_answer_does_not_stop_the_sending),
        cmocka_unit_test(an_upstream_that_goes_while_we_send_is_an_error),
        cmocka_unit_test(a_chunk_costs_one_system_call),
    };
    return cmocka_run_group_tests_name("http/client", tests, NULL, NULL);
}
