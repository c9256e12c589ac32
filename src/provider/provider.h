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

/* How the credential travels. */
enum provider_auth {
    AUTH_BEARER, /* Authorization: Bearer KEY */
    AUTH_HEADER, /* KEY in the header `auth_header` */
    AUTH_QUERY,  /* KEY in the query parameter `auth_header` */
    AUTH_NO_CREDENTIAL,
    AUTH_COUNT
};
extern const char *const provider_auth_names[AUTH_COUNT + 1];

/* Operations that have an upstream path. */
enum provider_operation {
    OPERATION_CHAT,
    OPERATION_COMPLETIONS,
    OPERATION_MODELS,
    OPERATION_COUNT
};
extern const char *const provider_operation_names[OPERATION_COUNT + 1];

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
    bool ends_without_done;        /* its streams end without [DONE] (Perplexity) */
    bool usage_is_cumulative;      /* every chunk carries a growing usage: the last counts */
    bool total_includes_reasoning; /* total_tokens > prompt + completion (xAI) */
    struct str reasoning_field;    /* "reasoning_content", "reasoning", ... or empty */
    /* Parameters the provider refuses: reported by capabilities, never dropped silently. */
    struct str *refused_params;
    unsigned refused_param_count;
};

struct provider {
    struct str name;  /* key in the config: [a-z0-9._-]+ */
    struct str title; /* for people */
    enum dialect_id dialect;
    struct str base_url;               /* http(s)://host[:port][/path], no trailing slash */
    struct str paths[OPERATION_COUNT]; /* appended to base_url's path; empty = not offered */
    enum provider_auth auth;
    struct str auth_header; /* name of the header or query parameter */
    struct str api_key;     /* secret; empty = none */
    struct str env_key;     /* environment variable that enables it without a config */
    struct str env_base_url;
    struct http_headers headers; /* sent with every request */
    struct str *models; /* what it offers: ids, or globs such as gpt-*; for bare names, and ids for
                           /v1/models; may be empty */
    unsigned model_count;
    struct provider_quirks quirks;
    struct str docs_url;
    /* Transport. */
    bool is_simulated; /* served in this process */
    bool allow_private;
    const char *ca_file;
    const char *client_cert_file;
    const char *client_key_file;
    struct str proxy_url; /* empty = from the environment (HTTPS_PROXY, NO_PROXY) */
    /* Filled in by provider_resolve. */
    bool url_is_tls;
    struct str url_host;
    uint16_t url_port;
    struct str url_path;  /* without trailing slash; may be empty */
    bool host_is_literal; /* an address or localhost, written by the operator: may be private */
};

/*
 * Splits base_url and checks the row: known scheme, a host, no credentials in the URL, safe header
 * values. 0, or -ERR_INVALID with what is wrong in the error slot.
 */
int provider_resolve(struct provider *provider);

#endif
