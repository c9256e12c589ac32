/*
 * What the gateway is told to do, as plain data: the result of reading a config, whatever its
 * syntax. The config's key table fills this in; nothing in here knows of YAML.
 * Built by one thread, immutable afterwards.
 * Nothing yields.
 * Everything lives in `arena`, freed with settings_free.
 * No errors here: the reader of the config reports them.
 */
#ifndef WEIR_GATEWAY_SETTINGS_H
#define WEIR_GATEWAY_SETTINGS_H

#include "base/arena.h"
#include "base/log.h"
#include "govern/keys.h"
#include "http/client.h"
#include "http/server.h"
#include "provider/price.h"
#include "route/plan.h"
#include "rt/addr.h"

struct listener_settings {
    struct net_addr addr;
    struct str text; /* as written, for messages */
    bool has_tls;
    struct tls_server_settings tls;
};

enum auth_mode {
    AUTH_MODE_KEYS, /* virtual keys; with no key configured: open on loopback only */
    AUTH_MODE_NONE, /* open, written out by the operator */
};

/* What becomes of what a target's dialect has no place for. */
enum unmappable_mode {
    UNMAPPABLE_DROP, /* left out, and named in x-weir-dropped */
    UNMAPPABLE_REJECT,
};

/* A name that clients may ask for and the provider/model behind it. */
struct alias_settings {
    struct str name;
    struct str target; /* "provider/model" */
};

struct timeout_settings { /* all in ns; 0 = none where that makes sense */
    int64_t connect, tls, first_byte, stall, total;
    int64_t client_header, client_body, client_idle, client_stall;
    int64_t heartbeat; /* comment on a silent stream; 0 = never */
    int64_t drain;
};

/* Streams that are kept for clients that come back, and for going on where one broke. */
struct journal_settings {
    uint64_t stream_bytes; /* of one stream; default 1 MiB */
    uint64_t total_bytes;  /* of all; default 256 MiB */
    int64_t ttl_ns;        /* after its end; default 60 s */
};

/* Sessions of realtime models (WebSocket). */
struct realtime_settings {
    int64_t ping_ns;           /* how often a silent peer is asked for a sign of life; 0 = never */
    int64_t idle_ns;           /* without a message either way; 0 = no bound */
    int64_t session_ns;        /* of a whole session; 0 = no bound */
    uint64_t message_bytes;    /* of one message, either way */
    uint32_t sessions_per_key; /* at once; 0 = no bound */
    uint32_t session_tokens;   /* in and out, of a session; 0 = no bound */
};

/* Sockets that carry many requests (GET /v1/ws). */
struct bridge_settings {
    int64_t ping_ns, idle_ns; /* as those of sessions; idle: without a request */
    uint64_t message_bytes;   /* of one message of the client */
    uint32_t requests;        /* of one socket, at once */
};

struct settings {
    struct arena *arena;
    struct str source; /* file name or "environment" */
    struct listener_settings *listeners;
    unsigned listener_count;
    unsigned threads; /* 0 = one a core */
    enum auth_mode auth;
    struct virtual_key *keys;
    unsigned key_count;
    struct provider *providers;
    unsigned provider_count;
    struct price *prices; /* those that the operator wrote; providers hold them too */
    unsigned price_count;
    struct alias_settings *aliases;
    unsigned alias_count;
    struct route *routes;
    unsigned route_count;
    struct route_policy routing; /* of names without a route; what routes inherit */
    struct journal_settings journal;
    struct realtime_settings realtime;
    struct bridge_settings bridge;
    struct http_limits limits;
    enum unmappable_mode unmappable;
    uint64_t response_store_bytes; /* for previous_response_id; 0 = off */
    int64_t response_store_ttl_ns;
    uint32_t json_depth;     /* default 128 */
    uint64_t response_bytes; /* largest buffered (non-stream) upstream answer; default 64 MiB */
    uint64_t event_bytes;    /* largest event of a stream; default 16 MiB */
    struct timeout_settings timeouts;
    struct http_pool_settings pool;
    const char *access_log; /* path, "stdout", or NULL = off */
    enum log_level log_level;
    uint32_t metrics_series; /* cap of label sets; default 2000 */
    bool metrics_need_key;   /* default false on loopback */
};

void settings_free(struct settings *settings);

/* What plans need to know of the settings, which must live as long; false when out of memory. */
bool settings_world(const struct settings *settings, struct plan_world *world);

#endif
