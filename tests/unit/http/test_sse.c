#include "http/sse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/mem.h"

enum { LIMIT = 1 << 20 };

/* What a reader gets from a stream: the events with something in them as one text, and the bytes.
 */
struct reading {
    struct buf events;
    struct buf raw;
};

static void note(struct reading *r, const struct sse_event *e)
{
    buf_add_str(&r->raw, e->raw);
    if (!e->has_data && !e->has_id && !e->has_comment && e->type.len == 0 && e->retry_ms < 0)
        return;
    BUF_LIT(&r->events, "[");
    buf_add_str(&r->events, e->type);
    buf_add_str(&r->events, e->has_id ? STR("|#") : STR("|"));
    buf_add_str(&r->events, e->id);
    buf_add_str(&r->events, e->has_data ? STR("|=") : STR("|"));
    buf_add_str(&r->events, e->data);
    BUF_LIT(&r->events, "|");
    buf_add_i64(&r->events, e->retry_ms);
    buf_add_str(&r->events, e->has_comment ? STR("|:]") : STR("|]"));
}

static void reading_fini(struct reading *r)
{
    buf_fini(&r->events);
    buf_fini(&r->raw);
}

/* One part in memory that ends where the part ends. */
static void feed(struct sse_splitter *s, struct str part, struct reading *r)
{
    char *copy = malloc(part.len > 0 ? part.len : 1);
    assert_non_null(copy);
    if (part.len > 0)
        memcpy(copy, part.ptr, part.len);
    struct str input = str_n(copy, part.len);
    struct sse_event e;
    int got;
    while ((got = sse_next(s, &input, &e)) == 1)
        note(r, &e);
    assert_int_equal(got, 0);
    assert_int_equal(input.len, 0);
    free(copy);
}

/* Reads the stream cut at the given places (ascending). */
static void read_cut(struct str stream, const size_t *cuts, size_t count, struct reading *r)
{
    struct sse_splitter s;
    struct sse_event e;
    size_t at = 0;
    sse_splitter_init(&s, LIMIT);
    for (size_t i = 0; i < count; i++) {
        feed(&s, str_n(stream.ptr + at, cuts[i] - at), r);
        at = cuts[i];
    }
    feed(&s, str_skip(stream, at), r);
    assert_true(sse_pending(&s) <= stream.len);
    if (sse_finish(&s, &e) == 1)
        note(r, &e);
    assert_int_equal(sse_finish(&s, &e), 0);
    assert_int_equal(sse_pending(&s), 0);
    sse_splitter_fini(&s);
}

static void assert_same(struct str stream, const size_t *cuts, size_t count, struct str expected)
{
    struct reading r = {BUF_INIT, BUF_INIT};
    read_cut(stream, cuts, count, &r);
    if (!str_eq(buf_str(&r.events), expected))
        fail_msg("cut at %zu of %zu (and %zu more): '%.*s', expected '%.*s'",
                 count > 0 ? cuts[0] : 0, stream.len, count > 0 ? count - 1 : 0,
                 STR_ARG(buf_str(&r.events)), STR_ARG(expected));
    if (!str_eq(buf_str(&r.raw), stream))
        fail_msg("cut at %zu: the raw bytes are not those of the stream", count > 0 ? cuts[0] : 0);
    reading_fini(&r);
}

struct row {
    struct str stream;
    struct str events; /* [type|#id|=data|retry|:] for each */
};

