/*
 * What is known of a request when it is settled: the one source of metrics, log line and, later,
 * spans.
 * Filled in by the request's task; read during settle only.
 * Nothing yields.
 * Strings belong to the request's arena: who keeps them copies them.
 * Never holds a body or a secret.
 */
#ifndef WEIR_OBSERVE_RECORD_H
#define WEIR_OBSERVE_RECORD_H

#include "base/str.h"
#include "dialect/usage.h"

struct request_record {
    int64_t start_wall_ns;
    struct str request_id;
    struct str client_ip;
    struct str method, path;     /* path without its query */
    struct str operation;        /* "chat", "completions", "models", "health", ... */
    struct str dialect;          /* the client's */
    struct str upstream_dialect; /* the provider's, where it is another one; else empty */
    struct str key_name;         /* of the virtual key, or empty */
    struct str model_asked;      /* as the client wrote it */
    struct str provider;         /* that answered, or was tried last; empty = none */
    struct str model;            /* as sent to the provider */
    struct str model_answered;   /* as the provider calls it */
    struct str route;
    unsigned status;          /* sent to the client; 0 = none was sent */
    unsigned upstream_status; /* 0 = no answer */
    struct str outcome;       /* "ok", "client_error", "upstream_error", "gateway_error",
                                 "client_gone", "stream_broken" */
    struct str error; /* short class for people and labels: "timeout", "auth", ... or empty */
    struct str error_message; /* one line */
    struct str finish_reason;
    bool is_stream;
    bool is_simulated;
    unsigned attempts;
    struct str failed;       /* attempts that did: a JSON array of objects, or empty */
    unsigned continued;      /* times that a broken stream was gone on with */
    struct str upstream_key; /* name of the provider's key, where it has several */
    bool upstream_reused;    /* connection */
    int64_t total_ns;        /* first byte in to last byte out */
    int64_t overhead_ns;     /* time in weir: total without what upstream and client took */
    int64_t upstream_ns;     /* request sent to last byte; -1 = no call */
    int64_t connect_ns;      /* dns + connect + tls of a new connection; -1 = reused */
    int64_t ttft_ns;         /* from the request's start to the first content token; -1 */
    uint64_t events;         /* stream events relayed */
    uint64_t bytes_in, bytes_out;
    uint64_t generation;    /* of the snapshot */
    struct str grpc_method; /* of a call of gRPC: "package.Service/Method"; else empty */
    struct str grpc_status; /* "OK", "UNAVAILABLE", ... */
    uint64_t messages_in, messages_out; /* of gRPC */
    struct token_usage usage;
    int64_t cost_nano_usd; /* billionths of a US dollar; -1 = not known, or no cost */
    bool is_unpriced;      /* the model that answered has no price */
    /* Requests that were sent more than once at the same time. */
    struct str pair;       /* the request id of the client's one, in all their lines; or empty */
    bool is_mirror;        /* a copy that no client sees */
    bool is_probe;         /* asked by the gateway itself, to see how a target is */
    bool is_hedged;        /* a second attempt was begun while the first was under way */
    unsigned hedge_winner; /* 1 or 2; 0 = none, or not hedged */
    bool is_extra;         /* no request of a client's: only its tokens and its cost are counted */
};

#endif
