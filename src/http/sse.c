#include "http/sse.h"

#include "base/err.h"

static const char bom[] = "\xef\xbb\xbf";
enum { BOM_BYTES = sizeof(bom) - 1 };

void sse_splitter_init(struct sse_splitter *s, size_t limit)
{
    *s = (struct sse_splitter){.limit = limit, .at_start = true, .line_is_empty = true};
}

void sse_splitter_fini(struct sse_splitter *s)
{
    buf_fini(&s->pending);
    buf_fini(&s->data);
}

/* The first CR or LF of `s`, or NULL. Looks at growing windows, so that a search for the one does
 * not run far past the other: the time is that of the line. */
static const char *line_end(struct str s)
{
    const char *p = s.ptr;
    size_t left = s.len;
    for (size_t window = 128; left > 0; window *= 2) {
        size_t len = MIN(window, left);
        const char *lf = memchr(p, '\n', len);
        const char *cr = memchr(p, '\r', lf == NULL ? len : (size_t)(lf - p));
        if (cr != NULL || lf != NULL)
            return cr != NULL ? cr : lf;
        p += len;
        left -= len;
    }
    return NULL;
}

/* Cuts off the first line, without its end. False when no line end follows it. */
static bool cut_line(struct str *text, struct str *line)
{
    const char *end = line_end(*text);
    *line = str_head(*text, end == NULL ? text->len : (size_t)(end - text->ptr));
    *text = str_skip(*text, line->len);
    *text = str_skip(*text, str_starts(*text, STR("\r\n")) ? 2 : 1);
    return end != NULL;
}

/* --- the lines of one block --- */

/* One more "data:" line. One alone is not copied. */
static void add_data(struct sse_splitter *s, struct str value, struct sse_event *event)
{
    if (!event->has_data) {
        event->has_data = true;
        event->data = value;
        return;
    }
    if (s->data.len == 0)
        buf_add_str(&s->data, event->data);
    buf_add_char(&s->data, '\n');
    buf_add_str(&s->data, value);
    event->data = buf_str(&s->data);
}

static void take_field(struct sse_splitter *s, struct str name, struct str value,
                       struct sse_event *event)
{
    uint64_t ms;
    if (str_eq(name, STR("data"))) {
        add_data(s, value, event);
    } else if (str_eq(name, STR("event"))) {
        event->type = value;
    } else if (str_eq(name, STR("id"))) {
        if (str_index(value, '\0') < 0) {
            event->id = value;
            event->has_id = true;
        }
    } else if (str_eq(name, STR("retry"))) {
        if (str_to_u64(value, &ms) && ms <= INT64_MAX)
            event->retry_ms = (int64_t)ms;
    }
}

static void take_line(struct sse_splitter *s, struct str line, struct sse_event *event)
{
    if (line.len == 0)
        return;
    if (line.ptr[0] == ':') {
        event->has_comment = true;
        return;
    }
    struct str value = line, name;
    if (str_cut(&value, ':', &name) && str_starts(value, STR(" ")))
        value = str_skip(value, 1);
    take_field(s, name, value, event);
}

/* Reads the block `raw` whose first s->lead bytes are not of its lines. 1 or -ERR_NOMEM. */
static int give(struct sse_splitter *s, struct str raw, struct sse_event *event)
{
    *event = (struct sse_event){.raw = raw, .retry_ms = -1};
    struct str rest = str_skip(raw, s->lead), line;
    while (rest.len > 0) {
        cut_line(&rest, &line);
        take_line(s, line, event);
    }
    s->lead = 0;
    s->line_is_empty = true;
    if (buf_ok(&s->data))
        return 1;
    s->error = -ERR_NOMEM;
    return s->error;
}

/* --- where a block ends --- */

/* Past the line end at bytes[at]; notes when an LF may still come. */
static size_t past_line_end(struct sse_splitter *s, struct str bytes, size_t at)
{
    if (bytes.ptr[at] == '\n')
        return at + 1;
    if (at + 1 == bytes.len) {
        s->after_cr = true;
        return at + 1;
    }
    return bytes.ptr[at + 1] == '\n' ? at + 2 : at + 1;
}

/* How many of the bytes, from `at` on, belong to the block that is being read: up to and with its
 * blank line; 0 when it goes on beyond them. Every byte is looked at once, however they are cut. */
static size_t find_end(struct sse_splitter *s, struct str bytes, size_t at)
{
    if (s->after_cr && at < bytes.len) {
        s->after_cr = false;
        if (bytes.ptr[at] == '\n')
            at++;
    }
    while (at < bytes.len) {
        bool is_blank = s->line_is_empty && (bytes.ptr[at] == '\n' || bytes.ptr[at] == '\r');
        if (is_blank)
            return past_line_end(s, bytes, at);
        const char *end = line_end(str_skip(bytes, at));
        s->line_is_empty = end != NULL;
        if (end == NULL)
            return 0;
        at = past_line_end(s, bytes, (size_t)(end - bytes.ptr));
    }
    return 0;
}

