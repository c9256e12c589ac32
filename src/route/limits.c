#include "route/limits.h"

#include "base/clock.h"
#include "route/classify.h"

const char *const limits_kind_names[LIMITS_KIND_COUNT] = {
    [LIMITS_REQUESTS] = "requests",
    [LIMITS_REQUESTS_LONG] = "requests_long",
    [LIMITS_TOKENS] = "tokens",
    [LIMITS_TOKENS_LONG] = "tokens_long",
    [LIMITS_INPUT_TOKENS] = "input_tokens",
    [LIMITS_OUTPUT_TOKENS] = "output_tokens",
};

const char *const bench_why_names[BENCH_WHY_COUNT] = {
    [BENCH_NONE] = "none",
    [BENCH_TOLD] = "told",
    [BENCH_GUESSED] = "guessed",
};

/* Where a limit comes without its reset: what is left is believed for so long. */
#define ASSUMED_WINDOW_NS (60 * NS_PER_SEC)

/* --- reading --- */

enum field { FIELD_LIMIT, FIELD_REMAINING, FIELD_RESET, FIELD_PERIOD, FIELD_COUNT };

static const struct str field_names[FIELD_COUNT] = {
    [FIELD_LIMIT] = STR_INIT("limit"),
    [FIELD_REMAINING] = STR_INIT("remaining"),
    [FIELD_RESET] = STR_INIT("reset"),
    [FIELD_PERIOD] = STR_INIT("renewalperiod"), /* Azure: seconds */
};

/* What is limited; "" stands where a header does not say (Together, the draft). */
static const struct {
    struct str name;
    enum limits_kind kind;
} subjects[] = {
    {STR_INIT("requests"), LIMITS_REQUESTS},
    {STR_INIT("tokens"), LIMITS_TOKENS},
    {STR_INIT("input-tokens"), LIMITS_INPUT_TOKENS},
    {STR_INIT("output-tokens"), LIMITS_OUTPUT_TOKENS},
    {STR_INIT("requests-minute"), LIMITS_REQUESTS}, /* Cerebras */
    {STR_INIT("tokens-minute"), LIMITS_TOKENS},
    {STR_INIT("requests-hour"), LIMITS_REQUESTS_LONG},
    {STR_INIT("tokens-hour"), LIMITS_TOKENS_LONG},
    {STR_INIT("requests-day"), LIMITS_REQUESTS_LONG},
    {STR_INIT("tokens-day"), LIMITS_TOKENS_LONG},
    {STR_INIT("req-minute"), LIMITS_REQUESTS}, /* Mistral */
    {STR_INIT(""), LIMITS_REQUESTS},
};

/* How names are put together: prefix, then field and subject in some order, with "-" between. */
static const struct family {
    struct str prefix;
    bool subject_first;
    bool refills_evenly;
} families[] = {
    /* Both call theirs a token bucket: the reset is when it is full again. */
    {STR_INIT("x-ratelimit-"), false, true},
    {STR_INIT("anthropic-ratelimit-"), true, true},
    {STR_INIT("ratelimit-"), false, false},
};

/* What was read of one limit so far; -1 = nothing. */
struct reading {
    int64_t values[FIELD_COUNT];
    bool refills_evenly;
};

/* Most servers write their headers' names as they stand here. */
static bool is_word(struct str word, struct str known)
{
    return str_eq(word, known) || str_ieq(word, known);
}

static bool read_field(struct str word, enum field *field)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (is_word(word, field_names[i])) {
            *field = (enum field)i;
            return true;
        }
    }
    return false;
}

static bool read_subject(struct str word, enum limits_kind *kind)
{
    for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
        if (is_word(word, subjects[i].name)) {
            *kind = subjects[i].kind;
            return true;
        }
    }
    return false;
}

/* "limit-requests" or "requests-limit"; the field alone is the field of "". */
static bool read_name(struct str rest, bool subject_first, enum limits_kind *kind,
                      enum field *field)
{
    ptrdiff_t dash = subject_first ? str_rindex(rest, '-') : str_index(rest, '-');
    struct str head = dash < 0 ? rest : str_head(rest, (size_t)dash);
    struct str tail = dash < 0 ? STR_EMPTY : str_skip(rest, (size_t)dash + 1);
    if (subject_first)
        return read_field(tail, field) && read_subject(head, kind);
    return read_field(head, field) && read_subject(tail, kind);
}

/* A whole number; what follows ("100, 100;w=60", "12.5") is not for us. */
static int64_t read_count(struct str value)
{
    int64_t n = 0;
    size_t i = 0;
    value = str_trim(value);
    for (; i < value.len && value.ptr[i] >= '0' && value.ptr[i] <= '9'; i++) {
        if (n > INT64_MAX / 100000)
            return -1;
        n = n * 10 + (value.ptr[i] - '0');
    }
    return i > 0 ? n : -1;
}

