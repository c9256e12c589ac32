#include "http/content_encoding.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "base/mem.h"
#include "rt/task.h"

/* Decoded bytes are asked for in pieces of this size, so that a bomb costs one piece. */
enum { STEP_BYTES = 64 * 1024 };

struct content_decoder {
    enum content_encoding encoding;
    bool is_done;
    z_stream zlib;
    BrotliDecoderState *brotli;
    ZSTD_DStream *zstd;
};

/* One step: takes from *in, writes to [out, out + cap). Returns bytes written or -ERR_x. */
typedef ssize_t step_fn(struct content_decoder *d, struct str *in, char *out, size_t cap);

static int broken(const char *format)
{
    return err_set(ERR_INVALID, FAULT_CLIENT, "the request body is not valid %s data", format);
}

static ssize_t step_zlib(struct content_decoder *d, struct str *in, char *out, size_t cap)
{
    d->zlib.next_in = (Bytef *)(uintptr_t)in->ptr;
    d->zlib.avail_in = (uInt)MIN(in->len, UINT32_MAX);
    d->zlib.next_out = (Bytef *)out;
    d->zlib.avail_out = (uInt)cap;
    int r = inflate(&d->zlib, Z_NO_FLUSH);
    *in = str_skip(*in, in->len - d->zlib.avail_in);
    if (r == Z_MEM_ERROR)
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to decompress the body");
    if (r == Z_STREAM_END)
        d->is_done = true;
    else if (r != Z_OK && r != Z_BUF_ERROR)
        return broken(d->encoding == ENCODING_GZIP ? "gzip" : "deflate");
    return (ssize_t)(cap - d->zlib.avail_out);
}

static ssize_t step_brotli(struct content_decoder *d, struct str *in, char *out, size_t cap)
{
    const uint8_t *next_in = (const uint8_t *)in->ptr;
    size_t avail_in = in->len;
    uint8_t *next_out = (uint8_t *)out;
    size_t avail_out = cap;
    BrotliDecoderResult r = BrotliDecoderDecompressStream(d->brotli, &avail_in, &next_in,
                                                          &avail_out, &next_out, NULL);
    *in = str_skip(*in, in->len - avail_in);
    if (r == BROTLI_DECODER_RESULT_ERROR)
        return broken("br");
    d->is_done = r == BROTLI_DECODER_RESULT_SUCCESS;
    return (ssize_t)(cap - avail_out);
}

static ssize_t step_zstd(struct content_decoder *d, struct str *in, char *out, size_t cap)
{
    ZSTD_inBuffer source = {in->ptr, in->len, 0};
    ZSTD_outBuffer target = {out, cap, 0};
    size_t r = ZSTD_decompressStream(d->zstd, &target, &source);
    *in = str_skip(*in, source.pos);
    if (ZSTD_isError(r))
        return broken("zstd");
    d->is_done = r == 0;
    return (ssize_t)target.pos;
}

static const struct {
    struct str name;
    enum content_encoding encoding;
} names[] = {
    {STR_INIT("identity"), ENCODING_IDENTITY}, {STR_INIT("gzip"), ENCODING_GZIP},
    {STR_INIT("x-gzip"), ENCODING_GZIP},       {STR_INIT("deflate"), ENCODING_DEFLATE},
    {STR_INIT("br"), ENCODING_BR},             {STR_INIT("zstd"), ENCODING_ZSTD},
};

static step_fn *const steps[] = {
    [ENCODING_GZIP] = step_zlib,
    [ENCODING_DEFLATE] = step_zlib,
    [ENCODING_BR] = step_brotli,
    [ENCODING_ZSTD] = step_zstd,
};

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
                   "Content-Encoding '%.*s' is not understood; use one of gzip, deflate, br, "
                   "zstd, identity",
                   STR_ARG(str_head(header, 64)));
}

struct content_decoder *content_decoder_new(enum content_encoding encoding)
{
    struct content_decoder *d = MEM_NEW(struct content_decoder);
    if (d == NULL)
        return NULL;
    d->encoding = encoding;
    bool is_ok = true;
    if (encoding == ENCODING_GZIP)
        is_ok = inflateInit2(&d->zlib, 15 + 16) == Z_OK;
    else if (encoding == ENCODING_DEFLATE)
        is_ok = inflateInit2(&d->zlib, 15) == Z_OK;
    else if (encoding == ENCODING_BR)
        is_ok = (d->brotli = BrotliDecoderCreateInstance(NULL, NULL, NULL)) != NULL;
    else if (encoding == ENCODING_ZSTD)
        is_ok = (d->zstd = ZSTD_createDStream()) != NULL;
    if (is_ok)
        return d;
    mem_free(d);
    return NULL;
}

void content_decoder_free(struct content_decoder *d)
{
    if (d == NULL)
        return;
    if (d->encoding == ENCODING_GZIP || d->encoding == ENCODING_DEFLATE)
        inflateEnd(&d->zlib);
    if (d->brotli != NULL)
        BrotliDecoderDestroyInstance(d->brotli);
    if (d->zstd != NULL)
        ZSTD_freeDStream(d->zstd);
    mem_free(d);
}

struct step_call {
    struct content_decoder *decoder;
    struct str in;
    char *out;
    size_t cap;
    ssize_t result;
};

static void run_step(void *arg)
{
    struct step_call *call = arg;
    call->result =
        steps[call->decoder->encoding](call->decoder, &call->in, call->out, call->cap);
}

int content_decoder_feed(struct content_decoder *d, struct str in, uint64_t limit,
                         struct buf *out)
{
    struct step_call call = {.decoder = d, .in = in};
    for (;;) {
        if (d->is_done)
            return call.in.len == 0 ? 0 : broken("compressed");
        if (!buf_reserve(out, STEP_BYTES))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory to decompress the body");
        call.out = out->ptr + out->len;
        call.cap = STEP_BYTES;
        size_t had = call.in.len;
        on_loop_stack(run_step, &call);
        if (call.result < 0)
            return (int)call.result;
        out->len += (size_t)call.result;
        if (out->len > limit)
            return err_set(ERR_LIMIT, FAULT_CLIENT, "the decompressed body is too large");
        bool is_full = (size_t)call.result == call.cap;
        if (!is_full && !d->is_done && (call.in.len == 0 || call.in.len == had))
            return 0;
    }
}

int content_decoder_finish(const struct content_decoder *d)
{
    return d->is_done ? 0
                      : err_set(ERR_INVALID, FAULT_CLIENT, "the compressed request body is cut");
}