static const struct row rows[] = {
    {STR_INIT(""), STR_INIT("")},
    {STR_INIT("data: a\n\n"), STR_INIT("[||=a|-1|]")},
    {STR_INIT("data:a\n\ndata:  b\n\ndata\n\ndata:\n\n"),
     STR_INIT("[||=a|-1|][||= b|-1|][||=|-1|][||=|-1|]")},
    {STR_INIT("data: a\r\n\r\ndata: b\r\n\r\n"), STR_INIT("[||=a|-1|][||=b|-1|]")},
    {STR_INIT("data: a\r\rdata: b\r\r"), STR_INIT("[||=a|-1|][||=b|-1|]")},
    {STR_INIT("data: a\n\r\ndata: b\r\n\ndata: c\r\n\rdata: d\n\r"),
     STR_INIT("[||=a|-1|][||=b|-1|][||=c|-1|][||=d|-1|]")},
    {STR_INIT("data: YHOO\ndata: +2\ndata: 10\n\n"), STR_INIT("[||=YHOO\n+2\n10|-1|]")},
    {STR_INIT("data: a\r\ndata\rdata: c\n\r\n"), STR_INIT("[||=a\n\nc|-1|]")},
    {STR_INIT("data\n\ndata\ndata\n\ndata:"), STR_INIT("[||=|-1|][||=\n|-1|][||=|-1|]")},
    {STR_INIT("\xef\xbb\xbf"
              "data: a\n\n\xef\xbb\xbf"
              "data: b\n\n"),
     STR_INIT("[||=a|-1|]")},
    {STR_INIT("\xef\xbb\xbf\n\ndata: a\n\n"), STR_INIT("[||=a|-1|]")},
    {STR_INIT("\xef\xbb\xbf"), STR_INIT("")},
    {STR_INIT("\xef\xbb"
              "data: a\n\ndata: b\n\n"),
     STR_INIT("[||=b|-1|]")},
    {STR_INIT("\xef"), STR_INIT("")},
    {STR_INIT(": OPENROUTER PROCESSING\n\n: again\n\ndata: a\n\n"),
     STR_INIT("[|||-1|:][|||-1|:][||=a|-1|]")},
    {STR_INIT(":\n:\ndata: a\n:x\n\n"), STR_INIT("[||=a|-1|:]")},
    {STR_INIT("event: one\nevent: two\ndata: a\nid: 7\nid: 8\n\nevent\ndata: b\nid\n\n"),
     STR_INIT("[two|#8|=a|-1|][|#|=b|-1|]")},
    {STR_INIT("id: a\0b\ndata: x\n\nid: 1\nid: c\0\ndata: y\n\n"),
     STR_INIT("[||=x|-1|][|#1|=y|-1|]")},
    {STR_INIT("retry: 1500\n\nretry: 1x\nretry:\nretry: -1\ndata: a\n\n"
              "retry: 99999999999999999999\ndata: b\n\n"),
     STR_INIT("[|||1500|][||=a|-1|][||=b|-1|]")},
    {STR_INIT("Data: a\ndata : b\n data: c\nunknown: d\ndata: e\n\n"), STR_INIT("[||=e|-1|]")},
    {STR_INIT("data: a:b: c\n\ndata:\td\n\n"), STR_INIT("[||=a:b: c|-1|][||=\td|-1|]")},
    {STR_INIT("data: a\n\n\n\n\r\n\rdata: b\n\n\n"), STR_INIT("[||=a|-1|][||=b|-1|]")},
    /* What a browser would drop and providers send: the last event without its blank line. */
    {STR_INIT("data: a\n\ndata: [DONE]"), STR_INIT("[||=a|-1|][||=[DONE]|-1|]")},
    {STR_INIT("data: a\n\ndata: b\n"), STR_INIT("[||=a|-1|][||=b|-1|]")},
    {STR_INIT("data: a\r\n\r\ndata: b\r"), STR_INIT("[||=a|-1|][||=b|-1|]")},
    {STR_INIT("data: caf\xc3\xa9 \xf0\x9f\x98\x80\n\ndata: \0\n\n"),
     STR_INIT("[||=caf\xc3\xa9 \xf0\x9f\x98\x80|-1|][||=\0|-1|]")},
    /* A JSON error after the events, as some send it. */
    {STR_INIT("data: {}\n\n{\"error\": {\"code\": 429}}"), STR_INIT("[||={}|-1|]")},
};

