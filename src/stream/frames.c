#include "stream/frames.h"

#include <openssl/evp.h>

#include "base/err.h"
#include "base/json.h"

struct str stream_framing_type(enum stream_framing framing)
{
    switch (framing) {
    case FRAMING_SSE:
        return STR("text/event-stream");
    case FRAMING_JSON_ARRAY:
        return STR("application/json");
    case FRAMING_EVENT_STREAM:
    case FRAMING_INVOKE_STREAM:
        break;
    }
    return STR("application/vnd.amazon.eventstream");
}

bool stream_framing_of(struct str content_type, bool invokes, enum stream_framing *framing)
{
    if (str_istarts(content_type, STR("text/event-stream")))
        *framing = FRAMING_SSE;
    else if (str_istarts(content_type, STR("application/vnd.amazon.eventstream")))
        *framing = invokes ? FRAMING_INVOKE_STREAM : FRAMING_EVENT_STREAM;
    else
        return false;
    return true;
}

/* --- reading --- */

void frame_splitter_init(struct frame_splitter *s, enum stream_framing framing, size_t limit)
{
    *s = (struct frame_splitter){.framing = framing, .payload = BUF_INIT, .limit = limit};
    if (framing == FRAMING_SSE)
        sse_splitter_init(&s->sse, limit);
    else if (framing != FRAMING_JSON_ARRAY)
        event_stream_splitter_init(&s->event_stream, limit);
}

void frame_splitter_fini(struct frame_splitter *s)
{
    if (s->framing == FRAMING_SSE)
        sse_splitter_fini(&s->sse);
    else if (s->framing != FRAMING_JSON_ARRAY)
        event_stream_splitter_fini(&s->event_stream);
    buf_fini(&s->payload);
}

/* The model's own event out of {"bytes": "<base64>"}; its name is its "type". */
static int unwrap(struct frame_splitter *s, struct frame *frame)
{
    struct json_value bytes, type;
    if (!json_find(frame->data, "bytes", &bytes) || bytes.kind != JSON_STRING)
        return 0;
    struct str base64 = json_string_raw(bytes);
    buf_clear(&s->payload);
    if (base64.len > INT32_MAX || !buf_reserve(&s->payload, base64.len / 4 * 3 + 4))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for an event");
    int len = EVP_DecodeBlock((unsigned char *)s->payload.ptr, (const unsigned char *)base64.ptr,
                              (int)base64.len);
    if (len < 0)
        return err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "an event's bytes are not base64");
    /* It counts what the padding stands for. */
    for (size_t i = base64.len; i > 0 && base64.ptr[i - 1] == '='; i--)
        len--;
    s->payload.len = (size_t)MAX(len, 0);
    frame->data = buf_str(&s->payload);
    frame->type = STR_EMPTY;
    if (json_find(frame->data, "type", &type))
        frame->type = json_string_raw(type);
    return 0;
}

/* An "error" has no payload: its words stand in a header. */
static struct str error_as_json(struct frame_splitter *s, const struct event_stream_event *event)
{
    buf_clear(&s->payload);
    BUF_LIT(&s->payload, "{\"message\":");
    buf_add_json(&s->payload, event->error_message);
    buf_add_char(&s->payload, '}');
    return buf_str(&s->payload);
}

static int take_event_stream(struct frame_splitter *s, const struct event_stream_event *event,
                             struct frame *frame)
{
    *frame = (struct frame){
        .raw = event->raw,
        .type = event->type,
        .data = event->payload,
        .has_data = true,
    };
    if (str_eq(event->message_type, STR("error")))
        frame->data = error_as_json(s, event);
    bool is_chunk = s->framing == FRAMING_INVOKE_STREAM && str_eq(event->type, STR("chunk"));
    int r = is_chunk ? unwrap(s, frame) : 0;
    return r < 0 ? r : 1;
}

static void take_sse(const struct sse_event *event, struct frame *frame)
{
    *frame = (struct frame){
        .raw = event->raw,
        .type = event->type,
        .data = event->data,
        .has_data = event->has_data,
    };
}

/* True when the element ends with this character. */
static bool track_element(struct frame_splitter *s, char c)
{
    if (s->in_string) {
        if (s->after_backslash)
            s->after_backslash = false;
        else if (c == '\\')
            s->after_backslash = true;
        else
            s->in_string = c != '"';
        return false;
    }
    if (c == '"')
        s->in_string = true;
    else if (c == '{' || c == '[')
        s->depth++;
    else if (c == '}' || c == ']')
        return --s->depth == 0;
    return false;
}

/* One object of the array; what stands between two (brackets, commas, space) is skipped. */
static int next_element(struct frame_splitter *s, struct str *input, struct frame *frame)
{
    size_t i = 0;
    if (s->is_given)
        buf_clear(&s->payload);
    s->is_given = false;
    while (s->depth == 0 && i < input->len && input->ptr[i] != '{')
        i++;
    size_t start = i;
    bool is_whole = false;
    while (i < input->len && !is_whole)
        is_whole = track_element(s, input->ptr[i++]);
    buf_add(&s->payload, input->ptr + start, i - start);
    *input = str_skip(*input, i);
    if (!buf_ok(&s->payload))
        return err_set(ERR_NOMEM, FAULT_GATEWAY, "no memory for an event");
    if (s->payload.len > s->limit)
        return err_set(ERR_LIMIT, FAULT_UPSTREAM, "an event is longer than %zu bytes", s->limit);
    if (!is_whole)
        return 0;
    s->is_given = true;
    *frame =
        (struct frame){.raw = buf_str(&s->payload), .data = buf_str(&s->payload), .has_data = true};
    return 1;
}

