/*
 * How the events of a stream stand in bytes: read in the provider's framing, written in the
 * client's. Sans-I/O. The task of the exchange alone; nothing yields. A splitter owns what is
 * incomplete (bufs); a frame's bytes are valid until the next call. A writer appends to the
 * caller's buf. -ERR_LIMIT for an event past the limit, -ERR_PROTOCOL for a frame that is not what
 * it should be, -ERR_NOMEM; a writer fails by its buf's own flag.
 */
#ifndef WEIR_STREAM_FRAMES_H
#define WEIR_STREAM_FRAMES_H

#include "dialect/dialect.h"
#include "http/event_stream.h"
#include "http/sse.h"

enum stream_framing {
    FRAMING_SSE,
    FRAMING_JSON_ARRAY,    /* Gemini without alt=sse */
    FRAMING_EVENT_STREAM,  /* application/vnd.amazon.eventstream: Converse */
    FRAMING_INVOKE_STREAM, /* the same with the model's own events as base64: Invoke */
};

/* What is sent as Content-Type. */
struct str stream_framing_type(enum stream_framing framing);
/* The framing of an answer with that content type: `invokes` for VARIANT_BEDROCK. False when it is
 * no stream. */
bool stream_framing_of(struct str content_type, bool invokes, enum stream_framing *framing);

struct frame {
    struct str raw;  /* the exact bytes */
    struct str type; /* name of the event; an exception's type for AWS */
    struct str data; /* what the dialect's decoder is given */
    bool has_data;   /* false: comments, blank lines */
};

struct frame_splitter {
    enum stream_framing framing;
    struct sse_splitter sse;
    struct event_stream_splitter event_stream;
    struct buf payload; /* INVOKE: the event out of its base64; JSON_ARRAY: the one that is begun */
    /* JSON_ARRAY: */
    size_t limit;
    unsigned depth; /* in the element; 0 = between two */
    bool in_string, after_backslash, is_given;
};

void frame_splitter_init(struct frame_splitter *s, enum stream_framing framing, size_t limit);
void frame_splitter_fini(struct frame_splitter *s);
/* 1 = a frame, 0 = more bytes are needed, or -ERR_x. */
int frame_next(struct frame_splitter *s, struct str *input, struct frame *frame);
/* The stream has ended: 1 = a frame was left that nothing terminated. */
int frame_finish(struct frame_splitter *s, struct frame *frame);

struct frame_writer {
    struct llm_frames frames; /* what an encoder is given */
    enum stream_framing framing;
    struct buf *out;
    struct buf payload; /* INVOKE: the event before it becomes base64 */
    size_t mark;
    bool has_any;
    /* The reader takes a comment for data: Google's SDK for Python does. Blank lines then. */
    bool has_no_comments;
    /* The data of the last event of the type `keep_type`, for who set it. */
    struct str keep_type;
    struct buf kept;
    bool is_keeping;
};

void frame_writer_init(struct frame_writer *w, enum stream_framing framing, struct buf *out);
void frame_writer_fini(struct frame_writer *w);
/* An event whose data is there already. */
void frame_write(struct frame_writer *w, struct str type, struct str data);
/* Something that readers skip, to keep the path open; false where the framing has no such thing. */
bool frame_write_heartbeat(struct frame_writer *w);
/* What closes the whole (the array's bracket). */
void frame_write_end(struct frame_writer *w);

#endif
