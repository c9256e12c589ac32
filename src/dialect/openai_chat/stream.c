#include "dialect/openai_chat/stream.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/err.h"
#include "base/json.h"
#include "dialect/openai_chat/response.h"

/* True when a value holds something: a text, a list or an object that is not empty. */
static bool is_something(struct json_value value)
{
    switch (value.kind) {
    case JSON_STRING:
        return value.text.len > 2;
    case JSON_OBJECT:
    case JSON_ARRAY:
        return value.text.len > 2;
    default:
        return false;
    }
}

static bool delta_has_content(struct str delta)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    json_cursor_init(&cursor, delta);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        /* The role opens the answer and is not part of it. */
        if (!str_eq(key, STR("role")) && is_something(value))
            return true;
    }
    return false;
}

static uint64_t choice_bit(struct json_value index)
{
    int64_t i = 0;
    if (!json_number_i64(index, &i) || i < 0)
        i = 0;
    return UINT64_C(1) << MIN(i, 63);
}

static void read_choice(struct str choice, struct openai_chunk *chunk)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    uint64_t bit = 1;
    struct str reason = STR_EMPTY;
    json_cursor_init(&cursor, choice);
    while (json_iter_object(&cursor, &key, &value) == 1) {
        if (str_eq(key, STR("index")))
            bit = choice_bit(value);
        else if (str_eq(key, STR("delta")) || str_eq(key, STR("message")))
            chunk->has_content = chunk->has_content || delta_has_content(value.text);
        else if (str_eq(key, STR("text")))
            chunk->has_content = chunk->has_content || is_something(value);
        else if (str_eq(key, STR("finish_reason")))
            reason = json_string_raw(value);
    }
    chunk->choices_seen |= bit;
    if (reason.len > 0) {
        chunk->choices_finished |= bit;
        if (chunk->finish_reason.len == 0)
            chunk->finish_reason = reason;
    }
}

static void read_choices(struct str choices, struct openai_chunk *chunk)
{
    struct json_cursor cursor;
    struct json_value value;
    bool is_empty = true;
    json_cursor_init(&cursor, choices);
    while (json_iter_array(&cursor, &value) == 1) {
        is_empty = false;
        read_choice(value.text, chunk);
    }
    chunk->has_empty_choices = is_empty;
}

static void read_usage(struct json_value value, struct openai_chunk *chunk)
{
    if (value.kind != JSON_OBJECT)
        return;
    openai_usage_read(value.text, &chunk->usage);
    chunk->has_usage = true;
}

int openai_chunk_read(struct str type, struct str data, struct openai_chunk *chunk)
{
    struct json_cursor cursor;
    struct str key;
    struct json_value value;
    bool may_be_error = str_eq(type, STR("error"));
    int r;
    *chunk = (struct openai_chunk){.usage = TOKEN_USAGE_NONE};
    if (str_eq(str_trim(data), STR("[DONE]"))) {
        chunk->is_done = true;
        return 0;
    }
    json_cursor_init(&cursor, data);
    while ((r = json_iter_object(&cursor, &key, &value)) == 1) {
        if (str_eq(key, STR("choices")) && value.kind == JSON_ARRAY)
            read_choices(value.text, chunk);
        else if (str_eq(key, STR("usage")))
            read_usage(value, chunk);
        else if (str_eq(key, STR("model")))
            chunk->model = json_string_raw(value);
        else if (str_eq(key, STR("error")) && value.kind != JSON_NULL)
            may_be_error = true;
        else if (str_eq(key, STR("object")) && str_eq(json_string_raw(value), STR("error")))
            may_be_error = true;
        else if (str_eq(key, STR("x_groq")) && value.kind == JSON_OBJECT && !chunk->has_usage) {
            struct json_value usage;
            if (json_find(value.text, "usage", &usage))
                read_usage(usage, chunk);
        }
    }
    if (r < 0)
        return r;
    chunk->is_error = may_be_error && openai_error_read(data, &chunk->error);
    return 0;
}

