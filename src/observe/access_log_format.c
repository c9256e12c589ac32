#include "base/buf.h"
#include "base/clock.h"
#include "observe/access_log.h"

/* What a member of the line is made of, and when it is left out. */
enum field_kind {
    FIELD_TEXT,     /* struct str; left out when empty */
    FIELD_JSON,     /* struct str, JSON as it stands; left out when empty */
    FIELD_UNSIGNED, /* unsigned; left out when 0 */
    FIELD_COUNT,    /* uint64_t */
    FIELD_SOME,     /* uint64_t; left out when 0 */
    FIELD_TOKENS,   /* int64_t; left out when -1 (not told) */
    FIELD_USD,      /* int64_t nano-dollars, as dollars; left out when -1 */
    FIELD_SPAN,     /* int64_t nanoseconds, as milliseconds; left out when -1 */
    FIELD_BOOL,     /* bool */
    FIELD_FLAG,     /* bool; left out when false */
};

struct field {
    struct str key; /* with the comma before and the colon behind */
    enum field_kind kind;
    uint16_t offset;
};

#define FIELD(name, field_kind, member)                                                 \
    {                                                                                   \
        STR_INIT(",\"" name "\":"), field_kind, offsetof(struct request_record, member) \
    }

/* In the order of the line; documented in docs/observability.md. */
static const struct field fields[] = {
    FIELD("request_id", FIELD_TEXT, request_id),
    FIELD("client", FIELD_TEXT, client_ip),
    FIELD("method", FIELD_TEXT, method),
    FIELD("path", FIELD_TEXT, path),
    FIELD("operation", FIELD_TEXT, operation),
    FIELD("dialect", FIELD_TEXT, dialect),
    FIELD("key", FIELD_TEXT, key_name),
    FIELD("model", FIELD_TEXT, model_asked),
    FIELD("route", FIELD_TEXT, route),
    FIELD("provider", FIELD_TEXT, provider),
    FIELD("upstream_dialect", FIELD_TEXT, upstream_dialect),
    FIELD("upstream_model", FIELD_TEXT, model),
    FIELD("response_model", FIELD_TEXT, model_answered),
    FIELD("status", FIELD_UNSIGNED, status),
    FIELD("upstream_status", FIELD_UNSIGNED, upstream_status),
    FIELD("outcome", FIELD_TEXT, outcome),
    FIELD("error", FIELD_TEXT, error),
    FIELD("error_message", FIELD_TEXT, error_message),
    FIELD("finish_reason", FIELD_TEXT, finish_reason),
    FIELD("stream", FIELD_BOOL, is_stream),
    FIELD("simulated", FIELD_FLAG, is_simulated),
    FIELD("attempts", FIELD_UNSIGNED, attempts),
    FIELD("failed", FIELD_JSON, failed),
    FIELD("continued", FIELD_UNSIGNED, continued),
    FIELD("upstream_key", FIELD_TEXT, upstream_key),
    FIELD("upstream_reused", FIELD_FLAG, upstream_reused),
    FIELD("duration_ms", FIELD_SPAN, total_ns),
    FIELD("overhead_ms", FIELD_SPAN, overhead_ns),
    FIELD("upstream_ms", FIELD_SPAN, upstream_ns),
    FIELD("connect_ms", FIELD_SPAN, connect_ns),
    FIELD("ttft_ms", FIELD_SPAN, ttft_ns),
    FIELD("events", FIELD_COUNT, events),
    FIELD("grpc_method", FIELD_TEXT, grpc_method),
    FIELD("grpc_status", FIELD_TEXT, grpc_status),
    FIELD("messages_in", FIELD_SOME, messages_in),
    FIELD("messages_out", FIELD_SOME, messages_out),
    FIELD("bytes_in", FIELD_COUNT, bytes_in),
    FIELD("bytes_out", FIELD_COUNT, bytes_out),
    FIELD("input_tokens", FIELD_TOKENS, usage.input),
    FIELD("output_tokens", FIELD_TOKENS, usage.output),
    FIELD("reasoning_tokens", FIELD_TOKENS, usage.reasoning),
    FIELD("cache_read_tokens", FIELD_TOKENS, usage.cache_read),
    FIELD("cache_write_5m_tokens", FIELD_TOKENS, usage.cache_write_5m),
    FIELD("cache_write_1h_tokens", FIELD_TOKENS, usage.cache_write_1h),
    FIELD("audio_input_tokens", FIELD_TOKENS, usage.audio_input),
    FIELD("audio_output_tokens", FIELD_TOKENS, usage.audio_output),
    FIELD("image_input_tokens", FIELD_TOKENS, usage.image_input),
    FIELD("usage_partial", FIELD_FLAG, usage.is_partial),
    FIELD("cost_usd", FIELD_USD, cost_nano_usd),
    FIELD("unpriced", FIELD_FLAG, is_unpriced),
    FIELD("pair", FIELD_TEXT, pair),
    FIELD("mirror", FIELD_FLAG, is_mirror),
    FIELD("probe", FIELD_FLAG, is_probe),
    FIELD("hedged", FIELD_FLAG, is_hedged),
    FIELD("hedge_winner", FIELD_UNSIGNED, hedge_winner),
    FIELD("config_generation", FIELD_COUNT, generation),
};

