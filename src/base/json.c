#include "base/json.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/err.h"

/*
 * One walker serves the scanner and the cursors. Structure is checked byte by byte; strings, which
 * are nearly all of a long prompt, are skipped by looking for quotes only, many bytes at a time.
 */

struct walk {
    const char *end;
    unsigned depth_max; /* containers that may still be opened */
    /* After a failure: */
    const char *bad;
    const char *expected;
    bool is_too_deep;
};

static const char *fail(struct walk *w, const char *at, const char *expected)
{
    w->bad = at;
    w->expected = expected;
    return NULL;
}

/* The byte at p; NUL, which no JSON token begins with, at the end. */
static inline char peek(const struct walk *w, const char *p)
{
    return LIKELY(p < w->end) ? *p : '\0';
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static inline const char *skip_space(const struct walk *w, const char *p)
{
    while (p < w->end && is_space(*p))
        p++;
    return p;
}

/* A quote is escaped when an odd number of backslashes stands before it. Runs of backslashes do
 * not overlap, so all calls for one string take no longer than the string. */
static inline bool is_escaped(const char *quote, const char *from)
{
    const char *p = quote;
    while (p > from && p[-1] == '\\')
        p--;
    return ((quote - p) & 1) != 0;
}

#ifdef __SSE2__
static inline __m128i quotes_in(const char *p)
{
    return _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)(const void *)p), _mm_set1_epi8('"'));
}

/* The first of p + 64 * n such that the 64 bytes there hold a quote, or are past the end. */
static const char *skip_unquoted(const char *p, const char *end)
{
    for (; end - p >= 64; p += 64) {
        __m128i any = _mm_or_si128(_mm_or_si128(quotes_in(p), quotes_in(p + 16)),
                                   _mm_or_si128(quotes_in(p + 32), quotes_in(p + 48)));
        if (_mm_movemask_epi8(any) != 0)
            break;
    }
    return p;
}

/* The closing quote of the string whose text begins at p, or NULL. */
static inline const char *string_end(const char *p, const char *end)
{
    const char *from = p;
    for (; end - p >= 16; p += 16) {
        unsigned mask = (unsigned)_mm_movemask_epi8(quotes_in(p));
        for (; mask != 0; mask &= mask - 1) {
            const char *quote = p + __builtin_ctz(mask);
            if (!is_escaped(quote, from))
                return quote;
        }
        if (p - from == 48)
            p = skip_unquoted(p + 16, end) - 16;
    }
    for (; p < end; p++) {
        if (*p == '"' && !is_escaped(p, from))
            return p;
    }
    return NULL;
}
#else
static const char *string_end(const char *p, const char *end)
{
    const char *from = p;
    while (p < end && (p = memchr(p, '"', (size_t)(end - p))) != NULL) {
        if (!is_escaped(p, from))
            return p;
        p++;
    }
    return NULL;
}
#endif

/* p is at the opening quote; returns what is after the closing one. */
static inline const char *skip_string(struct walk *w, const char *p)
{
    const char *close = string_end(p + 1, w->end);
    return close != NULL ? close + 1 : fail(w, w->end, "'\"' to end a string");
}

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *skip_digits(struct walk *w, const char *p)
{
    if (!is_digit(peek(w, p)))
        return fail(w, p, "a digit");
    while (is_digit(peek(w, p)))
        p++;
    return p;
}

static const char *skip_number(struct walk *w, const char *p)
{
    if (*p == '-')
        p++;
    if (peek(w, p) == '0')
        p++;
    else if ((p = skip_digits(w, p)) == NULL)
        return NULL;
    if (peek(w, p) == '.' && (p = skip_digits(w, p + 1)) == NULL)
        return NULL;
    if (peek(w, p) == 'e' || peek(w, p) == 'E') {
        p++;
        if (peek(w, p) == '+' || peek(w, p) == '-')
            p++;
        return skip_digits(w, p);
    }
    return p;
}

static const char *skip_literal(struct walk *w, const char *p, struct str literal)
{
    if (!str_starts(str_n(p, (size_t)(w->end - p)), literal))
        return fail(w, p, "a value");
    return p + literal.len;
}

/* Kinds of values by their first byte. */
static const uint8_t kind_of[256] = {
    ['{'] = JSON_OBJECT, ['['] = JSON_ARRAY,  ['"'] = JSON_STRING, ['t'] = JSON_TRUE,
    ['f'] = JSON_FALSE,  ['n'] = JSON_NULL,   ['-'] = JSON_NUMBER, ['0'] = JSON_NUMBER,
    ['1'] = JSON_NUMBER, ['2'] = JSON_NUMBER, ['3'] = JSON_NUMBER, ['4'] = JSON_NUMBER,
    ['5'] = JSON_NUMBER, ['6'] = JSON_NUMBER, ['7'] = JSON_NUMBER, ['8'] = JSON_NUMBER,
    ['9'] = JSON_NUMBER,
};

