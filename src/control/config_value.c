#include "control/config_value.h"

#include <time.h>

#include "base/clock.h"
#include "provider/price.h"

struct unit {
    const char *name;
    int64_t factor;
};

/* Largest first: a duration's parts must come in this order. */
static const struct unit duration_units[] = {
    {"d", 86400 * NS_PER_SEC}, {"h", 3600 * NS_PER_SEC}, {"m", 60 * NS_PER_SEC},
    {"s", NS_PER_SEC},         {"ms", NS_PER_MS},
};

static const struct unit size_units[] = {
    {"GiB", INT64_C(1) << 30}, {"GB", 1000000000}, {"MiB", 1 << 20}, {"MB", 1000000},
    {"KiB", 1 << 10},          {"KB", 1000},       {"B", 1},
};

static const char *no_memory_or(struct str text, const char *otherwise)
{
    return text.ptr != NULL ? text.ptr : otherwise;
}

/* Cuts "123abc" into 123 and "abc" up to the next digit. */
static bool cut_part(struct str *text, uint64_t *number, struct str *unit)
{
    size_t digits = 0;
    while (digits < text->len && text->ptr[digits] >= '0' && text->ptr[digits] <= '9')
        digits++;
    size_t end = digits;
    while (end < text->len && (text->ptr[end] < '0' || text->ptr[end] > '9'))
        end++;
    *unit = str_n(text->ptr + digits, end - digits);
    if (!str_to_u64(str_head(*text, digits), number))
        return false;
    *text = str_skip(*text, end);
    return true;
}

static const struct unit *find_unit(const struct unit *units, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(str_c(units[i].name), name))
            return &units[i];
    }
    return NULL;
}

const char *config_parse_duration(struct arena *arena, struct str text, int64_t *ns)
{
    static const char expected[] = "a duration like \"250ms\", \"30s\", \"5m\" or \"1h\"";
    uint64_t bare;
    if (str_to_u64(text, &bare))
        return no_memory_or(arena_printf(arena,
                                         "a duration with its unit (ms, s, m, h or d); did you "
                                         "mean \"%.*ss\"?",
                                         STR_ARG(str_head(text, 20))),
                            expected);
    int64_t sum = 0;
    const struct unit *before = NULL;
    while (text.len > 0) {
        uint64_t number;
        struct str name;
        int64_t part;
        if (!cut_part(&text, &number, &name))
            return expected;
        const struct unit *unit = find_unit(duration_units, ARRAY_LEN(duration_units), name);
        if (unit == NULL || (before != NULL && unit <= before))
            return expected;
        if (__builtin_mul_overflow(number, unit->factor, &part) ||
            __builtin_add_overflow(sum, part, &sum))
            return "a shorter duration";
        before = unit;
    }
    if (before == NULL)
        return expected;
    *ns = sum;
    return NULL;
}

const char *config_parse_size(struct arena *arena, struct str text, int64_t *bytes)
{
    static const char expected[] = "a size like \"512B\", \"64KiB\" or \"32MiB\"";
    uint64_t number;
    struct str name;
    if (str_to_u64(text, &number))
        return no_memory_or(arena_printf(arena,
                                         "a size with its unit (B, KiB, MiB, GiB, KB, MB or GB); "
                                         "did you mean \"%.*sB\"?",
                                         STR_ARG(str_head(text, 20))),
                            expected);
    if (!cut_part(&text, &number, &name) || text.len > 0)
        return expected;
    const struct unit *unit = find_unit(size_units, ARRAY_LEN(size_units), str_trim(name));
    if (unit == NULL)
        return expected;
    if (__builtin_mul_overflow(number, unit->factor, bytes))
        return "a smaller size";
    return NULL;
}

const char *config_parse_percent(struct str text, int64_t *millionths)
{
    static const char expected[] = "a percentage like \"10\", \"0.5\" or \"2.5%\"";
    enum { DECIMALS_MAX = 4, PERCENT = 10000 };
    if (str_ends(text, STR("%")))
        text = str_head(text, text.len - 1);
    struct str whole;
    bool has_point = str_cut(&text, '.', &whole);
    uint64_t number, fraction = 0;
    if (!str_to_u64(whole, &number) || number > 1000000 || (has_point && text.len == 0))
        return expected;
    if (text.len > DECIMALS_MAX)
        return "a percentage with at most four decimals";
    if (text.len > 0 && !str_to_u64(text, &fraction))
        return expected;
    for (size_t i = text.len; i < DECIMALS_MAX; i++)
        fraction *= 10;
    *millionths = (int64_t)(number * PERCENT + fraction);
    return NULL;
}

