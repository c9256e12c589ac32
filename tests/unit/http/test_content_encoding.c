#include "http/content_encoding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <brotli/encode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"

/* --- encoders -------------------------------------------------------------------------------- */

static struct str encode_zlib(struct str plain, int window_bits)
{
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
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

static struct str encode_brotli(struct str plain)
{
    size_t len = BrotliEncoderMaxCompressedSize(plain.len) + 64;
    char *out = malloc(len);
    assert_non_null(out);
    assert_int_equal(BrotliEncoderCompress(5, 22, BROTLI_MODE_TEXT, plain.len,
                                           (const uint8_t *)plain.ptr, &len, (uint8_t *)out),
                     BROTLI_TRUE);
    return str_n(out, len);
}

static struct str encode_zstd(struct str plain)
{
    size_t cap = ZSTD_compressBound(plain.len);
    char *out = malloc(cap);
    assert_non_null(out);
    size_t len = ZSTD_compress(out, cap, plain.ptr, plain.len, 3);
    assert_false(ZSTD_isError(len));
    return str_n(out, len);
}

static struct str encode(enum content_encoding encoding, struct str plain)
{
    switch (encoding) {
    case ENCODING_GZIP:
        return encode_zlib(plain, 15 + 16);
    case ENCODING_DEFLATE:
        return encode_zlib(plain, 15);
    case ENCODING_BR:
        return encode_brotli(plain);
    default:
        return encode_zstd(plain);
    }
}

static void give(struct str s)
{
    free((char *)(uintptr_t)s.ptr);
}

/* Decodes parts of `step` bytes, at most `max` at a time. 0 or the first error. */
static int decode(enum content_encoding encoding, struct str bytes, size_t step, size_t max,
                  struct buf *out)
{
    struct content_decoder *d = content_decoder_new(encoding);
    assert_non_null(d);
    int r = 0;
    for (size_t at = 0; at < bytes.len && r >= 0; at += step) {
        struct str part = str_head(str_skip(bytes, at), step);
        do {
            size_t had = out->len;
            r = content_decoder_feed(d, &part, max, out);
            assert_true(out->len - had <= max);
            assert_true(r != 0 || part.len == 0);
        } while (r == 1);
    }
    if (r == 0)
        r = content_decoder_finish(d);
    content_decoder_free(d);
    return r;
}

static const enum content_encoding all[] = {ENCODING_GZIP, ENCODING_DEFLATE, ENCODING_BR,
                                            ENCODING_ZSTD};

static const char json[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"hello "
                           "hello hello hello hello hello\"}],\"stream\":true}";

/* --- tests ----------------------------------------------------------------------------------- */

static void names(void **state)
{
    (void)state;
    static const struct {
        struct str header;
        int encoding; /* -1 = refused */
    } rows[] = {
        {STR_INIT(""), ENCODING_IDENTITY},   {STR_INIT(" identity "), ENCODING_IDENTITY},
        {STR_INIT("gzip"), ENCODING_GZIP},   {STR_INIT("GZIP"), ENCODING_GZIP},
        {STR_INIT("x-gzip"), ENCODING_GZIP}, {STR_INIT("deflate"), ENCODING_DEFLATE},
        {STR_INIT("br"), ENCODING_BR},       {STR_INIT("\tzstd"), ENCODING_ZSTD},
        {STR_INIT("gzip, gzip"), -1},        {STR_INIT("gzip,"), -1},
        {STR_INIT("compress"), -1},          {STR_INIT("gzipped"), -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum content_encoding encoding = ENCODING_IDENTITY;
        int r = content_encoding_parse(rows[i].header, &encoding);
        if (rows[i].encoding < 0) {
            assert_int_equal(r, -ERR_INVALID);
            assert_non_null(strstr(err_slot()->message, "gzip, deflate, br, zstd"));
        } else {
            assert_int_equal(r, 0);
            assert_int_equal(encoding, rows[i].encoding);
        }
    }
}

static void any_cut_gives_the_same_bytes(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 2, 7, 1000};
    static const size_t maxes[] = {1, 5, 4096};
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct str bytes = encode(all[e], str_c(json));
        for (size_t s = 0; s < ARRAY_LEN(steps); s++) {
            for (size_t m = 0; m < ARRAY_LEN(maxes); m++) {
                struct buf out = BUF_INIT;
                assert_int_equal(decode(all[e], bytes, steps[s], maxes[m], &out), 0);
                assert_true(str_eq(buf_str(&out), str_c(json)));
                buf_fini(&out);
            }
        }
        give(bytes);
    }
}

static void large_bodies(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT;
    for (unsigned i = 0; plain.len < 3000000; i++)
        buf_printf(&plain, "%u,%u;", i, i * 2654435761u);
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct buf out = BUF_INIT;
        struct str bytes = encode(all[e], buf_str(&plain));
        assert_int_equal(decode(all[e], bytes, 50000, 65536, &out), 0);
        assert_true(str_eq(buf_str(&out), buf_str(&plain)));
        give(bytes);
        buf_fini(&out);
    }
    buf_fini(&plain);
}

