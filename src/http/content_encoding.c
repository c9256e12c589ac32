#include "http/content_encoding.h"

#include <brotli/decode.h>
#include <zlib.h>
/* For a decoder whose memory comes from us. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>
#include <zstd_errors.h>

#include "base/err.h"
#include "base/mem.h"
#include "rt/task.h"

enum {
    /* What RFC 8878 section 3.1.1.1.2 asks decoders to support; a frame may name a window of
     * gigabytes, which would be memory that no limit of ours counts. */
    ZSTD_WINDOW_LOG_MAX = 23,
};

struct content_decoder {
    enum content_encoding encoding;
    bool is_done; /* the data ended where its format says */
    bool has_begun;
    z_stream zlib;
    BrotliDecoderState *brotli;
    ZSTD_DStream *zstd;
};

/* One call into a library: takes from *in, writes to [out, out + cap). Bytes written or -ERR_x. */
typedef ssize_t step_fn(struct content_decoder *d, struct str *in, char *out, size_t cap);

static const struct {
    struct str name;
    enum content_encoding encoding;
} names[] = {
    {STR_INIT("identity"), ENCODING_IDENTITY},
    {STR_INIT("gzip"), ENCODING_GZIP},
    {STR_INIT("x-gzip"), ENCODING_GZIP},
    {STR_INIT("deflate"), ENCODING_DEFLATE},
    {STR_INIT("br"), ENCODING_BR},
    {STR_INIT("zstd"), ENCODING_ZSTD},
};

static int broken(const struct content_decoder *d)
{
    static const char *const labels[] = {"", "gzip", "deflate", "br", "zstd"};
    return err_set(ERR_INVALID, FAULT_CLIENT, "the request body is not valid %s data",
                   labels[d->encoding]);
}

static int no_memory(void)
{
    return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to decompress the request body");
}

/* --- the libraries' memory ------------------------------------------------------------------ */

static void *zlib_alloc(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return mem_calloc(count, size);
}

static void *library_alloc(void *opaque, size_t size)
{
    (void)opaque;
    return mem_alloc(size);
}

static void library_free(void *opaque, void *ptr)
{
    (void)opaque;
    mem_free(ptr);
}

/* --- steps ----------------------------------------------------------------------------------- */

static ssize_t step_zlib(struct content_decoder *d, struct str *in, char *out, size_t cap)
{
    /* A gzip file may have several members, one after the other (RFC 1952 section 2.2). */
    if (d->is_done && (d->encoding != ENCODING_GZIP || inflateReset(&d->zlib) != Z_OK))
        return broken(d);
    d->is_done = false;
    d->zlib.next_in = (Bytef *)(uintptr_t)in->ptr;
    d->zlib.avail_in = (uInt)MIN(in->len, (size_t)UINT32_MAX);
    d->zlib.next_out = (Bytef *)out;
    d->zlib.avail_out = (uInt)cap;
    size_t offered = d->zlib.avail_in;
    int r = inflate(&d->zlib, Z_NO_FLUSH);
    *in = str_skip(*in, offered - d->zlib.avail_in);
    if (r == Z_MEM_ERROR)
        return no_memory();
    if (r == Z_STREAM_END)
        d->is_done = true;
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return broken(d);
    return (ssize_t)(cap - d->zlib.avail_out);
}

static ssize_t step_brotli(struct content_decoder *d, struct str *in, char *out, size_t cap)
{
    const uint8_t *next_in = (const uint8_t *)in->ptr;
    size_t avail_in = in->len;
    uint8_t *next_out = (uint8_t *)out;
    size_t avail_out = cap;
    if (d->is_done)
        return broken(d);
    BrotliDecoderResult r =
        BrotliDecoderDecompressStream(d->brotli, &avail_in, &next_in, &avail_out, &next_out, NULL);
    *in = str_skip(*in, in->len - avail_in);
    if (r == BROTLI_DECODER_RESULT_ERROR) {
        BrotliDecoderErrorCode code = BrotliDecoderGetErrorCode(d->brotli);
        bool is_alloc = code <= BROTLI_DECODER_ERROR_ALLOC_CONTEXT_MODES &&
                        code >= BROTLI_DECODER_ERROR_ALLOC_BLOCK_TYPE_TREES;
        return is_alloc ? no_memory() : broken(d);
    }
    d->is_done = r == BROTLI_DECODER_RESULT_SUCCESS;
    return (ssize_t)(cap - avail_out);
}

