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

/* What may follow a quote in an event that must be read. A member that is null says nothing. */
static const struct {
    struct str word;
    bool may_be_null;
} telling[] = {
    {STR_INIT("usage\":"), true},          {STR_INIT("finish_reason\":"), true},
    {STR_INIT("error\""), false},          {STR_INIT("x_groq\""), false},
    {STR_INIT("finish_reason\" "), false}, {STR_INIT("usage\" "), false},
};

/* `rest` begins behind a quote. */
static bool tells_something(struct str rest)
{
    if (str_starts(rest, STR("index\"")))
        return !str_starts(rest, STR("index\":0,")) && !str_starts(rest, STR("index\": 0,"));
    for (size_t i = 0; i < ARRAY_LEN(telling); i++) {
        if (!str_starts(rest, telling[i].word))
            continue;
        struct str value = str_skip(rest, telling[i].word.len);
        if (!telling[i].may_be_null ||
            (!str_starts(value, STR("null")) && !str_starts(value, STR(" null"))))
            return true;
    }
    return false;
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
            *has_delta = *has_delta || str_starts(rest, STR("delta\""));
            if (tells_something(rest))
                return false;
        }
    }
#endif
    for (; end - p > 1; p++) {
        struct str rest = str_n(p + 1, (size_t)(end - p - 1));
        if (*p != '"' || !is_telling_letter(*rest.ptr))
            continue;
        *has_delta = *has_delta || str_starts(rest, STR("delta\""));
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
