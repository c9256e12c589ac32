#include "stream/journal_writer.h"

#include "base/err.h"
#include "rt/loop.h"

/* A whole answer is kept in pieces, so that it can be read while it is written. */
enum { WHOLE_PIECE_BYTES = 16 * 1024 };

/* What is larger cannot lie in a read buffer. */
enum { READ_BYTES_MAX = 4 * LOOP_SCRATCH_BYTES };

/* "id: " and a number, with a line end before it and two behind it. */
enum { ID_LINE_BYTES = 4 + 20 + 3 };

void journal_writer_init(struct journal_writer *w, struct journal *journal,
                         enum journal_shape shape, bool adds_ids, size_t limit)
{
    *w = (struct journal_writer){
        .journal = journal,
        .shape = shape,
        .adds_ids = adds_ids && shape == JOURNAL_SHAPE_SSE,
        .pending = BUF_INIT,
        .limit = limit,
    };
    frame_splitter_init(&w->splitter,
                        shape == JOURNAL_SHAPE_FRAMES ? FRAMING_EVENT_STREAM : FRAMING_SSE, limit);
}

void journal_writer_fini(struct journal_writer *w)
{
    frame_splitter_fini(&w->splitter);
    buf_fini(&w->pending);
}

static int append(struct journal_writer *w, struct str bytes, bool is_numbered)
{
    struct journal_event event = {{bytes}, is_numbered};
    if (bytes.len == 0)
        return 0;
    int r = journal_append(w->journal, &event);
    if (r == 0)
        w->number += is_numbered;
    return r;
}

/* --- server-sent events --- */

/* Bytes of the line end that the text ends with; 0 = none. */
static size_t line_end(struct str text)
{
    if (str_ends(text, STR("\r\n")))
        return 2;
    return str_ends(text, STR("\n")) || str_ends(text, STR("\r"));
}

/*
 * The event with the line "id: n" as its last one, before the blank line that ends it: readers take
 * the last id of an event, so one that the provider wrote does not count. An event that nothing
 * terminated is terminated by it.
 */
/* The line of its number; with a byte before it or behind it where the event lacks a line's end. */
static struct str id_line(char *line, uint64_t number, bool needs_end, bool is_terminated)
{
    size_t n = 0;
    if (needs_end)
        line[n++] = '\n';
    memcpy(line + n, "id: ", 4);
    n += 4;
    n += str_put_u64(line + n, number);
    line[n++] = '\n';
    if (!is_terminated)
        line[n++] = '\n';
    return str_n(line, n);
}

static int append_with_id(struct journal_writer *w, struct str raw)
{
    char line[ID_LINE_BYTES];
    size_t blank = line_end(raw);
    struct str lines = str_head(raw, raw.len - blank);
    bool is_terminated = blank > 0 && line_end(lines) > 0;
    if (!is_terminated)
        lines = raw;
    bool needs_end = line_end(lines) == 0;
    struct str id = id_line(line, w->number + 1, needs_end, is_terminated);
    struct journal_event event = {{lines, id, str_skip(raw, lines.len)}, true};
    int r = journal_append(w->journal, &event);
    if (r == 0)
        w->number++;
    return r;
}

static int append_frame(struct journal_writer *w, const struct frame *frame)
{
    if (w->adds_ids && frame->has_data)
        return append_with_id(w, frame->raw);
    return append(w, frame->raw, frame->has_data);
}

static int write_frames(struct journal_writer *w, struct str bytes)
{
    struct frame frame;
    int r;
    while ((r = frame_next(&w->splitter, &bytes, &frame)) == 1) {
        r = append_frame(w, &frame);
        if (r < 0)
            return r;
    }
    return r;
}

/* --- a JSON array --- */

