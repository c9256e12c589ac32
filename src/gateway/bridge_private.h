/*
 * What the parts of the bridge share: the socket (bridge.c), what its messages say
 * (bridge_message.c) and the requests on it (bridge_stream.c).
 * The tasks of one socket, all on one loop thread.
 * Nothing but bridge_wait_room yields.
 * The socket lives in its exchange's arena, each request in an arena of its own.
 * Without memory the socket ends: `out` has failed then.
 */
#ifndef WEIR_GATEWAY_BRIDGE_PRIVATE_H
#define WEIR_GATEWAY_BRIDGE_PRIVATE_H

#include "base/list.h"
#include "gateway/exchange.h"
#include "http/channel.h"
#include "http/sse.h"
#include "http/websocket.h"

/* An id as it was written: a JSON string with its quotes, or a number. */
enum { BRIDGE_ID_MAX = 66 };

struct bridge {
    struct list node; /* of the thread's sockets */
    struct exchange *ex;
    struct channel *channel;
    const struct bridge_settings *settings;
    struct str credential; /* the socket's, for requests without one */
    struct task *reader, *writer;
    struct ws_reader frames;
    struct buf message; /* that comes in parts */
    struct buf out;     /* frames that wait for the writer */
    size_t writing;     /* bytes that it has in its hands */
    struct list streams;
    unsigned count;
    bool is_ending;   /* no message is taken any more */
    bool is_lost;     /* nothing can be sent any more */
    bool is_shutdown; /* what is still said needs no credit */
    bool is_draining; /* no request begins any more */
    bool is_finished; /* nothing follows what is in `out` */
    bool is_writer_gone;
    unsigned close_code; /* to be told; 0 = none */
    struct str close_reason;
    int64_t heard_ns, active_ns, pinged_ns;
};

/* How an answer's bytes become messages. */
enum bridge_shape {
    BRIDGE_EVENTS, /* SSE: an event is a message */
    BRIDGE_TEXT,   /* "data" holds a piece of the text */
    BRIDGE_BYTES,  /* "base64" */
};

struct bridge_stream {
    struct list node; /* of the socket's */
    struct bridge *bridge;
    struct http_request http;
    struct task *task;
    struct str id;
    struct buf body; /* of the request, until it is collected */
    int64_t credit;  /* messages that may still be sent; -1 = any number */
    bool has_bound;  /* credit counts */
    bool is_cancelled, is_aborted, is_waiting;
    /* The answer. */
    const struct http_headers *headers; /* until they were sent */
    bool has_begun;
    enum bridge_shape shape;
    struct sse_splitter splitter;
    struct buf held; /* text whose last character is not whole */
};

/* What a message asks for. Strings point into the message. */
struct bridge_wish {
    struct str id;
    struct str method, path; /* raw JSON strings, or empty */
    struct str headers;      /* an object, or empty */
    struct str body;         /* any value, or empty */
    struct str resume;       /* raw: the id of the stream to go on with */
    bool wants_resume;       /* "resume": true */
    bool cancels;
    int64_t credit; /* -1 = not said */
    int64_t after;  /* -1 = not said */
};

/* --- bridge.c --- */

/* A text message to the client: `text` is sent as it is. */
void bridge_send(struct bridge *b, struct str text);
/* What had to be said could not be: the socket ends, so that nobody waits for it. */
void bridge_break(struct bridge *b);
/* Waits until there is room for a message. 0, or -ERR_x when there will be none. */
YIELDS int bridge_wait_room(struct bridge *b);
/* A request has ended. */
void bridge_left(struct bridge *b);

/* --- bridge_message.c --- */

/* Does what a message says. */
void bridge_take(struct bridge *b, struct str message);

/* --- bridge_stream.c --- */

/* Begins a request. 0; -ERR_INVALID with words, -ERR_NOMEM. */
int bridge_stream_start(struct bridge *b, const struct bridge_wish *wish);
void bridge_stream_cancel(struct bridge_stream *s, enum err_code reason);
void bridge_stream_credit(struct bridge_stream *s, int64_t credit);

#endif
