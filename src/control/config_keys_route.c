#include "control/config_rows.h"

/*
 * The rows of a policy are written twice: in `routing`, with their defaults (those of
 * route_policy_default, which a test compares), and in a route, which starts from `routing`. `OR_`
 * says what holds where nothing is written.
 */
#define OR_DEFAULT(text) .fallback = (text)
#define OR_INHERITED(text) .fallback_note = "as in `routing`"

#define TIMEOUT_KEYS(OR_)                                                                     \
    {                                                                                         \
        {"connect",                                                                           \
         CONFIG_DURATION,                                                                     \
         FIELD(struct route_policy, connect_ns),                                              \
         .min = 0,                                                                            \
         .max = 10 * MINUTE_NS,                                                               \
         OR_("0s"),                                                                           \
         .help = "resolving a provider's name and connecting; `0s` = that of `timeouts`"},    \
            {"first_byte",                                                                    \
             CONFIG_DURATION,                                                                 \
             FIELD(struct route_policy, first_byte_ns),                                       \
             .min = 0,                                                                        \
             .max = DAY_NS,                                                                   \
             OR_("0s"),                                                                       \
             .help = "from the request's last byte to the answer's first; `0s` = that of "    \
                     "`timeouts`"},                                                           \
            {"stall",                                                                         \
             CONFIG_DURATION,                                                                 \
             FIELD(struct route_policy, stall_ns),                                            \
             .min = 0,                                                                        \
             .max = DAY_NS,                                                                   \
             OR_("0s"),                                                                       \
             .help = "longest silence inside a provider's answer; `0s` = that of `timeouts`", \
             .detail = "A stream that is silent for longer has broken: see `mid_stream`."},   \
            {"total",                                                                         \
             CONFIG_DURATION,                                                                 \
             FIELD(struct route_policy, total_ns),                                            \
             .min = 0,                                                                        \
             .max = DAY_NS,                                                                   \
             OR_("0s"),                                                                       \
             .help = "a request with all its attempts; `0s` = that of `timeouts`"},           \
    }

#define BREAKER_KEYS(OR_)                                                                 \
    {                                                                                     \
        {"failures",                                                                      \
         CONFIG_INTEGER,                                                                  \
         FIELD(struct route_policy, breaker_failures),                                    \
         .min = 0,                                                                        \
         .max = 1000,                                                                     \
         OR_("5"),                                                                        \
         .help = "failures in a row that open it; 0 = no breaker"},                       \
            {"failure_percent",                                                           \
             CONFIG_INTEGER,                                                              \
             FIELD(struct route_policy, breaker_percent),                                 \
             .min = 1,                                                                    \
             .max = 100,                                                                  \
             OR_("50"),                                                                   \
             .help = "share of failures in the window that opens it, in percent"},        \
            {"least_requests",                                                            \
             CONFIG_INTEGER,                                                              \
             FIELD(struct route_policy, breaker_least),                                   \
             .min = 1,                                                                    \
             .max = 100000,                                                               \
             OR_("20"),                                                                   \
             .help = "fewest requests in the window for that share to count"},            \
            {"window",                                                                    \
             CONFIG_DURATION,                                                             \
             FIELD(struct route_policy, breaker_window_ns),                               \
             .min = NS_PER_SEC,                                                           \
             .max = 60 * MINUTE_NS,                                                       \
             OR_("30s"),                                                                  \
             .help = "how far back failures count"},                                      \
            {"open",                                                                      \
             CONFIG_DURATION,                                                             \
             FIELD(struct route_policy, breaker_open_ns),                                 \
             .min = 10 * NS_PER_MS,                                                       \
             .max = 60 * MINUTE_NS,                                                       \
             OR_("15s"),                                                                  \
             .help = "how long nothing is sent before one request tries again"},          \
            {"slow_first_token",                                                          \
             CONFIG_DURATION,                                                             \
             FIELD(struct route_policy, slow_ttft_ns),                                    \
             .min = 0,                                                                    \
             .max = DAY_NS,                                                               \
             OR_("0s"),                                                                   \
             .help = "a first token that comes later counts as a failure; `0s` = never"}, \
    }

