/* The first byte says where to cut and whether the checksums are made right first: any cut must
 * give the same events, and no byte of them may get lost. */
#include <zlib.h>

#include "base/buf.h"
#include "http/event_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    struct buf events;
    struct buf raw;
    int end; /* what came last */
};

static void add_field(struct buf *out, struct str field)
{
    buf_add_u64(out, field.len);
    buf_add_char(out, ':');
    buf_add_str(out, field);
}

static void note(struct reading *r, const struct event_stream_event *e)
{
    struct str headers = e->headers;
    struct event_stream_header header;
    buf_add_str(&r->raw, e->raw);
    add_field(&r->events, e->message_type);
    add_field(&r->events, e->type);
    add_field(&r->events, e->payload);
    while (event_stream_header_next(&headers, &header) == 1) {
        add_field(&r->events, header.name);
        add_field(&r->events, header.bytes);
        buf_add_i64(&r->events, header.number);
    }
}

static void read_in_steps(struct str stream, size_t first, size_t step, struct reading *r)
{
    struct event_stream_splitter s;
    struct event_stream_event e;
    event_stream_splitter_init(&s, 1 << 20);
    size_t len = first;
    while (stream.len > 0 && r->end == 0) {
        struct str part = str_head(stream, len);
        stream = str_skip(stream, part.len);
        len = step;
        while ((r->end = event_stream_next(&s, &part, &e)) == 1)
            note(r, &e);
        CHECK(r->end < 0 || part.len == 0);
    }
    if (r->end == 0)
        r->end = event_stream_finish(&s);
    event_stream_splitter_fini(&s);
}

static void put_u32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(v >> (24 - 8 * i));
}

/* Without this hardly any input would get past the checksums. */
static void mend_checksums(char *bytes, size_t size)
{
    while (size >= EVENT_STREAM_FRAME_MIN) {
        size_t len = (size_t)(uint8_t)bytes[2] << 8 | (uint8_t)bytes[3];
        bytes[0] = bytes[1] = 0;
        put_u32(bytes + 8, (uint32_t)crc32(0, (const Bytef *)bytes, 8));
        if (len < EVENT_STREAM_FRAME_MIN || len > size)
            return;
        put_u32(bytes + len - 4, (uint32_t)crc32(0, (const Bytef *)bytes, (uInt)len - 4));
        bytes += len;
        size -= len;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct buf stream = BUF_INIT;
    buf_add(&stream, data + 1, size - 1);
    if (data[0] % 2 == 0)
        mend_checksums(stream.ptr, stream.len);
    struct reading whole = {BUF_INIT, BUF_INIT, 0}, cut = {BUF_INIT, BUF_INIT, 0};
    read_in_steps(buf_str(&stream), stream.len, stream.len, &whole);
    read_in_steps(buf_str(&stream), 1 + data[0] % 64, 1 + data[0] / 16, &cut);
    CHECK(str_starts(buf_str(&stream), buf_str(&whole.raw)));
    CHECK(whole.end < 0 || str_eq(buf_str(&whole.raw), buf_str(&stream)));
    CHECK(whole.end == cut.end);
    CHECK(str_eq(buf_str(&whole.raw), buf_str(&cut.raw)));
    CHECK(str_eq(buf_str(&whole.events), buf_str(&cut.events)));
    buf_fini(&whole.events);
    buf_fini(&whole.raw);
    buf_fini(&cut.events);
    buf_fini(&cut.raw);
    buf_fini(&stream);
    return 0;
}