/* True when the byte ends an element. */
static bool step(struct journal_writer *w, char c)
{
    if (w->in_string) {
        if (w->is_escaped || c == '\\')
            w->is_escaped = !w->is_escaped;
        else if (c == '"')
            w->in_string = false;
        return false;
    }
    if (c == '"') {
        w->in_string = true;
    } else if (c == '{' || c == '[') {
        w->depth++;
    } else if (c == '}' || c == ']') {
        w->depth -= w->depth > 0;
        return w->depth == 1;
    }
    return false;
}

/* An element with what stands before it: the bracket, or the comma. */
static int append_element(struct journal_writer *w, struct str bytes, bool is_numbered)
{
    int r;
    if (w->pending.len == 0) {
        r = append(w, bytes, is_numbered);
    } else {
        buf_add_str(&w->pending, bytes);
        r = buf_ok(&w->pending) ? append(w, buf_str(&w->pending), is_numbered)
                                : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for an element");
        buf_clear(&w->pending);
    }
    return r;
}

static int write_array(struct journal_writer *w, struct str bytes)
{
    size_t begin = 0;
    for (size_t i = 0; i < bytes.len; i++) {
        if (!step(w, bytes.ptr[i]))
            continue;
        int r = append_element(w, str_n(bytes.ptr + begin, i + 1 - begin), true);
        if (r < 0)
            return r;
        begin = i + 1;
    }
    struct str rest = str_skip(bytes, begin);
    /* Between elements nothing is held back: white space keeps the connection open. */
    if (w->depth <= 1)
        return append_element(w, rest, false);
    if (w->pending.len + rest.len > w->limit)
        return err_set(ERR_LIMIT, FAULT_UPSTREAM, "an element is larger than %zu bytes", w->limit);
    buf_add_str(&w->pending, rest);
    return buf_ok(&w->pending) ? 0 : err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for an element");
}

/* --- all of them --- */

static int write_whole(struct journal_writer *w, struct str bytes)
{
    int r = 0;
    while (r == 0 && bytes.len > 0) {
        struct str piece = str_head(bytes, WHOLE_PIECE_BYTES);
        r = append(w, piece, true);
        bytes = str_skip(bytes, piece.len);
    }
    return r;
}

static int write_bytes(struct journal_writer *w, struct str bytes)
{
    switch (w->shape) {
    case JOURNAL_SHAPE_SSE:
    case JOURNAL_SHAPE_FRAMES:
        return write_frames(w, bytes);
    case JOURNAL_SHAPE_ARRAY:
        return write_array(w, bytes);
    case JOURNAL_SHAPE_WHOLE:
        break;
    }
    return write_whole(w, bytes);
}

/* In pieces, each as large as a read may be, so that there is room again before the next. */
YIELDS static int write_large(struct journal_writer *w, struct str bytes)
{
    int r = 0;
    while (r == 0 && bytes.len > 0) {
        struct str piece = str_head(bytes, LOOP_SCRATCH_BYTES);
        r = write_bytes(w, piece);
        if (r == 0)
            r = journal_pass(w->journal);
        bytes = str_skip(bytes, piece.len);
    }
    return r;
}

YIELDS int journal_writer_write(struct journal_writer *w, const struct iovec *iov, int count)
{
    size_t bytes = 0;
    int r = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    /* A wait ends what a read buffer holds: only what cannot lie in one is written in parts. */
    for (int i = 0; i < count && r == 0; i++) {
        struct str part = str_n(iov[i].iov_base, iov[i].iov_len);
        r = bytes > READ_BYTES_MAX ? write_large(w, part) : write_bytes(w, part);
    }
    return r < 0 ? r : journal_pass(w->journal);
}

int journal_writer_end(struct journal_writer *w)
{
    struct frame frame;
    if (w->shape == JOURNAL_SHAPE_WHOLE)
        return 0;
    if (w->shape == JOURNAL_SHAPE_ARRAY)
        return append_element(w, STR_EMPTY, false);
    int r = frame_finish(&w->splitter, &frame);
    return r == 1 ? append_frame(w, &frame) : r;
}