#define HEDGE_KEYS(OR_)                                                                        \
    {                                                                                          \
        {"after",                                                                              \
         CONFIG_DURATION,                                                                      \
         FIELD(struct route_policy, hedge_after_ns),                                           \
         .min = 0,                                                                             \
         .max = 10 * MINUTE_NS,                                                                \
         OR_("0s"),                                                                            \
         .help = "start the second attempt after so long without an event; `0s` = never",      \
         .example = "2s"},                                                                     \
            {"percentile",                                                                     \
             CONFIG_INTEGER,                                                                   \
             FIELD(struct route_policy, hedge_percentile),                                     \
             .min = 0,                                                                         \
             .max = 99,                                                                        \
             OR_("0"),                                                                         \
             .help = "start it after this percentile of the target's time to the first token", \
             .detail = "0 = never. With both, `after` holds until enough was measured.",       \
             .example = "95"},                                                                 \
    }

#define MIRROR_KEYS(OR_)                                                            \
    {                                                                               \
        {"target", CONFIG_STRING, FIELD(struct route_policy, mirror_target),        \
         .help = "where the copies go, as `provider/model` or the name of a route", \
         .example = "openai/gpt-4o-mini"},                                          \
            {"percent",                                                             \
             CONFIG_PERCENT,                                                        \
             FIELD(struct route_policy, mirror_per_million),                        \
             .min = 0,                                                              \
             .max = 1000000,                                                        \
             OR_("0"),                                                              \
             .help = "share of the requests that is copied, in percent",            \
             .example = "0.5"},                                                     \
    }

#define QUEUE_KEYS(OR_)                                                                           \
    {                                                                                             \
        {"length",       CONFIG_INTEGER, FIELD(struct route_policy, queue_length),      .min = 0, \
         .max = 1000000, OR_("100"),     .help = "most requests that wait for a target"},         \
            {"wait",                                                                              \
             CONFIG_DURATION,                                                                     \
             FIELD(struct route_policy, queue_wait_ns),                                           \
             .min = 0,                                                                            \
             .max = 60 * MINUTE_NS,                                                               \
             OR_("10s"),                                                                          \
             .help = "longest wait of a request"},                                                \
    }

#define POLICY_SECTIONS(name, OR_)                                                            \
    static const struct config_key name##_timeout_keys[] = TIMEOUT_KEYS(OR_);                 \
    static const struct config_key name##_breaker_keys[] = BREAKER_KEYS(OR_);                 \
    static const struct config_key name##_hedge_keys[] = HEDGE_KEYS(OR_);                     \
    static const struct config_key name##_mirror_keys[] = MIRROR_KEYS(OR_);                   \
    static const struct config_key name##_queue_keys[] = QUEUE_KEYS(OR_);                     \
    static const struct config_section name##_timeouts = SECTION(name##_timeout_keys),        \
                                       name##_breaker = SECTION(name##_breaker_keys),         \
                                       name##_mirror = SECTION(name##_mirror_keys),           \
                                       name##_queue = SECTION(name##_queue_keys),             \
                                       name##_hedge = {.keys = name##_hedge_keys,             \
                                                       .count = ARRAY_LEN(name##_hedge_keys), \
                                                       .shorthand = "after"}