const char *config_parse_bool(struct str text, bool *value)
{
    if (str_eq(text, STR("true")) || str_eq(text, STR("false"))) {
        *value = text.len == 4;
        return NULL;
    }
    if (str_ieq(text, STR("yes")) || str_ieq(text, STR("on")) || str_eq(text, STR("1")) ||
        str_ieq(text, STR("true")))
        return "true or false; did you mean \"true\"?";
    if (str_ieq(text, STR("no")) || str_ieq(text, STR("off")) || str_eq(text, STR("0")) ||
        str_ieq(text, STR("false")))
        return "true or false; did you mean \"false\"?";
    return "true or false";
}

/* Exactly `len` digits, and then `after` unless that is 0. */
static bool take_digits(struct str *text, size_t len, char after, int *out)
{
    uint64_t value;
    size_t all = len + (after != 0);
    if (text->len < all || !str_to_u64(str_head(*text, len), &value) ||
        (after != 0 && text->ptr[len] != after))
        return false;
    *out = (int)value;
    *text = str_skip(*text, all);
    return true;
}

/* "Z", "+01:00" or "-01:00": seconds east of UTC. */
static bool take_offset(struct str *text, int64_t *offset_s)
{
    if (str_eq(*text, STR("Z")) || str_eq(*text, STR("z"))) {
        *offset_s = 0;
        return true;
    }
    if (text->len != 6 || (text->ptr[0] != '+' && text->ptr[0] != '-'))
        return false;
    int64_t sign = text->ptr[0] == '-' ? -1 : 1;
    int hours, minutes;
    *text = str_skip(*text, 1);
    if (!take_digits(text, 2, ':', &hours) || !take_digits(text, 2, 0, &minutes) || hours > 23 ||
        minutes > 59)
        return false;
    *offset_s = sign * (hours * 3600 + minutes * 60);
    return true;
}

static bool take_fraction(struct str *text, int64_t *ns)
{
    *ns = 0;
    if (!str_starts(*text, STR(".")))
        return true;
    *text = str_skip(*text, 1);
    size_t digits = 0;
    for (int64_t unit = NS_PER_SEC / 10;
         digits < text->len && text->ptr[digits] >= '0' && text->ptr[digits] <= '9'; unit /= 10)
        *ns += (text->ptr[digits++] - '0') * unit;
    *text = str_skip(*text, digits);
    return digits > 0;
}

const char *config_parse_time(struct str text, int64_t *wall_ns)
{
    static const char expected[] =
        "a date like \"2027-01-31\" or a time like \"2027-01-31T18:00:00Z\"";
    struct tm tm = {0};
    int64_t offset_s = 0, fraction_ns = 0;
    bool is_date = text.len == 10;
    if (!take_digits(&text, 4, '-', &tm.tm_year) || !take_digits(&text, 2, '-', &tm.tm_mon) ||
        !take_digits(&text, 2, 0, &tm.tm_mday))
        return expected;
    if (!is_date) {
        if (text.len == 0 || (text.ptr[0] != 'T' && text.ptr[0] != 't' && text.ptr[0] != ' '))
            return expected;
        text = str_skip(text, 1);
        if (!take_digits(&text, 2, ':', &tm.tm_hour) || !take_digits(&text, 2, ':', &tm.tm_min) ||
            !take_digits(&text, 2, 0, &tm.tm_sec) || !take_fraction(&text, &fraction_ns) ||
            !take_offset(&text, &offset_s))
            return expected;
    }
    struct tm wanted = tm;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    if (wanted.tm_year < 1970 || wanted.tm_year > 2200 || tm.tm_sec > 60)
        return expected;
    int64_t seconds = timegm(&tm);
    /* timegm takes the 31st of February for a day in March: that is not what was meant. A leap
     * second is the only field that may move. */
    if (wanted.tm_sec < 60 && (tm.tm_mday != wanted.tm_mday || tm.tm_mon + 1 != wanted.tm_mon ||
                               tm.tm_hour != wanted.tm_hour || tm.tm_min != wanted.tm_min))
        return expected;
    *wall_ns = (seconds - offset_s) * NS_PER_SEC + fraction_ns;
    return NULL;
}

/* --- text for people ---------------------------------------------------------------------------
 */

/* With the largest unit that divides it. */
static void write_with_unit(struct buf *out, int64_t value, const struct unit *units, size_t count,
                            bool is_binary)
{
    for (size_t i = 0; i < count; i++) {
        bool fits = value % units[i].factor == 0 && (value != 0 || i + 1 == count);
        if (fits && (!is_binary || (units[i].factor & (units[i].factor - 1)) == 0)) {
            buf_printf(out, "%lld%s", (long long)(value / units[i].factor), units[i].name);
            return;
        }
    }
    buf_printf(out, "%lld%s", (long long)(value / units[count - 1].factor), units[count - 1].name);
}

void config_write_duration(struct buf *out, int64_t ns)
{
    if (ns == 0)
        BUF_LIT(out, "0s");
    else
        write_with_unit(out, ns, duration_units, ARRAY_LEN(duration_units), false);
}

