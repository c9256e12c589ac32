/* When a provider wants to be asked again, in the ways that providers say it. */
#include "base/clock.h"
#include "route/classify.h"

/* --- durations --- */

/* Longest first where one begins another. */
static const struct {
    struct str name;
    int64_t ns;
} units[] = {
    {STR_INIT("ms"), NS_PER_MS},
    {STR_INIT("us"), NS_PER_US},
    {STR_INIT("ns"), 1},
    {STR_INIT("s"), NS_PER_SEC},
    {STR_INIT("m"), 60 * NS_PER_SEC},
    {STR_INIT("h"), 3600 * NS_PER_SEC},
    {STR_INIT("d"), 24 * 3600 * NS_PER_SEC},
};
/* More than this is no duration but a mistake. */
#define LONGEST_NS (INT64_C(10) * 365 * 24 * 3600 * NS_PER_SEC)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ".5" as billionths; without a point 0. */
static int64_t take_fraction(struct str *s)
{
    int64_t billionths = 0, scale = NS_PER_SEC;
    size_t i = 1;
    if (s->len == 0 || s->ptr[0] != '.')
        return 0;
    for (; i < s->len && is_digit(s->ptr[i]); i++) {
        scale /= 10;
        billionths += (s->ptr[i] - '0') * scale;
    }
    *s = str_skip(*s, i);
    return billionths;
}

/* "12.5" as a whole part and billionths; false when there is none. */
static bool take_number(struct str *s, int64_t *whole, int64_t *billionths)
{
    size_t i = 0;
    *whole = 0;
    for (; i < s->len && is_digit(s->ptr[i]); i++) {
        if (*whole > LONGEST_NS)
            return false;
        *whole = *whole * 10 + (s->ptr[i] - '0');
    }
    *s = str_skip(*s, i);
    *billionths = take_fraction(s);
    return i > 0;
}

/* number * unit; false when that is too long. */
static bool times(int64_t whole, int64_t billionths, int64_t unit_ns, int64_t *ns)
{
    if (whole > LONGEST_NS / unit_ns)
        return false;
    int64_t part = unit_ns >= NS_PER_SEC ? unit_ns / NS_PER_SEC * billionths
                                         : unit_ns * billionths / NS_PER_SEC;
    *ns = whole * unit_ns + part;
    return *ns <= LONGEST_NS;
}

static int64_t take_unit(struct str *s)
{
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_starts(*s, units[i].name)) {
            *s = str_skip(*s, units[i].name.len);
            return units[i].ns;
        }
    }
    return 0;
}

bool duration_read(struct str text, int64_t *out_ns)
{
    int64_t whole, billionths, part, sum = 0;
    bool is_bare = true;
    text = str_trim(text);
    if (text.len == 0)
        return false;
    while (text.len > 0) {
        if (!take_number(&text, &whole, &billionths))
            return false;
        bool ends = text.len == 0;
        if (ends && !is_bare)
            return false; /* "6m0" */
        int64_t unit_ns = ends ? NS_PER_SEC : take_unit(&text);
        if (unit_ns == 0 || !times(whole, billionths, unit_ns, &part))
            return false;
        sum += part;
        is_bare = false;
        if (sum > LONGEST_NS)
            return false;
    }
    *out_ns = sum;
    return true;
}

/* --- dates --- */

struct date {
    int64_t year, month, day, hour, minute, second, nanos, offset_s;
};

static bool take_digits(struct str *s, size_t count, int64_t *out)
{
    uint64_t n;
    if (s->len < count || !str_to_u64(str_head(*s, count), &n))
        return false;
    *out = (int64_t)n;
    *s = str_skip(*s, count);
    return true;
}

static bool take_char(struct str *s, const char *any_of)
{
    if (s->len == 0 || strchr(any_of, s->ptr[0]) == NULL)
        return false;
    *s = str_skip(*s, 1);
    return true;
}

static bool take_time(struct str *s, struct date *d)
{
    return take_digits(s, 2, &d->hour) && take_char(s, ":") && take_digits(s, 2, &d->minute) &&
           take_char(s, ":") && take_digits(s, 2, &d->second);
}

/* RFC 3339: 2026-11-21T03:58:23.5+01:00 */
static bool read_rfc3339(struct str s, struct date *d)
{
    int64_t hours, minutes;
    if (!take_digits(&s, 4, &d->year) || !take_char(&s, "-") || !take_digits(&s, 2, &d->month) ||
        !take_char(&s, "-") || !take_digits(&s, 2, &d->day) || !take_char(&s, "Tt ") ||
        !take_time(&s, d))
        return false;
    d->nanos = take_fraction(&s);
    if (take_char(&s, "Zz"))
        return s.len == 0;
    bool is_west = s.len > 0 && s.ptr[0] == '-';
    if (!take_char(&s, "+-") || !take_digits(&s, 2, &hours) || !take_char(&s, ":") ||
        !take_digits(&s, 2, &minutes) || s.len > 0)
        return false;
    d->offset_s = (hours * 60 + minutes) * (is_west ? -60 : 60);
    return true;
}

