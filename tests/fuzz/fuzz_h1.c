/*
 * The first byte says which side, how the bytes are cut and how tight the limits are. Any cut must
 * give the same messages and the same verdict; what the gate lets through llhttp must take as well,
 * with the same body and the same end.
 */
#include "base/buf.h"
#include "base/err.h"
#include "http/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_limits tight = {
    .head_bytes = 120,
    .target_bytes = 16,
    .header_count = 4,
    .trailer_bytes = 24,
    .chunk_ext_bytes = 8,
};

struct reading {
    struct h1_parser parser;
    struct h1_head head;
    struct arena *arena;
    bool is_in_head;
    bool response_to_head;
    bool has_failed;
    struct buf text;
    struct buf body;      /* of the message being read */
    struct buf first;     /* body of the first message */
    size_t used;          /* bytes of all that was fed */
    size_t first_end;     /* where the first message ended; 0 = not yet */
    bool first_is_judged; /* has a body, and no chunk extension: llhttp wants those well formed */
};

static void begin_message(struct reading *r)
{
    arena_free(r->arena);
    r->arena = arena_new(512);
    CHECK(r->arena != NULL);
    h1_parser_begin(&r->parser, r->arena, &r->head, r->response_to_head);
    r->is_in_head = true;
    buf_clear(&r->body);
}

static void add_field(struct buf *out, struct str field)
{
    buf_add_u64(out, field.len);
    buf_add_char(out, ':');
    buf_add_str(out, field);
}

static void note_headers(struct buf *out, const struct http_headers *headers)
{
    for (uint32_t i = 0; i < headers->count; i++) {
        CHECK(headers->items[i].name.len > 0);
        CHECK(http_value_is_safe(headers->items[i].name));
        CHECK(http_value_is_safe(headers->items[i].value));
        add_field(out, headers->items[i].name);
        add_field(out, headers->items[i].value);
    }
}

static void note_head(struct reading *r)
{
    const struct h1_head *h = &r->head;
    unsigned lengths = http_headers_count(&h->headers, STR("content-length"));
    unsigned codings = http_headers_count(&h->headers, STR("transfer-encoding"));
    CHECK(lengths + codings <= 1);
    CHECK(h->framing != H1_CHUNKED || (codings == 1 && h->version_minor == 1));
    CHECK(h->headers.count <= r->parser.limits->header_count);
    if (r->parser.side == H1_REQUESTS) {
        unsigned hosts = http_headers_count(&h->headers, STR("host"));
        CHECK(hosts == 1 || (hosts == 0 && h->version_minor == 0));
        CHECK(h->framing != H1_UNTIL_CLOSE);
        CHECK(h->target.len > 0 && (h->target.ptr[0] == '/' || str_eq(h->target, STR("*"))));
    }
    buf_printf(&r->text, "<%u %u %u %d%d%d %llu ", h->status, h->version_minor, h->framing,
               h->is_keep_alive, h->expects_continue, h->upgrades,
               (unsigned long long)h->content_length);
    add_field(&r->text, h->method_name);
    add_field(&r->text, h->target);
    note_headers(&r->text, &h->headers);
}

static void end_message(struct reading *r)
{
    note_headers(&r->text, &r->parser.trailers);
    add_field(&r->text, buf_str(&r->body));
    if (r->first_end == 0) {
        r->first_end = r->used;
        buf_add_str(&r->first, buf_str(&r->body));
        r->first_is_judged = r->parser.ext_bytes == 0 &&
                             (r->head.framing == H1_LENGTH || r->head.framing == H1_CHUNKED);
    }
    begin_message(r);
}

static ssize_t feed_body(struct reading *r, struct str bytes)
{
    struct iovec v[HTTP_PIECES_MAX];
    struct http_pieces pieces = {.v = v};
    ssize_t n = h1_parse_body(&r->parser, bytes, &pieces);
    if (n < 0)
        return n;
    CHECK((size_t)n <= bytes.len && pieces.count <= HTTP_PIECES_MAX);
    for (int i = 0; i < pieces.count; i++) {
        const char *at = v[i].iov_base;
        CHECK(v[i].iov_len > 0 && at >= bytes.ptr && at + v[i].iov_len <= bytes.ptr + n);
        buf_add(&r->body, at, v[i].iov_len);
    }
    r->used += (size_t)n;
    if (pieces.is_last)
        end_message(r);
    return n;
}