static ssize_t step_zstd(struct content_decoder *d, struct str *in, char *out, size_t cap)
{
    ZSTD_inBuffer source = {in->ptr, in->len, 0};
    ZSTD_outBuffer target = {out, cap, 0};
    size_t r = ZSTD_decompressStream(d->zstd, &target, &source);
    *in = str_skip(*in, source.pos);
    if (ZSTD_isError(r)) {
        ZSTD_ErrorCode code = ZSTD_getErrorCode(r);
        if (code == ZSTD_error_memory_allocation)
            return no_memory();
        if (code == ZSTD_error_frameParameter_windowTooLarge)
            return err_set(ERR_INVALID, FAULT_CLIENT,
                           "the request body is zstd data with a window of more than 8 MiB");
        return broken(d);
    }
    /* Frames may follow one another; the next call begins the next one. */
    d->is_done = r == 0;
    return (ssize_t)target.pos;
}

static step_fn *const steps[] = {
    [ENCODING_GZIP] = step_zlib,
    [ENCODING_DEFLATE] = step_zlib,
    [ENCODING_BR] = step_brotli,
    [ENCODING_ZSTD] = step_zstd,
};

/* --- the decoder ----------------------------------------------------------------------------- */

int content_encoding_parse(struct str header, enum content_encoding *encoding)
{
    header = str_trim(header);
    if (header.len == 0)
        header = STR("identity");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(names[i].name, header)) {
            *encoding = names[i].encoding;
            return 0;
        }
    }
    return err_set(ERR_INVALID, FAULT_CLIENT,
                   "Content-Encoding '%.*s' is not understood; use one of gzip, deflate, br, zstd, "
                   "identity",
                   STR_ARG(str_head(header, 64)));
}

static bool make_state(struct content_decoder *d)
{
    static const ZSTD_customMem zstd_memory = {library_alloc, library_free, NULL};
    switch (d->encoding) {
    case ENCODING_GZIP:
        return inflateInit2(&d->zlib, 15 + 16) == Z_OK; /* 16: with gzip's header */
    case ENCODING_DEFLATE:
        return inflateInit2(&d->zlib, 15) == Z_OK;
    case ENCODING_BR:
        d->brotli = BrotliDecoderCreateInstance(library_alloc, library_free, NULL);
        return d->brotli != NULL;
    case ENCODING_ZSTD:
        d->zstd = ZSTD_createDStream_advanced(zstd_memory);
        return d->zstd != NULL && !ZSTD_isError(ZSTD_DCtx_setParameter(d->zstd, ZSTD_d_windowLogMax,
                                                                       ZSTD_WINDOW_LOG_MAX));
    default:
        return false;
    }
}

static void run_make_state(void *arg)
{
    struct content_decoder **d = arg;
    if (!make_state(*d)) {
        content_decoder_free(*d);
        *d = NULL;
    }
}

struct content_decoder *content_decoder_new(enum content_encoding encoding)
{
    struct content_decoder *d = MEM_NEW(struct content_decoder);
    CHECK(encoding != ENCODING_IDENTITY);
    if (d == NULL)
        return NULL;
    d->encoding = encoding;
    d->zlib.zalloc = zlib_alloc;
    d->zlib.zfree = library_free;
    on_loop_stack(run_make_state, &d);
    return d;
}

void content_decoder_free(struct content_decoder *d)
{
    if (d == NULL)
        return;
    if (d->zlib.state != NULL)
        inflateEnd(&d->zlib);
    if (d->brotli != NULL)
        BrotliDecoderDestroyInstance(d->brotli);
    if (d->zstd != NULL)
        ZSTD_freeDStream(d->zstd);
    mem_free(d);
}

struct feed_call {
    struct content_decoder *decoder;
    struct str in;
    char *out;
    size_t cap;
    size_t written;
    int result;
};

static void run_feed(void *arg)
{
    struct feed_call *call = arg;
    struct content_decoder *d = call->decoder;
    for (;;) {
        /* A library may hold output back that did not fit before, unless its data has ended. */
        if (call->in.len == 0 && (d->is_done || !d->has_begun))
            return;
        d->has_begun = true;
        size_t had = call->in.len;
        size_t room = call->cap - call->written;
        ssize_t n = steps[d->encoding](d, &call->in, call->out + call->written, room);
        if (n < 0) {
            call->result = (int)n;
            return;
        }
        call->written += (size_t)n;
        if (call->written == call->cap) {
            call->result = !d->is_done || call->in.len > 0;
            return;
        }
        if (n == 0 && call->in.len == had) {
            /* Nothing moves any more, so it waits for more input. */
            call->result = had == 0 ? 0 : broken(d);
            return;
        }
    }
}

int content_decoder_feed(struct content_decoder *d, struct str *in, size_t max, struct buf *out)
{
    CHECK(max > 0);
    if (!buf_reserve(out, max))
        return no_memory();
    struct feed_call call = {.decoder = d, .in = *in, .out = out->ptr + out->len, .cap = max};
    on_loop_stack(run_feed, &call);
    out->len += call.written;
    *in = call.in;
    return call.result;
}

int content_decoder_finish(const struct content_decoder *d)
{
    if (d->is_done)
        return 0;
    return err_set(ERR_INVALID, FAULT_CLIENT, "the compressed request body is cut short");
}
