#include "http/h1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

/* --- a connection's bytes, fed in parts, as one text ---------------------------------------- */

struct reading {
    struct h1_parser parser;
    struct h1_head head;
    struct arena *arena;
    struct buf text;
    bool is_in_head;
    bool response_to_head;
    bool has_failed;
};

static void begin_message(struct reading *r)
{
    if (r->arena != NULL)
        arena_free(r->arena);
    r->arena = arena_new(512);
    assert_non_null(r->arena);
    h1_parser_begin(&r->parser, r->arena, &r->head, r->response_to_head);
    r->is_in_head = true;
}

static void note_head(struct reading *r)
{
    const struct h1_head *h = &r->head;
    struct buf *t = &r->text;
    buf_add_char(t, '<');
    if (h->status != 0)
        buf_add_u64(t, h->status);
    buf_add_str(t, h->method_name);
    buf_add_char(t, ' ');
    buf_add_str(t, h->target);
    buf_printf(t, " 1.%u", h->version_minor);
    for (uint32_t i = 0; i < h->headers.count; i++) {
        buf_add_char(t, '|');
        buf_add_str(t, h->headers.items[i].name);
        buf_add_char(t, '=');
        buf_add_str(t, h->headers.items[i].value);
    }
    static const char *const framings[] = {"none", "length", "chunked", "close"};
    buf_printf(t, " %s%s%s>", framings[h->framing], h->is_keep_alive ? " keep" : "",
               h->expects_continue ? " expects" : "");
}

static void note_failure(struct reading *r, ssize_t code)
{
    r->has_failed = true;
    assert_int_equal(err_slot()->code, -code);
    assert_true(strlen(err_slot()->message) > 0);
    buf_printf(&r->text, "!%u", h1_status(&r->parser));
}

static void note_trailers(struct reading *r)
{
    for (uint32_t i = 0; i < r->parser.trailers.count; i++) {
        buf_add_char(&r->text, '+');
        buf_add_str(&r->text, r->parser.trailers.items[i].name);
        buf_add_char(&r->text, '=');
        buf_add_str(&r->text, r->parser.trailers.items[i].value);
    }
}

/* The number of bytes used, or -ERR_x. */
static ssize_t feed_some(struct reading *r, struct str bytes)
{
    if (r->is_in_head) {
        bool is_done;
        ssize_t n = h1_parse_head(&r->parser, bytes, &is_done);
        if (n >= 0 && is_done) {
            r->is_in_head = false;
            note_head(r);
        } else if (n >= 0) {
            assert_int_equal(n, bytes.len);
        }
        return n;
    }
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    ssize_t n = h1_parse_body(&r->parser, bytes, &pieces);
    size_t sum = 0;
    for (int i = 0; i < pieces.count; i++) {
        /* Body bytes are those of the read buffer. */
        assert_true((char *)v[i].iov_base >= bytes.ptr);
        assert_true((char *)v[i].iov_base + v[i].iov_len <= bytes.ptr + bytes.len);
        buf_add(&r->text, v[i].iov_base, v[i].iov_len);
        sum += v[i].iov_len;
    }
    assert_int_equal(sum, pieces.bytes);
    if (n >= 0 && pieces.is_last) {
        note_trailers(r);
        buf_add_char(&r->text, '.');
        begin_message(r);
    }
    return n;
}

static void feed(struct reading *r, struct str bytes)
{
    /* A copy that ends where the part ends, so that a read past it is seen. */
    char *copy = malloc(bytes.len > 0 ? bytes.len : 1);
    assert_non_null(copy);
    memcpy(copy, bytes.ptr, bytes.len);
    struct str rest = str_n(copy, bytes.len);
    while (!r->has_failed && (rest.len > 0 || (!r->is_in_head && r->head.framing == H1_NO_BODY))) {
        ssize_t n = feed_some(r, rest);
        if (n < 0)
            note_failure(r, n);
        else
            rest = str_skip(rest, (size_t)n);
    }
    free(copy);
}

static struct http_limits limits;