static void streams_are_read_as_the_standard_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct reading whole = {BUF_INIT, BUF_INIT};
        read_cut(rows[i].stream, NULL, 0, &whole);
        if (!str_eq(buf_str(&whole.events), rows[i].events))
            fail_msg("row %zu: '%.*s', expected '%.*s'", i, STR_ARG(buf_str(&whole.events)),
                     STR_ARG(rows[i].events));
        assert_true(str_eq(buf_str(&whole.raw), rows[i].stream));
        reading_fini(&whole);
    }
}

static void any_two_cuts_give_the_same_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str stream = rows[i].stream;
        for (size_t a = 0; a <= stream.len; a++) {
            for (size_t b = a; b <= stream.len; b++)
                assert_same(stream, (size_t[]){a, b}, 2, rows[i].events);
        }
    }
}

static void single_bytes_give_the_same_events(void **state)
{
    (void)state;
    struct buf all = BUF_INIT;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_add_str(&all, rows[i].stream);
    struct reading whole = {BUF_INIT, BUF_INIT};
    read_cut(buf_str(&all), NULL, 0, &whole);
    size_t *cuts = malloc(all.len * sizeof(*cuts));
    for (size_t i = 0; i < all.len; i++)
        cuts[i] = i;
    assert_same(buf_str(&all), cuts, all.len, buf_str(&whole.events));
    free(cuts);
    reading_fini(&whole);
    buf_fini(&all);
}

/* A reader as the standard words it, line by line over the whole stream. */
static void read_naively(struct str stream, struct buf *out)
{
    struct buf data = BUF_INIT, type = BUF_INIT;
    bool has_data = false;
    if (str_starts(stream, STR("\xef\xbb\xbf")))
        stream = str_skip(stream, 3);
    for (size_t i = 0; i < stream.len;) {
        size_t end = i;
        while (end < stream.len && stream.ptr[end] != '\n' && stream.ptr[end] != '\r')
            end++;
        struct str line = str_n(stream.ptr + i, end - i);
        i = end + (end + 1 < stream.len && stream.ptr[end] == '\r' && stream.ptr[end + 1] == '\n'
                       ? 2
                       : 1);
        if (line.len == 0) {
            if (has_data)
                buf_printf(out, "<%.*s,%.*s>", STR_ARG(buf_str(&type)), STR_ARG(buf_str(&data)));
            buf_clear(&data);
            buf_clear(&type);
            has_data = false;
            continue;
        }
        ptrdiff_t colon = str_index(line, ':');
        struct str name = colon < 0 ? line : str_head(line, (size_t)colon);
        struct str value = colon < 0 ? STR("") : str_skip(line, (size_t)colon + 1);
        if (str_starts(value, STR(" ")))
            value = str_skip(value, 1);
        if (str_eq(name, STR("data"))) {
            if (has_data)
                buf_add_char(&data, '\n');
            buf_add_str(&data, value);
            has_data = true;
        } else if (str_eq(name, STR("event"))) {
            buf_clear(&type);
            buf_add_str(&type, value);
        }
    }
    buf_fini(&data);
    buf_fini(&type);
}

static uint64_t seed = 0x9e3779b97f4a7c15u;

static size_t below(size_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (size_t)(seed >> 33) % n;
}