#define POLICY_KEYS(name, type, at, OR_)                                                           \
    {"retries",                                                                                    \
     CONFIG_INTEGER,                                                                               \
     FIELD(type, at.retries),                                                                      \
     .min = 0,                                                                                     \
     .max = 20,                                                                                    \
     OR_("2"),                                                                                     \
     .help = "further attempts after the first one, `fallbacks` not counted",                      \
     .detail = "Only failures that another attempt can mend are tried again: no connection, a "    \
               "timeout, 408, 429, 5xx, a refused credential. Never what the client did wrong."},  \
        {"backoff",                                                                                \
         CONFIG_DURATION,                                                                          \
         FIELD(type, at.backoff_ns),                                                               \
         .min = 0,                                                                                 \
         .max = MINUTE_NS,                                                                         \
         OR_("200ms"),                                                                             \
         .help = "longest wait before the first retry of the same target",                         \
         .detail = "It doubles with each further one; the wait is random below it. What a "        \
                   "provider asks for with `Retry-After` is kept."},                               \
        {"backoff_max",         CONFIG_DURATION, FIELD(type, at.backoff_max_ns),       .min = 0,   \
         .max = 10 * MINUTE_NS, OR_("5s"),       .help = "what the wait doubles up to"},           \
        {"retry_budget",                                                                           \
         CONFIG_INTEGER,                                                                           \
         FIELD(type, at.retry_budget_percent),                                                     \
         .min = 0,                                                                                 \
         .max = 1000,                                                                              \
         OR_("20"),                                                                                \
         .help = "most retries, in percent of recent requests",                                    \
         .detail = "So that retries never multiply an outage. 100 and more = no bound."},          \
        {"timeouts", CONFIG_SECTION, .offset = offsetof(type, at), .section = &name##_timeouts,    \
         .help = "deadlines, where they differ from the whole gateway's"},                         \
        {"breaker", CONFIG_SECTION, .offset = offsetof(type, at), .section = &name##_breaker,      \
         .help = "when a model of a provider is left alone for a while, each key by itself"},      \
        {"mid_stream",                                                                             \
         CONFIG_ENUM,                                                                              \
         FIELD(type, at.mid_stream),                                                               \
         .names = route_mid_stream_names,                                                          \
         OR_("continue"),                                                                          \
         .help = "what happens when a stream breaks after text was delivered",                     \
         .detail = "`continue`: the next target goes on where it broke, and the client sees one "  \
                   "stream. `terminate`: the client gets an error event."},                        \
        {"resume",                                                                                 \
         CONFIG_ENUM,                                                                              \
         FIELD(type, at.resume),                                                                   \
         .names = route_resume_names,                                                              \
         OR_("on_request"),                                                                        \
         .help = "which streams a client may come back to",                                        \
         .detail = "`on_request`: those asked for with `x-weir-resume: true`; `always`: all."},    \
        {"resume_grace",                                                                           \
         CONFIG_DURATION,                                                                          \
         FIELD(type, at.resume_grace_ns),                                                          \
         .min = 0,                                                                                 \
         .max = 60 * MINUTE_NS,                                                                    \
         OR_("30s"),                                                                               \
         .help = "how long such a stream goes on without its client"},                             \
        {"early_head",                                                                             \
         CONFIG_DURATION,                                                                          \
         FIELD(type, at.early_head_ns),                                                            \
         .min = 0,                                                                                 \
         .max = 60 * MINUTE_NS,                                                                    \
         OR_("0s"),                                                                                \
         .help = "answer the client's head after so long without an event; `0s` = never",          \
         .detail = "Normally the head waits for the first event, so that a request which fails "   \
                   "everywhere has the status of an error; after an early head it ends with an "   \
                   "error event. Other targets are tried either way. The head says which route, "  \
                   "not which target."},                                                           \
        {"hedge", CONFIG_SECTION, .offset = offsetof(type, at), .section = &name##_hedge,          \
         .help = "a second attempt beside a slow one; whichever answers first is kept"},           \
        {"mirror",                                                                                 \
         CONFIG_SECTION,                                                                           \
         .offset = offsetof(type, at),                                                             \
         .section = &name##_mirror,                                                                \
         .help = "copies of requests to a target that is being tried",                             \
         .detail = "Clients never see its answers, nor wait for them; they are in the log."},      \
        {"when_limited",                                                                           \
         CONFIG_ENUM,                                                                              \
         FIELD(type, at.when_limited),                                                             \
         .names = route_when_limited_names,                                                        \
         OR_("next"),                                                                              \
         .help = "what a request does when every key of its target is at its limit",               \
         .detail = "`next`: it goes to the next target, and waits where there is none; the only "  \
                   "key of the only target is asked all the same, unless its provider wants no "   \
                   "request for more than a minute. `wait`: it waits, then goes to the next one. " \
                   "`fail`: it goes to the next target, and is answered with 429 where there is "  \
                   "none."},                                                                       \
        {"queue", CONFIG_SECTION, .offset = offsetof(type, at), .section = &name##_queue,          \
         .help = "how requests wait for a key"},                                                   \
    {                                                                                              \
        "probe_interval", CONFIG_DURATION, FIELD(type, at.probe_interval_ns),                      \
            .min = 0, .max = DAY_NS, OR_("0s"),                                                    \
            .help = "how often targets without traffic are asked for a sign of life; `0s` = never" \
    }

/* --- routing ----------------------------------------------------------------------------------
 */

POLICY_SECTIONS(routing, OR_DEFAULT);
static const struct config_key routing_keys[] = {
    POLICY_KEYS(routing, struct settings, routing, OR_DEFAULT)};
const struct config_section config_routing = SECTION(routing_keys);

/* --- routes ------------------------------------------------------------------------------------
 */