/* str_starts with a length that the compiler knows, for what runs on every event. */
#define BEGINS(s, literal) \
    ((s).len >= sizeof(literal) - 1 && memcmp((s).ptr, (literal), sizeof(literal) - 1) == 0)

/* ":null" with or without a space: a member that is there and says nothing. */
static bool is_null_member(struct str rest)
{
    return BEGINS(rest, ":null") || BEGINS(rest, ": null");
}

/* `rest` begins behind a quote: is it a member for whose sake the event must be read? */
static bool tells_something(struct str rest)
{
    switch (rest.ptr[0]) {
    case 'i':
        return BEGINS(rest, "index\"") && !BEGINS(rest, "index\":0,") &&
               !BEGINS(rest, "index\": 0,");
    case 'u':
        return BEGINS(rest, "usage\"") && !is_null_member(str_skip(rest, 6));
    case 'f':
        return BEGINS(rest, "finish_reason\"") && !is_null_member(str_skip(rest, 14));
    case 'e':
        return BEGINS(rest, "error\"");
    case 'x':
        return BEGINS(rest, "x_groq\"");
    default:
        return false;
    }
}

/* The letters with which telling members begin, and "delta": other quotes are passed at once. */
static bool is_telling_letter(char c)
{
    return c == 'u' || c == 'f' || c == 'e' || c == 'x' || c == 'i' || c == 'd';
}

#ifdef __SSE2__
/* A bit for each of 16 bytes that is a quote with a telling letter behind it; reads 17 bytes. */
static unsigned telling_quotes(const char *p)
{
    __m128i here = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i next = _mm_loadu_si128((const __m128i *)(const void *)(p + 1));
    __m128i letters = _mm_cmpeq_epi8(next, _mm_set1_epi8('u'));
    letters = _mm_or_si128(letters, _mm_cmpeq_epi8(next, _mm_set1_epi8('f')));
    letters = _mm_or_si128(letters, _mm_cmpeq_epi8(next, _mm_set1_epi8('e')));
    letters = _mm_or_si128(letters, _mm_cmpeq_epi8(next, _mm_set1_epi8('x')));
    letters = _mm_or_si128(letters, _mm_cmpeq_epi8(next, _mm_set1_epi8('i')));
    letters = _mm_or_si128(letters, _mm_cmpeq_epi8(next, _mm_set1_epi8('d')));
    __m128i quotes = _mm_cmpeq_epi8(here, _mm_set1_epi8('"'));
    return (unsigned)_mm_movemask_epi8(_mm_and_si128(quotes, letters));
}
#endif

/* Goes through the quotes that matter. False as soon as one tells something. */
static bool look_at_quotes(struct str data, bool *has_delta)
{
    const char *p = data.ptr;
    const char *end = data.ptr + data.len;
#ifdef __SSE2__
    for (; end - p > 16; p += 16) {
        for (unsigned mask = telling_quotes(p); mask != 0; mask &= mask - 1) {
            const char *word = p + __builtin_ctz(mask) + 1;
            struct str rest = str_n(word, (size_t)(end - word));
            *has_delta = *has_delta || BEGINS(rest, "delta\"");
            if (tells_something(rest))
                return false;
        }
    }
#endif
    for (; end - p > 1; p++) {
        struct str rest = str_n(p + 1, (size_t)(end - p - 1));
        if (*p != '"' || !is_telling_letter(*rest.ptr))
            continue;
        *has_delta = *has_delta || BEGINS(rest, "delta\"");
        if (tells_something(rest))
            return false;
    }
    return true;
}

bool openai_chunk_is_plain(struct str type, struct str data)
{
    bool has_delta = false;
    return type.len == 0 && str_starts(data, STR("{")) && str_ends(data, STR("}")) &&
           look_at_quotes(data, &has_delta) && has_delta;
}
