#include "http/websocket_inflate.h"

#include <zlib.h>

#include "base/err.h"
#include "base/mem.h"
#include "rt/task.h"

enum {
    WINDOW_BITS = -15, /* the largest, without a header: it reads all smaller ones */
    STEP_BYTES = 8 * 1024,
};

/* What a sender leaves out at the end of each message (RFC 7692 section 7.2.2). */
static const char tail[] = {0x00, 0x00, (char)0xff, (char)0xff};

struct ws_inflater {
    z_stream zlib;
    int error;
};

static void *allocate(void *opaque, unsigned count, unsigned size)
{
    (void)opaque;
    return mem_calloc(count, size);
}

static void release(void *opaque, void *memory)
{
    (void)opaque;
    mem_free(memory);
}

struct ws_inflater *ws_inflater_new(void)
{
    struct ws_inflater *z = MEM_NEW(struct ws_inflater);
    if (z == NULL)
        return NULL;
    z->zlib.zalloc = allocate;
    z->zlib.zfree = release;
    if (inflateInit2(&z->zlib, WINDOW_BITS) == Z_OK)
        return z;
    mem_free(z);
    return NULL;
}

void ws_inflater_free(struct ws_inflater *z)
{
    if (z == NULL)
        return;
    inflateEnd(&z->zlib);
    mem_free(z);
}

struct step {
    struct ws_inflater *z;
    struct buf *out;
    int result;
};

/* zlib's stack is the loop's, not a task's small one. */
static void run_step(void *arg)
{
    struct step *s = arg;
    z_stream *zlib = &s->z->zlib;
    unsigned room = (unsigned)(s->out->cap - s->out->len);
    zlib->next_out = (Bytef *)s->out->ptr + s->out->len;
    zlib->avail_out = room;
    s->result = inflate(zlib, Z_SYNC_FLUSH);
    s->out->len += room - zlib->avail_out;
}

static int take(struct ws_inflater *z, struct str bytes, size_t most, struct buf *out)
{
    z->zlib.next_in = (Bytef *)(uintptr_t)bytes.ptr;
    z->zlib.avail_in = (unsigned)bytes.len;
    do {
        struct step step = {.z = z, .out = out};
        if (out->len > most)
            return err_set(ERR_LIMIT, FAULT_UPSTREAM, "a compressed message is too large");
        if (!buf_reserve(out, STEP_BYTES))
            return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a message");
        on_loop_stack(run_step, &step);
        /* A block that says it is the last begins a new stream; what follows is new data. */
        if (step.result == Z_STREAM_END && inflateReset(&z->zlib) == Z_OK)
            continue;
        if (step.result == Z_BUF_ERROR)
            return 0;
        if (step.result != Z_OK)
            return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "a compressed message is broken");
    } while (z->zlib.avail_in > 0 || z->zlib.avail_out == 0);
    return 0;
}

int ws_inflate(struct ws_inflater *z, struct str piece, bool is_last, size_t most, struct buf *out)
{
    if (z->error == 0 && piece.len > 0)
        z->error = take(z, piece, most, out);
    if (z->error == 0 && is_last)
        z->error = take(z, str_n(tail, sizeof(tail)), most, out);
    if (z->error == 0 && out->len > most)
        z->error = err_set(ERR_LIMIT, FAULT_UPSTREAM, "a compressed message is too large");
    return z->error;
}