static inline enum json_kind kind_at(const struct walk *w, const char *p)
{
    return (enum json_kind)kind_of[(unsigned char)peek(w, p)];
}

static inline const char *skip_scalar(struct walk *w, const char *p)
{
    switch (kind_at(w, p)) {
    case JSON_STRING:
        return skip_string(w, p);
    case JSON_NUMBER:
        return skip_number(w, p);
    case JSON_TRUE:
        return skip_literal(w, p, STR("true"));
    case JSON_FALSE:
        return skip_literal(w, p, STR("false"));
    case JSON_NULL:
        return skip_literal(w, p, STR("null"));
    default:
        return fail(w, p, "a value");
    }
}

/* p is where a key must stand; returns where its value begins. */
static inline const char *skip_key(struct walk *w, const char *p, struct str *key)
{
    if (peek(w, p) != '"')
        return fail(w, p, "a key in quotes");
    const char *after = skip_string(w, p);
    if (after == NULL)
        return NULL;
    *key = str_n(p, (size_t)(after - p));
    after = skip_space(w, after);
    if (peek(w, after) != ':')
        return fail(w, after, "':' after a key");
    return skip_space(w, after + 1);
}

/* Which of the open containers are objects: the innermost, and a bit for each around it. */
struct nesting {
    unsigned depth;
    bool in_object;
    uint64_t objects[JSON_DEPTH_MAX / 64 + 1];
};

static inline void open_container(struct nesting *n, bool is_object)
{
    uint64_t bit = UINT64_C(1) << (n->depth % 64);
    uint64_t *word = &n->objects[n->depth / 64];
    uint64_t others = n->depth % 64 == 0 ? 0 : *word;
    *word = n->in_object ? others | bit : others & ~bit;
    n->in_object = is_object;
    n->depth++;
}

static inline void close_container(struct nesting *n)
{
    CHECK(n->depth > 0);
    n->depth--;
    n->in_object = (n->objects[n->depth / 64] >> (n->depth % 64) & 1) != 0;
}

/* p is after a value (or a just opened container): closes what ends here. Returns where the next
 * key or value stands, or what is after the outermost container. */
static inline const char *close_containers(struct walk *w, const char *p, struct nesting *n,
                                           bool is_first)
{
    for (;;) {
        p = skip_space(w, p);
        char c = peek(w, p);
        if (c == (n->in_object ? '}' : ']')) {
            p++;
            close_container(n);
            is_first = false;
            if (n->depth == 0)
                return p;
        } else if (is_first) {
            return p;
        } else if (c == ',') {
            return skip_space(w, p + 1);
        } else {
            return fail(w, p, n->in_object ? "',' or '}'" : "',' or ']'");
        }
    }
}

/* p is at '{' or '['. */
static const char *skip_container(struct walk *w, const char *p)
{
    struct nesting n;
    n.depth = 0;
    n.in_object = false;
    do {
        struct str key;
        if (n.in_object && (p = skip_key(w, p, &key)) == NULL)
            return NULL;
        enum json_kind kind = kind_at(w, p);
        bool is_container = kind == JSON_OBJECT || kind == JSON_ARRAY;
        if (!is_container) {
            p = skip_scalar(w, p);
        } else if (n.depth == w->depth_max) {
            w->is_too_deep = true;
            return fail(w, p, NULL);
        } else {
            open_container(&n, kind == JSON_OBJECT);
            p++;
        }
        if (p == NULL || (p = close_containers(w, p, &n, is_container)) == NULL)
            return NULL;
    } while (n.depth > 0);
    return p;
}

static inline const char *skip_value(struct walk *w, const char *p)
{
    char c = peek(w, p);
    return c == '{' || c == '[' ? skip_container(w, p) : skip_scalar(w, p);
}

/* --- the scanner --- */

struct scanner {
    struct walk walk;
    const char *begin;
    const struct json_want *wants;
    struct json_scan *out;
    uint32_t seen[JSON_PATH_MAX]; /* wants whose path has been met down to this level */
    bool top_has_members;
};

static struct json_span span_of(const struct scanner *s, const char *from, const char *to)
{
    return (struct json_span){(size_t)(from - s->begin), (size_t)(to - from)};
}

/* The wants among `candidates` whose path has this key at `level`. */
static uint32_t matches(const struct scanner *s, uint32_t candidates, unsigned level,
                        struct str quoted)
{
    struct str key = str_n(quoted.ptr + 1, quoted.len - 2);
    bool is_plain = json_string_is_plain(key);
    uint32_t hits = 0;
    for (uint32_t rest = candidates; rest != 0; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctz(rest);
        struct str name = s->wants[i].path[level];
        if (is_plain ? str_eq(key, name) : json_string_eq(key, name))
            hits |= UINT32_C(1) << i;
    }
    return hits;
}