static void random_streams_are_read_as_by_a_naive_reader(void **state)
{
    (void)state;
    static const struct str parts[] = {
        STR_INIT("data: x"),
        STR_INIT("data"),
        STR_INIT("event: e"),
        STR_INIT("\n"),
        STR_INIT("\r"),
        STR_INIT("\r\n"),
        STR_INIT("\n\n"),
        STR_INIT(":"),
        STR_INIT(" "),
        STR_INIT("id: 1"),
        STR_INIT("\xef\xbb\xbf"),
        STR_INIT("data: {\"a long value that goes on and on, so that it is longer than one window "
                 "of the search for line ends, which is a hundred and twenty-eight bytes\":1}"),
    };
    struct buf stream = BUF_INIT, expected = BUF_INIT, got = BUF_INIT;
    for (int round = 0; round < 20000; round++) {
        buf_clear(&stream);
        buf_clear(&expected);
        buf_clear(&got);
        for (size_t n = below(24); n > 0; n--)
            buf_add_str(&stream, parts[below(ARRAY_LEN(parts))]);
        BUF_LIT(&stream, "\r\n\r\n");
        read_naively(buf_str(&stream), &expected);
        struct sse_splitter s;
        sse_splitter_init(&s, LIMIT);
        struct str rest = buf_str(&stream);
        while (rest.len > 0) {
            struct str part = str_head(rest, 1 + below(rest.len));
            rest = str_skip(rest, part.len);
            struct sse_event e;
            while (sse_next(&s, &part, &e) == 1) {
                if (e.has_data)
                    buf_printf(&got, "<%.*s,%.*s>", STR_ARG(e.type), STR_ARG(e.data));
            }
        }
        sse_splitter_fini(&s);
        if (!str_eq(buf_str(&got), buf_str(&expected)))
            fail_msg("'%.*s': got '%.*s', expected '%.*s'", STR_ARG(buf_str(&stream)),
                     STR_ARG(buf_str(&got)), STR_ARG(buf_str(&expected)));
    }
    buf_fini(&stream);
    buf_fini(&expected);
    buf_fini(&got);
}

static void an_event_does_not_wait_for_the_next(void **state)
{
    (void)state;
    static const struct str streams[] = {STR_INIT("data: a\n\n"), STR_INIT("data: a\r\n\r\n"),
                                         STR_INIT("data: a\r\r"), STR_INIT("data: a\r\n\r")};
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        for (size_t cut = 0; cut < streams[i].len - 1; cut++) {
            struct sse_splitter s;
            struct sse_event e;
            sse_splitter_init(&s, LIMIT);
            struct str first = str_head(streams[i], cut), second = str_skip(streams[i], cut);
            assert_int_equal(sse_next(&s, &first, &e), 0);
            assert_int_equal(sse_pending(&s), cut);
            assert_int_equal(sse_next(&s, &second, &e), 1);
            assert_true(str_eq(e.data, STR("a")));
            assert_int_equal(sse_pending(&s), 0);
            sse_splitter_fini(&s);
        }
    }
}

static void a_whole_block_is_not_copied(void **state)
{
    (void)state;
    static const struct str streams[] = {STR_INIT("data: abc\n\n"),
                                         STR_INIT("event: x\r\ndata: abc\r\n\r\n"),
                                         STR_INIT(": c\ndata: abc\n\n")};
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct sse_splitter s;
        struct sse_event e;
        sse_splitter_init(&s, LIMIT);
        mem_fail_at(1);
        struct str input = streams[i];
        assert_int_equal(sse_next(&s, &input, &e), 1);
        mem_fail_at(0);
        assert_ptr_equal(e.raw.ptr, streams[i].ptr);
        assert_int_equal(e.raw.len, streams[i].len);
        assert_true(e.data.ptr > streams[i].ptr);
        assert_true(e.data.ptr < streams[i].ptr + streams[i].len);
        sse_splitter_fini(&s);
    }
}

static void nothing_is_kept_between_events(void **state)
{
    (void)state;
    struct sse_splitter s;
    struct sse_event e;
    sse_splitter_init(&s, LIMIT);
    static char filler[100000];
    memset(filler, 'x', sizeof(filler));
    struct str parts[] = {STR("data: 1\ndata: "), str_n(filler, sizeof(filler)), STR("\n\n")};
    for (size_t i = 0; i < ARRAY_LEN(parts) - 1; i++)
        assert_int_equal(sse_next(&s, &parts[i], &e), 0);
    assert_int_equal(sse_next(&s, &parts[2], &e), 1);
    assert_int_equal(e.data.len, 2 + sizeof(filler));
    assert_int_equal(sse_next(&s, &parts[2], &e), 0);
    assert_int_equal(s.pending.cap + s.data.cap, 0);
    sse_splitter_fini(&s);
}

