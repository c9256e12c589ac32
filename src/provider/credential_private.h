/*
 * What the kinds of credentials share: the state of one, and the tools that a fetch is made of.
 * The loop thread of the credential.
 * Fetches, and all that asks a service or reads a file, yield.
 * A fetch's results live in its arena; what becomes the token is copied.
 * -ERR_x with words that name the source and hold no secret.
 */
#ifndef WEIR_PROVIDER_CREDENTIAL_PRIVATE_H
#define WEIR_PROVIDER_CREDENTIAL_PRIVATE_H

#include "base/list.h"
#include "http/sigv4.h"
#include "provider/credential.h"
#include "rt/timer.h"

/* What a fetch gives. Times are clock_mono_ns. */
struct credential_token {
    struct str bearer; /* an OAuth token, or */
    struct sigv4_credentials aws;
    int64_t expires_ns; /* CLOCK_NEVER = does not */
    int64_t refresh_ns; /* when to look again; 0 = by expires_ns */
};

struct credential_kind {
    int64_t lead_ns; /* how long before a token expires the next one is fetched */
    YIELDS int (*fetch)(struct credential *c, struct arena *arena, struct credential_token *token);
};
extern const struct credential_kind credential_aws, credential_google, credential_entra;

struct credential {
    struct arena *arena; /* this struct, and what was copied from the provider */
    const struct credential_kind *kind;
    struct str name; /* of the provider, for the log */
    struct provider_auth_settings settings;
    struct str region; /* AWS: to sign for; may be empty */
    struct dial_proxy proxy;
    struct tls_context *tls; /* for token services; made when first needed */
    struct credential_token token;
    struct arena *token_arena; /* NULL = there is no token */
    struct task *fetch;        /* the one that is under way */
    struct list running;       /* in the thread's list, while fetch is not NULL */
    bool is_dead;              /* freed by the owner: goes with the fetch */
    struct list waiters;
    struct timer timer; /* refreshes, or tries again */
    int64_t used_ns, fetched_ns, retry_ns;
    unsigned failures; /* since the last token */
    struct err failure;
};

/* --- asking --- */

struct credential_call {
    enum http_method method;
    struct str url;
    struct http_headers headers;
    struct str body;    /* of a POST */
    bool is_of_machine; /* the machine's own metadata service: link-local, plain HTTP, no proxy,
                           soon there or not at all */
};
struct credential_reply {
    unsigned status;
    struct http_headers headers;
    struct str body;
};

/* 0 whatever the status, or -ERR_x. https, or http to an address that is written out or, for
 * is_of_machine, to anything. */
YIELDS int credential_ask(struct credential *c, struct arena *arena,
                          const struct credential_call *call, struct credential_reply *reply);
/* The same, with an error that quotes the service's reason for any status but 200. */
YIELDS int credential_ask_ok(struct credential *c, struct arena *arena,
                             const struct credential_call *call, struct credential_reply *reply);

/* A form (application/x-www-form-urlencoded) from names and values, those without a value left out;
 * ptr NULL when out of memory. */
struct credential_field {
    const char *name;
    struct str value;
};
struct str credential_form(struct arena *arena, const struct credential_field *fields,
                           size_t count);
/* Adds a POST of a form to the call. */
bool credential_post_form(struct credential_call *call, struct arena *arena,
                          const struct credential_field *fields, size_t count);

/* The text at a path of a JSON document; empty when it is not there. */
struct str credential_json(struct arena *arena, struct str body, const char *path);
/* "access_token" with "expires_in" (or "expires_on"), as every OAuth service answers. */
int credential_oauth_token(struct arena *arena, struct str body, struct credential_token *token);

/* --- reading --- */

/* The whole file, at most 1 MiB; -ERR_IO with its name and the system's reason. */
YIELDS int credential_read_file(struct arena *arena, const char *path, struct str *content);
/* A path below the home folder; NULL when there is none. */
const char *credential_home_path(struct arena *arena, const char *path);
/* The variable without spaces around it; empty when it is not set. */
struct str credential_env(const char *name);

/* "2026-11-21T08:00:00Z", with or without a fraction, as clock_mono_ns. */
bool credential_time(struct str iso, int64_t *mono_ns);
/* Seconds since 1970 as clock_mono_ns. */
int64_t credential_unix_time(int64_t seconds);

#endif
