/*
 * One request on its way through the house: exchange.c reads like the table in the architecture.
 * The task of the request alone touches its exchange.
 * Phases that wait are tagged YIELDS.
 * The exchange lives in the request's arena; the body and the call are given back in settle.
 * A phase returns 0 to go on, or a negative code after it has answered (refuse).
 */
#ifndef WEIR_GATEWAY_EXCHANGE_H
#define WEIR_GATEWAY_EXCHANGE_H

#include "dialect/translate.h"
#include "gateway/headers.h"
#include "gateway/path_pattern.h"
#include "gateway/refusal.h"
#include "gateway/snapshot.h"
#include "observe/metrics.h"
#include "observe/record.h"

struct operation;
struct attempts;
struct heartbeat;
struct grpc_call;
struct realtime;

enum {
    REQUEST_ID_LEN = 24,
    /* What the heads of a call usually take. */
    HEAD_ARENA_BYTES = 4096,
};

struct exchange {
    struct http_request *http;
    struct arena *arena;
    struct task *task;
    struct gateway_thread *thread;
    struct thread_snapshot *ts;
    const struct settings *settings;
    const struct operation *operation;
    enum dialect_id error_dialect; /* whose words a refusal is in */
    struct path_match path;
    const struct virtual_key *key; /* NULL = open */

    bool has_body;   /* it was read */
    struct buf body; /* as the client sent it, decoded; given back when nothing needs it any more */
    const struct dialect *client; /* NULL for operations that are no inference */
    struct llm_scan scan;
    struct str asked;             /* model as asked for, unescaped */
    bool is_stream;               /* an answer in pieces is asked for */
    struct route_names fallbacks; /* the client's own list */
    struct attempts *attempts;    /* NULL: an operation that is tried once */
    const struct route_policy *policy;
    struct heartbeat *heartbeat; /* NULL: none was needed yet */
    struct realtime *realtime;   /* NULL: no session of a realtime model */
    bool is_head_early;          /* the head has left, and nothing of an answer */
    const struct plan *plan;     /* NULL where no target is planned */
    unsigned plan_first;         /* the step to begin with */
    struct plan_target target;
    const struct plan_step *step; /* the plan's, for the target */
    const struct upstream *upstream;
    unsigned key_index; /* of the upstream's keys */
    /* How the target is spoken to. */
    const struct dialect *provider;
    enum provider_operation upstream_operation;
    struct llm_target llm_target;
    struct llm_codec_settings codec;
    struct str special_path;         /* in place of the operation's; empty = that one */
    struct str upstream_path;        /* and query; may hold a credential: never logged */
    struct str betas;                /* what goes upstream as anthropic-beta */
    struct llm_fit fit;              /* same dialect: what is spliced into the body */
    struct translation *translation; /* other dialect; NULL = the client's bytes */
    bool is_rewritten;               /* the body that is sent is not the client's */
    struct grpc_call *grpc;          /* a call of gRPC, once it was begun */
    bool is_told_elsewhere;          /* the answer is a producer's, which is counted and logged */
    struct buf rewritten;            /* that body */

    struct http_call call;
    bool has_call;
    /* What is needed until the client's head has left: the call's headers both ways, the answer's.
     * A stream lives long; this does not. */
    struct arena *head_arena;
    struct http_timeouts timeouts;
    struct http_headers answer; /* headers of the answer to the client */

    int64_t start_ns; /* = http->start_ns */
    int64_t since_ns; /* when the last wait for a peer ended; 0 while one is on */
    int64_t own_ns;   /* time spent in here before that */
    /* What the attempts before this one cost, where several gave parts of the answer, and what this
     * one alone has told. */
    int64_t spent_nano_usd;
    struct token_usage part_usage;
    struct request_record record;
    char request_id[REQUEST_ID_LEN];
};

/* Adds a header to the answer; without memory it is left out (never a broken answer). */
void exchange_answer_header(struct exchange *ex, struct str name, struct str value);
/* x-weir-request-id, x-weir-target and the like: before the head leaves. */
void exchange_add_own_headers(struct exchange *ex);

/* Who speaks to whom, for the headers. */
struct headers_way exchange_way(const struct exchange *ex);

/* Around waits for a peer, so that overhead is what is spent in here alone. */
void exchange_wait_begins(struct exchange *ex);
void exchange_wait_ended(struct exchange *ex);

/* The client's head has left: gives back what was needed for it alone. */
void exchange_forget_head(struct exchange *ex);

/* The body as it is sent, in pieces: the client's with what was spliced in, or what was written in
 * its place. How many, or -ERR_x. */
int exchange_body_pieces(const struct exchange *ex, struct iovec *pieces, unsigned max);

/* When the request must have ended; CLOCK_NEVER = no bound. */
int64_t exchange_deadline(const struct exchange *ex);

/* Lets go of a try that failed, so that another can be made: the body stays. False without memory.
 */
bool exchange_forget_attempt(struct exchange *ex);
/* The body is not needed any more. */
void exchange_forget_body(struct exchange *ex);

/* After the body: the route's parameters in it, and the path. */
YIELDS int exchange_prepare_rest(struct exchange *ex);

/* How the planned target is spoken to. */
void exchange_set_target(struct exchange *ex);
/* Whether the target offers what is asked of it; once its dialect was chosen. */
bool exchange_is_offered(const struct exchange *ex);

/* Phases, in order. */
YIELDS int exchange_authenticate(struct exchange *ex);
/* The credential that came with the request, whoever's it is; empty = none. */
struct str exchange_credential(struct exchange *ex);
/* Once; a second call finds it read. */
YIELDS int exchange_read_body(struct exchange *ex);
YIELDS int exchange_scan(struct exchange *ex);
YIELDS int exchange_plan(struct exchange *ex);
YIELDS int exchange_prepare(struct exchange *ex);
YIELDS int exchange_attempt(struct exchange *ex);
YIELDS void exchange_relay(struct exchange *ex);

/* Operations that are no inference: each answers and returns. */
typedef void operation_fn(struct exchange *ex);

#endif