static ssize_t feed_head(struct reading *r, struct str bytes)
{
    bool is_done;
    ssize_t n = h1_parse_head(&r->parser, bytes, &is_done);
    if (n < 0)
        return n;
    CHECK(is_done ? (size_t)n <= bytes.len : (size_t)n == bytes.len);
    r->used += (size_t)n;
    if (is_done) {
        r->is_in_head = false;
        note_head(r);
        if (r->head.framing == H1_NO_BODY)
            CHECK(feed_body(r, STR("x")) == 0);
    }
    return n;
}

static void feed(struct reading *r, struct str rest)
{
    while (!r->has_failed && rest.len > 0) {
        ssize_t n = r->is_in_head ? feed_head(r, rest) : feed_body(r, rest);
        if (n < 0) {
            CHECK(err_slot()->code == -n && h1_status(&r->parser) >= 400);
            buf_printf(&r->text, "!%u %s", h1_status(&r->parser), err_slot()->message);
            r->has_failed = true;
        } else {
            rest = str_skip(rest, (size_t)n);
        }
    }
}

static void read_in_steps(uint8_t how, struct str bytes, size_t step, struct reading *r)
{
    *r = (struct reading){.response_to_head = (how & 2) != 0};
    h1_parser_init(&r->parser, (how & 1) != 0 ? H1_RESPONSES : H1_REQUESTS,
                   (how & 4) != 0 ? &tight : &http_limits_default);
    begin_message(r);
    for (size_t at = 0; at < bytes.len; at += step) {
        struct str part = str_head(str_skip(bytes, at), step);
        /* In memory of its own, so that a read past its end is seen. */
        char *copy = malloc(part.len);
        CHECK(copy != NULL);
        memcpy(copy, part.ptr, part.len);
        feed(r, str_n(copy, part.len));
        free(copy);
    }
    if (!r->has_failed && !r->is_in_head) {
        add_field(&r->text, buf_str(&r->body));
        buf_printf(&r->text, "$%d", h1_parse_eof(&r->parser) == 0);
    }
    CHECK(buf_ok(&r->text) && buf_ok(&r->body));
    arena_free(r->arena);
    buf_fini(&r->body);
}

/* --- the judge ------------------------------------------------------------------------------- */

struct judge {
    llhttp_t llhttp;
    struct buf body;
    bool is_complete;
};

static int judge_body(llhttp_t *llhttp, const char *at, size_t len)
{
    buf_add(&CONTAINER_OF(llhttp, struct judge, llhttp)->body, at, len);
    return 0;
}

static int judge_complete(llhttp_t *llhttp)
{
    CONTAINER_OF(llhttp, struct judge, llhttp)->is_complete = true;
    return HPE_PAUSED;
}

static void ask_llhttp(llhttp_type_t kind, struct str bytes, const struct reading *r)
{
    static const llhttp_settings_t settings = {.on_body = judge_body,
                                               .on_message_complete = judge_complete};
    struct judge j = {.body = BUF_INIT};
    llhttp_init(&j.llhttp, kind, &settings);
    llhttp_errno_t e = llhttp_execute(&j.llhttp, bytes.ptr, r->first_end);
    CHECK(e == HPE_PAUSED && j.is_complete);
    CHECK(llhttp_get_error_pos(&j.llhttp) == bytes.ptr + r->first_end);
    CHECK(str_eq(buf_str(&j.body), buf_str(&r->first)));
    buf_fini(&j.body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 11, 64, 500};
    if (size < 2)
        return 0;
    uint8_t how = data[0];
    struct str bytes = str_n((const char *)data + 1, size - 1);
    struct reading whole;
    struct reading parts;
    read_in_steps(how, bytes, bytes.len, &whole);
    read_in_steps(how, bytes, steps[how >> 5], &parts);
    CHECK(str_eq(buf_str(&whole.text), buf_str(&parts.text)));
    CHECK(whole.first_end == parts.first_end);
    if (whole.first_end > 0 && whole.first_is_judged)
        ask_llhttp((how & 1) != 0 ? HTTP_RESPONSE : HTTP_REQUEST, bytes, &whole);
    buf_fini(&whole.text);
    buf_fini(&whole.first);
    buf_fini(&parts.text);
    buf_fini(&parts.first);
    return 0;
}