void config_write_size(struct buf *out, int64_t bytes)
{
    write_with_unit(out, bytes, size_units, ARRAY_LEN(size_units), true);
}

static void write_bound(struct buf *out, const struct config_key *key, int64_t value)
{
    if (key->type == CONFIG_DURATION)
        config_write_duration(out, value);
    else if (key->type == CONFIG_SIZE)
        config_write_size(out, value);
    else if (key->type == CONFIG_PERCENT)
        buf_printf(out, "%.10g", (double)value / 1e4);
    else
        buf_add_i64(out, value);
}

void config_write_bounds(struct buf *out, const struct config_key *key)
{
    if (key->max == 0)
        return;
    BUF_LIT(out, "from ");
    write_bound(out, key, key->min);
    BUF_LIT(out, " to ");
    write_bound(out, key, key->max);
}

/* --- storing -----------------------------------------------------------------------------------
 */

static const char *out_of_bounds(const struct config_key *key, struct arena *arena)
{
    struct buf text = BUF_INIT;
    buf_printf(&text, "%s %s ",
               key->type == CONFIG_INTEGER || key->type == CONFIG_ENUM ? "an" : "a",
               config_type_name(key->type));
    config_write_bounds(&text, key);
    const char *copy = buf_ok(&text) ? arena_cstr(arena, buf_str(&text)) : NULL;
    buf_fini(&text);
    return copy != NULL ? copy : "a value within its bounds";
}

static const char *store_number(const struct config_key *key, void *field, struct arena *arena,
                                int64_t value)
{
    if (key->max != 0 && (value < key->min || value > key->max))
        return out_of_bounds(key, arena);
    if (key->width == sizeof(uint32_t)) {
        if (value < 0 || value > UINT32_MAX)
            return out_of_bounds(key, arena);
        uint32_t narrow = (uint32_t)value;
        memcpy(field, &narrow, sizeof(narrow));
    } else {
        memcpy(field, &value, sizeof(value));
    }
    return NULL;
}

static const char *store_text(const struct config_key *key, void *field, struct arena *arena,
                              struct str text)
{
    if (key->width == sizeof(struct str)) {
        struct str copy = arena_dup(arena, text);
        if (copy.ptr == NULL)
            return "less text (out of memory)";
        memcpy(field, &copy, sizeof(copy));
        return NULL;
    }
    const char *copy = arena_cstr(arena, text);
    if (copy == NULL)
        return "less text (out of memory)";
    memcpy(field, &copy, sizeof(copy));
    return NULL;
}

static const char *store_enum(const struct config_key *key, void *field, struct arena *arena,
                              struct str text)
{
    int index = 0;
    while (key->names[index] != NULL && !str_eq(str_c(key->names[index]), text))
        index++;
    if (key->names[index] != NULL) {
        memcpy(field, &index, sizeof(index));
        return NULL;
    }
    struct buf expected = BUF_INIT;
    BUF_LIT(&expected, "one of ");
    for (index = 0; key->names[index] != NULL; index++)
        buf_printf(&expected, "%s%s", index > 0 ? ", " : "", key->names[index]);
    const char *nearest = str_nearest(text, key->names);
    if (nearest != NULL)
        buf_printf(&expected, "; did you mean \"%s\"?", nearest);
    const char *copy = buf_ok(&expected) ? arena_cstr(arena, buf_str(&expected)) : NULL;
    buf_fini(&expected);
    return copy != NULL ? copy : "another word";
}

const char *config_store(const struct config_key *key, void *object, struct arena *arena,
                         struct str text)
{
    if (key->set != NULL)
        return key->set(object, arena, text);
    void *field = (char *)object + key->offset;
    int64_t number = 0;
    const char *expected = NULL;
    switch (key->type) {
    case CONFIG_STRING:
    case CONFIG_SECRET:
    case CONFIG_PATH:
        return store_text(key, field, arena, text);
    case CONFIG_BOOL:
        return config_parse_bool(text, field);
    case CONFIG_ENUM:
        return store_enum(key, field, arena, text);
    case CONFIG_INTEGER:
        if (!str_to_i64(text, &number))
            return out_of_bounds(key, arena);
        break;
    case CONFIG_DURATION:
        expected = config_parse_duration(arena, text, &number);
        break;
    case CONFIG_SIZE:
        expected = config_parse_size(arena, text, &number);
        break;
    case CONFIG_PERCENT:
        expected = config_parse_percent(text, &number);
        break;
    case CONFIG_TIME:
        expected = config_parse_time(text, &number);
        break;
    case CONFIG_USD:
        if (!price_parse_usd(text, &number))
            return "an amount in US dollars like \"2.5\", at most 1000000, without a sign and with "
                   "at most nine decimals";
        break;
    default:
        CHECK(false); /* a collection is not stored from a scalar */
    }
    return expected != NULL ? expected : store_number(key, field, arena, number);
}