int frame_next(struct frame_splitter *s, struct str *input, struct frame *frame)
{
    int r;
    if (s->framing == FRAMING_JSON_ARRAY)
        return next_element(s, input, frame);
    if (s->framing == FRAMING_SSE) {
        struct sse_event event;
        r = sse_next(&s->sse, input, &event);
        if (r == 1)
            take_sse(&event, frame);
        return r;
    }
    struct event_stream_event event;
    r = event_stream_next(&s->event_stream, input, &event);
    return r == 1 ? take_event_stream(s, &event, frame) : r;
}

int frame_finish(struct frame_splitter *s, struct frame *frame)
{
    struct sse_event event;
    if (s->framing == FRAMING_JSON_ARRAY)
        return s->depth > 0 ? err_set(ERR_PROTOCOL, FAULT_UPSTREAM, "an event was cut off") : 0;
    /* A frame of AWS tells its length: what is not all there is no frame. */
    if (s->framing != FRAMING_SSE)
        return event_stream_finish(&s->event_stream);
    int r = sse_finish(&s->sse, &event);
    if (r == 1)
        take_sse(&event, frame);
    return r;
}

/* --- writing --- */

static bool is_exception(struct str type)
{
    return str_ends(type, STR("Exception"));
}

static struct buf *begin_frame(struct llm_frames *frames, struct str type)
{
    struct frame_writer *w = CONTAINER_OF(frames, struct frame_writer, frames);
    switch (w->framing) {
    case FRAMING_SSE:
        if (type.len > 0) {
            BUF_LIT(w->out, "event: ");
            buf_add_str(w->out, type);
            buf_add_char(w->out, '\n');
        }
        BUF_LIT(w->out, "data: ");
        w->is_keeping = w->keep_type.len > 0 && str_starts(type, w->keep_type);
        w->mark = w->out->len;
        return w->out;
    case FRAMING_JSON_ARRAY:
        if (w->has_any)
            BUF_LIT(w->out, ",\r\n");
        else
            buf_add_char(w->out, '[');
        w->has_any = true;
        return w->out;
    case FRAMING_EVENT_STREAM:
        w->mark =
            event_stream_begin(w->out, is_exception(type) ? STR("exception") : STR("event"), type);
        return w->out;
    case FRAMING_INVOKE_STREAM:
        break;
    }
    buf_clear(&w->payload);
    return &w->payload;
}

/* The model's event as Invoke wraps it. */
static void wrap(struct frame_writer *w)
{
    size_t need = (w->payload.len + 2) / 3 * 4 + 1;
    w->mark = event_stream_begin(w->out, STR("event"), STR("chunk"));
    BUF_LIT(w->out, "{\"bytes\":\"");
    if (buf_ok(&w->payload) && w->payload.len <= INT32_MAX && buf_reserve(w->out, need)) {
        int len = EVP_EncodeBlock((unsigned char *)w->out->ptr + w->out->len,
                                  (const unsigned char *)w->payload.ptr, (int)w->payload.len);
        w->out->len += (size_t)len;
    } else {
        w->out->failed = true;
    }
    BUF_LIT(w->out, "\"}");
    event_stream_end(w->out, w->mark);
}

static void end_frame(struct llm_frames *frames)
{
    struct frame_writer *w = CONTAINER_OF(frames, struct frame_writer, frames);
    if (w->framing == FRAMING_SSE && w->is_keeping && buf_ok(w->out)) {
        buf_clear(&w->kept);
        buf_add(&w->kept, w->out->ptr + w->mark, w->out->len - w->mark);
    }
    if (w->framing == FRAMING_SSE)
        BUF_LIT(w->out, "\n\n");
    else if (w->framing == FRAMING_EVENT_STREAM)
        event_stream_end(w->out, w->mark);
    else if (w->framing == FRAMING_INVOKE_STREAM)
        wrap(w);
}

void frame_writer_init(struct frame_writer *w, enum stream_framing framing, struct buf *out)
{
    *w = (struct frame_writer){
        .frames = {begin_frame, end_frame},
        .framing = framing,
        .out = out,
        .payload = BUF_INIT,
        .kept = BUF_INIT,
    };
}

void frame_writer_fini(struct frame_writer *w)
{
    buf_fini(&w->payload);
    buf_fini(&w->kept);
}

void frame_write(struct frame_writer *w, struct str type, struct str data)
{
    if (w->framing == FRAMING_SSE) {
        sse_write(w->out, type, data);
        return;
    }
    buf_add_str(begin_frame(&w->frames, type), data);
    end_frame(&w->frames);
}

bool frame_write_heartbeat(struct frame_writer *w)
{
    if (w->framing == FRAMING_SSE && !w->has_no_comments)
        sse_write_comment(w->out, STR("heartbeat"));
    else if (w->framing == FRAMING_SSE)
        buf_add_char(w->out, '\n');
    else if (w->framing == FRAMING_JSON_ARRAY && w->has_any)
        buf_add_char(w->out, '\n'); /* white space between two elements */
    else
        return false;
    return true;
}

void frame_write_end(struct frame_writer *w)
{
    if (w->framing != FRAMING_JSON_ARRAY)
        return;
    if (!w->has_any)
        buf_add_char(w->out, '[');
    buf_add_char(w->out, ']');
}