/* From now to the reset: a duration, a date, or Unix time in seconds or milliseconds. */
static int64_t read_reset(struct str value, int64_t now_wall_ns)
{
    int64_t ns;
    enum { SHORTEST_DATE = 20 };
    if (value.len >= SHORTEST_DATE && date_read(value, &ns))
        return MAX(ns - now_wall_ns, 0);
    int64_t count = read_count(value);
    if (count > INT64_C(100000000000))
        return MAX(count * NS_PER_MS - now_wall_ns, 0);
    if (count > INT64_C(1000000000))
        return MAX(count * NS_PER_SEC - now_wall_ns, 0);
    return duration_read(value, &ns) ? MIN(ns, RETRY_AFTER_MAX_NS) : -1;
}

static int64_t read_value(enum field field, struct str value, int64_t now_wall_ns)
{
    if (field == FIELD_RESET)
        return read_reset(value, now_wall_ns);
    int64_t count = read_count(value);
    if (field == FIELD_PERIOD)
        return count < 0 ? -1 : MIN(count, 86400) * NS_PER_SEC;
    return count;
}

/* The newer draft has one header: RateLimit: "default";r=50;t=30, or limit=100, remaining=50. */
static void read_combined(struct str value, struct reading *reading, int64_t now_wall_ns)
{
    static const struct {
        struct str key;
        enum field field;
    } keys[] = {
        {STR_INIT("r"), FIELD_REMAINING}, {STR_INIT("t"), FIELD_RESET},
        {STR_INIT("limit"), FIELD_LIMIT}, {STR_INIT("remaining"), FIELD_REMAINING},
        {STR_INIT("reset"), FIELD_RESET},
    };
    while (value.len > 0) {
        size_t end = 0;
        while (end < value.len && value.ptr[end] != ';' && value.ptr[end] != ',')
            end++;
        struct str item = str_trim(str_head(value, end)), key;
        value = str_skip(value, end + 1);
        str_cut(&item, '=', &key);
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            if (str_ieq(key, keys[i].key) && reading->values[keys[i].field] < 0)
                reading->values[keys[i].field] = read_value(keys[i].field, item, now_wall_ns);
        }
    }
}

static bool read_header(const struct http_header *header, struct reading *readings,
                        int64_t now_wall_ns)
{
    enum limits_kind kind;
    enum field field;
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        if (!str_starts(header->name, families[i].prefix) &&
            !str_istarts(header->name, families[i].prefix))
            continue;
        struct str rest = str_skip(header->name, families[i].prefix.len);
        if (!read_name(rest, families[i].subject_first, &kind, &field))
            return false;
        readings[kind].values[field] = read_value(field, header->value, now_wall_ns);
        readings[kind].refills_evenly = families[i].refills_evenly;
        return true;
    }
    if (!str_ieq(header->name, STR("ratelimit")))
        return false;
    read_combined(header->value, &readings[LIMITS_REQUESTS], now_wall_ns);
    return true;
}

/* Few headers are worth a second look. */
static bool may_tell(struct str name)
{
    if (name.len < 9)
        return false;
    char first = name.ptr[0] | 0x20;
    return (first == 'x' && (name.ptr[2] | 0x20) == 'r') || first == 'r' ||
           (first == 'a' && (name.ptr[1] | 0x20) == 'n');
}

static bool settle(const struct reading *reading, int64_t now_ns, struct limits_window *window)
{
    if (reading->values[FIELD_REMAINING] < 0)
        return false;
    int64_t reset = reading->values[FIELD_RESET];
    /* Azure always tells a reset of 0 and a period beside it. */
    if (reset <= 0 && reading->values[FIELD_PERIOD] > 0)
        reset = reading->values[FIELD_PERIOD];
    *window = (struct limits_window){
        .is_known = true,
        .refills_evenly = reading->refills_evenly && reset > 0,
        .limit = reading->values[FIELD_LIMIT],
        .remaining = reading->values[FIELD_REMAINING],
        .told_ns = now_ns,
        .reset_ns = clock_add_ns(now_ns, reset >= 0 ? reset : ASSUMED_WINDOW_NS),
    };
    return true;
}

bool limits_read(const struct http_headers *headers, int64_t now_ns, int64_t now_wall_ns,
                 struct limits *told)
{
    struct reading readings[LIMITS_KIND_COUNT];
    bool is_any = false, tells = false;
    for (int i = 0; i < LIMITS_KIND_COUNT; i++)
        readings[i] = (struct reading){.values = {-1, -1, -1, -1}};
    for (uint32_t i = 0; i < headers->count; i++) {
        if (may_tell(headers->items[i].name))
            is_any |= read_header(&headers->items[i], readings, now_wall_ns);
    }
    if (!is_any)
        return false;
    for (int i = 0; i < LIMITS_KIND_COUNT; i++) {
        told->windows[i].is_known = false;
        tells |= settle(&readings[i], now_ns, &told->windows[i]);
    }
    return tells;
}

