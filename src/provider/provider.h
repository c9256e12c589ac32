/*
 * A provider: a row of data that says where a model API is, how it is spoken to and what is odd
 * about it. Rows come from the catalogue, from the environment and from the config.
 * Immutable once a snapshot holds it; any thread may read it.
 * Nothing yields. Strings live in the settings' arena.
 * The API key is a secret: it never goes into a log, an error or a metric.
 */
#ifndef WEIR_PROVIDER_PROVIDER_H
#define WEIR_PROVIDER_PROVIDER_H

#include "dialect/target.h"
#include "http/client.h"
#include "http/message.h"

/* How the credential travels, and where it comes from. */
enum provider_auth {
    AUTH_BEARER, /* Authorization: Bearer KEY */
    AUTH_HEADER, /* KEY in the header `auth_header` */
    AUTH_QUERY,  /* KEY in the query parameter `auth_header` */
    AUTH_NO_CREDENTIAL,
    /* Those that are fetched and refreshed (credential.h); with an api_key: bearer. */
    AUTH_AWS,    /* Signature Version 4 */
    AUTH_GOOGLE, /* an OAuth token of Google Cloud */
    AUTH_ENTRA,  /* an OAuth token of Microsoft Entra ID */
    AUTH_COUNT
};
extern const char *const provider_auth_names[AUTH_COUNT + 1];

/* Operations that have an upstream path. */
enum provider_operation {
    OPERATION_CHAT,        /* in the row's own dialect */
    OPERATION_CHAT_STREAM, /* the same, streamed; empty = as OPERATION_CHAT */
    OPERATION_COMPLETIONS,
    OPERATION_MODELS,
    OPERATION_COUNT_TOKENS, /* in the row's own dialect */
    OPERATION_RESPONSES,    /* there the row speaks openai_responses, whatever its dialect is */
    OPERATION_MESSAGES,     /* there the row speaks anthropic, whatever its dialect is */
    OPERATION_REALTIME,     /* a WebSocket, in OpenAI's events */
    OPERATION_LIVE,         /* a WebSocket, in Gemini's (BidiGenerateContent) */
    OPERATION_COUNT
};
extern const char *const provider_operation_names[OPERATION_COUNT + 1];

/* By enum llm_variant; ends with NULL. */
extern const char *const provider_variant_names[VARIANT_BEDROCK + 2];

/* What differs from one account to the next and stands in URLs as {region}, {project}, ... */
enum provider_place {
    PLACE_REGION,   /* of AWS */
    PLACE_PROJECT,  /* of Google Cloud */
    PLACE_LOCATION, /* of Google Cloud */
    PLACE_RESOURCE, /* of Azure */
    PLACE_COUNT
};
extern const char *const provider_place_names[PLACE_COUNT + 1];

/* Where AUTH_AWS, AUTH_GOOGLE and AUTH_ENTRA find what they need; empty = as the cloud's own SDKs
 * find it: environment, shared files, the machine's own identity. */
struct provider_auth_settings {
    struct str service; /* AWS: to sign for; empty = bedrock */
    struct str region;  /* AWS: to sign for; empty = PLACE_REGION */
    struct str profile;
    struct str role_arn; /* to assume with what was found */
    struct str external_id;
    struct str access_key_id, secret_access_key, session_token; /* secret */
    const char *credentials_file; /* Google: service account, authorized_user, external_account */
    struct str scope; /* Google, Entra: separated by spaces; empty = the cloud's usual one */
    struct str tenant_id, client_id; /* Entra; client_id alone: a user-assigned identity */
    struct str client_secret;        /* secret */
};

/* Where usage stands in a stream, and whether it must be asked for. */
enum provider_stream_usage {
    STREAM_USAGE_ON_REQUEST, /* only with stream_options.include_usage */
    STREAM_USAGE_ALWAYS,     /* comes unasked; the option is accepted */
    STREAM_USAGE_NO_OPTION,  /* the option is refused or unknown: never ask */
    STREAM_USAGE_COUNT
};
extern const char *const provider_stream_usage_names[STREAM_USAGE_COUNT + 1];

struct provider_quirks {
    enum provider_stream_usage stream_usage;
    bool ends_without_done;   /* its streams end without [DONE] (Perplexity) */
    bool usage_is_cumulative; /* every chunk carries a growing usage: the last counts */
};

/* What is known of the models whose ids fit both patterns (with * for any run of characters). */
struct provider_traits_row {
    struct str pattern; /* the operator's: the id as the provider writes it, or its plain form */
    struct str plain_pattern; /* the plain form: no region, vendor and publisher, small letters, "-"
                                 for "." */
    struct llm_traits traits;
};