/* IMF-fixdate (RFC 9110 section 5.6.7): Sat, 21 Nov 2026 03:58:23 GMT */
static bool read_http_date(struct str s, struct date *d)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    ptrdiff_t comma = str_index(s, ',');
    if (comma < 0)
        return false;
    s = str_trim(str_skip(s, (size_t)comma + 1));
    if (!take_digits(&s, 2, &d->day) || !take_char(&s, " -") || s.len < 3)
        return false;
    ptrdiff_t month = str_find(str_c(months), str_head(s, 3));
    if (month < 0 || month % 3 != 0)
        return false;
    d->month = month / 3 + 1;
    s = str_skip(s, 3);
    return take_char(&s, " -") && take_digits(&s, 4, &d->year) && take_char(&s, " ") &&
           take_time(&s, d) && str_eq(str_trim(s), STR("GMT"));
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar: years begin in March, so that the leap
 * day is a year's last. */
static int64_t days_of(const struct date *d)
{
    int64_t year = d->year - (d->month <= 2);
    int64_t era = year / 400, of_era = year % 400;
    int64_t of_year = (153 * (d->month + (d->month > 2 ? -3 : 9)) + 2) / 5 + d->day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

bool date_read(struct str text, int64_t *out_wall_ns)
{
    struct date d = {0};
    text = str_trim(text);
    if (!read_rfc3339(text, &d)) {
        d = (struct date){0};
        if (!read_http_date(text, &d))
            return false;
    }
    if (d.year < 1970 || d.year > 2200 || d.month < 1 || d.month > 12 || d.day < 1 || d.day > 31 ||
        d.hour > 23 || d.minute > 59 || d.second > 60)
        return false;
    int64_t seconds = days_of(&d) * 86400 + d.hour * 3600 + d.minute * 60 + d.second - d.offset_s;
    *out_wall_ns = seconds * NS_PER_SEC + d.nanos;
    return true;
}

/* --- Retry-After --- */

static int64_t bounded(int64_t ns)
{
    return MIN(MAX(ns, 0), RETRY_AFTER_MAX_NS);
}

static int64_t of_headers(const struct http_headers *headers, int64_t now_wall_ns)
{
    static const struct str in_ms[] = {STR_INIT("retry-after-ms"), STR_INIT("x-ms-retry-after-ms")};
    int64_t ns, at, whole, billionths;
    for (size_t i = 0; i < ARRAY_LEN(in_ms); i++) {
        struct str value = str_trim(http_headers_get(headers, in_ms[i]));
        if (take_number(&value, &whole, &billionths) && value.len == 0 &&
            times(whole, billionths, NS_PER_MS, &ns))
            return bounded(ns);
    }
    struct str value = http_headers_get(headers, STR("retry-after"));
    if (duration_read(value, &ns))
        return bounded(ns);
    if (date_read(value, &at))
        return bounded(at - now_wall_ns);
    return -1;
}

/* "Please try again in 7.66s.", "retry after 86400 seconds": what stands after these words. */
static const char *const lead_ins[] = {"try again in ", "retry in ", "retry after ", "wait for "};
static const struct {
    const char *word;
    int64_t ns;
} unit_words[] = {
    {"millisecond", NS_PER_MS},  {"second", NS_PER_SEC},          {"minute", 60 * NS_PER_SEC},
    {"hour", 3600 * NS_PER_SEC}, {"day", 24 * 3600 * NS_PER_SEC},
};

static bool read_words(struct str s, int64_t *ns)
{
    struct str token;
    int64_t whole, billionths;
    str_cut(&s, ' ', &token);
    while (token.len > 0 && strchr(".,;!\\\"", token.ptr[token.len - 1]) != NULL)
        token.len--;
    struct str rest = token;
    if (!take_number(&rest, &whole, &billionths))
        return false;
    if (rest.len > 0)
        return duration_read(token, ns);
    for (size_t i = 0; i < ARRAY_LEN(unit_words); i++) {
        if (str_istarts(s, str_c(unit_words[i].word)))
            return times(whole, billionths, unit_words[i].ns, ns);
    }
    return false;
}

static int64_t of_message(struct str message)
{
    int64_t ns;
    for (size_t i = 0; i < ARRAY_LEN(lead_ins); i++) {
        ptrdiff_t at = str_ifind(message, str_c(lead_ins[i]));
        if (at >= 0 && read_words(str_skip(message, (size_t)at + strlen(lead_ins[i])), &ns))
            return bounded(ns);
    }
    return -1;
}

int64_t retry_after_ns(const struct http_headers *headers, const struct llm_error *error,
                       int64_t now_wall_ns)
{
    int64_t ns = headers != NULL ? of_headers(headers, now_wall_ns) : -1;
    if (ns >= 0 || error == NULL)
        return ns;
    if (error->retry_after_ms >= 0)
        return bounded(MIN(error->retry_after_ms, RETRY_AFTER_MAX_NS / NS_PER_MS) * NS_PER_MS);
    return of_message(error->message.s);
}