static bool is_left_out(const struct field *field, const void *value)
{
    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_JSON:
        return ((const struct str *)value)->len == 0;
    case FIELD_UNSIGNED:
        return *(const unsigned *)value == 0;
    case FIELD_SOME:
        return *(const uint64_t *)value == 0;
    case FIELD_TOKENS:
    case FIELD_USD:
    case FIELD_SPAN:
        return *(const int64_t *)value < 0;
    case FIELD_FLAG:
        return !*(const bool *)value;
    case FIELD_COUNT:
    case FIELD_BOOL:
        break;
    }
    return false;
}

/* Nanoseconds as milliseconds with three decimals, rounded down. */
static void add_ms(struct buf *out, int64_t ns)
{
    uint64_t us = (uint64_t)ns / NS_PER_US;
    char decimals[3];
    for (unsigned i = 3, rest = (unsigned)(us % 1000); i-- > 0; rest /= 10)
        decimals[i] = (char)('0' + rest % 10);
    buf_add_u64(out, us / 1000);
    buf_add_char(out, '.');
    buf_add(out, decimals, sizeof(decimals));
}

/* True when the text may stand in a JSON string as it is: most do, and buf_add_json looks at each
 * byte on its own. Eight bytes at a time: none is below 0x20, above 0x7e, '"' or '\\'. */
static bool is_plain(struct str text)
{
    const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
    uint64_t bad = 0;
    for (size_t i = 0; i < text.len; i += 8) {
        uint64_t v = ones * ' ';
        memcpy(&v, text.ptr + i, MIN(text.len - i, sizeof(v)));
        uint64_t quote = v ^ (ones * '"'), backslash = v ^ (ones * '\\');
        bad |= v | (v + ones) | (v - ones * ' ') | ((quote - ones) & ~quote) |
               ((backslash - ones) & ~backslash);
    }
    return (bad & tops) == 0;
}

static void add_text(struct buf *out, struct str text)
{
    if (is_plain(text) && buf_reserve(out, text.len + 2)) {
        out->ptr[out->len] = '"';
        memcpy(out->ptr + out->len + 1, text.ptr, text.len);
        out->ptr[out->len + text.len + 1] = '"';
        out->len += text.len + 2;
    } else {
        buf_add_json(out, text);
    }
}

/* The date and time up to the second change rarely, and cost as much as all the rest. */
static void add_time(struct buf *out, int64_t wall_ns)
{
    static _Thread_local int64_t cached_second = INT64_MIN;
    static _Thread_local char cached[CLOCK_ISO_LEN + 1];
    int64_t second = wall_ns / NS_PER_SEC;
    unsigned ms = (unsigned)(wall_ns / NS_PER_MS % 1000);
    if (second != cached_second) {
        clock_format_iso(wall_ns, cached);
        cached_second = second;
    }
    char *digits = cached + CLOCK_ISO_LEN - 4;
    digits[0] = (char)('0' + ms / 100);
    digits[1] = (char)('0' + ms / 10 % 10);
    digits[2] = (char)('0' + ms % 10);
    buf_add(out, cached, CLOCK_ISO_LEN);
}

static void add_usd(struct buf *out, int64_t nano_usd)
{
    char digits[STR_BILLIONTHS_BYTES];
    buf_add(out, digits, str_put_billionths(digits, (uint64_t)nano_usd));
}

static void add_value(struct buf *out, const struct field *field, const void *value)
{
    switch (field->kind) {
    case FIELD_TEXT:
        add_text(out, *(const struct str *)value);
        break;
    case FIELD_JSON:
        buf_add_str(out, *(const struct str *)value);
        break;
    case FIELD_UNSIGNED:
        buf_add_u64(out, *(const unsigned *)value);
        break;
    case FIELD_COUNT:
    case FIELD_SOME:
        buf_add_u64(out, *(const uint64_t *)value);
        break;
    case FIELD_TOKENS:
        buf_add_i64(out, *(const int64_t *)value);
        break;
    case FIELD_USD:
        add_usd(out, *(const int64_t *)value);
        break;
    case FIELD_SPAN:
        add_ms(out, *(const int64_t *)value);
        break;
    case FIELD_BOOL:
    case FIELD_FLAG:
        buf_add_str(out, *(const bool *)value ? STR("true") : STR("false"));
        break;
    }
}

void access_log_format(struct buf *out, const struct request_record *record)
{
    BUF_LIT(out, "{\"time\":\"");
    add_time(out, record->start_wall_ns);
    buf_add_char(out, '"');
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct field *field = &fields[i];
        const void *value = (const char *)record + field->offset;
        if (is_left_out(field, value))
            continue;
        buf_add_str(out, field->key);
        add_value(out, field, value);
    }
    BUF_LIT(out, "}\n");
}
