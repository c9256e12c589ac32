/*
 * What is known of a request when it is planned: what conditions ask about and routes go by.
 * The request's task.
 * Nothing yields.
 * Owns nothing: everything points into the request.
 * No errors: what is not known is empty or -1.
 */
#ifndef WEIR_ROUTE_FACTS_H
#define WEIR_ROUTE_FACTS_H

#include "http/message.h"

struct route_facts {
    struct str model;   /* as the client asked for it; with plan_make also its suffix */
    struct str user;    /* the end user that the body names */
    struct str session; /* x-weir-session, or metadata.session_id */
    struct str key_name, key_team;
    bool is_stream;
    const struct http_headers *headers; /* of the client; NULL = none */
    struct str metadata;                /* a JSON object as the client wrote it */
    struct str prompt_prefix;           /* the beginning of the prompt, for ROUTE_KEY_PROMPT */
    int64_t input_tokens;               /* estimated; -1 = not known */
    int64_t output_tokens;              /* expected; -1 = not known */
    uint64_t turn; /* how many requests the route has planned before: plan_route tells which */
    /* Names that the client wants tried where everything else failed: in place of the route's own
     * general fallbacks. */
    const struct str *fallbacks;
    unsigned fallback_count;
    bool is_fallback_off; /* the first target or none */
};

#endif