/* Of `hits`, those whose path goes on below `level`. */
static uint32_t deeper(const struct scanner *s, uint32_t hits, unsigned level)
{
    uint32_t out = 0;
    for (uint32_t rest = hits; level + 1 < JSON_PATH_MAX && rest != 0; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctz(rest);
        if (s->wants[i].path[level + 1].len > 0)
            out |= UINT32_C(1) << i;
    }
    return out;
}

static void note_found(struct scanner *s, uint32_t hits, unsigned level, struct str key,
                       const char *value, const char *after)
{
    uint32_t ends_here = hits & ~deeper(s, hits, level);
    for (uint32_t rest = hits; rest != 0; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctz(rest);
        uint32_t bit = UINT32_C(1) << i;
        struct json_found *found = &s->out->found[i];
        if ((s->seen[level] & bit) != 0)
            found->is_duplicate = true;
        if ((ends_here & bit) == 0)
            continue;
        found->kind = kind_at(&s->walk, value);
        found->key = span_of(s, key.ptr, key.ptr + key.len);
        found->value = span_of(s, value, after);
    }
    s->seen[level] |= hits;
}

/* p is at '{'. Calls itself for wanted members of members: JSON_PATH_MAX levels at most. */
static const char *scan_members(struct scanner *s, const char *p, uint32_t wanted, unsigned level)
{
    struct walk *w = &s->walk;
    if (w->depth_max == 0) {
        w->is_too_deep = true;
        return fail(w, p, NULL);
    }
    w->depth_max--;
    p = skip_space(w, p + 1);
    bool is_first = true;
    while (!is_first || peek(w, p) != '}') {
        struct str key;
        const char *value = skip_key(w, p, &key);
        if (value == NULL)
            return NULL;
        uint32_t hits = matches(s, wanted, level, key);
        uint32_t below = deeper(s, hits, level);
        if (below != 0 && peek(w, value) == '{')
            p = scan_members(s, value, below, level + 1);
        else
            p = skip_value(w, value);
        if (p == NULL)
            return NULL;
        note_found(s, hits, level, key, value, p);
        is_first = false;
        p = skip_space(w, p);
        if (peek(w, p) == '}')
            break;
        if (peek(w, p) != ',')
            return fail(w, p, "',' or '}'");
        p = skip_space(w, p + 1);
    }
    if (level == 0)
        s->top_has_members = !is_first;
    w->depth_max++;
    return p + 1;
}

/* Line and column (both from 1, the column in bytes) of a place in the text. */
static void locate(struct str text, size_t offset, size_t *line, size_t *column)
{
    *line = 1;
    size_t begin = 0;
    for (const char *p; (p = memchr(text.ptr + begin, '\n', offset - begin)) != NULL;) {
        begin = (size_t)(p - text.ptr) + 1;
        (*line)++;
    }
    *column = offset - begin + 1;
}

static int report(const struct walk *w, struct str text, unsigned max_depth, struct json_scan *out)
{
    size_t line = 1, column = 1;
    out->error_offset = text.len == 0 ? 0 : (size_t)(w->bad - text.ptr);
    if (out->error_offset > 0)
        locate(text, out->error_offset, &line, &column);
    if (w->is_too_deep)
        return err_set(ERR_LIMIT, FAULT_NONE,
                       "JSON is nested more than %u levels deep at line %zu, column %zu (byte %zu)",
                       max_depth, line, column, out->error_offset);
    char found[16] = "the end";
    if (out->error_offset < text.len) {
        char c = text.ptr[out->error_offset];
        snprintf(found, sizeof(found), c > ' ' && c < 0x7f ? "'%c'" : "byte 0x%02x",
                 (unsigned char)c);
    }
    return err_set(ERR_INVALID, FAULT_NONE,
                   "invalid JSON at line %zu, column %zu (byte %zu): expected %s, found %s", line,
                   column, out->error_offset, w->expected, found);
}

