#include "http/event_stream.h"

#include <zlib.h>

#include "base/err.h"

enum {
    PRELUDE_BYTES = 12, /* two lengths and their checksum */
    CRC_BYTES = 4,
    NAME_MAX_BYTES = 255,
    VALUE_MAX_BYTES = 65535,
};

static uint64_t get_number(const char *p, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

static uint32_t get_u32(const char *p)
{
    return (uint32_t)get_number(p, 4);
}

static void put_u32(char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (char)(uint8_t)(v >> (24 - 8 * i));
}

static uint32_t checksum(const char *p, size_t len)
{
    return (uint32_t)crc32_z(0, (const Bytef *)p, len);
}

void event_stream_splitter_init(struct event_stream_splitter *s, size_t limit)
{
    *s = (struct event_stream_splitter){.limit = limit};
}

void event_stream_splitter_fini(struct event_stream_splitter *s)
{
    buf_fini(&s->pending);
}

/* --- headers --- */

/* Bytes of a value of each kind; -1 = two bytes of length come first. */
static const int8_t value_bytes[EVENT_STREAM_KIND_COUNT] = {
    [EVENT_STREAM_TRUE] = 0,   [EVENT_STREAM_FALSE] = 0,   [EVENT_STREAM_BYTE] = 1,
    [EVENT_STREAM_SHORT] = 2,  [EVENT_STREAM_INT] = 4,     [EVENT_STREAM_LONG] = 8,
    [EVENT_STREAM_BYTES] = -1, [EVENT_STREAM_STRING] = -1, [EVENT_STREAM_TIMESTAMP] = 8,
    [EVENT_STREAM_UUID] = 16,
};

static int bad_header(const char *what)
{
    return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "a frame of the event stream has %s", what);
}

/* The signed number in `bytes`, of 1, 2, 4 or 8 of them. */
static int64_t signed_number(struct str bytes)
{
    uint64_t v = get_number(bytes.ptr, bytes.len), sign = UINT64_C(1) << (bytes.len * 8 - 1);
    return (int64_t)((v ^ sign) - sign);
}

int event_stream_header_next(struct str *headers, struct event_stream_header *header)
{
    struct str rest = *headers;
    if (rest.len == 0)
        return 0;
    size_t name_len = (uint8_t)rest.ptr[0];
    if (name_len == 0 || rest.len < 1 + name_len + 1)
        return bad_header("a header without a name, or one that is cut");
    unsigned kind = (uint8_t)rest.ptr[1 + name_len];
    if (kind >= EVENT_STREAM_KIND_COUNT)
        return bad_header("a header of an unknown kind");
    *header = (struct event_stream_header){.name = str_n(rest.ptr + 1, name_len),
                                           .kind = (enum event_stream_kind)kind};
    rest = str_skip(rest, 1 + name_len + 1);
    size_t len = (size_t)value_bytes[kind];
    if (value_bytes[kind] < 0) {
        if (rest.len < 2)
            return bad_header("a header that is cut");
        len = (size_t)get_number(rest.ptr, 2);
        rest = str_skip(rest, 2);
    }
    if (rest.len < len)
        return bad_header("a header that is cut");
    header->bytes = str_head(rest, len);
    if (kind <= EVENT_STREAM_FALSE)
        header->number = kind == EVENT_STREAM_TRUE;
    else if (len <= 8 && value_bytes[kind] > 0)
        header->number = signed_number(header->bytes);
    *headers = str_skip(rest, len);
    return 1;
}

/* Where the text of each header goes; the type's depends on the message type, which may come after
 * it. */
struct types {
    struct str event, exception, code;
};

static int read_headers(struct event_stream_event *event)
{
    struct types types = {STR_EMPTY, STR_EMPTY, STR_EMPTY};
    const struct {
        struct str name;
        struct str *value;
    } places[] = {
        {STR(":event-type"), &types.event},
        {STR(":content-type"), &event->content_type},
        {STR(":message-type"), &event->message_type},
        {STR(":exception-type"), &types.exception},
        {STR(":error-code"), &types.code},
        {STR(":error-message"), &event->error_message},
    };
    struct str rest = event->headers;
    struct event_stream_header header;
    int r;
    while ((r = event_stream_header_next(&rest, &header)) == 1) {
        for (size_t i = 0; i < ARRAY_LEN(places) && header.kind == EVENT_STREAM_STRING; i++)
            if (str_eq(header.name, places[i].name))
                *places[i].value = header.bytes;
    }
    if (str_eq(event->message_type, STR("exception")))
        event->type = types.exception;
    else if (str_eq(event->message_type, STR("error")))
        event->type = types.code;
    else
        event->type = types.event;
    return r;
}

/* --- frames --- */

static int fail(struct event_stream_splitter *s, int error)
{
    s->error = error;
    return error;
}

/* The length of the frame that begins with these PRELUDE_BYTES, or -ERR_x. */
static int check_prelude(struct event_stream_splitter *s, const char *prelude, size_t *total)
{
    uint32_t len = get_u32(prelude), headers = get_u32(prelude + 4);
    if (checksum(prelude, 8) != get_u32(prelude + 8))
        return fail(s, err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                               "the checksum of the prelude of a frame of the event stream is "
                               "wrong"));
    if (len < EVENT_STREAM_FRAME_MIN || headers > len - EVENT_STREAM_FRAME_MIN)
        return fail(s, err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                               "a frame of the event stream says that it has %u bytes, %u of them "
                               "headers",
                               len, headers));
    if (len > s->limit)
        return fail(s, err_set(ERR_LIMIT, FAULT_UPSTREAM,
                               "a frame of the event stream of %u bytes is larger than the limit "
                               "of %zu",
                               len, s->limit));
    *total = len;
    return 0;
}