/* `first` bytes, then parts of `step` bytes. */
static struct str read_in_parts(enum h1_side side, struct str bytes, size_t first, size_t step,
                                bool response_to_head)
{
    struct reading r = {.response_to_head = response_to_head};
    h1_parser_init(&r.parser, side, &limits);
    begin_message(&r);
    feed(&r, str_head(bytes, first));
    for (size_t at = first; at < bytes.len; at += step)
        feed(&r, str_head(str_skip(bytes, at), step));
    bool is_inside = !r.is_in_head || r.parser.gathered.len > 0;
    if (!r.has_failed && is_inside && h1_parse_eof(&r.parser) == 0)
        BUF_LIT(&r.text, "$");
    else if (!r.has_failed && is_inside)
        BUF_LIT(&r.text, "~");
    arena_free(r.arena);
    assert_true(buf_ok(&r.text));
    char *z = malloc(r.text.len + 1);
    assert_non_null(z);
    if (r.text.len > 0)
        memcpy(z, r.text.ptr, r.text.len);
    z[r.text.len] = '\0';
    struct str text = str_n(z, r.text.len);
    buf_fini(&r.text);
    return text;
}

/* Takes the text over. */
static void check_text(struct str text, const char *expected, struct str bytes)
{
    if (strcmp(text.ptr, expected) != 0)
        print_error("of: %.*s\n", STR_ARG(bytes));
    assert_string_equal(text.ptr, expected);
    free((char *)(uintptr_t)text.ptr);
}

/* Reads whole, cut at every offset, and byte by byte: always the same text. */
static void check_reads_as(enum h1_side side, struct str bytes, const char *expected, bool to_head)
{
    check_text(read_in_parts(side, bytes, bytes.len, 1, to_head), expected, bytes);
    for (size_t cut = 0; cut < MIN(bytes.len, (size_t)2000); cut++)
        check_text(read_in_parts(side, bytes, cut, bytes.len, to_head), expected, bytes);
    check_text(read_in_parts(side, bytes, 0, 1, to_head), expected, bytes);
}

struct row {
    struct str bytes;
    const char *expected;
};

#define ROW(bytes_, expected_)      \
    {                               \
        STR_INIT(bytes_), expected_ \
    }

static void check_rows(enum h1_side side, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_reads_as(side, rows[i].bytes, rows[i].expected, false);
}

/* --- requests -------------------------------------------------------------------------------- */

static void well_formed_requests(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", "<GET /a?b=c 1.1|Host=x none keep>."),
        ROW("HEAD / HTTP/1.1\r\nhost: [::1]:8080\r\nConnection: close\r\n\r\n",
            "<HEAD / 1.1|host=[::1]:8080|Connection=close none>."),
        ROW("POST / HTTP/1.1\r\nHost: x:80\r\nContent-Length: 5\r\n\r\nhello",
            "<POST / 1.1|Host=x:80|Content-Length=5 length keep>hello."),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
            "<POST / 1.1|Host=x|Content-Length=0 none keep>."),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n"
            "5\r\nhello\r\n1;a=b\r\n!\r\n0\r\n\r\n",
            "<POST / 1.1|Host=x|Transfer-Encoding=Chunked chunked keep>hello!."),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "00A\r\n0123456789\r\n0\r\nDigest: a b\r\nX:\r\n\r\n",
            "<POST / 1.1|Host=x|Transfer-Encoding=chunked chunked keep>0123456789+Digest=a b+X=."),
        /* Two in one go, with an empty line between them (RFC 9112 section 2.2). */
        ROW("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
            "<GET /1 1.1|Host=x none keep>.<GET /2 1.1|Host=x none keep>."),
        ROW("POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
            "GET /2 HTTP/1.1\r\nHost: x\r\n\r\n",
            "<POST /1 1.1|Host=x|Content-Length=2 length keep>ab.<GET /2 1.1|Host=x none keep>."),
        ROW("GET / HTTP/1.0\r\n\r\n", "<GET / 1.0 none>."),
        ROW("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n",
            "<GET / 1.0|Connection=Keep-Alive none keep>."),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nConnection: a, Close\r\n\r\n",
            "<GET / 1.1|Host=x|Connection=a, Close none>."),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n\r\nx",
            "<POST / 1.1|Host=x|Expect=100-Continue|Content-Length=1 length keep expects>x."),
        /* HTTP/1.0 knows no expectations: it is served without an interim answer. */
        ROW("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
            "<POST / 1.0|Expect=100-continue|Content-Length=1 length>x."),
        ROW("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "<OPTIONS * 1.1|Host=x none keep>."),
        ROW("GET http://x:80/a HTTP/1.1\r\nHost: x:80\r\n\r\n",
            "<GET /a 1.1|Host=x:80 none keep>."),
        ROW("GET https://X HTTP/1.1\r\nHost: x\r\n\r\n", "<GET / 1.1|Host=x none keep>."),
        /* Space around a value is not part of it; what is inside is. */
        ROW("GET / HTTP/1.1\r\nHost:x\r\nA: \t b c \t \r\nB:\r\n\r\n",
            "<GET / 1.1|Host=x|A=b c|B= none keep>."),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: \xc3\xa9\r\n\r\n",
            "<GET / 1.1|Host=x|A=\xc3\xa9 none keep>."),
    };
    check_rows(H1_REQUESTS, rows, ARRAY_LEN(rows));
}

