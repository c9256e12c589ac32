/*
 * AWS event stream (application/vnd.amazon.eventstream): splitter and writer of its frames.
 * Sans-I/O. One stream at a time; nothing yields.
 * The splitter keeps only what is incomplete (a buf with a limit); what an event points to is in
 * the input or in that buf and is valid until the next call. -ERR_PROTOCOL for a wrong length,
 * checksum or header, -ERR_LIMIT when one frame is larger than the limit, -ERR_NOMEM; each with
 * words in the error slot. Any cut of the bytes gives the same events.
 *
 * A frame: total length, length of the headers, CRC-32 of these eight bytes; the headers; the
 * payload; CRC-32 of all that is before it. Numbers are big-endian. A header: length of its name (1
 * byte), name, kind of its value (1 byte), value.
 * https://docs.aws.amazon.com/transcribe/latest/dg/event-stream.html
 */
#ifndef WEIR_HTTP_EVENT_STREAM_H
#define WEIR_HTTP_EVENT_STREAM_H

#include "base/buf.h"

enum {
    EVENT_STREAM_FRAME_MIN = 16,           /* no headers, no payload */
    EVENT_STREAM_HEADERS_MAX = 128 * 1024, /* AWS's own limits */
    EVENT_STREAM_PAYLOAD_MAX = 24 * 1024 * 1024,
};

/* One frame. Fields are empty where it has no such header, or one that is no string. */
struct event_stream_event {
    struct str raw;          /* the exact bytes */
    struct str message_type; /* "event", "exception" or "error" */
    /* Its :event-type, :exception-type or :error-code, whichever its message type calls for. */
    struct str type;
    struct str content_type;
    struct str error_message; /* of an "error" */
    struct str headers;       /* for event_stream_header_next */
    struct str payload;
};

struct event_stream_splitter {
    struct buf pending; /* an incomplete frame; or the last event, until the next call */
    size_t limit;
    int error;     /* comes again from every later call */
    bool is_given; /* what is in pending was returned as an event */
};

/* limit: largest frame in bytes, e.g. 16 MiB. */
void event_stream_splitter_init(struct event_stream_splitter *s, size_t limit);
void event_stream_splitter_fini(struct event_stream_splitter *s);

/*
 * Takes the next complete frame from *input and moves *input past it. 1 = an event, 0 = all of
 * *input was taken and is incomplete, or -ERR_x. Call again until 0. A frame that lies whole in
 * *input is not copied. A frame that is wrong from its first bytes on, or too large, is told as
 * soon as these twelve are there.
 */
int event_stream_next(struct event_stream_splitter *s, struct str *input,
                      struct event_stream_event *event);
/* The stream has ended: 0, or -ERR_RESET when it ended inside a frame. */
int event_stream_finish(struct event_stream_splitter *s);
/* Bytes that are held back. */
size_t event_stream_pending(const struct event_stream_splitter *s);

/* --- headers --- */

enum event_stream_kind {
    EVENT_STREAM_TRUE,
    EVENT_STREAM_FALSE,
    EVENT_STREAM_BYTE,
    EVENT_STREAM_SHORT,
    EVENT_STREAM_INT,
    EVENT_STREAM_LONG,
    EVENT_STREAM_BYTES,
    EVENT_STREAM_STRING,
    EVENT_STREAM_TIMESTAMP,
    EVENT_STREAM_UUID,
    EVENT_STREAM_KIND_COUNT
};

struct event_stream_header {
    struct str name;
    enum event_stream_kind kind;
    int64_t number;   /* of the whole numbers and booleans; a timestamp's is ms since 1970 */
    struct str bytes; /* the value as it stands; a string's text, a UUID's 16 bytes */
};

/* Takes the next header from *headers. 1, 0 = that was all, -ERR_PROTOCOL. */
int event_stream_header_next(struct str *headers, struct event_stream_header *header);

/* --- writing --- */

/*
 * Appends the beginning of a frame whose payload is JSON: append the payload after it, then call
 * event_stream_end with what this returned. `message_type` is "event" or "exception" ("error" for
 * one without a payload), `type` at most 64 KiB.
 */
size_t event_stream_begin(struct buf *out, struct str message_type, struct str type);
/* Puts in lengths and checksums of the frame that began at `mark`. */
void event_stream_end(struct buf *out, size_t mark);

/* The pieces, for frames of other headers: event_stream_open, headers, event_stream_body, payload,
 * event_stream_end. `name` is 1 to 255 bytes, `value` at most 65535; longer ones fail the buf. */
size_t event_stream_open(struct buf *out);
void event_stream_add_string(struct buf *out, struct str name, struct str value);
void event_stream_body(struct buf *out, size_t mark);

#endif
