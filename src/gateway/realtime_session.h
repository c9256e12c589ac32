/*
 * A session under way: frames from one socket to the other, both ways at once, as they come.
 * The request's task and one that session_run starts; both end before it returns.
 * session_run yields for as long as the session lasts.
 * The channels are the caller's. What is on its way is held for one read at a time.
 * How it ended is told in the result; both peers have been told by a close frame where they could.
 */
#ifndef WEIR_GATEWAY_REALTIME_SESSION_H
#define WEIR_GATEWAY_REALTIME_SESSION_H

#include "http/channel.h"
#include "http/websocket.h"

struct session_settings {
    int64_t ping_ns;      /* how often a silent socket is asked for a sign of life; 0 = never */
    int64_t idle_ns;      /* without a message in either direction; 0 = no bound */
    int64_t deadline_ns;  /* of the whole session; CLOCK_NEVER = none */
    int64_t stall_ns;     /* a peer that takes nothing for so long is given up */
    uint64_t message_max; /* bytes, of one message; 0 = no bound */
    bool has_deflate;     /* permessage-deflate was agreed on */
    /* Sees every piece of a data message before it is passed on; must not change it. NULL = nobody.
     */
    void (*observe)(void *ctx, bool is_from_client, const struct ws_piece *piece);
    void *observe_ctx;
    /* Asked after what has crossed, when judge_at_ns comes and when nothing crosses: why the
     * session must end now; empty = it goes on. NULL = nobody. */
    struct str (*judge)(void *ctx);
    void *judge_ctx;
    int64_t judge_at_ns; /* CLOCK_NEVER = none */
};

enum session_end {
    SESSION_CLOSED,          /* both sides closed in order */
    SESSION_CLIENT_LOST,     /* its connection ended without a close frame */
    SESSION_CLIENT_BROKEN,   /* it broke the protocol, or a limit */
    SESSION_UPSTREAM_LOST,   /* the same of the provider */
    SESSION_UPSTREAM_BROKEN, /* */
    SESSION_IDLE,
    SESSION_TIME_OVER,
    SESSION_POLICY, /* the judge has ended it */
    SESSION_SHUTDOWN,
    SESSION_NO_MEMORY,
    SESSION_END_COUNT
};

struct session_result {
    enum session_end end;
    unsigned client_code,
        upstream_code; /* of the close frame that each sent; WS_CLOSE_LOST = none */
    uint64_t messages_up, messages_down; /* from the client, and to it */
};

/* Short word for records: "ok", "idle", ... and what is said to the client. */
const char *session_end_name(enum session_end end);

YIELDS void session_run(struct channel *client, struct channel *upstream,
                        const struct session_settings *settings, struct session_result *result);

#endif