static void refused_requests(void **state)
{
    (void)state;
    static const struct row rows[] = {
        /* Two ways to tell where the body ends. */
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
            "0\r\n\r\n",
            "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
            "0\r\n\r\n",
            "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
            "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\nhello", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5 5\r\n\r\nhello", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551615\r\n\r\n", "!400"),
        /* Only "chunked" and nothing else. */
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "!501"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "!501"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", "!501"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", "!501"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n", "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
            "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n\r\n", "!501"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\x0b"
            "chunked\r\n\r\n",
            "!400"),
        ROW("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "!400"),
        ROW("POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "!400"),
        /* Host. */
        ROW("GET / HTTP/1.1\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost:\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: u@h\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: h:80:81\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: h:65536\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: []\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", "!400"),
        ROW("GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n", "!400"),
        ROW("GET http://u@b/ HTTP/1.1\r\nHost: b\r\n\r\n", "!400"),
        ROW("GET ftp://b/ HTTP/1.1\r\nHost: b\r\n\r\n", "!400"),
        /* Lines. */
        ROW("GET / HTTP/1.1\nHost: x\n\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\n\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\tc\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\n Host: x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n", "!400"),
        ROW("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: b\x7f\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: b\x01\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA : c\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\n: c\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nnocolon\r\n\r\n", "!400"),
        ROW("\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("\rGET / HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW(" GET / HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", "!400"),
        ROW("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "!400"),
        /* The first line. */
        ROW("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.1 \r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / x HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET /\t HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("get / HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GETS / HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET a HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET * HTTP/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / http/1.1\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.x\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / HTTP/1.11\r\nHost: x\r\n\r\n", "!400"),
        ROW("GET / HTTP/01.1\r\nHost: x\r\n\r\n", "!505"),
        ROW("GET / HTTP/1.2\r\nHost: x\r\n\r\n", "!505"),
        ROW("GET / HTTP/2.0\r\nHost: x\r\n\r\n", "!505"),
        ROW("GET / HTTP/9.9\r\nHost: x\r\n\r\n", "!505"),
        ROW("GET /\r\n\r\n", "!505"),
        ROW("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "!505"),
        ROW("OPTIONS * RTSP/1.0\r\nHost: x\r\n\r\n", "!400"),
        ROW("SOURCE / ICE/1.0\r\nHost: x\r\n\r\n", "!400"),
        ROW("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", "!501"),
        /* Expectations. */
        ROW("GET / HTTP/1.1\r\nHost: x\r\nExpect: a-pony\r\n\r\n", "!417"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nExpect: a-pony\r\n\r\n", "!417"),
    };
    check_rows(H1_REQUESTS, rows, ARRAY_LEN(rows));
}

#define CHUNKED "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CHUNKED_HEAD "<POST / 1.1|Host=x|Transfer-Encoding=chunked chunked keep>"

static void refused_chunks(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW(CHUNKED "\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "+5\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "-5\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED " 5\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5 \r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5 ;a\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5\rhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5;a\rb\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5;\0\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "5\r\nhello!\r\n0\r\n\r\n", CHUNKED_HEAD "hello!400"),
        ROW(CHUNKED "5\r\nhello\n0\r\n\r\n", CHUNKED_HEAD "hello!400"),
        ROW(CHUNKED "5\r\nhello\rx0\r\n\r\n", CHUNKED_HEAD "hello!400"),
        ROW(CHUNKED "5\r\nhello0\r\n\r\n", CHUNKED_HEAD "hello!400"),
        ROW(CHUNKED "5g\r\nhello\r\n0\r\n\r\n", CHUNKED_HEAD "!400"),
        /* 2^64, and more digits than 64 bits have. */
        ROW(CHUNKED "10000000000000000\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "ffffffffffffffff\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "00000000000000005\r\nhello\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\n\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\nA: b\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\n A: b\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\nA : b\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\nA: b\x01\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\nnocolon\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\nContent-Length: 5\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\ntransfer-encoding: chunked\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\nHost: y\r\n\r\n", CHUNKED_HEAD "!400"),
        ROW(CHUNKED "0\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", CHUNKED_HEAD "!400"),
        /* The end of the connection inside of one. */
        ROW(CHUNKED "5\r\nhel", CHUNKED_HEAD "hel~"),
        ROW(CHUNKED "5\r\nhello\r\n", CHUNKED_HEAD "hello~"),
        ROW(CHUNKED "0\r\n", CHUNKED_HEAD "~"),
    };
    check_rows(H1_REQUESTS, rows, ARRAY_LEN(rows));
}

static void limits_are_kept(void **state)
{
    (void)state;
    limits.head_bytes = 200;
    limits.target_bytes = 20;
    limits.header_count = 4;
    limits.trailer_bytes = 16;
    limits.chunk_ext_bytes = 8;
    static const struct row rows[] = {
        ROW("GET /2345678901234567890 HTTP/1.1\r\nHost: x\r\n\r\n",
            "<GET /2345678901234567890 1.1|Host=x none keep>."),
        ROW("GET /23456789012345678901 HTTP/1.1\r\nHost: x\r\n\r\n", "!414"),
        ROW("GET /23456789012345678901234567890123456789012345678901234567890", "!414"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: a\r\nA: b\r\nA: c\r\n\r\n",
            "<GET / 1.1|Host=x|A=a|A=b|A=c none keep>."),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: a\r\nA: b\r\nA: c\r\nA: d\r\n\r\n", "!431"),
        ROW("GET / HTTP/1.1\r\nHost: x\r\nA: "
            "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
            "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
            "\r\n\r\n",
            "!431"),
        ROW(CHUNKED "1;345678\r\na\r\n0\r\n\r\n", CHUNKED_HEAD "a."),
        ROW(CHUNKED "1;3456789\r\na\r\n0\r\n\r\n", CHUNKED_HEAD "a."),
        ROW(CHUNKED "1;34567890\r\na\r\n0\r\n\r\n", CHUNKED_HEAD "!413"),
        /* The extensions of all chunks together. */
        ROW(CHUNKED "1;34\r\na\r\n1;34\r\na\r\n1;34\r\nb\r\n0\r\n\r\n", CHUNKED_HEAD "aa!413"),
        ROW(CHUNKED "0\r\nA: 4567890123\r\n\r\n", CHUNKED_HEAD "!431"),
        ROW(CHUNKED "0\r\na:\r\nb:\r\nc:\r\n\r\n", CHUNKED_HEAD "+a=+b=+c=."),
    };
    check_rows(H1_REQUESTS, rows, ARRAY_LEN(rows));
    limits.trailer_bytes = 100;
    check_reads_as(H1_REQUESTS, STR(CHUNKED "0\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n"),
                   CHUNKED_HEAD "+a=+b=+c=+d=.", false);
    check_reads_as(H1_REQUESTS, STR(CHUNKED "0\r\na:\r\nb:\r\nc:\r\nd:\r\ne:\r\n\r\n"),
                   CHUNKED_HEAD "!431", false);
}

/* --- responses ------------------------------------------------------------------------------- */

static void responses(void **state)
{
    (void)state;
    static const struct row rows[] = {
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "<200  1.1|Content-Length=2 length keep>ok."),
        ROW("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
            "<200  1.1|Content-Length=2 length keep>ok."),
        ROW("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "<200  1.1|Transfer-Encoding=chunked chunked keep>abc."),
        /* The end of the connection ends it: the connection cannot be kept. */
        ROW("HTTP/1.1 200 OK\r\n\r\nall of this", "<200  1.1 close>all of this$"),
        ROW("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            "<200  1.0|Connection=keep-alive|Content-Length=1 length keep>x."),
        ROW("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "<100  1.1 none keep>.<204  1.1 none keep>."),
        ROW("HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
            "<304  1.1|Content-Length=100 none keep>."),
        ROW("HTTP/1.1 529 \xc3\xa9\r\nContent-Length: 0\r\n\r\n",
            "<529  1.1|Content-Length=0 none keep>."),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            "<200  1.1|Content-Length=5 length keep>ab~"),
        ROW("HTTP/1.1 200 OK\r\nContent-Le", "~"),
        /* The same gate as for requests; the status for the client is 502. */
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "!502"),
        ROW("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "!502"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "!502"),
        ROW("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "!502"),
        ROW("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "!502"),
        ROW("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("HTTP/1.1 200 OK\r\nA: b\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("ICY 200 OK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("RTSP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "!502"),
        ROW("{\"error\": 1}\r\n\r\n", "!502"),
    };
    check_rows(H1_RESPONSES, rows, ARRAY_LEN(rows));
}

static void response_to_head_has_no_body(void **state)
{
    (void)state;
    check_reads_as(H1_RESPONSES, STR("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
                   "<200  1.1|Content-Length=100 none keep>.", true);
    check_reads_as(H1_RESPONSES, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
                   "<200  1.1|Transfer-Encoding=chunked none keep>.", true);
    check_reads_as(H1_RESPONSES, STR("HTTP/1.1 200 OK\r\n\r\n"), "<200  1.1 none keep>.", true);
}

/* --- the rest -------------------------------------------------------------------------------- */

static void heads_of_any_size_up_to_the_limit(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    BUF_LIT(&b, "GET / HTTP/1.1\r\nHost: x\r\nA: ");
    while (b.len < http_limits_default.head_bytes - 4)
        buf_add_char(&b, 'a');
    BUF_LIT(&b, "\r\n\r\n");
    struct str text = read_in_parts(H1_REQUESTS, buf_str(&b), 1000, 1000, false);
    assert_true(str_ends(text, STR("a none keep>.")));
    assert_true(text.len > http_limits_default.head_bytes - 100);
    free((char *)(uintptr_t)text.ptr);
    b.len -= 4;
    BUF_LIT(&b, "a\r\n\r\n");
    text = read_in_parts(H1_REQUESTS, buf_str(&b), 1000, 1000, false);
    assert_string_equal(text.ptr, "!431");
    free((char *)(uintptr_t)text.ptr);
    buf_fini(&b);
}

/* More chunks in one read than a list of pieces holds. */
static void many_chunks_in_one_read(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct buf expected = BUF_INIT;
    BUF_LIT(&b, CHUNKED);
    BUF_LIT(&expected, CHUNKED_HEAD);
    for (unsigned i = 0; i < 1000; i++) {
        buf_printf(&b, "2\r\n%02u\r\n", i % 100);
        buf_printf(&expected, "%02u", i % 100);
    }
    BUF_LIT(&b, "0\r\n\r\n");
    BUF_LIT(&expected, ".");
    buf_add_char(&expected, '\0');
    struct str text = read_in_parts(H1_REQUESTS, buf_str(&b), b.len, 1, false);
    assert_string_equal(text.ptr, expected.ptr);
    free((char *)(uintptr_t)text.ptr);
    text = read_in_parts(H1_REQUESTS, buf_str(&b), 0, 7, false);
    assert_string_equal(text.ptr, expected.ptr);
    free((char *)(uintptr_t)text.ptr);
    buf_fini(&b);
    buf_fini(&expected);
}

static void body_read_past_the_parser(void **state)
{
    (void)state;
    struct h1_parser p;
    struct h1_head head;
    struct arena *arena = arena_new(512);
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    bool done = false;
    struct str bytes = STR("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
    h1_parser_init(&p, H1_REQUESTS, &limits);
    h1_parser_begin(&p, arena, &head, false);
    assert_int_equal(h1_body_left(&p), 0);
    ssize_t n = h1_parse_head(&p, bytes, &done);
    assert_true(n > 0 && done);
    assert_int_equal(h1_body_left(&p), 10);
    assert_int_equal(h1_parse_body(&p, str_skip(bytes, (size_t)n), &pieces), 3);
    assert_int_equal(h1_body_left(&p), 7);
    assert_false(h1_body_took(&p, 5));
    assert_int_equal(h1_body_left(&p), 2);
    assert_true(h1_body_took(&p, 2));
    assert_int_equal(h1_body_left(&p), 0);
    pieces = (struct http_pieces){.v = v};
    assert_int_equal(h1_parse_body(&p, STR("GET"), &pieces), 0);
    assert_true(pieces.is_last);
    arena_free(arena);
}

/* Every allocation that fails is an error with a status, and nothing is lost. */
static void out_of_memory(void **state)
{
    (void)state;
    struct str bytes = STR("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                           "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n"
                           "A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n\r\n"
                           "1\r\na\r\n0\r\nT: 1\r\nU: 2\r\n\r\n");
    struct iovec v[HTTP_PIECES_MAX];
    unsigned failures = 0;
    for (uint64_t n = 1;; n++) {
        struct http_pieces pieces = {.v = v};
        struct h1_parser p;
        struct h1_head head;
        bool done = false;
        struct arena *arena = arena_new(512);
        h1_parser_init(&p, H1_REQUESTS, &limits);
        h1_parser_begin(&p, arena, &head, false);
        mem_fail_at(n);
        ssize_t used = h1_parse_head(&p, bytes, &done);
        if (used >= 0)
            used = h1_parse_body(&p, str_skip(bytes, (size_t)used), &pieces);
        bool was_reached = mem_count() >= n;
        mem_fail_at(0);
        if (used < 0) {
            assert_int_equal(used, -ERR_NOMEM);
            assert_int_equal(h1_status(&p), 503);
            failures++;
        } else {
            assert_true(pieces.is_last);
            assert_int_equal(p.trailers.count, 2);
        }
        arena_free(arena);
        if (!was_reached)
            break;
    }
    assert_true(failures >= 2);
}

static int reset_limits(void **state)
{
    (void)state;
    limits = http_limits_default;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(well_formed_requests, reset_limits),
        cmocka_unit_test_setup(refused_requests, reset_limits),
        cmocka_unit_test_setup(refused_chunks, reset_limits),
        cmocka_unit_test_setup(limits_are_kept, reset_limits),
        cmocka_unit_test_setup(responses, reset_limits),
        cmocka_unit_test_setup(response_to_head_has_no_body, reset_limits),
        cmocka_unit_test_setup(heads_of_any_size_up_to_the_limit, reset_limits),
        cmocka_unit_test_setup(many_chunks_in_one_read, reset_limits),
        cmocka_unit_test_setup(body_read_past_the_parser, reset_limits),
        cmocka_unit_test_setup(out_of_memory, reset_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