static const struct config_key target_keys[] = {
    {"target", CONFIG_STRING, FIELD(struct route_target, target), .is_required = true,
     .help = "`provider/model`, a model that one provider lists, or another route",
     .example = "openai/gpt-4o-mini"},
    {"weight", CONFIG_INTEGER, FIELD(struct route_target, weight), .min = 0, .max = 1000,
     .fallback = "1", .help = "its share, for strategies that divide",
     .detail = "A target of weight 0 takes nothing but what the others could not serve."},
    {"quality", CONFIG_INTEGER, FIELD(struct route_target, quality), .min = 0, .max = 100,
     .fallback = "0", .help = "how good its answers are, for `cost`: see `least_quality`"},
    {"when", CONFIG_CONDITION, FIELD(struct route_target, when), .fallback_note = "always",
     .help = "which requests it takes",
     .detail = "Fields of the request with a value or comparisons: `$eq`, `$ne`, `$in`, `$nin`, "
               "`$regex`, `$gt`, `$gte`, `$lt`, `$lte`, `$exists`; joined by `$and`, `$or`, "
               "`$not`.",
     .example = "{metadata.tier: {$in: [gold, platinum]}}"},
    {"override", CONFIG_PARAMS, ARRAY(struct route_target, overrides, override_count),
     .help = "members of the request that are sent in place of what the client says",
     .detail = "As the provider's own API writes them; dots lead into objects.",
     .example = "{temperature: 0, generationConfig.topK: 1}"},
    {"defaults", CONFIG_PARAMS, ARRAY(struct route_target, defaults, default_count),
     .help = "members of the request that are sent where the client says nothing",
     .example = "{max_tokens: 1024}"},
};
static const struct config_section target = {
    .keys = target_keys, .count = ARRAY_LEN(target_keys), .shorthand = "target"};

static const struct config_key by_keys[] = {
    {"by", CONFIG_ENUM, FIELD(struct route, key), .names = route_key_names, .fallback = "session",
     .help = "what `hash` and `sticky` go by",
     .detail = "`session`: the header `x-weir-session` or `metadata.session_id`, else as `user`. "
               "`user`: the end user that the body names, else the virtual key. `prompt`: the "
               "beginning of the prompt, which keeps prompt caches of providers warm. `header`: "
               "the header `header`."},
    {"header", CONFIG_STRING, FIELD(struct route, key_header), .help = "header to go by",
     .example = "x-conversation-id"},
};
static const struct config_section by = {
    .keys = by_keys, .count = ARRAY_LEN(by_keys), .shorthand = "by"};