/* One of the accounts that share a provider's traffic, each with limits of its own. */
struct provider_key {
    struct str name;    /* for people, logs and metrics */
    struct str api_key; /* secret */
    uint32_t weight;    /* 0 .. 1000; 0 takes nothing but failures of others */
};

struct price;

/* When HTTP/2 is spoken to a provider. */
enum provider_http2 {
    PROVIDER_HTTP2_AUTO,   /* where TLS agrees on it */
    PROVIDER_HTTP2_OFF,    /* never */
    PROVIDER_HTTP2_ALWAYS, /* without TLS, too */
};
extern const char *const provider_http2_names[PROVIDER_HTTP2_ALWAYS + 2];

struct provider {
    struct str name;      /* key in the config: [a-z0-9._-]+ */
    struct str catalogue; /* row of the catalogue that it started from; empty = none */
    struct str title;     /* for people */
    enum dialect_id dialect;
    enum llm_variant variant;
    struct str base_url;               /* http(s)://host[:port][/path], no trailing slash */
    struct str paths[OPERATION_COUNT]; /* appended to base_url's path; empty = not offered */
    struct str places[PLACE_COUNT];
    enum provider_auth auth;
    struct str auth_header; /* name of the header or query parameter */
    struct provider_auth_settings auth_settings;
    struct str api_key;        /* secret; empty = none */
    struct provider_key *keys; /* the pool, in place of api_key; api_key is a copy of the first */
    unsigned key_count;        /* 0 = a pool of one: api_key, or what `auth` fetches */
    struct str env_key;        /* environment variable that enables it without a config */
    struct str env_base_url;
    struct http_headers headers; /* sent with every request */
    struct str *models; /* what it offers: ids, or globs such as gpt-*; for bare names, and ids for
                           /v1/models; may be empty */
    unsigned model_count;
    struct str *passthrough; /* paths that clients may open as a WebSocket; globs */
    unsigned passthrough_count;
    struct provider_quirks quirks;
    struct llm_quirks llm_quirks;       /* what the dialect's writers have to know */
    struct provider_traits_row *traits; /* the row's own, before those that are built in */
    unsigned trait_count;
    const struct price **prices; /* price.h: first those that the operator wrote */
    unsigned price_count;
    struct str docs_url;
    /* Transport. */
    bool is_simulated; /* served in this process */
    bool allow_private;
    const char *ca_file;
    const char *client_cert_file;
    const char *client_key_file;
    enum provider_http2 http2;
    struct str *grpc_services; /* full names, patterns with '*' */
    unsigned grpc_service_count;
    struct str *grpc_authorities; /* what clients call, as host or host:port; none = any */
    unsigned grpc_authority_count;
    struct str proxy_url; /* empty = from the environment (HTTPS_PROXY, NO_PROXY) */
    /* Filled in by provider_resolve. */
    bool url_is_tls;
    struct str url_host;
    uint16_t url_port;
    struct str url_path;  /* without trailing slash; may be empty */
    bool host_is_literal; /* an address or localhost, written by the operator: may be private */
};

/*
 * Puts the places into base_url and the paths; {vertex_host} becomes the name of the Vertex AI
 * endpoint of the location. 0, -ERR_INVALID with the name of the place that is not known (in
 * *missing too), -ERR_NOMEM.
 */
int provider_fill_places(struct provider *provider, struct arena *arena,
                         enum provider_place *missing);

/* Completes the row's own traits with those that are built in. 0 or -ERR_NOMEM. */
int provider_merge_traits(struct provider *provider, struct arena *arena);

enum { PROVIDER_PLAIN_ID_BYTES = 256 };
/* The model's id without region, vendor and publisher, in small letters and with "-" for "."; dates
 * and versions stay. Cut at PROVIDER_PLAIN_ID_BYTES. Points into `out`. */
struct str provider_plain_id(struct str model, char out[PROVIDER_PLAIN_ID_BYTES]);

/*
 * What is known of a model, by its id as the provider writes it: with regions, vendors and dates
 * (us.anthropic.claude-sonnet-4-5-20250929-v1:0, claude-sonnet-4-5@20250929, an ARN). Never NULL;
 * what is not known is zero.
 */
const struct llm_traits *provider_traits(const struct provider *provider, struct str model);

/*
 * Splits base_url and checks the row: known scheme, a host, no credentials in the URL, safe header
 * values. 0, or -ERR_INVALID with what is wrong in the error slot.
 */
int provider_resolve(struct provider *provider);

#endif
