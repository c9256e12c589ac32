#include "gateway/rate_headers.h"

#include <time.h>

#include "base/clock.h"

/* The same fact in both forms. Anthropic counts tokens also by direction; OpenAI does not. */
static const struct {
    struct str openai, anthropic;
    bool is_reset;
} pairs[] = {
    {STR_INIT("x-ratelimit-limit-requests"), STR_INIT("anthropic-ratelimit-requests-limit"), false},
    {STR_INIT("x-ratelimit-remaining-requests"), STR_INIT("anthropic-ratelimit-requests-remaining"),
     false},
    {STR_INIT("x-ratelimit-reset-requests"), STR_INIT("anthropic-ratelimit-requests-reset"), true},
    {STR_INIT("x-ratelimit-limit-tokens"), STR_INIT("anthropic-ratelimit-tokens-limit"), false},
    {STR_INIT("x-ratelimit-remaining-tokens"), STR_INIT("anthropic-ratelimit-tokens-remaining"),
     false},
    {STR_INIT("x-ratelimit-reset-tokens"), STR_INIT("anthropic-ratelimit-tokens-reset"), true},
};

/* "6m0s", "1.5s", "20ms", "1h2m", a bare number of seconds -> ms; false for anything else. */
static bool parse_duration(struct str text, double *ms)
{
    *ms = 0;
    if (text.len == 0)
        return false;
    while (text.len > 0) {
        size_t digits = 0;
        double value;
        while (digits < text.len &&
               ((text.ptr[digits] >= '0' && text.ptr[digits] <= '9') || text.ptr[digits] == '.'))
            digits++;
        if (!str_to_double(str_head(text, digits), &value))
            return false;
        text = str_skip(text, digits);
        static const struct {
            struct str name;
            double ms;
        } units[] = {{STR_INIT("ms"), 1},
                     {STR_INIT("s"), 1e3},
                     {STR_INIT("m"), 6e4},
                     {STR_INIT("h"), 3.6e6},
                     {STR_INIT("d"), 8.64e7}};
        double factor = text.len == 0 ? 1e3 : 0;
        for (size_t i = 0; factor == 0 && i < ARRAY_LEN(units); i++) {
            if (str_starts(text, units[i].name)) {
                factor = units[i].ms;
                text = str_skip(text, units[i].name.len);
            }
        }
        if (factor == 0)
            return false;
        *ms += value * factor;
    }
    return *ms < 1e12;
}

static struct str time_of_duration(struct arena *arena, struct str duration)
{
    double ms;
    if (!parse_duration(duration, &ms))
        return STR_EMPTY;
    time_t at = (time_t)(clock_wall_ns() / NS_PER_SEC + (int64_t)(ms / 1000 + 0.999));
    struct tm tm;
    char text[32];
    if (gmtime_r(&at, &tm) == NULL)
        return STR_EMPTY;
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    return arena_dup(arena, str_n(text, len));
}

static struct str duration_of_time(struct arena *arena, struct str when)
{
    struct tm tm = {0};
    char text[32];
    if (when.len >= sizeof(text))
        return STR_EMPTY;
    memcpy(text, when.ptr, when.len);
    text[when.len] = '\0';
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL || (*rest != 'Z' && *rest != '.'))
        return STR_EMPTY;
    int64_t left = (int64_t)timegm(&tm) - clock_wall_ns() / NS_PER_SEC;
    return arena_printf(arena, "%llds", (long long)MAX(left, 0));
}

bool rate_headers_translate(struct http_headers *out, struct arena *arena,
                            const struct http_headers *upstream, const struct headers_way *way)
{
    bool to_anthropic = way->client == DIALECT_ANTHROPIC;
    bool to_openai = way->client == DIALECT_OPENAI_CHAT || way->client == DIALECT_OPENAI_RESPONSES;
    for (size_t i = 0; (to_anthropic || to_openai) && i < ARRAY_LEN(pairs); i++) {
        struct str name = to_anthropic ? pairs[i].anthropic : pairs[i].openai;
        struct str other = to_anthropic ? pairs[i].openai : pairs[i].anthropic;
        struct str value = http_headers_get(upstream, name);
        if (value.len == 0) {
            value = http_headers_get(upstream, other);
            if (value.len > 0 && pairs[i].is_reset)
                value =
                    to_anthropic ? time_of_duration(arena, value) : duration_of_time(arena, value);
        }
        if (value.len > 0 && !http_headers_add(out, arena, name, value))
            return false;
    }
    return true;
}