static int too_large(struct sse_splitter *s)
{
    s->error = err_set(ERR_LIMIT, FAULT_UPSTREAM,
                       "an event of the stream is larger than the limit of %zu bytes", s->limit);
    return s->error;
}

/* Keeps the first `len` bytes of *input with what is pending. */
static int keep(struct sse_splitter *s, struct str *input, size_t len)
{
    if (len > s->limit - s->pending.len)
        return too_large(s);
    buf_add(&s->pending, input->ptr, len);
    *input = str_skip(*input, len);
    if (buf_ok(&s->pending))
        return 0;
    s->error = err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for an event of the stream");
    return s->error;
}

/* Reads on in a byte order mark at the start of the stream. Returns how many bytes of the input are
 * of it; s->at_start stays set while more of it may come. */
static size_t take_bom(struct sse_splitter *s, struct str input)
{
    size_t before = s->pending.len, n = 0;
    while (before + n < BOM_BYTES && n < input.len && input.ptr[n] == bom[before + n])
        n++;
    if (before + n == BOM_BYTES)
        s->lead = BOM_BYTES;
    else if (n == input.len)
        return n;
    else
        s->line_is_empty = before + n == 0;
    s->at_start = false;
    return n;
}

/* A block that is one data line with LF ends, as nearly all are: its length, or 0. */
static size_t plain_block(struct str input, struct sse_event *event)
{
    static const char field[] = "data:";
    enum { FIELD_BYTES = sizeof(field) - 1 };
    if (input.len < FIELD_BYTES + 2 || memcmp(input.ptr, field, FIELD_BYTES) != 0)
        return 0;
    const char *lf = memchr(input.ptr, '\n', input.len - 1);
    if (lf == NULL || lf[1] != '\n')
        return 0;
    struct str value = str_n(input.ptr + FIELD_BYTES, (size_t)(lf - input.ptr) - FIELD_BYTES);
    if (value.len > 0 && value.ptr[0] == ' ')
        value = str_skip(value, 1);
    if (str_index(value, '\r') >= 0)
        return 0;
    size_t len = (size_t)(lf - input.ptr) + 2;
    *event = (struct sse_event){
        .raw = str_head(input, len), .data = value, .has_data = true, .retry_ms = -1};
    return len;
}

/* Forgets the event that the last call returned, and gives its memory back. */
static void drop_given(struct sse_splitter *s)
{
    if (s->is_given)
        buf_fini(&s->pending);
    s->is_given = false;
    if (s->data.cap > 0)
        buf_fini(&s->data);
}

int sse_next(struct sse_splitter *s, struct str *input, struct sse_event *event)
{
    if (s->error < 0)
        return s->error;
    drop_given(s);
    if (input->len == 0)
        return 0;
    size_t at = s->at_start ? take_bom(s, *input) : 0;
    bool is_plain = s->pending.len == 0 && at == 0 && !s->after_cr && s->line_is_empty;
    size_t end = is_plain ? plain_block(*input, event) : 0;
    if (end > 0 && end <= s->limit) {
        *input = str_skip(*input, end);
        return 1;
    }
    if (s->at_start)
        return keep(s, input, at);
    if (s->after_cr && s->pending.len == 0 && input->ptr[0] == '\n')
        s->lead = 1;
    end = find_end(s, *input, at);
    if (end == 0)
        return keep(s, input, input->len);
    if (s->pending.len == 0) {
        if (end > s->limit)
            return too_large(s);
        struct str raw = str_head(*input, end);
        *input = str_skip(*input, end);
        return give(s, raw, event);
    }
    int r = keep(s, input, end);
    s->is_given = true;
    return r < 0 ? r : give(s, buf_str(&s->pending), event);
}

int sse_finish(struct sse_splitter *s, struct sse_event *event)
{
    if (s->error < 0)
        return s->error;
    drop_given(s);
    if (s->pending.len == 0)
        return 0;
    s->is_given = true;
    return give(s, buf_str(&s->pending), event);
}

size_t sse_pending(const struct sse_splitter *s)
{
    return s->is_given ? 0 : s->pending.len;
}

/* --- writers --- */

/* The prefix and a line, for each line of the text and at least once, and a blank line. */
static void write_lines(struct buf *out, struct str prefix, struct str text)
{
    bool has_more;
    do {
        struct str line;
        has_more = cut_line(&text, &line);
        buf_add_str(out, prefix);
        buf_add_str(out, line);
        buf_add_char(out, '\n');
    } while (has_more);
    buf_add_char(out, '\n');
}

void sse_write(struct buf *out, struct str type, struct str data)
{
    CHECK(line_end(type) == NULL);
    if (type.len > 0) {
        BUF_LIT(out, "event: ");
        buf_add_str(out, type);
        buf_add_char(out, '\n');
    }
    write_lines(out, STR("data: "), data);
}

void sse_write_id(struct buf *out, uint64_t id)
{
    BUF_LIT(out, "id: ");
    buf_add_u64(out, id);
    buf_add_char(out, '\n');
}

void sse_write_comment(struct buf *out, struct str text)
{
    write_lines(out, STR(": "), text);
}