static void an_event_over_the_limit_is_an_error(void **state)
{
    (void)state;
    /* 20 bytes of block; what comes before it is delivered, and any cut says the same. */
    struct str stream = STR("data: a\n\ndata: 0123456789ab\n\n");
    for (size_t limit = 9; limit < 24; limit++) {
        for (size_t cut = 0; cut <= stream.len; cut++) {
            struct sse_splitter s;
            struct sse_event e;
            sse_splitter_init(&s, limit);
            struct str parts[] = {str_head(stream, cut), str_skip(stream, cut)};
            int r = 0;
            unsigned events = 0;
            for (int i = 0; i < 2 && r == 0; i++) {
                while ((r = sse_next(&s, &parts[i], &e)) == 1)
                    events++;
            }
            assert_int_equal(r, limit < 20 ? -ERR_LIMIT : 0);
            assert_int_equal(events, limit < 20 ? 1 : 2);
            if (r < 0) {
                assert_int_equal(sse_next(&s, &parts[1], &e), -ERR_LIMIT);
                assert_int_equal(sse_finish(&s, &e), -ERR_LIMIT);
                assert_non_null(strstr(err_slot()->message, "larger than the limit"));
            }
            sse_splitter_fini(&s);
        }
    }
}

static void any_failed_allocation_is_an_error(void **state)
{
    (void)state;
    unsigned failures = 0;
    for (uint64_t n = 1;; n++) {
        struct sse_splitter s;
        struct sse_event e;
        sse_splitter_init(&s, LIMIT);
        static char line[700];
        memset(line, 'x', sizeof(line));
        struct str parts[] = {STR("data: a\nda"), STR("ta: "), str_n(line, sizeof(line)),
                              STR("\n\n")};
        int r = 0;
        mem_fail_at(n);
        for (size_t i = 0; i < ARRAY_LEN(parts) && r == 0; i++)
            r = sse_next(&s, &parts[i], &e);
        mem_fail_at(0);
        if (r == 1) {
            assert_int_equal(e.data.len, 2 + sizeof(line));
            sse_splitter_fini(&s);
            break;
        }
        failures++;
        assert_int_equal(r, -ERR_NOMEM);
        assert_int_equal(sse_next(&s, &parts[0], &e), -ERR_NOMEM);
        sse_splitter_fini(&s);
    }
    assert_true(failures >= 3);
}

static void what_is_written_is_read_again(void **state)
{
    (void)state;
    struct buf out = BUF_INIT;
    sse_write_comment(&out, STR("one\ntwo"));
    sse_write_id(&out, 18446744073709551615u);
    sse_write(&out, STR("error"), STR("a\nb\r\nc\rd\n"));
    sse_write(&out, STR_EMPTY, STR(""));
    sse_write(&out, STR_EMPTY, STR(" {\"x\":1}"));
    assert_true(str_eq(buf_str(&out), STR(": one\n: two\n\nid: 18446744073709551615\nevent: error\n"
                                          "data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"
                                          "data: \n\ndata:  {\"x\":1}\n\n")));
    struct reading r = {BUF_INIT, BUF_INIT};
    read_cut(buf_str(&out), NULL, 0, &r);
    assert_true(str_eq(buf_str(&r.events),
                       STR("[|||-1|:][error|#18446744073709551615|=a\nb\nc\nd\n|-1|][||=|-1|]"
                           "[||= {\"x\":1}|-1|]")));
    reading_fini(&r);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_are_read_as_the_standard_says),
        cmocka_unit_test(any_two_cuts_give_the_same_events),
        cmocka_unit_test(single_bytes_give_the_same_events),
        cmocka_unit_test(random_streams_are_read_as_by_a_naive_reader),
        cmocka_unit_test(an_event_does_not_wait_for_the_next),
        cmocka_unit_test(a_whole_block_is_not_copied),
        cmocka_unit_test(nothing_is_kept_between_events),
        cmocka_unit_test(an_event_over_the_limit_is_an_error),
        cmocka_unit_test(any_failed_allocation_is_an_error),
        cmocka_unit_test(what_is_written_is_read_again),
    };
    return cmocka_run_group_tests_name("http/sse", tests, NULL, NULL);
}
