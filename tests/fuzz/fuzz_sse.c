/* The first byte says where to cut: any cut must give the same events, and no byte may get lost. */
#include "base/buf.h"
#include "http/sse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    struct buf events;
    struct buf raw;
};

static void add_field(struct buf *out, struct str field)
{
    buf_add_u64(out, field.len);
    buf_add_char(out, ':');
    buf_add_str(out, field);
}

static void note(struct reading *r, const struct sse_event *e)
{
    buf_add_str(&r->raw, e->raw);
    if (!e->has_data && !e->has_id && !e->has_comment && e->type.len == 0 && e->retry_ms < 0)
        return;
    add_field(&r->events, e->type);
    add_field(&r->events, e->id);
    add_field(&r->events, e->data);
    buf_printf(&r->events, "%d%d%d%lld;", e->has_data, e->has_id, e->has_comment,
               (long long)e->retry_ms);
}

static void read_in_steps(struct str stream, size_t first, size_t step, struct reading *r)
{
    struct sse_splitter s;
    struct sse_event e;
    sse_splitter_init(&s, 1 << 20);
    size_t len = first;
    while (stream.len > 0) {
        struct str part = str_head(stream, len);
        stream = str_skip(stream, part.len);
        len = step;
        int got;
        while ((got = sse_next(&s, &part, &e)) == 1)
            note(r, &e);
        CHECK(got == 0 && part.len == 0);
    }
    if (sse_finish(&s, &e) == 1)
        note(r, &e);
    sse_splitter_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str stream = str_n((const char *)data + 1, size - 1);
    struct reading whole = {BUF_INIT, BUF_INIT}, cut = {BUF_INIT, BUF_INIT};
    read_in_steps(stream, stream.len, stream.len, &whole);
    read_in_steps(stream, 1 + data[0] % 64, 1 + data[0] / 16, &cut);
    CHECK(str_eq(buf_str(&whole.raw), stream));
    CHECK(str_eq(buf_str(&cut.raw), stream));
    CHECK(str_eq(buf_str(&whole.events), buf_str(&cut.events)));
    buf_fini(&whole.events);
    buf_fini(&whole.raw);
    buf_fini(&cut.events);
    buf_fini(&cut.raw);
    return 0;
}