int json_scan_object(struct str text, unsigned max_depth, const struct json_want *wants,
                     unsigned n_wants, struct json_scan *out)
{
    CHECK(n_wants <= JSON_WANTS_MAX);
    max_depth = MIN(max_depth, JSON_DEPTH_MAX);
    if (text.ptr == NULL)
        text = STR("");
    *out = (struct json_scan){.is_empty = true};
    struct scanner s = {
        .walk = {.end = text.ptr + text.len, .depth_max = max_depth},
        .begin = text.ptr,
        .wants = wants,
        .out = out,
    };
    const char *p = skip_space(&s.walk, text.ptr);
    if (peek(&s.walk, p) != '{') {
        fail(&s.walk, p, "'{' (a JSON object)");
        return report(&s.walk, text, max_depth, out);
    }
    const char *after = scan_members(&s, p, (UINT32_C(1) << n_wants) - 1, 0);
    if (after == NULL)
        return report(&s.walk, text, max_depth, out);
    out->object = span_of(&s, p, after);
    out->is_empty = !s.top_has_members;
    after = skip_space(&s.walk, after);
    if (after < s.walk.end) {
        fail(&s.walk, after, "nothing after the object");
        return report(&s.walk, text, max_depth, out);
    }
    return 0;
}

/* --- cursors --- */

void json_cursor_init(struct json_cursor *cursor, struct str text)
{
    if (text.ptr == NULL)
        text = STR("");
    *cursor = (struct json_cursor){.next = text.ptr, .end = text.ptr + text.len};
}

static int cursor_end(struct json_cursor *c, int error)
{
    c->is_done = true;
    c->error = error;
    return error;
}

static int cursor_failed(struct json_cursor *c, const struct walk *w)
{
    return cursor_end(c, w->is_too_deep ? -ERR_LIMIT : -ERR_INVALID);
}

/* To the next key or element: 1, 0 at the end of the container, or an error. */
static int cursor_advance(struct json_cursor *c, struct walk *w, char open, char close)
{
    if (c->is_done)
        return c->error;
    const char *p = skip_space(w, c->next);
    bool is_first = !c->has_begun;
    if (is_first) {
        if (peek(w, p) != open)
            return cursor_failed(c, w);
        c->has_begun = true;
        p = skip_space(w, p + 1);
    }
    if (peek(w, p) == close)
        return cursor_end(c, skip_space(w, p + 1) == w->end ? 0 : -ERR_INVALID);
    if (!is_first) {
        if (peek(w, p) != ',')
            return cursor_failed(c, w);
        p = skip_space(w, p + 1);
    }
    c->next = p;
    return 1;
}

/* Reads the value at `p`. */
static int cursor_value(struct json_cursor *c, struct walk *w, const char *p,
                        struct json_value *value)
{
    const char *after = skip_value(w, p);
    if (after == NULL)
        return cursor_failed(c, w);
    *value = (struct json_value){kind_at(w, p), str_n(p, (size_t)(after - p))};
    c->next = after;
    return 1;
}

int json_iter_object(struct json_cursor *cursor, struct str *key, struct json_value *value)
{
    struct walk w = {.end = cursor->end, .depth_max = JSON_DEPTH_DEFAULT};
    int r = cursor_advance(cursor, &w, '{', '}');
    if (r <= 0)
        return r;
    struct str quoted;
    const char *p = skip_key(&w, cursor->next, &quoted);
    if (p == NULL)
        return cursor_failed(cursor, &w);
    *key = str_n(quoted.ptr + 1, quoted.len - 2);
    return cursor_value(cursor, &w, p, value);
}

int json_iter_array(struct json_cursor *cursor, struct json_value *value)
{
    struct walk w = {.end = cursor->end, .depth_max = JSON_DEPTH_DEFAULT};
    int r = cursor_advance(cursor, &w, '[', ']');
    return r <= 0 ? r : cursor_value(cursor, &w, cursor->next, value);
}

static bool find_member(struct str object, struct str name, struct json_value *value)
{
    struct json_cursor c;
    struct str key;
    json_cursor_init(&c, object);
    while (json_iter_object(&c, &key, value) == 1) {
        if (json_string_eq(key, name))
            return true;
    }
    return false;
}

static bool find_element(struct str array, uint64_t index, struct json_value *value)
{
    struct json_cursor c;
    json_cursor_init(&c, array);
    while (json_iter_array(&c, value) == 1) {
        if (index-- == 0)
            return true;
    }
    return false;
}

/* Reads "[12]" at *path and moves past it. */
static bool take_index(const char **path, uint64_t *index)
{
    const char *digits = *path + 1;
    size_t len = strspn(digits, "0123456789");
    *path = digits + len + 1;
    return digits[len] == ']' && str_to_u64(str_n(digits, len), index);
}

bool json_find(struct str text, const char *path, struct json_value *value)
{
    struct json_value here = {JSON_NONE, text};
    while (*path != '\0') {
        if (*path == '[') {
            uint64_t index;
            if (!take_index(&path, &index) || !find_element(here.text, index, &here))
                return false;
            continue;
        }
        path += *path == '.';
        size_t len = strcspn(path, ".[");
        if (!find_member(here.text, str_n(path, len), &here))
            return false;
        path += len;
    }
    *value = here;
    return true;
}