void limits_merge(struct limits *limits, const struct limits *told)
{
    for (int i = 0; i < LIMITS_KIND_COUNT; i++) {
        if (told->windows[i].is_known)
            limits->windows[i] = told->windows[i];
    }
}

void limits_learn(struct limits *limits, const struct http_headers *headers, int64_t now_ns,
                  int64_t now_wall_ns)
{
    struct limits told;
    if (limits_read(headers, now_ns, now_wall_ns, &told))
        limits_merge(limits, &told);
}

/* --- the bench --- */

void limits_bench(struct limits *limits, int64_t until_ns, enum bench_why why)
{
    bool is_surer = why == BENCH_TOLD && limits->bench_why != BENCH_TOLD;
    limits->benched_in_row++;
    if (until_ns <= limits->bench_until_ns && !is_surer)
        return;
    limits->bench_until_ns = until_ns;
    limits->bench_why = why;
}

void limits_unbench(struct limits *limits)
{
    limits->benched_in_row = 0;
    if (limits->bench_why != BENCH_GUESSED)
        return;
    limits->bench_until_ns = 0;
    limits->bench_why = BENCH_NONE;
}

bool limits_is_benched(const struct limits *limits, int64_t now_ns, int64_t *until_ns)
{
    if (limits->bench_why == BENCH_NONE || now_ns >= limits->bench_until_ns)
        return false;
    if (until_ns != NULL)
        *until_ns = limits->bench_until_ns;
    return true;
}

/* --- what is left --- */

static bool counts_requests(int kind)
{
    return kind == LIMITS_REQUESTS || kind == LIMITS_REQUESTS_LONG;
}

void limits_take(struct limits *limits, int64_t tokens)
{
    for (int i = 0; i < LIMITS_KIND_COUNT; i++) {
        struct limits_window *window = &limits->windows[i];
        if (window->is_known && i != LIMITS_OUTPUT_TOKENS)
            window->taken += counts_requests(i) ? 1 : MAX(tokens, 0);
    }
}

static bool is_over(const struct limits_window *window, int64_t now_ns)
{
    return !window->is_known || now_ns >= window->reset_ns;
}

static int64_t left_of(const struct limits_window *window, int64_t now_ns)
{
    int64_t left = window->remaining - window->taken;
    int64_t length = window->reset_ns - window->told_ns;
    if (window->refills_evenly && window->limit > window->remaining && length > 0) {
        double share = (double)(now_ns - window->told_ns) / (double)length;
        left += (int64_t)((double)(window->limit - window->remaining) * share);
    }
    return left;
}

int64_t limits_remaining(const struct limits *limits, enum limits_kind kind, int64_t now_ns)
{
    const struct limits_window *window = &limits->windows[kind];
    return is_over(window, now_ns) ? -1 : MAX(left_of(window, now_ns), 0);
}

/* When `wanted` will be there: on the way to the reset where it comes back bit by bit. */
static int64_t there_at(const struct limits_window *window, int64_t wanted, int64_t now_ns)
{
    int64_t missing = wanted - left_of(window, now_ns);
    double coming = (double)(window->limit - window->remaining);
    double length = (double)(window->reset_ns - window->told_ns);
    if (!window->refills_evenly || coming <= 0 || (double)missing >= coming)
        return window->reset_ns;
    int64_t wait = (int64_t)(length * (double)missing / coming) + 1;
    return MIN(clock_add_ns(now_ns, wait), window->reset_ns);
}

bool limits_is_near(const struct limits *limits, int64_t tokens, int64_t now_ns, int64_t *until_ns)
{
    bool is_near = false;
    int64_t until = 0;
    for (int i = 0; i < LIMITS_KIND_COUNT; i++) {
        const struct limits_window *window = &limits->windows[i];
        if (is_over(window, now_ns))
            continue;
        /* How long the answer will be is anybody's guess: of output any rest will do. */
        bool has_size = !counts_requests(i) && i != LIMITS_OUTPUT_TOKENS;
        int64_t wanted = has_size ? MAX(tokens, 1) : 1;
        /* What is more than the whole limit would never fit: let the provider say so. */
        if (window->limit > 0 && wanted > window->limit)
            wanted = window->limit;
        if (left_of(window, now_ns) >= wanted)
            continue;
        is_near = true;
        until = MAX(until, there_at(window, wanted, now_ns));
    }
    if (is_near && until_ns != NULL)
        *until_ns = until;
    return is_near;
}