static void broken_data(void **state)
{
    (void)state;
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct buf out = BUF_INIT;
        struct str bytes = encode(all[e], str_c(json));
        /* Cut short anywhere, the start included. */
        for (size_t len = 1; len < bytes.len; len++) {
            buf_clear(&out);
            assert_int_equal(decode(all[e], str_head(bytes, len), len, 4096, &out), -ERR_INVALID);
        }
        buf_clear(&out);
        assert_int_equal(decode(all[e], STR_EMPTY, 1, 4096, &out), -ERR_INVALID);
        /* Something else. */
        buf_clear(&out);
        assert_int_equal(decode(all[e], str_c(json), 1000, 4096, &out), -ERR_INVALID);
        /* Bytes behind the end. */
        struct buf longer = BUF_INIT;
        buf_add_str(&longer, bytes);
        buf_add_char(&longer, 'x');
        buf_clear(&out);
        assert_int_equal(decode(all[e], buf_str(&longer), longer.len, 4096, &out), -ERR_INVALID);
        buf_clear(&out);
        assert_int_equal(decode(all[e], buf_str(&longer), bytes.len, 4096, &out), -ERR_INVALID);
        buf_fini(&longer);
        give(bytes);
        buf_fini(&out);
    }
}

/* RFC 1952 and RFC 8878 let files be put one behind the other. */
static void several_members(void **state)
{
    (void)state;
    static const enum content_encoding encodings[] = {ENCODING_GZIP, ENCODING_ZSTD};
    for (size_t e = 0; e < ARRAY_LEN(encodings); e++) {
        struct buf twice = BUF_INIT;
        struct str first = encode(encodings[e], STR("first, "));
        struct str second = encode(encodings[e], STR("second"));
        buf_add_str(&twice, first);
        buf_add_str(&twice, second);
        for (size_t step = 1; step <= twice.len; step++) {
            struct buf out = BUF_INIT;
            assert_int_equal(decode(encodings[e], buf_str(&twice), step, 3, &out), 0);
            assert_true(str_eq(buf_str(&out), STR("first, second")));
            buf_fini(&out);
        }
        give(first);
        give(second);
        buf_fini(&twice);
    }
}

/* A hundred megabytes of zeros in a few bytes: no more is decoded than was asked for. */
static void bombs_stop_where_they_are_told_to(void **state)
{
    (void)state;
    enum { PLAIN_BYTES = 100 * 1000 * 1000, MAX_BYTES = 10000 };
    char *zeros = calloc(1, PLAIN_BYTES);
    assert_non_null(zeros);
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct str bytes = encode(all[e], str_n(zeros, PLAIN_BYTES));
        assert_true(bytes.len < PLAIN_BYTES / 500);
        struct content_decoder *d = content_decoder_new(all[e]);
        struct buf out = BUF_INIT;
        struct str rest = bytes;
        for (unsigned i = 1; i <= 5; i++) {
            assert_int_equal(content_decoder_feed(d, &rest, MAX_BYTES, &out), 1);
            assert_int_equal(out.len, i * MAX_BYTES);
        }
        assert_true(out.cap < 20 * MAX_BYTES);
        content_decoder_free(d);
        buf_fini(&out);
        give(bytes);
    }
    free(zeros);
}

/* A frame that asks for a window of 1 GiB: refused before anything is allocated for it. */
static void huge_zstd_windows_are_refused(void **state)
{
    (void)state;
    ZSTD_CCtx *c = ZSTD_createCCtx();
    assert_non_null(c);
    char frame[200];
    ZSTD_inBuffer in = {json, sizeof(json) - 1, 0};
    ZSTD_outBuffer out = {frame, sizeof(frame), 0};
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, 27)));
    /* Without a known size the header keeps the window. */
    assert_false(ZSTD_isError(ZSTD_compressStream2(c, &out, &in, ZSTD_e_flush)));
    assert_int_equal(ZSTD_compressStream2(c, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(c);
    struct buf plain = BUF_INIT;
    assert_int_equal(decode(ENCODING_ZSTD, str_n(frame, out.pos), 200, 4096, &plain), -ERR_INVALID);
    assert_non_null(strstr(err_slot()->message, "8 MiB"));
    buf_fini(&plain);
}

/* Each allocation in turn fails: an error, and nothing is lost. */
static void out_of_memory(void **state)
{
    (void)state;
    struct buf plain = BUF_INIT;
    for (unsigned i = 0; plain.len < 100000; i++)
        buf_printf(&plain, "%u;", i * 2654435761u);
    for (size_t e = 0; e < ARRAY_LEN(all); e++) {
        struct str bytes = encode(all[e], buf_str(&plain));
        unsigned failures = 0;
        for (uint64_t n = 1;; n++) {
            mem_fail_at(n);
            struct buf out = BUF_INIT;
            struct content_decoder *d = content_decoder_new(all[e]);
            int r = d == NULL ? -ERR_NOMEM : 0;
            struct str rest = bytes;
            do {
                if (d != NULL)
                    r = content_decoder_feed(d, &rest, 65536, &out);
            } while (r == 1);
            bool was_reached = mem_count() >= n;
            mem_fail_at(0);
            assert_true(r == 0 || r == -ERR_NOMEM);
            failures += r < 0;
            if (r == 0)
                assert_true(str_eq(buf_str(&out), buf_str(&plain)));
            content_decoder_free(d);
            buf_fini(&out);
            if (!was_reached)
                break;
        }
        assert_true(failures >= 2);
        give(bytes);
    }
    buf_fini(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(any_cut_gives_the_same_bytes),
        cmocka_unit_test(large_bodies),
        cmocka_unit_test(broken_data),
        cmocka_unit_test(several_members),
        cmocka_unit_test(bombs_stop_where_they_are_told_to),
        cmocka_unit_test(huge_zstd_windows_are_refused),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