#define FALLBACK(which) \
    ARRAY(struct route, fallbacks[FALLBACK_##which].names, fallbacks[FALLBACK_##which].count)
static const struct config_key fallback_keys[] = {
    {"general", CONFIG_STRINGS, FALLBACK(GENERAL), .help = "when every target failed",
     .example = "[anthropic/claude-sonnet-4-5]"},
    {"context_window", CONFIG_STRINGS, FALLBACK(CONTEXT_WINDOW),
     .help = "when the request is longer than the model takes",
     .example = "[gemini/gemini-2.5-pro]"},
    {"content_policy", CONFIG_STRINGS, FALLBACK(CONTENT_POLICY),
     .help = "when the provider refuses what the request says", .example = "[other-route]"},
};
static const struct config_section fallbacks = {
    .keys = fallback_keys, .count = ARRAY_LEN(fallback_keys), .shorthand = "general"};

POLICY_SECTIONS(route, OR_INHERITED);
static const struct config_key route_keys[] = {
    {"strategy", CONFIG_ENUM, FIELD(struct route, strategy), .names = route_strategy_names,
     .fallback = "priority", .help = "which target is tried first",
     .detail = "`priority`: the first one written; `round_robin`: in turn, by weight; `weighted`: "
               "at random, by weight; `least_latency`: the faster of two at random, measured; "
               "`least_busy`: the one with the fewest requests under way; `cost`: the cheapest "
               "that is good enough; `conditional`: the first whose `when` holds; `hash`: the same "
               "`key` to the same target, with bounded loads; `sticky`: the same `key` to the same "
               "target, while it is up."},
    {"targets", CONFIG_LIST, ARRAY(struct route, targets, target_count), .section = &target,
     .is_required = true, .help = "what can answer",
     .example = "[openai/gpt-4o, {target: azure/gpt-4o, weight: 3}]"},
    {"key", CONFIG_SECTION, .section = &by, .help = "what `hash` and `sticky` go by"},
    {"load_percent", CONFIG_INTEGER, FIELD(struct route, load_percent), .min = 100, .max = 10000,
     .fallback = "125", .help = "`hash`: most requests of a target, in percent of the average"},
    {"least_quality", CONFIG_INTEGER, FIELD(struct route, least_quality), .min = 0, .max = 100,
     .fallback = "0", .help = "`cost`: least `quality` of a target"},
    {"fallbacks", CONFIG_SECTION, .section = &fallbacks,
     .help = "where requests go that the route's own targets could not serve",
     .detail = "Names as in `targets`. A list alone is `general`."},
    POLICY_KEYS(route, struct route, policy, OR_INHERITED),
};
const struct config_section config_route = {
    .keys = route_keys,
    .count = ARRAY_LEN(route_keys),
    .shorthand = "targets",
    .name_offset = offsetof(struct route, name),
    .element = "route",
    .naming = NAMING_PLAIN,
    .begin = config_route_begin,
};

/* --- journal -----------------------------------------------------------------------------------
 */

static const struct config_key journal_keys[] = {
    {"bytes", CONFIG_SIZE, FIELD(struct settings, journal.stream_bytes), .min = KIB, .max = GIB,
     .fallback = "1MiB", .help = "most of one stream that is kept"},
    {"ttl", CONFIG_DURATION, FIELD(struct settings, journal.ttl_ns), .min = 0, .max = DAY_NS,
     .fallback = "60s", .help = "how long a stream is kept after its end"},
    {"total", CONFIG_SIZE, FIELD(struct settings, journal.total_bytes), .min = MIB,
     .max = 1024 * GIB, .fallback = "256MiB", .help = "most of all streams that is kept",
     .detail = "The oldest that are finished go first."},
};
const struct config_section config_journal = SECTION(journal_keys);

/* --- realtime ----------------------------------------------------------------------------------
 */

static const struct config_key realtime_keys[] = {
    {"ping", CONFIG_DURATION, FIELD(struct settings, realtime.ping_ns), .min = 0, .max = DAY_NS,
     .fallback = "20s", .help = "how often a silent peer is asked for a sign of life; 0 = never",
     .detail = "A peer that gives none in the same time again is taken for gone."},
    {"idle", CONFIG_DURATION, FIELD(struct settings, realtime.idle_ns), .min = 0, .max = DAY_NS,
     .fallback = "15m", .help = "longest time without a message in either direction; 0 = no bound"},
    {"session", CONFIG_DURATION, FIELD(struct settings, realtime.session_ns), .min = 0,
     .max = 7 * DAY_NS, .fallback = "2h", .help = "longest session; 0 = no bound"},
    {"message", CONFIG_SIZE, FIELD(struct settings, realtime.message_bytes), .min = KIB, .max = GIB,
     .fallback = "16MiB", .help = "largest message, either way",
     .detail = "A larger one ends the session with the close code 1009."},
    {"sessions_per_key", CONFIG_INTEGER, FIELD(struct settings, realtime.sessions_per_key),
     .min = 0, .max = 1000000, .fallback = "0",
     .help = "most sessions that a key may have at once; 0 = no bound",
     .detail = "One more is answered with 429. Without keys it is the bound of all together."},
    {"session_tokens", CONFIG_INTEGER, FIELD(struct settings, realtime.session_tokens), .min = 0,
     .max = 2000000000, .fallback = "0",
     .help = "most tokens that a session may use, in and out; 0 = no bound",
     .detail = "The answer that reaches it is the session's last: it ends with the close code "
               "1008."},
};
const struct config_section config_realtime = SECTION(realtime_keys);

/* --- bridge ------------------------------------------------------------------------------------
 */

static const struct config_key bridge_keys[] = {
    {"requests", CONFIG_INTEGER, FIELD(struct settings, bridge.requests), .min = 1, .max = 10000,
     .fallback = "64", .help = "most requests that a socket may carry at once"},
    {"message", CONFIG_SIZE, FIELD(struct settings, bridge.message_bytes), .min = KIB, .max = GIB,
     .fallback = "32MiB", .help = "largest message of a client, and so the largest request",
     .detail = "A larger one ends the socket with the close code 1009."},
    {"idle", CONFIG_DURATION, FIELD(struct settings, bridge.idle_ns), .min = 0, .max = DAY_NS,
     .fallback = "15m", .help = "longest time without a request; 0 = no bound"},
    {"ping", CONFIG_DURATION, FIELD(struct settings, bridge.ping_ns), .min = 0, .max = DAY_NS,
     .fallback = "20s", .help = "how often a silent client is asked for a sign of life; 0 = never",
     .detail = "A client that gives none in the same time again is taken for gone."},
};
const struct config_section config_bridge = SECTION(bridge_keys);