/* Reads a whole frame whose prelude is right. 1 or -ERR_PROTOCOL. */
static int give(struct event_stream_splitter *s, struct str raw, struct event_stream_event *event)
{
    size_t headers = get_u32(raw.ptr + 4), at_crc = raw.len - CRC_BYTES;
    if (checksum(raw.ptr, at_crc) != get_u32(raw.ptr + at_crc))
        return fail(s, err_set(ERR_PROTOCOL, FAULT_UPSTREAM,
                               "the checksum of a frame of the event stream is wrong"));
    *event = (struct event_stream_event){
        .raw = raw,
        .headers = str_n(raw.ptr + PRELUDE_BYTES, headers),
        .payload = str_n(raw.ptr + PRELUDE_BYTES + headers, at_crc - PRELUDE_BYTES - headers),
    };
    int r = read_headers(event);
    return r < 0 ? fail(s, r) : 1;
}

/* Moves bytes from *input to what is pending until there are `want` of them. */
static int keep(struct event_stream_splitter *s, struct str *input, size_t want)
{
    struct str part = str_head(*input, want - s->pending.len);
    buf_add_str(&s->pending, part);
    *input = str_skip(*input, part.len);
    if (buf_ok(&s->pending))
        return 0;
    return fail(s, err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for a frame of the event stream"));
}

/* Goes on with a frame of which some bytes are pending. */
static int next_pending(struct event_stream_splitter *s, struct str *input,
                        struct event_stream_event *event)
{
    int r;
    if (s->pending.len < PRELUDE_BYTES) {
        r = keep(s, input, PRELUDE_BYTES);
        if (r < 0 || s->pending.len < PRELUDE_BYTES)
            return r;
    }
    size_t total;
    r = check_prelude(s, s->pending.ptr, &total);
    if (r < 0)
        return r;
    r = keep(s, input, total);
    if (r < 0 || s->pending.len < total)
        return r;
    s->is_given = true;
    return give(s, buf_str(&s->pending), event);
}

int event_stream_next(struct event_stream_splitter *s, struct str *input,
                      struct event_stream_event *event)
{
    if (s->error < 0)
        return s->error;
    if (s->is_given)
        buf_fini(&s->pending);
    s->is_given = false;
    if (input->len == 0)
        return 0;
    if (s->pending.len > 0 || input->len < PRELUDE_BYTES)
        return next_pending(s, input, event);
    size_t total;
    int r = check_prelude(s, input->ptr, &total);
    if (r < 0)
        return r;
    if (input->len < total)
        return keep(s, input, total);
    struct str raw = str_head(*input, total);
    *input = str_skip(*input, total);
    return give(s, raw, event);
}

int event_stream_finish(struct event_stream_splitter *s)
{
    if (s->error < 0)
        return s->error;
    size_t left = event_stream_pending(s);
    if (left == 0)
        return 0;
    return fail(s, err_set(ERR_RESET, FAULT_UPSTREAM,
                           "the event stream ended inside a frame, after %zu bytes of it", left));
}

size_t event_stream_pending(const struct event_stream_splitter *s)
{
    return s->is_given ? 0 : s->pending.len;
}

/* --- writing --- */

size_t event_stream_open(struct buf *out)
{
    size_t mark = out->len;
    static const char room[PRELUDE_BYTES];
    buf_add(out, room, sizeof(room));
    return mark;
}

void event_stream_add_string(struct buf *out, struct str name, struct str value)
{
    if (name.len == 0 || name.len > NAME_MAX_BYTES || value.len > VALUE_MAX_BYTES) {
        out->failed = true;
        return;
    }
    buf_add_char(out, (char)(uint8_t)name.len);
    buf_add_str(out, name);
    char kind_and_len[3] = {EVENT_STREAM_STRING, (char)(uint8_t)(value.len >> 8),
                            (char)(uint8_t)value.len};
    buf_add(out, kind_and_len, sizeof(kind_and_len));
    buf_add_str(out, value);
}

void event_stream_body(struct buf *out, size_t mark)
{
    if (buf_ok(out))
        put_u32(out->ptr + mark + 4, (uint32_t)(out->len - mark - PRELUDE_BYTES));
}

size_t event_stream_begin(struct buf *out, struct str message_type, struct str type)
{
    struct str name = STR(":event-type");
    if (str_eq(message_type, STR("exception")))
        name = STR(":exception-type");
    else if (str_eq(message_type, STR("error")))
        name = STR(":error-code");
    size_t mark = event_stream_open(out);
    event_stream_add_string(out, name, type);
    event_stream_add_string(out, STR(":content-type"), STR("application/json"));
    event_stream_add_string(out, STR(":message-type"), message_type);
    event_stream_body(out, mark);
    return mark;
}

void event_stream_end(struct buf *out, size_t mark)
{
    char crc[CRC_BYTES] = {0};
    buf_add(out, crc, sizeof(crc));
    if (!buf_ok(out))
        return;
    size_t total = out->len - mark;
    if (total > UINT32_MAX) {
        out->failed = true;
        return;
    }
    char *frame = out->ptr + mark;
    put_u32(frame, (uint32_t)total);
    put_u32(frame + 8, checksum(frame, 8));
    put_u32(frame + total - CRC_BYTES, checksum(frame, total - CRC_BYTES));
}
